package jobqueue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

func TestACancelEndsTheContextAndTheHandlerAnswersIt(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	work(server, stuck(causes))
	stream := server.open()
	stream.deliver(1, job(1, "k"))

	stream.cancel("wrong address", 1)

	cause := receive(t, "the cause", causes)
	if !errors.Is(cause, jobqueue.ErrCancelRequested) || !strings.Contains(cause.Error(), "wrong address") {
		t.Errorf("%v", cause)
	}
	if outcome := stream.outcome(); outcome.GetCancellation() == nil {
		t.Errorf("%v", outcome)
	}
}

func TestARevokedLeaseIsStoppedAndNotSettledAndHeldWhileItRuns(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	free := make(chan struct{})
	work(server, func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		<-free
		return nil, ctx.Err()
	})
	stream := server.accept()
	stream.welcome(&pb.Welcome{SessionToken: "secret", HeartbeatInterval: durationpb.New(250 * time.Millisecond)})
	pong := func(held int) {
		stream.await("the heartbeat", func(frame *pb.LeaseRequest) bool {
			if frame.GetSettle() != nil {
				t.Errorf("a revoked lease was settled: %v", frame)
			}
			beat := frame.GetHeartbeat()
			if beat != nil {
				stream.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Pong{Pong: &pb.Pong{Seq: beat.Seq}}})
			}
			return beat != nil && len(beat.Held) == held
		})
	}
	stream.deliver(1, job(1, "k"))
	pong(1)

	stream.revoke("TIMED_OUT", 1)

	if cause := receive(t, "the cause", causes); !errors.Is(cause, jobqueue.ErrTimedOut) {
		t.Errorf("%v", cause)
	}
	pong(1)
	close(free)
	pong(0)
}

func TestADrainFinishesWhatIsHeldAndWaitsForGoodbye(t *testing.T) {
	server := newScripted(t)
	free := make(chan struct{})
	worker := work(server, func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-free
		return nil, ctx.Err()
	})
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })

	worker.drain()
	stream.await("Drain", func(frame *pb.LeaseRequest) bool { return frame.GetDrain() != nil })
	stream.deliver(2, job(2, "k")) // it crossed the Drain
	crossed := stream.outcome()
	close(free)
	finished := stream.settle()
	stream.settled(finished)
	stream.goodbye()

	if crossed.LeaseId != 2 || crossed.GetRelease() == nil {
		t.Errorf("%v", crossed)
	}
	if len(finished.Succeeded) != 1 {
		t.Errorf("%v", finished)
	}
	if err := worker.end(); err != nil {
		t.Error(err)
	}
}

func TestADrainWithoutGraceStopsHandlersAndGivesTheirJobsBack(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	worker := work(server, stuck(causes), func(o *jobqueue.WorkerOptions) { o.ShutdownGrace = -1 })
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })

	worker.drain()

	if cause := receive(t, "the cause", causes); !errors.Is(cause, jobqueue.ErrShutdown) {
		t.Errorf("%v", cause)
	}
	if outcome := stream.outcome(); outcome.GetRelease() == nil {
		t.Errorf("%v", outcome)
	}
	stream.goodbye()
	if err := worker.end(); err != nil {
		t.Error(err)
	}
}

func TestTheContextTellsTheTimeout(t *testing.T) {
	server := newScripted(t)
	left := make(chan time.Duration, 1)
	work(server, func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		at, _ := ctx.Deadline()
		left <- time.Until(at)
		return nil, nil
	})
	stream := server.open()
	limited := job(1, "k")
	limited.Timeout = durationpb.New(time.Hour)
	stream.deliver(1, limited)

	if got := receive(t, "the deadline", left); got < 59*time.Minute || got > time.Hour {
		t.Errorf("%v", got)
	}
}
