package jobqueue

import (
	"errors"
	"time"
)

// What a handler returns when its attempt should end otherwise than by success or an ordinary failure. Any other error
// is a failure that counts against MaxAttempts and is tried again after a backoff.

// ErrCancelled: the job was asked to stop, and the handler stopped: the job ends CANCELLED. A handler that finds a reason
// of its own to give the job up may return it as well. The context's error and its cause mean the same.
var ErrCancelled = errors.New("cancelled")

// Why a handler's context ended: context.Cause(ctx) is one of these, for [errors.Is].
var (
	// ErrCancelRequested: a caller asked to cancel the job. The handler's result decides.
	ErrCancelRequested = errors.New("the job is to be cancelled")
	// ErrLeaseRevoked: the job is no longer this worker's. What the handler returns is dropped.
	ErrLeaseRevoked = errors.New("the lease was revoked")
	// ErrTimedOut: the attempt ran longer than its job's timeout, by the server's clock. What the handler returns is
	// dropped.
	ErrTimedOut = errors.New("the attempt timed out")
	// ErrSessionLost: no server was heard for the session's ttl, of a worker with StopWhenLost. The job may run elsewhere
	// by now.
	ErrSessionLost = errors.New("the worker is cut off")
	// ErrShutdown: the worker shuts down and its grace has ended. The job goes back, uncharged.
	ErrShutdown = errors.New("the worker is shutting down")
)

// RetryError is a failure that says itself when the next attempt should be. Made by [Retry].
type RetryError struct {
	Err   error
	After time.Duration
	// PauseKey is whether no job of the key starts for as long as After says.
	PauseKey bool
}

func (e *RetryError) Error() string { return words(e.Err) }

// Unwrap is what was wrong.
func (e *RetryError) Unwrap() error { return e.Err }

// Retry says that the attempt failed and should be tried again after a wait of at most 400 days, as long as the job has
// attempts left. An ordinary error leaves the wait to the job's backoff.
func Retry(err error, after time.Duration, options ...RetryOption) error {
	retry := &RetryError{Err: err, After: after}
	for _, option := range options {
		option(retry)
	}
	return retry
}

// RetryOption is what else [Retry] asks for: [PauseKey].
type RetryOption func(*RetryError)

// PauseKey lets no job of this one's key start for as long as [Retry] says, 24 hours at most: as when a service answers
// 429 for all that is done for a customer. Without effect if the job has no key, or its queue limits nothing by key.
func PauseKey(retry *RetryError) { retry.PauseKey = true }

// DiscardError is a failure that no later attempt can mend. Made by [Discard].
type DiscardError struct{ Err error }

func (e *DiscardError) Error() string { return words(e.Err) }

// Unwrap is what was wrong.
func (e *DiscardError) Unwrap() error { return e.Err }

// Discard says that the attempt failed and no later one can succeed: the job ends FAILED_PERMANENT, NOT_RETRYABLE.
func Discard(err error) error { return &DiscardError{err} }

// SnoozeError puts a job off. Made by [Snooze].
type SnoozeError struct{ Delay time.Duration }

func (e *SnoozeError) Error() string { return "snoozed for " + e.Delay.String() }

// Snooze says "not now": the job goes back and is handed out again after a delay of at most 400 days. Costs it no try.
func Snooze(delay time.Duration) error { return &SnoozeError{delay} }

func words(err error) string {
	if err == nil {
		return "failed, no error was given"
	}
	return err.Error()
}
