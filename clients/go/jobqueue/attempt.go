package jobqueue

import (
	"context"
	"runtime/debug"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// attempt is one run of a handler: what a worker does from a leased job to an outcome.
type attempt struct {
	job *LeasedJob
	// base ends with a cause when the handler should stop; ctx, the handler's own, also tells when the attempt times out.
	base, ctx context.Context
	stop      context.CancelCauseFunc
}

// newAttempt has the values of a context.
func newAttempt(values context.Context, job *LeasedJob) *attempt {
	base, stop := context.WithCancelCause(values)
	made := &attempt{job, base, base, stop}
	if timeout := job.Timeout; timeout > 0 {
		made.ctx = deadlined{base, time.Now().Add(timeout)}
	}
	return made
}

// run runs a handler in the goroutine that calls it, and tells its outcome and what it returned, also where it panics or
// ends its goroutine.
func (a *attempt) run(handler func(context.Context) (any, error), ended func(*pb.Outcome, error)) {
	// Stays where the handler neither returns nor panics.
	failure := exited()
	outcome := outcomeOfError(failure, nil)
	defer func() {
		if value := recover(); value != nil {
			failure = &PanicError{value, string(debug.Stack())}
			outcome = outcomeOfError(failure, nil)
		}
		ended(outcome, failure)
	}()
	output, err := handler(a.ctx)
	// In here, because an output's MarshalJSON and an error's Error may panic as well.
	outcome, failure = outcomeOf(a.job, output, err, context.Cause(a.base)), err
}

// exited is the failure of a handler that ended its goroutine.
func exited() error { return &PanicError{Value: "the handler ended its goroutine (runtime.Goexit)"} }
