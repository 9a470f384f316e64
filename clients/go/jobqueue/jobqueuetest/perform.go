package jobqueuetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"jobqueue.dev/go/internal/testhook"
	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// ErrStillRunning: a handler has not ended in the time that the test gives it. It was told to stop, and runs on where it
// does not heed its context.
var ErrStillRunning = errors.New("the handler still runs")

// Ending is how an attempt has ended.
type Ending string

// The endings.
const (
	Succeeded Ending = "succeeded"
	// Failed: it counts against MaxAttempts.
	Failed Ending = "failed"
	// Discarded: there is no later attempt.
	Discarded Ending = "discarded"
	// Snoozed: back, for later.
	Snoozed Ending = "snoozed"
	// Cancelled: the handler stopped since it was asked to.
	Cancelled Ending = "cancelled"
	// Released: back, uncharged.
	Released Ending = "released"
	// Revoked: the lease was another's by then, and what the handler returned is dropped.
	Revoked Ending = "revoked"
)

// Report is one call of Progress.
type Report struct {
	// Fraction is 0..1, of the whole. nil: it did not say.
	Fraction *float64
	// Message is what it said. Empty: nothing.
	Message string
}

// Performed is what an attempt came to: what the worker would have told the server.
type Performed struct {
	Ending Ending
	// Output is what it returned, as JSON. nil: nothing.
	Output json.RawMessage
	// Error is what went wrong, as Job.LastError would have it, ErrorType its type, and Stack where it panicked. Empty:
	// nothing did.
	Error, ErrorType, Stack string
	// RetryAfter is what Retry asked for. nil: it did not ask.
	RetryAfter *time.Duration
	// PauseKey is for how long no job of the key starts, by the option PauseKey of Retry. nil: the key goes on.
	PauseKey *time.Duration
	// Delay is what Snooze asked for.
	Delay time.Duration
	// Progress are the calls of Progress and ProgressMessage, in order. A server is told the newest one each 100 ms.
	Progress []Report
	// Checkpoints are what was saved, in order.
	Checkpoints [][]byte
	// FollowUps are the jobs given to FollowUp. They are enqueued if the attempt has succeeded.
	FollowUps []jobqueue.NewJob
	// Attempt is its number, and Failures how many failures there had been before.
	Attempt, Failures int

	handler  jobqueue.Handler
	job      jobqueue.NewJob
	settings *settings
}

// String is the ending, and what else there is of output, error and progress, in words.
func (p *Performed) String() string {
	if p == nil {
		return "not performed"
	}
	said := []string{string(p.Ending)}
	if p.Output != nil {
		said = append(said, "output "+string(p.Output))
	}
	if p.Error != "" {
		said = append(said, fmt.Sprintf("error %q (%s)", p.Error, p.ErrorType))
	}
	for _, each := range p.Progress {
		said = append(said, "progress "+each.String())
	}
	return strings.Join(said, ", ")
}

// String is the fraction, where there is one, and the message.
func (r Report) String() string {
	if r.Fraction == nil {
		return fmt.Sprintf("%q", r.Message)
	}
	return fmt.Sprintf("%v %q", *r.Fraction, r.Message)
}

// DecodeOutput reads the output into a value, as json.Unmarshal does.
func (p *Performed) DecodeOutput(value any) error {
	if p.Output == nil {
		return fmt.Errorf("jobqueuetest: the attempt has no output; it is %s", p.Ending)
	}
	return json.Unmarshal(p.Output, value)
}

// Checkpoint is what the next attempt would read: the newest one that was saved, or that of before. Empty: none.
func (p *Performed) Checkpoint() []byte {
	if saved := len(p.Checkpoints); saved > 0 {
		return p.Checkpoints[saved-1]
	}
	return p.settings.checkpoint
}

// Again performs the next attempt of the same job, with its checkpoint, and its failures as they would be. Nothing tells
// it to stop, unless the options do.
func (p *Performed) Again(ctx context.Context, options ...Option) (*Performed, error) {
	failures := p.Failures
	if p.Ending == Failed {
		failures++
	}
	before := []Option{
		ID(p.settings.id), CreatedAt(p.settings.created), Within(p.settings.within),
		Middleware(p.settings.middleware...), AttemptNumber(p.Attempt + 1), Failures(failures), Checkpoint(p.Checkpoint()),
	}
	return Perform(ctx, p.handler, p.job, append(before, options...)...)
}

