package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// What a gate says to a call.
var (
	room     = said{}
	pressure = said{hint: true}
	full     = said{err: refusal(codes.ResourceExhausted, "QUEUE_FULL")}
	backlog  = said{err: refusal(codes.ResourceExhausted, "QUEUE_BACKLOG_FULL")}
	keyFull  = said{err: refusal(codes.ResourceExhausted, "KEY_BACKLOG_FULL")}
	fullSoon = said{err: refusal(codes.ResourceExhausted, "QUEUE_FULL",
		&errdetails.RetryInfo{RetryDelay: durationpb.New(100 * time.Millisecond)})}
)

const (
	// The deadline of calls without their own. It is too short for gRPC to look whether the connection is alive.
	gateDeadline = 9 * time.Second
	// What a call that is refused waits at most before its next try.
	gatePause = 2100 * time.Millisecond
)

type said struct {
	hint bool
	err  error
}

// knock is a call that waits in a gate.
type knock struct {
	request any
	answer  chan said
}

// gate is a server whose calls wait until the test answers them. Its test runs in a bubble of synctest: what the test looks
// at stands still.
type gate struct {
	t      *testing.T
	client *jobqueue.Client
	mu     sync.Mutex
	inside []knock // the one that has waited longest first
	calls  sync.WaitGroup
	errs   []error // of enqueues that failed
}

// atGate runs a test with a gate and its client.
func atGate(t *testing.T, adaptive bool, test func(*testing.T, *gate)) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{t: t}
		server := newScripted(t, grpc.UnaryInterceptor(g.serve))
		client, err := jobqueue.NewClient("passthrough:///scripted", jobqueue.ClientOptions{
			Access: server.access(), Deadline: gateDeadline, Adaptive: adaptive,
		})
		if err != nil {
			t.Fatal(err)
		}
		g.client = client
		t.Cleanup(func() {
			_ = client.Close()
			g.calls.Wait()
		})
		test(t, g)
	})
}

func (g *gate) serve(ctx context.Context, request any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	call := knock{request, make(chan said, 1)}
	g.mu.Lock()
	g.inside = append(g.inside, call)
	g.mu.Unlock()
	var answer said
	select {
	case answer = <-call.answer:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if answer.hint {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("jobqueue-pressure", "0.83"))
	}
	if answer.err != nil {
		return nil, answer.err
	}
	switch request := request.(type) {
	case *pb.BatchEnqueueJobsRequest:
		results := make([]*pb.EnqueueResult, len(request.Jobs))
		for i := range results {
			results[i] = &pb.EnqueueResult{Id: "1"}
		}
		return &pb.BatchEnqueueJobsResponse{Results: results}, nil
	case *pb.GetJobRequest:
		return &pb.GetJobResponse{Job: &pb.Job{Id: "1"}}, nil
	}
	return &pb.EnqueueJobResponse{Job: &pb.Job{Id: "1"}}, nil
}

// has fails the test unless so many calls wait here, once all that can happen has happened.
func (g *gate) has(calls int) {
	g.t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.inside) != calls {
		g.t.Fatalf("%d calls wait at the server, not %d", len(g.inside), calls)
	}
}

// answers answers the calls that have waited longest.
func (g *gate) answers(calls int, answer said) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, each := range g.inside[:calls] {
		each.answer <- answer
	}
	g.inside = g.inside[calls:]
}

// starts begins so many calls of their own.
func (g *gate) starts(calls int, call func() error) {
	for range calls {
		g.calls.Go(func() {
			if err := call(); err != nil {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.errs = append(g.errs, err)
			}
		})
	}
}

// enqueues begins so many enqueues.
func (g *gate) enqueues(calls int) {
	g.starts(calls, func() error { return g.enqueue(context.Background(), jobqueue.NewJob{Kind: "work"}) })
}

func (g *gate) enqueue(ctx context.Context, job jobqueue.NewJob) error {
	_, err := g.client.Enqueue(ctx, job)
	return err
}

func TestAnAdaptiveProducerSlowsDownByHintsAndRefusalsAndSpeedsUpAgain(t *testing.T) {
	atGate(t, true, func(t *testing.T, g *gate) {
		g.enqueues(500)
		g.has(64)
		// A hint, however many answers bring it: a fifth less.
		g.answers(64, pressure)
		g.has(51)
		// A refusal: half.
		g.answers(51, full)
		g.has(25)
		// A round of answers without a hint: one more. Two: another one.
		g.answers(25, room)
		g.has(26)
		g.answers(26, room)
		g.has(27)
		// The other refusal is one as well.
		g.answers(27, backlog)
		g.has(13)
		// A key that is full says nothing of the queue.
		g.answers(13, keyFull)
		g.has(13)
		for left := 500 - 64 - 51 - 25 - 26 - 27 - 13; left > 0; {
			synctest.Wait()
			inside := len(g.inside)
			g.answers(inside, room)
			left -= inside
		}
		g.calls.Wait()
		if len(g.errs) != 51+27+13 {
			t.Errorf("%d calls were refused", len(g.errs))
		}
		for _, err := range g.errs {
			if !errors.Is(err, jobqueue.ErrOverloaded) {
				t.Error(err)
			}
		}
	})
}

