package jobqueue

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync/atomic"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Observer is told what a worker and a client do: where metrics, error reports and logs of slow jobs come from. Embed
// [NoObserver] to write some of the methods only; more may be added.
//
// Its methods are called one at a time, in a goroutine of their own and in the order of what happened. A slow one holds up
// no heartbeat and no call: 10,000 calls may wait, and those beyond are dropped and counted (WorkerStatus.ObserverDropped).
// One that panics is logged once, and is called again.
type Observer interface {
	// AttemptStarted is called when an attempt starts.
	AttemptStarted(attempt Attempt)
	// AttemptEnded is called when the server has answered the outcome of an attempt, whose handler ran for so long. The
	// outcome is one of OutcomeSucceeded and its like. The error is what the handler returned where it failed, a
	// [*PanicError] where it panicked, and what became of the lease with OutcomeError; else nil.
	AttemptEnded(attempt Attempt, outcome string, took time.Duration, err error)
	// Enqueued is called when a call that enqueues has ended, after so long, all its tries together. The error is nil, or
	// why these jobs were not enqueued, as far as is known. EnqueueMany makes one call a batch; kind and queue are empty
	// there if its jobs differ in them. What the client refuses itself is not told.
	Enqueued(count int, kind, queue string, took time.Duration, err error)
	// SessionChanged is called when the State of a worker has changed.
	SessionChanged(status WorkerStatus)
}

// Attempt is one attempt of a job, as an [Observer] is told of it: values, without the payload.
type Attempt struct {
	// ID is the job's; Attempt is the number of the attempt, from 1.
	ID, Kind, Queue string
	Attempt         int
	// Failures is how many attempts of the job failed before.
	Failures int
	Labels   map[string]string
	// RequestID is that of the call that enqueued the job. Empty: it had none.
	RequestID string
	// Context, of an attempt that has ended, has what middleware has set: the values of the innermost context that it made.
	// It does not end, and is never nil.
	Context context.Context
}

// NoObserver observes nothing: to be embedded in an [Observer].
type NoObserver struct{}

// AttemptStarted does nothing.
func (NoObserver) AttemptStarted(Attempt) {}

// AttemptEnded does nothing.
func (NoObserver) AttemptEnded(Attempt, string, time.Duration, error) {}

// Enqueued does nothing.
func (NoObserver) Enqueued(int, string, string, time.Duration, error) {}

// SessionChanged does nothing.
func (NoObserver) SessionChanged(WorkerStatus) {}

// The outcomes that an Observer is told. They are those of the server's metrics.
const (
	// OutcomeSucceeded: it succeeded.
	OutcomeSucceeded = "succeeded"
	// OutcomeRetrying: the job will run again, after a failure that it may have, a snooze or a release.
	OutcomeRetrying = "retrying"
	// OutcomeFailedPermanent: the job failed and gets no more attempts.
	OutcomeFailedPermanent = "failed_permanent"
	// OutcomeCancelled: it was cancelled.
	OutcomeCancelled = "cancelled"
	// OutcomeError: no outcome was taken; the lease was revoked or stale, or the job is gone.
	OutcomeError = "error"
)

const (
	// How many calls of an observer may wait.
	observerCalls = 10_000
	// How long the last ones are waited for at the end.
	observedWithin = 2 * time.Second
)

// observations are the calls of an observer that wait. nil: there is no observer, and nothing is done for it.
type observations struct {
	observer Observer
	log      *slog.Logger
	calls    chan func(Observer)
	dropped  atomic.Int64
	ended    chan struct{} // closed when the last call has ended
}

// observe begins to call an observer; nil: there is none.
func observe(observer Observer, log *slog.Logger) *observations {
	if observer == nil {
		return nil
	}
	o := &observations{
		observer: observer, log: log, calls: make(chan func(Observer), observerCalls), ended: make(chan struct{}),
	}
	go o.run()
	return o
}

