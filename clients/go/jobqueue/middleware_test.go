package jobqueue_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

type tenant struct{}

// marking gives each job a header, and counts its calls and their jobs.
type marking struct{ calls, jobs atomic.Int32 }

func (m *marking) middleware() jobqueue.Middleware {
	return jobqueue.Middleware{Enqueue: func(
		ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
	) ([]jobqueue.EnqueueResult, error) {
		m.calls.Add(1)
		m.jobs.Add(int32(len(jobs)))
		for i := range jobs {
			jobs[i] = jobqueue.WithHeaders(jobs[i], map[string]string{"tenant": "acme"})
		}
		return next(ctx, jobs)
	}}
}

func TestMiddlewareThatReturnsAnErrorHasSentNoRequest(t *testing.T) {
	var requests atomic.Int32
	refuses := jobqueue.Middleware{Enqueue: func(
		context.Context, []jobqueue.NewJob, jobqueue.NextEnqueue,
	) ([]jobqueue.EnqueueResult, error) {
		return nil, io.ErrUnexpectedEOF
	}}
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		requests.Add(1)
		return nil, refusal(codes.Internal, "INTERNAL")
	}, func(o *jobqueue.ClientOptions) { o.Middleware = []jobqueue.Middleware{refuses} })
	if _, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k"}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if many, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "k"}}); !errors.Is(err, io.ErrUnexpectedEOF) ||
		len(many) != 0 {
		t.Error(many, err)
	}
	if requests.Load() != 0 {
		t.Error(requests.Load(), "requests")
	}
}

func TestACallThatIsTriedAgainWentThroughMiddlewareOnce(t *testing.T) {
	var tries atomic.Int32
	var marks marking
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		if tries.Add(1) < 3 {
			return nil, refusal(codes.Unavailable, "UNAVAILABLE")
		}
		job := request.(*pb.EnqueueJobRequest).GetJob()
		if job.GetHeaders()["tenant"] != "acme" || job.GetHeaders()["x-payload-version"] != "2" {
			t.Error(job)
		}
		return &pb.EnqueueJobResponse{Job: &pb.Job{Id: "7", Headers: job.GetHeaders()}, Replayed: true}, nil
	}, func(o *jobqueue.ClientOptions) { o.Middleware = []jobqueue.Middleware{marks.middleware()} })
	kind := jobqueue.DefineKind[int, jobqueue.None]("k", jobqueue.PayloadVersion(2))
	job := kind.New(1)
	job.IdempotencyKey = "one"
	if job, err := client.Enqueue(t.Context(), job); err != nil || job.ID != "7" || !job.Replayed {
		t.Error(job, err)
	}
	if tries.Load() != 3 || marks.calls.Load() != 1 {
		t.Error(tries.Load(), marks.calls.Load())
	}
}

func TestManyJobsGoThroughMiddlewareOnceAndKeepTheResultsOfWhatIsCommitted(t *testing.T) {
	var batches atomic.Int32
	var marks marking
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		jobs := request.(*pb.BatchEnqueueJobsRequest).GetJobs()
		if batches.Add(1) == 3 {
			return nil, refusal(codes.InvalidArgument, "FIELD_INVALID")
		}
		answer := &pb.BatchEnqueueJobsResponse{}
		for _, each := range jobs {
			answer.Results = append(answer.Results, &pb.EnqueueResult{Id: each.GetHeaders()["tenant"]})
		}
		return answer, nil
	}, func(o *jobqueue.ClientOptions) {
		o.Middleware = []jobqueue.Middleware{jobqueue.ForKinds(marks.middleware(), "k")}
	})
	jobs := make([]jobqueue.NewJob, 2500)
	for i := range jobs {
		jobs[i].Kind = "k"
	}
	many, err := client.EnqueueMany(t.Context(), jobs)
	if !errors.Is(err, jobqueue.ErrInvalidRequest) || len(many) != 2000 || many[1999].ID != "acme" {
		t.Error(len(many), err)
	}
	if marks.calls.Load() != 1 || marks.jobs.Load() != 2500 {
		t.Error(marks.calls.Load(), marks.jobs.Load())
	}
}

