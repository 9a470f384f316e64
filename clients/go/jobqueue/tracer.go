package jobqueue

import (
	"context"
	"errors"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const traceparentHeader = "traceparent"

// Tracer makes spans of a worker's attempts, and says which trace a call belongs to. That of OpenTelemetry is in a module
// of its own, jobqueue.dev/go/otel, so that who has no traces doesn't get it.
type Tracer interface {
	// Begin is called before a handler runs, in its goroutine, with the number of its lease. The context that it answers
	// is the handler's. A nil Span: the attempt has none.
	Begin(ctx context.Context, job *LeasedJob, lease int64) (context.Context, Span)
	// Traceparent is what a call carries that is made in this context. Empty: nothing.
	Traceparent(ctx context.Context) string
}

// Span is that of one attempt.
type Span interface {
	// Traceparent is what follow-ups of the job carry.
	Traceparent() string
	// End is called when the handler has ended.
	End(how SpanEnd)
}

// SpanEnd is how a handler has ended.
type SpanEnd struct {
	// Outcome is `succeeded`, `failed`, `cancelled`, `snoozed`, `released`, or `revoked`: it was dropped, since the lease was
	// another's by then.
	Outcome string
	// ErrorType, Error and Stack are those of a failure.
	ErrorType, Error, Stack string
}

// endOf is how a handler has ended that gave this outcome, with the cause that its context ended by, if it did.
func endOf(outcome *pb.Outcome, cause error) SpanEnd {
	if errors.Is(cause, ErrLeaseRevoked) || errors.Is(cause, ErrTimedOut) {
		return SpanEnd{Outcome: "revoked"}
	}
	end := SpanEnd{Outcome: "succeeded"}
	switch how := outcome.GetOutcome().(type) {
	case *pb.Outcome_Failure:
		end = SpanEnd{"failed", how.Failure.GetErrorType(), how.Failure.GetError(), how.Failure.GetStack()}
	case *pb.Outcome_Cancellation:
		end.Outcome = "cancelled"
	case *pb.Outcome_Snooze:
		end.Outcome = "snoozed"
	case *pb.Outcome_Release:
		end.Outcome = "released"
	}
	return end
}