// Perform performs one attempt of a job, by the code that a worker runs. The payload goes through JSON, and the limits of
// outputs, checkpoints and follow-ups hold.
//
// The handler is a function, the Handler of a typed kind, or HandlerOf a worker; of a kind that requires encryption
// HandlerOf a worker that encrypts, or it fails by a [*jobqueue.EncodingRequiredError]. A job without a Kind is of the kind
// `performed`; one of another kind than a typed handler fails. The context's values are the handler's; its end ends the waiting.
//
// The error is what the handler returned, if that is an ordinary failure, or the [*jobqueue.PanicError] that it panicked
// with; what the attempt came to is there as well. What it returned by Retry, Discard, Snooze and ErrCancelled is an
// ending and no error. Without a result the error is [ErrStillRunning], or the job is not one.
func Perform(
	ctx context.Context, handler jobqueue.Handler, job jobqueue.NewJob, options ...Option,
) (*Performed, error) {
	said := newSettings(options)
	message, err := said.leased(job)
	if err != nil {
		return nil, err
	}
	if handler == nil {
		return nil, errors.New("jobqueuetest: there is no handler")
	}
	told := &told{atProgress: said.stop.atProgress, nth: make(chan struct{})}
	leased := testhook.LeasedJob(message, told.report)
	around := handler
	if len(said.middleware) > 0 {
		around = testhook.Around(handler, message.GetKind(), said.middleware).(jobqueue.Handler)
	}
	attempt := testhook.Start(ctx, leased, around)
	end, err := awaited(ctx, attempt, told.nth, said)
	if err != nil {
		return nil, err
	}
	done := told.performed(end)
	done.Attempt, done.Failures = said.attempt, said.failures
	done.handler, done.job, done.settings = handler, job, said
	return done, failureOf(done, end.Err)
}

// awaited waits for the end, and tells the handler to stop where that is due.
func awaited(
	ctx context.Context, attempt testhook.Attempt, nth <-chan struct{}, said *settings,
) (testhook.End, error) {
	late := time.NewTimer(said.within)
	defer late.Stop()
	var stop <-chan time.Time
	if said.stop.after > 0 {
		timer := time.NewTimer(said.stop.after)
		defer timer.Stop()
		stop = timer.C
	}
	cause := fmt.Errorf("%w: by the test", said.stop.cause)
	if said.stop.atStart {
		attempt.Stop(cause)
	}
	for {
		select {
		case end := <-attempt.Ended:
			return end, nil
		case <-stop:
			attempt.Stop(cause)
		case <-nth:
			attempt.Stop(cause)
			nth = nil
		case <-late.C:
			attempt.Stop(jobqueue.ErrShutdown)
			return testhook.End{}, fmt.Errorf("%w after %v", ErrStillRunning, said.within)
		case <-ctx.Done():
			attempt.Stop(jobqueue.ErrShutdown)
			return testhook.End{}, fmt.Errorf("%w: %w", ErrStillRunning, ctx.Err())
		}
	}
}

// failureOf is the error of a handler that has failed in the ordinary way.
func failureOf(done *Performed, err error) error {
	var retry *jobqueue.RetryError
	switch {
	case done.Ending != Failed || errors.As(err, &retry):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s: %s", done.ErrorType, done.Error)
}

// told is what a handler says while it runs.
type told struct {
	mu          sync.Mutex
	progress    []Report
	checkpoints [][]byte
	atProgress  int
	nth         chan struct{}
}

func (t *told) report(report *pb.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if report.Checkpoint != nil {
		t.checkpoints = append(t.checkpoints, report.Checkpoint)
		return
	}
	t.progress = append(t.progress, Report{report.Fraction, report.GetMessage()})
	if len(t.progress) == t.atProgress {
		close(t.nth)
	}
}

// performed is what it came to.
func (t *told) performed(end testhook.End) *Performed {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := &Performed{Ending: Ending(end.How), Progress: t.progress, Checkpoints: t.checkpoints}
	if done.Ending == Revoked {
		return done
	}
	if success := end.Outcome.GetSuccess(); success.GetOutputJson() != nil {
		done.Output = json.RawMessage(success.GetOutputJson())
	}
	for _, each := range end.Outcome.GetSuccess().GetFollowUps() {
		done.FollowUps = append(done.FollowUps, testhook.NewJob(each).(jobqueue.NewJob))
	}
	failure := end.Outcome.GetFailure()
	// As a server keeps it.
	done.Error = strings.ReplaceAll(failure.GetError(), "\x00", "\uFFFD")
	done.ErrorType, done.Stack = failure.GetErrorType(), failure.GetStack()
	if failure.GetPermanent() {
		done.Ending = Discarded
	}
	if failure.GetRetryAfter() != nil {
		after := failure.GetRetryAfter().AsDuration()
		done.RetryAfter = &after
	}
	if end.Outcome.GetPauseKey() != nil {
		pause := end.Outcome.GetPauseKey().AsDuration()
		done.PauseKey = &pause
	}
	done.Delay = end.Outcome.GetSnooze().GetDelay().AsDuration()
	return done
}