func TestWithoutAdaptiveNothingWaitsWithinTheClient(t *testing.T) {
	atGate(t, false, func(t *testing.T, g *gate) {
		for _, answer := range []said{pressure, full, room} {
			g.enqueues(300)
			g.has(300)
			g.answers(300, answer)
			g.calls.Wait()
		}
	})
}

func TestAdaptiveBatchesTakeTurnsTooAndReadsDoNot(t *testing.T) {
	atGate(t, true, func(t *testing.T, g *gate) {
		g.starts(100, func() error {
			results, err := g.client.EnqueueMany(context.Background(), []jobqueue.NewJob{{Kind: "work"}, {Kind: "work"}})
			if err == nil && len(results) != 2 {
				return fmt.Errorf("%d results", len(results))
			}
			return err
		})
		g.has(64)
		g.starts(1, func() error {
			_, err := g.client.Get(context.Background(), "1")
			return err
		})
		g.has(65)
		g.answers(64, pressure)
		g.has(1 + 36)
		g.answers(37, room)
		g.calls.Wait()
		// One window is that of both.
		g.enqueues(100)
		g.has(51)
		g.answers(51, full)
		g.has(25)
		g.answers(25, room)
		g.has(24)
		g.answers(24, room)
		g.calls.Wait()
		if len(g.errs) != 51 {
			t.Error(g.errs)
		}
	})
}

func TestAnAdaptiveCallThatDidNotGetItsTurnEndsByItsDeadlineAndWasNotSent(t *testing.T) {
	atGate(t, true, func(t *testing.T, g *gate) {
		g.enqueues(64)
		g.has(64)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		job := jobqueue.NewJob{Kind: "work", IdempotencyKey: "a"}
		err := g.enqueue(ctx, job)
		if err == nil || !strings.Contains(err.Error(),
			"the call was not sent: for 0.2 s the server had no room for more than the 64 enqueues in flight") {
			t.Error(err)
		}
		var failure *jobqueue.Error
		if !errors.As(err, &failure) || !errors.Is(err, jobqueue.ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%T %v", err, err)
		}
		g.has(64)
		g.answers(64, room)
		g.calls.Wait()
		g.has(0)
		// A batch whose context has no deadline has that of the client, for its wait and the call together.
		g.enqueues(64)
		g.has(64)
		began := time.Now()
		g.starts(1, func() error {
			_, err := g.client.EnqueueMany(context.Background(), []jobqueue.NewJob{job})
			return err
		})
		time.Sleep(gateDeadline / 2)
		g.answers(64, room)
		g.has(1)
		g.calls.Wait()
		if took := time.Since(began); took != gateDeadline {
			t.Error("the call ended after", took)
		}
		if len(g.errs) != 1 || !errors.Is(g.errs[0], jobqueue.ErrDeadlineExceeded) {
			t.Error(g.errs)
		}
	})
}

func TestAnAdaptiveCallThatIsCancelledGivesItsPlaceToTheNext(t *testing.T) {
	atGate(t, true, func(t *testing.T, g *gate) {
		g.enqueues(64)
		g.has(64)
		ctx, cancel := context.WithCancel(t.Context())
		var cancelled error
		g.starts(1, func() error {
			cancelled = g.enqueue(ctx, jobqueue.NewJob{Kind: "given up"})
			return nil
		})
		for _, kind := range []string{"first", "second"} {
			synctest.Wait()
			g.starts(1, func() error { return g.enqueue(context.Background(), jobqueue.NewJob{Kind: kind}) })
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(cancelled, context.Canceled) || !strings.Contains(cancelled.Error(), "was not sent") {
			t.Error(cancelled)
		}
		// Those that wait come in the order in which they began.
		for _, kind := range []string{"first", "second"} {
			g.answers(1, room)
			g.has(64)
			if got := g.inside[63].request.(*pb.EnqueueJobRequest).Job.Kind; got != kind {
				t.Errorf("%s came, not %s", got, kind)
			}
		}
		g.answers(64, room)
		g.calls.Wait()
		if len(g.errs) > 0 {
			t.Error(g.errs)
		}
	})
}

func TestAdaptiveHintsOfCallsThatBeganBeforeCountOnce(t *testing.T) {
	atGate(t, true, func(t *testing.T, g *gate) {
		g.enqueues(300)
		g.has(64)
		g.answers(20, pressure)
		g.has(51)
		// 44 of them are of the first round.
		g.answers(24, pressure)
		g.answers(20, full)
		g.has(51)
		// Of this round the first counts.
		g.answers(1, pressure)
		g.has(50)
		g.answers(11, full)
		g.has(40)
	})
}

func TestAnAdaptiveCallThatIsTriedAgainStaysInItsTurnAndEachRefusalCounts(t *testing.T) {
	atGate(t, true, func(t *testing.T, g *gate) {
		g.starts(1, func() error {
			return g.enqueue(context.Background(), jobqueue.NewJob{Kind: "work", IdempotencyKey: "a"})
		})
		for range 3 {
			g.has(1)
			g.answers(1, fullSoon)
			time.Sleep(gatePause)
		}
		// 64, 32, 16, 8: the call that is tried again has one of these places.
		g.enqueues(20)
		g.has(8)
		g.answers(1, fullSoon)
		g.has(7)
		// 4 may be in flight; while the call waits for its next try, it counts.
		g.answers(3, pressure)
		g.has(4)
		g.answers(1, room)
		g.has(3)
		time.Sleep(gatePause)
		g.has(4)
	})
}
