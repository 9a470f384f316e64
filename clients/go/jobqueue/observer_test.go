package jobqueue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// told is an observer that passes on what it is told.
type told chan string

func (t told) AttemptStarted(a jobqueue.Attempt) {
	t <- fmt.Sprintf("started %s %s %d %v %s", a.Kind, a.Queue, a.Attempt, a.Labels, a.RequestID)
}

func (t told) AttemptEnded(a jobqueue.Attempt, outcome string, took time.Duration, err error) {
	if took < 0 {
		outcome = "of negative length"
	}
	t <- fmt.Sprintf("%s %s: %v", outcome, a.Kind, err)
}

func (t told) Enqueued(count int, kind, queue string, _ time.Duration, err error) {
	t <- fmt.Sprintf("enqueued %d %q %q: %v", count, kind, queue, err)
}

func (t told) SessionChanged(status jobqueue.WorkerStatus) { t <- "session " + string(status.State) }

func TestAnObserverIsToldOfEveryAttemptAndOfWhatBecameOfIt(t *testing.T) {
	server := newScripted(t)
	observer := make(told, 100)
	handler := func(ctx context.Context, leased *jobqueue.LeasedJob) (any, error) {
		switch leased.ID {
		case job(2, "k").Id:
			return nil, errors.New("no")
		case job(3, "k").Id:
			panic("oh")
		case job(4, "k").Id:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, nil
	}
	worker := work(server, handler, func(o *jobqueue.WorkerOptions) { o.Observer = observer })
	stream := server.open()

	first := job(1, "k")
	first.Labels = map[string]string{"a": "b"}
	first.Headers = map[string]string{"x-request-id": "r-1"}
	stream.deliver(1, first)
	stream.settled(stream.settle())
	stream.deliver(2, job(2, "k"))
	stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 2, Verdict: pb.SettleResult_APPLIED, Status: pb.Job_RETRYING})
	stream.deliver(3, job(3, "k"))
	stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 3, Verdict: pb.SettleResult_APPLIED, Status: pb.Job_FAILED_PERMANENT})
	stream.deliver(4, job(4, "k"))
	stream.revoke("TIMED_OUT", 4)
	stream.deliver(5, job(5, "k"))
	stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 5, Verdict: pb.SettleResult_STALE_LEASE})

	var all []string
	for range 11 {
		all = append(all, receive(t, "what an observer is told", observer))
	}
	want := []string{
		"session serving",
		"started k default 1 map[a:b] r-1", "succeeded k: <nil>",
		"started k default 1 map[] ", "retrying k: no",
		"started k default 1 map[] ", "failed_permanent k: oh",
		"started k default 1 map[] ", "error k: the attempt timed out",
		"started k default 1 map[] ", "error k: the outcome was not taken: STALE_LEASE ",
	}
	if !slices.Equal(all, want) {
		t.Error(strings.Join(all, "\n"))
	}
	worker.drain()
	stream.await("Drain", func(frame *pb.LeaseRequest) bool { return frame.GetDrain() != nil })
	stream.goodbye()
	if err := worker.end(); err != nil {
		t.Error(err)
	}
	// All was told by the time that Run returned.
	if len(observer) != 2 || <-observer != "session draining" || <-observer != "session ended" {
		t.Error(len(observer))
	}
}

// slow is an observer that waits at its first call, and panics at each later one.
type slow struct {
	jobqueue.NoObserver
	entered, leave chan struct{}
	once           sync.Once
	panics         chan struct{}
}

func (s *slow) AttemptStarted(jobqueue.Attempt) {
	s.once.Do(func() {
		close(s.entered)
		<-s.leave
	})
	select {
	case s.panics <- struct{}{}:
	default:
	}
	panic("observer")
}

func TestAnObserverThatIsSlowOrPanicsHoldsUpNothingAndWhatIsTooMuchIsCounted(t *testing.T) {
	server := newScripted(t)
	observer := &slow{entered: make(chan struct{}), leave: make(chan struct{}), panics: make(chan struct{}, 3)}
	var lines bytes.Buffer
	worker := work(server, nothing, func(o *jobqueue.WorkerOptions) {
		o.Observer = observer
		o.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	})
	stream := server.open()
	// Two calls a job, and room for 10,000 of them.
	for seq := range int64(52) {
		jobs := make([]*pb.LeasedJob, 100)
		for i := range jobs {
			jobs[i] = job(seq*100+int64(i)+1, "k")
		}
		stream.deliver(seq+1, jobs...)
		for settled := 0; settled < len(jobs); {
			settle := stream.settle()
			settled += len(settle.Succeeded)
			stream.settled(settle)
		}
		if seq == 0 {
			receive(t, "a call of the observer", observer.entered)
		}
	}
	if dropped := worker.worker.Status().ObserverDropped; dropped < 200 || dropped > 600 {
		t.Errorf("%d calls were dropped", dropped)
	}
	close(observer.leave)
	for range 3 {
		receive(t, "a call after one that panicked", observer.panics)
	}
	worker.drain()
	stream.await("Drain", func(frame *pb.LeaseRequest) bool { return frame.GetDrain() != nil })
	stream.goodbye()
	if err := worker.end(); err != nil {
		t.Error(err)
	}
	if count := strings.Count(lines.String(), "the observer panicked"); count != 1 {
		t.Errorf("said %d times", count)
	}
}

func TestAnObserverIsToldWhatAClientEnqueued(t *testing.T) {
	observer := make(told, 10)
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		if batch, ok := request.(*pb.BatchEnqueueJobsRequest); ok {
			return &pb.BatchEnqueueJobsResponse{Results: make([]*pb.EnqueueResult, len(batch.Jobs))}, nil
		}
		return nil, refusal(codes.InvalidArgument, "KIND_UNKNOWN")
	}, func(o *jobqueue.ClientOptions) { o.Observer = observer })

	_, err := client.Enqueue(context.Background(), jobqueue.NewJob{Kind: "k", Queue: "mail"})
	if err == nil {
		t.Error("it was enqueued")
	}
	if _, err := client.EnqueueMany(context.Background(), []jobqueue.NewJob{{Kind: "a"}, {Kind: "b"}}); err != nil {
		t.Error(err)
	}

	if got := receive(t, "an enqueue", observer); got != `enqueued 1 "k" "mail": KIND_UNKNOWN: words` {
		t.Error(got)
	}
	if got := receive(t, "a batch", observer); got != `enqueued 2 "" "": <nil>` {
		t.Error(got)
	}
}