func (o *observations) run() {
	defer close(o.ended)
	complained := false
	for call := range o.calls {
		if call == nil {
			return
		}
		if value, stack := panicOf(func() { call(o.observer) }); value != nil && !complained {
			complained = true
			o.log.Error("the observer panicked; that is said once", "panic", value, "stack", stack)
		}
	}
}

func panicOf(do func()) (value any, stack string) {
	defer func() {
		if value = recover(); value != nil {
			stack = string(debug.Stack())
		}
	}()
	do()
	return nil, ""
}

// tell never blocks.
func (o *observations) tell(call func(Observer)) {
	select {
	case o.calls <- call:
	default:
		o.dropped.Add(1)
	}
}

// end waits for the calls that wait, for a while.
func (o *observations) end() {
	if o == nil {
		return
	}
	late := time.After(observedWithin)
	select {
	case o.calls <- nil:
	case <-late:
		o.log.Warn("the observer is too slow; its last calls are dropped")
		// It ends all the same, once there is room: the worker and the client do not wait for it.
		go func() { o.calls <- nil }()
		return
	}
	select {
	case <-o.ended:
	case <-late:
	}
}

func (o *observations) droppedSoFar() int64 {
	if o == nil {
		return 0
	}
	return o.dropped.Load()
}

func (o *observations) started(l *lease) {
	if o != nil {
		l.observed = attemptOf(l.job)
		o.tell(func(observer Observer) { observer.AttemptStarted(l.observed) })
	}
}

func (o *observations) finished(l *lease, outcome string, took time.Duration, err error) {
	if o != nil {
		ended := l.observed
		ended.Context = context.WithoutCancel(l.job.context())
		o.tell(func(observer Observer) { observer.AttemptEnded(ended, outcome, took, err) })
	}
}

func (o *observations) sessionChanged(status WorkerStatus) {
	o.tell(func(observer Observer) { observer.SessionChanged(status) })
}

func (o *observations) enqueued(jobs []*pb.NewJob, began time.Time, err error) {
	if o == nil {
		return
	}
	took := time.Since(began)
	kind, queue := jobs[0].GetKind(), jobs[0].GetQueue()
	for _, each := range jobs {
		if each.GetKind() != kind {
			kind = ""
		}
		if each.GetQueue() != queue {
			queue = ""
			break
		}
	}
	count := len(jobs)
	o.tell(func(observer Observer) { observer.Enqueued(count, kind, queue, took, err) })
}

// attemptOf is a copy: handlers may change the job's maps.
func attemptOf(job *LeasedJob) Attempt {
	return Attempt{
		ID: job.ID, Kind: job.Kind, Queue: job.Queue, Attempt: job.Attempt, Failures: job.Failures,
		Labels: maps.Clone(job.Labels), RequestID: job.Headers["x-request-id"], Context: context.Background(),
	}
}

// outcomeLabel is what an outcome that was applied is called. The server remarks on a status that does not follow from
// the outcome.
func outcomeLabel(outcome *pb.Outcome, result *pb.SettleResult) string {
	switch result.GetStatus() {
	case pb.Job_SUCCEEDED:
		return OutcomeSucceeded
	case pb.Job_RETRYING, pb.Job_QUEUED:
		return OutcomeRetrying
	case pb.Job_FAILED_PERMANENT:
		return OutcomeFailedPermanent
	case pb.Job_CANCELLED:
		return OutcomeCancelled
	}
	switch {
	case outcome == nil || outcome.GetSuccess() != nil:
		return OutcomeSucceeded
	case outcome.GetCancellation() != nil:
		return OutcomeCancelled
	default:
		return OutcomeRetrying
	}
}

// failureOf is why an attempt failed whose outcome was applied; nil: it did not.
func failureOf(l *lease) error {
	failure := l.outcome.GetFailure()
	if failure == nil {
		return nil
	}
	if l.err != nil && l.corrections == 0 {
		return l.err
	}
	return errors.New(failure.GetError())
}
