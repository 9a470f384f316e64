package jobqueue

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
)

// around is what an attempt's middleware has come to. An attempt without middleware has none.
type around struct {
	mu sync.Mutex
	// reached is the context of the innermost part that was called.
	reached context.Context
	// passages are the calls of next, of the outermost middleware first.
	passages []passage
	// passed is how many follow-ups went through the enqueue side. -1: it was not called.
	passed int
	// caught: an error that next returned, or its panic, went no further.
	caught bool
}

type passage struct {
	calls int
	// inside: next has not returned, or it did with an error, or panicked.
	inside bool
}

func newAround(ctx context.Context, passages int) *around {
	return &around{reached: ctx, passages: make([]passage, passages), passed: -1}
}

// enter is a call of next, by the middleware at this place; false: it is one too many.
func (a *around) enter(at int, ctx context.Context) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passages[at].calls++
	if a.passages[at].calls > 1 {
		return false
	}
	a.passages[at].inside = true
	a.reached = ctx
	return true
}

func (a *around) returned(at int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passages[at].inside = false
}

// left is how often a middleware that answers no error has called next.
func (a *around) left(at int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.passages[at].inside {
		a.caught = true
	}
	return a.passages[at].calls
}

func (a *around) context() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reached
}

// context has the values of the innermost part of the attempt that ran. Of one without middleware there are none.
func (j *LeasedJob) context() context.Context {
	if around := j.around.Load(); around != nil {
		return around.context()
	}
	return context.Background()
}

// surrounded is a handler with middleware around it, and around its follow-ups.
//
// It panics where the program is wrong: a Handle answers nil.
func surrounded(handler Handler, names []string, middleware []Middleware) Handler {
	var handles []func(Handler) Handler
	for i := range middleware {
		if each := &middleware[i]; each.Handle != nil && each.isFor(names...) {
			handles = append(handles, each.Handle)
		}
	}
	run := func(ctx context.Context, job *LeasedJob) (any, error) {
		output, err := handler(ctx, job)
		if err == nil {
			err = job.through(ctx, middleware)
		}
		if err != nil {
			return nil, err
		}
		return output, nil
	}
	for at := len(handles) - 1; at >= 0; at-- {
		run = wrapped(handles[at], at, run, middleware)
	}
	return func(ctx context.Context, job *LeasedJob) (any, error) {
		job.around.Store(newAround(ctx, len(handles)))
		output, err := run(ctx, job)
		if err != nil {
			return nil, err
		}
		return output, job.leave()
	}
}

// wrapped is next within what a Handle answers, which is held to what it promises.
func wrapped(handle func(Handler) Handler, at int, next Handler, middleware []Middleware) Handler {
	name := nameOf(handle)
	wrong := func(words string) error {
		return &MiddlewareError{fmt.Sprintf("the middleware %s %s", name, words)}
	}
	const twice = "called next twice"
	run := handle(func(ctx context.Context, job *LeasedJob) (any, error) {
		if !job.around.Load().enter(at, ctx) {
			return nil, wrong(twice)
		}
		output, err := next(ctx, job)
		if err == nil {
			job.around.Load().returned(at)
		}
		return output, err
	})
	if run == nil {
		panic(fmt.Sprintf("jobqueue: the middleware %s answers nil in place of a handler", name))
	}
	return func(ctx context.Context, job *LeasedJob) (any, error) {
		output, err := run(ctx, job)
		if err != nil {
			return nil, err
		}
		switch job.around.Load().left(at) {
		case 0:
			err = job.through(ctx, middleware)
		case 1:
		default:
			err = wrong(twice)
		}
		if err != nil {
			return nil, err
		}
		return output, nil
	}
}

// through takes the follow-ups through the enqueue side, as one call.
func (j *LeasedJob) through(ctx context.Context, middleware []Middleware) error {
	following := j.takeFollowUps()
	j.around.Load().passed = len(following)
	if len(following) == 0 {
		return nil
	}
	_, err := enqueueThrough(ctx, middleware, following, func(context.Context) ([]EnqueueResult, error) {
		size := 0
		for _, each := range following {
			size += proto.Size(each)
		}
		if size > followUpsBytes {
			return nil, tooManyBytes(size)
		}
		return make([]EnqueueResult, len(following)), nil
	})
	return err
}

// leave is the end of all middleware, which answers no error.
func (j *LeasedJob) leave() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch around := j.around.Load(); {
	case around.caught:
		j.followUps, j.size = nil, 0
	case len(j.followUps) != around.passed:
		return &MiddlewareError{"FollowUp was called after a middleware's next: call it before"}
	}
	return nil
}
