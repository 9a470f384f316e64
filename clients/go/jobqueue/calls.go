package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

type method[Request, Answer any] func(context.Context, Request, ...grpc.CallOption) (Answer, error)

// call makes a call, as repeated does, and adds the hint where it is the first one and no server is there.
func call[Request, Answer any](
	ctx context.Context, client *Client, retry bool, do method[Request, Answer], request Request,
) (Answer, error) {
	return callWithin(ctx, client, nil, retry, do, request)
}

// callInTurn makes a call that enqueues, as call does. It waits for its turn first, where the client takes turns.
func callInTurn[Request, Answer any](
	ctx context.Context, client *Client, retry bool, do method[Request, Answer], request Request,
) (Answer, error) {
	if client.window == nil {
		return call(ctx, client, retry, do, request)
	}
	// For the wait and the call together.
	ctx, cancel := client.within(ctx)
	defer cancel()
	turn, err := client.window.turn(ctx)
	if err != nil {
		var none Answer
		return none, err
	}
	defer turn.end()
	return callWithin(ctx, client, turn, retry, do, request)
}

func callWithin[Request, Answer any](
	ctx context.Context, client *Client, turn *turn, retry bool, do method[Request, Answer], request Request,
) (Answer, error) {
	answer, err := repeated(ctx, &client.options.Access, client.options.Deadline, turn, retry, do, request)
	client.firstUse.see(err)
	return answer, err
}

// repeated makes a call, again and again while it may be repeated and there is time.
//
// Repeated are UNAVAILABLE, and RESOURCE_EXHAUSTED where the server says when to come back. The context's deadline is
// for all tries together; a context without one gets the limit. The turn hears how the server answers; nil: none does.
func repeated[Request, Answer any](
	ctx context.Context, access *Access, limit time.Duration, turn *turn, retry bool, do method[Request, Answer], request Request,
) (Answer, error) {
	var none Answer
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	ends, _ := ctx.Deadline()
	waits := newBackoff(50*time.Millisecond, 2*time.Second)
	var before *Error
	for {
		outgoing, err := access.outgoing(ctx)
		if err != nil {
			return none, err
		}
		var header, trailer metadata.MD
		answer, err := do(outgoing, request, grpc.Header(&header), grpc.Trailer(&trailer))
		if err == nil {
			turn.answered(trailer)
			return answer, nil
		}
		failure := fromRPC(err, header, trailer)
		turn.refused(failure)
		if !retry {
			return none, failure
		}
		wait, again := pauseAfter(failure, waits)
		late := failure.Is(ErrDeadlineExceeded)
		if late && before != nil {
			// The cause says more than "deadline exceeded" would.
			failure = before
		} else if !again {
			return none, failure
		}
		if late || time.Now().Add(wait).After(ends) {
			failure.note = "tried again until the deadline"
			return none, failure
		}
		before = failure
		if err := sleep(ctx, wait); err != nil {
			failure.note = "not tried again: " + err.Error()
			return none, errors.Join(err, failure)
		}
	}
}

// pauseAfter is how long to wait before another try, and whether one is of use.
func pauseAfter(failure *Error, waits *backoff) (time.Duration, bool) {
	switch {
	case failure.Is(ErrUnavailable):
		// At least what the server asks for, and never all callers at the same moment.
		return failure.RetryAfter + waits.next(), true
	case failure.Is(ErrOverloaded) && failure.asked:
		return failure.RetryAfter + waits.next(), true
	}
	return 0, false
}

// invalid is what this side refuses before it is sent.
func invalid(field, format string, arguments ...any) *Error {
	made := newError(codes.InvalidArgument, field+": "+fmt.Sprintf(format, arguments...))
	made.Violations = []FieldViolation{{field, fmt.Sprintf(format, arguments...)}}
	return made
}
