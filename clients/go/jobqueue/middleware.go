package jobqueue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Middleware goes around handlers, around enqueues, or around both. The same value may be given to clients and workers, in
// [ClientOptions] and [WorkerOptions]; the first of a list is the outermost one, on both sides.
type Middleware struct {
	// Handle answers a handler that calls the next one, once, or ends the attempt without it. It is called once for each
	// name of a kind, its aliases too, when the handler is added. nil: nothing goes around handlers.
	//
	// What the handler that it answers returns is what the attempt comes to: an error or a panic as the handler's own,
	// [Retry], [Discard], [Snooze] and [ErrCancelled] too; a value as the job's output. If it answers no error where next
	// did, the attempt has succeeded, without follow-ups. The context that it calls next with is that of all within, of
	// follow-ups, of the log line of a failure and of [Attempt.Context]. It waits for next: what still runs within once it
	// has ended does so for nothing, and gets a [MiddlewareError] from FollowUp. A handler that has middleware already may
	// get more; what was there is within.
	Handle func(next Handler) Handler
	// Enqueue is called once for a call of Enqueue or EnqueueMany, however often the client tries, and once for all
	// follow-ups of an attempt, after its handler. It calls next once, and answers what that answered. What it returns as
	// an error before ends the call, and nothing was sent; an attempt with such follow-ups fails. nil: nothing goes around
	// enqueues.
	//
	// The jobs are copies, whose payload is a json.RawMessage and whose headers and labels are never nil, whatever a
	// middleware further out has made of them. These two may become others, and nothing else. A call of next that still
	// runs is waited for; one that comes later is refused. The results of follow-ups have no ids, since they are enqueued
	// with the outcome.
	Enqueue func(ctx context.Context, jobs []NewJob, next NextEnqueue) ([]EnqueueResult, error)

	// kinds, if there are some, are the only ones: a job is in each of the sets.
	kinds [][]string
}

// NextEnqueue enqueues, or hands on to the next middleware. It answers a result for each job.
type NextEnqueue func(ctx context.Context, jobs []NewJob) ([]EnqueueResult, error)

// MiddlewareError: a middleware did not keep to what [Middleware] says of it. The program is wrong.
type MiddlewareError struct{ Message string }

func (e *MiddlewareError) Error() string { return e.Message }

// ForKinds is the same middleware for these kinds alone. Of a call with several kinds it sees its own jobs. A typed kind
// has its names by [JobKind.Names].
func ForKinds(middleware Middleware, kinds ...string) Middleware {
	middleware.kinds = append(slices.Clone(middleware.kinds), slices.Clone(kinds))
	return middleware
}

// WithHeaders is the same job with more headers.
func WithHeaders(job NewJob, headers map[string]string) NewJob {
	more := make(map[string]string, len(job.Headers)+len(headers))
	maps.Copy(more, job.Headers)
	maps.Copy(more, headers)
	job.Headers = more
	return job
}

// isFor says whether it goes around one of the kinds.
func (m *Middleware) isFor(kinds ...string) bool {
	for _, set := range m.kinds {
		if !slices.ContainsFunc(kinds, func(kind string) bool { return slices.Contains(set, kind) }) {
			return false
		}
	}
	return true
}

// enqueueThrough calls each Enqueue, and then send, once the messages have the headers and labels that the jobs got. It
// returns what send answered, with an error too.
func enqueueThrough(
	ctx context.Context, middleware []Middleware, messages []*pb.NewJob, send func(context.Context) ([]EnqueueResult, error),
) ([]EnqueueResult, error) {
	var sent []EnqueueResult
	next := func(ctx context.Context, jobs []NewJob) ([]EnqueueResult, error) {
		for i := range jobs {
			amend(messages[i], &jobs[i])
		}
		var err error
		sent, err = send(ctx)
		return sent, err
	}
	for i := len(middleware) - 1; i >= 0; i-- {
		if middleware[i].Enqueue != nil {
			next = linked(&middleware[i], next)
		}
	}
	jobs := make([]NewJob, len(messages))
	for i, each := range messages {
		jobs[i] = ownJob(newJobOf(each))
	}
	_, err := next(ctx, jobs)
	return sent, err
}

// ownJob is the job with a payload of its own.
func ownJob(job NewJob) NewJob {
	if text, ok := job.Payload.(json.RawMessage); ok {
		job.Payload = slices.Clone(text)
	}
	return job
}

// cloned is never nil.
func cloned(values map[string]string) map[string]string {
	made := make(map[string]string, len(values)+1)
	maps.Copy(made, values)
	return made
}

