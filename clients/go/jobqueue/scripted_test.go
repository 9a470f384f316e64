package jobqueue_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// A generous bound: what is waited for comes within milliseconds, on a machine that is not busy.
const patience = 20 * time.Second

// scripted is a server of which a test plays the part, frame by frame.
type scripted struct {
	pb.UnimplementedJobQueueServer
	t        *testing.T
	listener *bufconn.Listener
	streams  chan *peer
}

// peer is the server's end of one stream.
type peer struct {
	t      *testing.T
	stream grpc.BidiStreamingServer[pb.LeaseRequest, pb.LeaseResponse]
	frames chan *pb.LeaseRequest // closed when the worker has let go
	end    chan error
	hello  *pb.Hello
}

func newScripted(t *testing.T, options ...grpc.ServerOption) *scripted {
	s := &scripted{t: t, listener: bufconn.Listen(1 << 20), streams: make(chan *peer, 16)}
	server := grpc.NewServer(append(options, grpc.Creds(insecure.NewCredentials()))...)
	pb.RegisterJobQueueServer(server, s)
	pb.RegisterQueueAdminServer(server, pb.UnimplementedQueueAdminServer{})
	pb.RegisterInsightServer(server, pb.UnimplementedInsightServer{})
	pb.RegisterSchedulesServer(server, pb.UnimplementedSchedulesServer{})
	pb.RegisterBulkServer(server, pb.UnimplementedBulkServer{})
	longrunningpb.RegisterOperationsServer(server, &longrunningpb.UnimplementedOperationsServer{})
	go func() { _ = server.Serve(s.listener) }()
	t.Cleanup(server.Stop)
	return s
}

func (s *scripted) access() jobqueue.Access {
	return jobqueue.Access{DialOptions: []grpc.DialOption{grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return s.listener.DialContext(ctx) },
	)}}
}

func (s *scripted) Lease(stream grpc.BidiStreamingServer[pb.LeaseRequest, pb.LeaseResponse]) error {
	p := &peer{t: s.t, stream: stream, frames: make(chan *pb.LeaseRequest, 10_000), end: make(chan error, 1)}
	go func() {
		defer close(p.frames)
		for {
			frame, err := stream.Recv()
			if err != nil {
				return
			}
			p.frames <- frame
		}
	}()
	s.streams <- p
	select {
	case err := <-p.end:
		return err
	case <-stream.Context().Done():
		return nil
	}
}

// accept waits for the next stream and its Hello.
func (s *scripted) accept() *peer {
	s.t.Helper()
	select {
	case p := <-s.streams:
		p.hello = p.await("Hello", func(frame *pb.LeaseRequest) bool { return frame.GetHello() != nil }).GetHello()
		return p
	case <-time.After(patience):
		s.t.Fatal("the worker opened no stream")
		return nil
	}
}

// open accepts a stream and welcomes it.
func (s *scripted) open() *peer {
	s.t.Helper()
	p := s.accept()
	p.welcome(&pb.Welcome{SessionId: 1, SessionToken: "secret"})
	return p
}

func (p *peer) welcome(welcome *pb.Welcome) {
	if welcome.HeartbeatInterval == nil {
		welcome.HeartbeatInterval = durationpb.New(5 * time.Second)
	}
	p.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Welcome{Welcome: welcome}})
}

func (p *peer) send(frame *pb.LeaseResponse) {
	p.t.Helper()
	if err := p.stream.Send(frame); err != nil {
		p.t.Fatalf("the frame could not be sent: %v", err)
	}
}

func (p *peer) deliver(seq int64, jobs ...*pb.LeasedJob) {
	p.t.Helper()
	p.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Delivery{Delivery: &pb.Delivery{Seq: seq, Jobs: jobs}}})
}

func (p *peer) settled(settle *pb.Settle, exceptions ...*pb.SettleResult) {
	p.t.Helper()
	p.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Settled{
		Settled: &pb.Settled{Seq: settle.GetSeq(), Exceptions: exceptions},
	}})
}

func (p *peer) cancel(reason string, ids ...int64) {
	p.t.Helper()
	p.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Control{Control: &pb.Control{
		Action: &pb.Control_Cancel{Cancel: &pb.CancelLeases{LeaseIds: ids, Reason: reason}},
	}}})
}

func (p *peer) revoke(reason string, ids ...int64) {
	p.t.Helper()
	p.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Control{Control: &pb.Control{
		Action: &pb.Control_Revoke{Revoke: &pb.RevokeLeases{LeaseIds: ids, Reason: reason}},
	}}})
}

// token is the credentials that the stream was opened with.
func (p *peer) token() string {
	md, _ := metadata.FromIncomingContext(p.stream.Context())
	return strings.Join(md.Get("authorization"), ",")
}

func (p *peer) goodbye() {
	p.t.Helper()
	p.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Goodbye{Goodbye: &pb.Goodbye{}}})
}

// await waits for a frame; those before it are passed over.
func (p *peer) await(what string, wanted func(*pb.LeaseRequest) bool) *pb.LeaseRequest {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case frame, ok := <-p.frames:
			if !ok {
				p.t.Fatalf("the worker let go of the stream before %s came", what)
			}
			if wanted(frame) {
				return frame
			}
		case <-late:
			p.t.Fatalf("%s did not come", what)
		}
	}
}

func (p *peer) settle() *pb.Settle {
	p.t.Helper()
	return p.await("Settle", func(frame *pb.LeaseRequest) bool { return frame.GetSettle() != nil }).GetSettle()
}

// outcome is the only one of the next Settle.
func (p *peer) outcome() *pb.Outcome {
	p.t.Helper()
	settle := p.settle()
	p.settled(settle)
	if len(settle.Outcomes) != 1 {
		p.t.Fatalf("one outcome was due, not %v", settle)
	}
	return settle.Outcomes[0]
}

// gone waits until the worker has let go of the stream.
func (p *peer) gone() {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-p.frames:
			if !ok {
				return
			}
		case <-late:
			p.t.Fatal("the worker still holds the stream")
		}
	}
}

func job(id int64, kind string) *pb.LeasedJob {
	return &pb.LeasedJob{
		LeaseId: id, Id: "job-" + string(rune('a'+id)), Attempt: 1, Kind: kind, Queue: "default", MaxAttempts: 3,
		Content: &pb.LeasedJob_PayloadJson{PayloadJson: []byte(`null`)},
	}
}

// running is a worker under test.
type running struct {
	t      *testing.T
	worker *jobqueue.Worker
	drain  context.CancelFunc
	ended  chan error
}

// work runs a worker with one handler, of the kind `k`, against the scripted server.
func work(s *scripted, handler jobqueue.Handler, change ...func(*jobqueue.WorkerOptions)) *running {
	s.t.Helper()
	options := jobqueue.WorkerOptions{
		Access: s.access(), Name: "tested", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, each := range change {
		each(&options)
	}
	worker, err := jobqueue.NewWorker("passthrough:///scripted", options)
	if err != nil {
		s.t.Fatal(err)
	}
	worker.Handle("k", handler, jobqueue.Slots(4))
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: s.t, worker: worker, drain: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- worker.Run(ctx) }()
	s.t.Cleanup(cancel)
	return r
}

// end waits until Run has returned.
func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatal("Run did not return")
		return nil
	}
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}
