package jobqueue

import (
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Observer is told of every attempt: where metrics of a worker come from. Its methods are called one at a time, while
// the session waits: they must be quick, and call nothing of the worker's.
type Observer interface {
	// Started is called when an attempt starts.
	Started(kind string)
	// Finished is called when the server has answered the outcome of an attempt, whose handler ran for so long.
	Finished(kind, outcome string, took time.Duration)
}

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

// noObserver observes nothing.
type noObserver struct{}

func (noObserver) Started(string)                         {}
func (noObserver) Finished(string, string, time.Duration) {}

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
