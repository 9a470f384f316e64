package jobqueue

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
)

// surroundings are the middleware around one handler. The handler may be one that has its own already.
type surroundings struct {
	middleware []Middleware
	handles    []func(Handler) Handler
}

// around is what an attempt has come to within one handler's middleware. An attempt without middleware has none.
type around struct {
	of *surroundings
	// outer is that of the handler that called this one. nil: the worker did.
	outer *around
	// from is how many follow-ups there were before, of size bytes.
	from, size int

	mu sync.Mutex
	// reached is the context of the innermost part that was called.
	reached context.Context
	// passages are the calls of next, of the outermost middleware first.
	passages []passage
	// passed is how many follow-ups there were when its own went through the enqueue side. -1: they did not.
	passed int
	// caught: an error that next returned, or its panic, went no further.
	caught bool
	// over: the outermost of this middleware has ended, and what still runs within does so for nothing.
	over bool
}

type passage struct {
	calls int
	// inside: next has not returned, or it did with an error, or panicked.
	inside bool
	// over: the middleware has ended.
	over bool
}

const (
	calledTwice = "called next twice"
	calledLate  = "called next after it had ended"
)

// enter is a call of next, by the middleware at this place. It answers what is wrong with it; empty: nothing.
func (a *around) enter(at int, ctx context.Context) string {
	if a == nil {
		return calledLate
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	this := &a.passages[at]
	if a.over || this.over {
		return calledLate
	}
	if this.calls++; this.calls > 1 {
		return calledTwice
	}
	this.inside = true
	a.reached = ctx
	return ""
}

func (a *around) returned(at int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passages[at].inside = false
}

// left is how often a middleware that has ended has called next.
func (a *around) left(at int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	this := &a.passages[at]
	this.over = true
	if this.inside {
		a.caught = true
	}
	return this.calls
}

// pass says that there are so many follow-ups as its own go through the enqueue side; false: it is too late for that.
func (a *around) pass(followUps int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.passed = followUps
	}
	return !a.over
}

// end answers how many follow-ups there were as they passed, and whether what went wrong within was caught.
func (a *around) end() (passed int, caught bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	return a.passed, a.caught
}

func (a *around) isOver() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.over
}

func (a *around) context() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reached
}

func (a *around) reach(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.reached = ctx
	}
}

// context has the values of the innermost part of the attempt that ran. Of one without middleware there are none.
func (j *LeasedJob) context() context.Context {
	if around := j.around.Load(); around != nil {
		return around.context()
	}
	return context.Background()
}

// within is what the attempt has come to within this middleware. nil: it is over.
func (j *LeasedJob) within(these *surroundings) *around {
	for a := j.around.Load(); a != nil; a = a.outer {
		if a.of == these {
			return a
		}
	}
	return nil
}

// begin is before all of this middleware.
func (j *LeasedJob) begin(these *surroundings, ctx context.Context) *around {
	outer := j.around.Load()
	if outer != nil && outer.isOver() { // of a call before this one
		outer = nil
	}
	made := &around{of: these, outer: outer, reached: ctx, passages: make([]passage, len(these.handles)), passed: -1}
	j.mu.Lock()
	defer j.mu.Unlock()
	if outer == nil {
		j.closed = false
	}
	made.from, made.size = len(j.followUps), j.size
	j.around.Store(made)
	return made
}

// end is after all of this middleware, however that has ended.
func (j *LeasedJob) end(mine *around) {
	mine.end()
	if mine.outer == nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.closed = true
		return
	}
	mine.outer.reach(mine.context())
	// It is another's where the handler goes on in goroutines, which the handler should not.
	j.around.CompareAndSwap(mine, mine.outer)
}

// surrounded is a handler with middleware around it, and around its follow-ups.
//
// It panics where the program is wrong: a Handle answers nil.
func surrounded(handler Handler, names []string, middleware []Middleware) Handler {
	these := &surroundings{middleware: middleware}
	for i := range middleware {
		if each := &middleware[i]; each.Handle != nil && each.isFor(names...) {
			these.handles = append(these.handles, each.Handle)
		}
	}
	run := func(ctx context.Context, job *LeasedJob) (any, error) {
		output, err := handler(ctx, job)
		if err == nil {
			err = job.through(ctx, these)
		}
		if err != nil {
			return nil, err
		}
		return output, nil
	}
	for at := len(these.handles) - 1; at >= 0; at-- {
		run = these.wrapped(at, run)
	}
	return func(ctx context.Context, job *LeasedJob) (any, error) {
		mine := job.begin(these, ctx)
		defer job.end(mine)
		output, err := run(ctx, job)
		if err != nil {
			return nil, err
		}
		return output, job.leave(mine)
	}
}

// wrapped is next within what a Handle answers, which is held to what it promises.
func (s *surroundings) wrapped(at int, next Handler) Handler {
	name := nameOf(s.handles[at])
	wrong := func(words string) error {
		return &MiddlewareError{fmt.Sprintf("the middleware %s %s", name, words)}
	}
	run := s.handles[at](func(ctx context.Context, job *LeasedJob) (any, error) {
		around := job.within(s)
		if words := around.enter(at, ctx); words != "" {
			return nil, wrong(words)
		}
		output, err := next(ctx, job)
		if err == nil {
			around.returned(at)
		}
		return output, err
	})
	if run == nil {
		panic(fmt.Sprintf("jobqueue: the middleware %s answers nil in place of a handler", name))
	}
	return func(ctx context.Context, job *LeasedJob) (any, error) {
		around := job.within(s)
		if around == nil {
			return nil, wrong(calledLate)
		}
		defer around.left(at) // also where it panics
		output, err := run(ctx, job)
		if err != nil {
			return nil, err
		}
		switch around.left(at) {
		case 0:
			err = job.through(ctx, s)
		case 1:
		default:
			err = wrong(calledTwice)
		}
		if err != nil {
			return nil, err
		}
		return output, nil
	}
}

// through takes the follow-ups through the enqueue side, as one call.
func (j *LeasedJob) through(ctx context.Context, these *surroundings) error {
	all := j.takeFollowUps()
	around := j.within(these)
	if around == nil || !around.pass(len(all)) {
		return &MiddlewareError{"the handler ran on after its middleware had ended: its follow-ups are dropped"}
	}
	following := all[min(around.from, len(all)):]
	if len(following) == 0 {
		return nil
	}
	_, err := enqueueThrough(ctx, these.middleware, following, func(context.Context) ([]EnqueueResult, error) {
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

// leave is the end of all of this middleware, which answers no error.
func (j *LeasedJob) leave(mine *around) error {
	passed, caught := mine.end()
	j.mu.Lock()
	defer j.mu.Unlock()
	if mine.outer == nil {
		j.closed = true
	}
	switch {
	case caught:
		from := min(mine.from, len(j.followUps))
		j.followUps, j.size = j.followUps[:from:from], mine.size
	case len(j.followUps) != passed:
		return &MiddlewareError{"FollowUp was called after a middleware's next: call it before"}
	}
	return nil
}