// amend puts the headers and labels of a job into its message. The version of its payload stays.
func amend(message *pb.NewJob, job *NewJob) {
	headers := cloned(job.Headers)
	if version, ok := message.Headers[versionHeader]; ok {
		headers[versionHeader] = version
	}
	message.Headers, message.Labels = headers, cloned(job.Labels)
}

// linked is next with a middleware around it.
func linked(middleware *Middleware, next NextEnqueue) NextEnqueue {
	return func(ctx context.Context, jobs []NewJob) ([]EnqueueResult, error) {
		if len(middleware.kinds) == 0 {
			return once(ctx, middleware, jobs, next)
		}
		var places []int
		var mine []NewJob
		for i := range jobs {
			if middleware.isFor(jobs[i].Kind) {
				places, mine = append(places, i), append(mine, jobs[i])
			}
		}
		if len(places) == 0 {
			return next(ctx, jobs)
		}
		var whole []EnqueueResult
		_, err := once(ctx, middleware, mine, func(ctx context.Context, mine []NewJob) ([]EnqueueResult, error) {
			merged := slices.Clone(jobs)
			for i, place := range places {
				merged[place] = mine[i]
			}
			var err error
			whole, err = next(ctx, merged)
			var own []EnqueueResult
			for _, place := range places {
				if place < len(whole) { // less than all, with an error
					own = append(own, whole[place])
				}
			}
			return own, err
		})
		return whole, err
	}
}

// once calls an Enqueue, and holds it to what it promises.
func once(ctx context.Context, middleware *Middleware, jobs []NewJob, next NextEnqueue) ([]EnqueueResult, error) {
	name := nameOf(middleware.Enqueue)
	wrong := func(format string, arguments ...any) error {
		return &MiddlewareError{fmt.Sprintf("the middleware %s "+format, append([]any{name}, arguments...)...)}
	}
	const twice = "called next twice; what it called first with counts"
	var mu sync.Mutex // held while next runs
	var calls int
	var over bool
	var answered []EnqueueResult
	var failure error
	before, mine := make([]NewJob, len(jobs)), make([]NewJob, len(jobs))
	for i, each := range jobs {
		before[i] = kept(each)
		each.Headers, each.Labels = cloned(each.Headers), cloned(each.Labels)
		mine[i] = each
	}
	onward := func(ctx context.Context, changed []NewJob) ([]EnqueueResult, error) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return nil, wrong("called next after it had ended")
		}
		if calls++; calls > 1 {
			return nil, wrong(twice)
		}
		if len(changed) != len(before) {
			failure = wrong("called next with %d jobs, and got %d", len(changed), len(before))
			return nil, failure
		}
		for i := range changed {
			if !differInMarks(&before[i], &changed[i]) {
				failure = wrong("has changed a job of kind %s: headers and labels alone may be others, since another payload "+
					"under its idempotency key would be another request", before[i].Kind)
				return nil, failure
			}
		}
		answered, failure = next(ctx, slices.Clone(changed))
		return answered, failure
	}
	ended := func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
	got, err := func() ([]EnqueueResult, error) {
		defer ended()
		return middleware.Enqueue(ctx, mine, onward)
	}()
	switch {
	case err != nil:
		return answered, err
	case calls > 1:
		return answered, wrong(twice)
	case calls == 0:
		return nil, wrong("did not call next, so nothing says that the jobs are enqueued: return an error to refuse them")
	case failure != nil:
		return answered, fmt.Errorf("%w: %w", wrong("has dropped an error of next, so nothing says that the jobs are "+
			"enqueued: return an error to refuse them"), failure)
	case len(got) != len(answered) || (len(got) > 0 && &got[0] != &answered[0]):
		return answered, wrong("must answer what next answered; the jobs are enqueued")
	}
	return answered, nil
}

// kept is a job whose settings are another's in no place.
func kept(job NewJob) NewJob {
	if job.RetryPolicy != nil {
		policy := *job.RetryPolicy
		job.RetryPolicy = &policy
	}
	if job.Unique != nil {
		unique := *job.Unique
		unique.PayloadFields, unique.Replace = slices.Clone(unique.PayloadFields), slices.Clone(unique.Replace)
		job.Unique = &unique
	}
	return job
}

// differInMarks says whether two jobs differ in their headers and labels alone, if at all.
func differInMarks(one, other *NewJob) bool {
	here, there := *one, *other
	text, ok := here.Payload.(json.RawMessage)
	changed, still := there.Payload.(json.RawMessage)
	if ok != still || !bytes.Equal(text, changed) {
		return false
	}
	if ok {
		here.Payload, there.Payload = nil, nil
	}
	here.Headers, here.Labels, there.Headers, there.Labels = nil, nil, nil, nil
	return reflect.DeepEqual(here, there)
}
