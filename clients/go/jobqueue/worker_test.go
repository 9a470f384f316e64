package jobqueue_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

func nothing(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil }

// stuck waits for the end of its context, and tells the cause.
func stuck(causes chan<- error) jobqueue.Handler {
	return func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, fmt.Errorf("stopped in the middle: %w", ctx.Err())
	}
}

func TestHelloSaysWhatTheWorkerTakes(t *testing.T) {
	server := newScripted(t)
	work(server, nothing, func(o *jobqueue.WorkerOptions) {
		o.Queues = []string{"mail", "default"}
		o.SessionTTL = 6 * time.Second
	})

	hello := server.accept().hello

	if hello.Worker != "tested" || hello.Client != "jobqueue-go/"+jobqueue.Version || hello.Resume != nil {
		t.Errorf("%v", hello)
	}
	if len(hello.Subscriptions) != 2 || hello.Subscriptions[0].Queue != "mail" || hello.Subscriptions[1].Kinds[0] != "k" {
		t.Errorf("subscriptions %v", hello.Subscriptions)
	}
	if hello.Capacity.Slots != 8 || hello.Capacity.SlotsByKind["k"] != 4 || hello.SessionTtl.AsDuration() != 6*time.Second {
		t.Errorf("capacity %v, ttl %v", hello.Capacity, hello.SessionTtl)
	}
}

func TestADeliveryIsReceiptedWhileItsHandlerRuns(t *testing.T) {
	server := newScripted(t)
	work(server, stuck(make(chan error, 1)))
	stream := server.open()
	stream.await("Capacity", func(frame *pb.LeaseRequest) bool { return frame.GetCapacity() != nil })

	stream.deliver(1, job(1, "k"))

	receipt := stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })
	if receipt.Frame != nil {
		t.Errorf("a bare receipt was due, not %v", receipt)
	}
}

func TestUnknownFramesAndVerdictsAreIgnored(t *testing.T) {
	server := newScripted(t)
	work(server, nothing)
	stream := server.open()

	unknown := &pb.LeaseResponse{}
	unknown.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("new")))
	stream.send(unknown)
	stream.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Control{Control: &pb.Control{}}})
	stream.deliver(1, job(1, "k"))
	stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 1, Verdict: 42})
	stream.deliver(2, job(2, "k"))

	if settle := stream.settle(); settle.Succeeded[0] != 2 {
		t.Errorf("%v", settle)
	}
}
