package jobqueue

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

const (
	pressureTrailer = "jobqueue-pressure"

	// How many enqueues may be in flight: at first, at least and at most.
	firstBound, leastBound, mostBound = 64, 1, 1000
	// What is left of the bound after a hint, and after a refusal.
	afterHint, afterRefusal = 0.8, 0.5
)

// window lets so many enqueues go at once; the others wait for their turns, first come first.
//
// The bound grows by one for each round of calls that were answered without a hint, while it is reached. A round that brings
// hints or refusals makes it smaller, once however many it brings: they tell of the same.
type window struct {
	mu       sync.Mutex
	bound    float64
	inFlight int
	// round grows when the bound gets smaller: what began before tells nothing of the new one.
	round int
	// line has a chan struct{} for each call that waits, which is closed when the call is let in.
	line *list.List
}

func newWindow() *window { return &window{bound: firstBound, line: list.New()} }

// turn waits until one more call may go, or the context ends. The caller ends the turn.
func (w *window) turn(ctx context.Context) (*turn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// While calls stand in line there is no room: what makes room lets them in.
	if w.inFlight < int(w.bound) {
		w.inFlight++
	} else if err := w.wait(ctx); err != nil {
		return nil, err
	}
	return &turn{window: w, began: w.round}, nil
}

// wait stands in line until the call is let in. With the lock held, but not while it waits.
func (w *window) wait(ctx context.Context) error {
	began := time.Now()
	in := make(chan struct{})
	place := w.line.PushBack(in)
	w.mu.Unlock()
	select {
	case <-in:
		w.mu.Lock()
		return nil
	case <-ctx.Done():
		w.mu.Lock()
	}
	select {
	case <-in:
		// It was let in at the same moment.
		w.leave()
	default:
		w.line.Remove(place)
	}
	if ctx.Err() == context.Canceled {
		return newError(codes.Canceled, "the call was not sent: it was cancelled before its turn")
	}
	waited := time.Since(began).Round(time.Millisecond)
	return newError(codes.DeadlineExceeded, fmt.Sprintf(
		"the call was not sent: for %g s the server had no room for more than the %d enqueues in flight",
		waited.Seconds(), w.inFlight))
}

// leave: a call is over, the next may go. With the lock held.
func (w *window) leave() {
	w.inFlight--
	for w.line.Len() > 0 && w.inFlight < int(w.bound) {
		w.inFlight++
		close(w.line.Remove(w.line.Front()).(chan struct{}))
	}
}

// grow: a call was answered without a hint. With the lock held.
func (w *window) grow() {
	if w.inFlight >= int(w.bound) {
		w.bound = min(w.bound+1/w.bound, mostBound)
	}
}

// shrink: a call that began in this round was told to slow down, and this part of the bound is left. With the lock held.
func (w *window) shrink(part float64, began int) {
	if began == w.round {
		w.round++
		w.bound = max(w.bound*part, leastBound)
	}
}

// turn is one call's turn. nil: no turns are taken, and what it hears does nothing.
type turn struct {
	window *window
	// began is the round in which the call began.
	began int
	over  bool
}

// end lets the next call go, if an answer has not done so.
func (t *turn) end() {
	t.window.mu.Lock()
	defer t.window.mu.Unlock()
	t.leave()
}

// leave ends the turn, once. With the window's lock held.
func (t *turn) leave() {
	if !t.over {
		t.over = true
		t.window.leave()
	}
}

// answered: the call was answered, with this trailer, and its turn ends. Both happen at once: the call itself must still
// count when the bound grows, and the next one must take its place before another answer comes.
func (t *turn) answered(trailer metadata.MD) {
	if t == nil {
		return
	}
	t.window.mu.Lock()
	defer t.window.mu.Unlock()
	if len(trailer.Get(pressureTrailer)) > 0 {
		t.window.shrink(afterHint, t.began)
	} else {
		t.window.grow()
	}
	t.leave()
}

// refused: the call was refused. It may be sent again within the same turn.
func (t *turn) refused(failure *Error) {
	if t == nil || (failure.Reason != "QUEUE_FULL" && failure.Reason != "QUEUE_BACKLOG_FULL") {
		return
	}
	t.window.mu.Lock()
	defer t.window.mu.Unlock()
	t.window.shrink(afterRefusal, t.began)
	t.began = t.window.round
}