// lines are those of a log, with the tenant of the context of each.
type lines struct {
	slog.Handler
	told chan string
}

func (l lines) Handle(ctx context.Context, record slog.Record) error {
	if who, ok := ctx.Value(tenant{}).(string); ok {
		l.told <- record.Message + " of " + who
	}
	return nil
}

// ended is told the tenant of the context of each attempt.
type ended struct {
	jobqueue.NoObserver
	told chan any
}

func (e ended) AttemptStarted(attempt jobqueue.Attempt) { e.told <- attempt.Context.Value(tenant{}) }

func (e ended) AttemptEnded(attempt jobqueue.Attempt, _ string, _ time.Duration, _ error) {
	e.told <- attempt.Context.Value(tenant{})
}

func TestAFailuresLogLineAndTheObserverSeeWhatMiddlewareHasSet(t *testing.T) {
	t.Run("the worker's", func(t *testing.T) { seesWhatMiddlewareHasSet(t, false) })
	t.Run("the handler's own", func(t *testing.T) { seesWhatMiddlewareHasSet(t, true) })
}

func seesWhatMiddlewareHasSet(t *testing.T, own bool) {
	server := newScripted(t)
	log := lines{slog.NewTextHandler(io.Discard, nil), make(chan string, 10)}
	seen := ended{told: make(chan any, 10)}
	passes := jobqueue.Middleware{Handle: func(next jobqueue.Handler) jobqueue.Handler {
		return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
			ctx, cancel := context.WithCancel(context.WithValue(ctx, tenant{}, job.Headers["tenant"]))
			defer cancel()
			return next(ctx, job)
		}
	}}
	handler := func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, errors.New("no") }
	middleware := []jobqueue.Middleware{passes}
	if own {
		worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{Middleware: middleware})
		if err != nil {
			t.Fatal(err)
		}
		worker.Handle("k", handler)
		handler, middleware = worker.HandlerOf("k"), []jobqueue.Middleware{new(marking).middleware()}
	}
	work(server, handler, func(o *jobqueue.WorkerOptions) {
		o.Logger, o.Observer, o.Middleware = slog.New(log), seen, middleware
	})
	stream := server.open()
	for i, status := range []pb.Job_Status{pb.Job_RETRYING, pb.Job_FAILED_PERMANENT} {
		number := int64(i + 1)
		one := job(number, "k")
		one.Headers = map[string]string{"tenant": "acme"}
		stream.deliver(number, one)
		stream.settled(stream.settle(), &pb.SettleResult{LeaseId: number, Status: status, Verdict: pb.SettleResult_APPLIED})
		words := map[int64]string{1: "failed, is tried again of acme", 2: "failed for good of acme"}
		if line := receive(t, "the line of the failure", log.told); line != words[number] {
			t.Error(line)
		}
		if who := receive(t, "the start", seen.told); who != nil {
			t.Error(who)
		}
		if who := receive(t, "the end", seen.told); who != "acme" {
			t.Error(who)
		}
	}
}

func TestAWorkersFollowUpsAreSentAsItsMiddlewareLeavesThem(t *testing.T) {
	server := newScripted(t)
	var marks marking
	handler := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return nil, errors.Join(job.FollowUp(jobqueue.NewJob{Kind: "a"}), job.FollowUp(jobqueue.NewJob{Kind: "b"}))
	}
	work(server, handler, func(o *jobqueue.WorkerOptions) { o.Middleware = []jobqueue.Middleware{marks.middleware()} })
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	followUps := stream.outcome().GetSuccess().GetFollowUps()
	if len(followUps) != 2 || followUps[1].GetHeaders()["tenant"] != "acme" || marks.calls.Load() != 1 || marks.jobs.Load() != 2 {
		t.Error(followUps, marks.calls.Load())
	}
}
