package jobqueue

import (
	"context"
	"fmt"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// The session's part that runs handlers and stops them. Unless it says otherwise all is called with the lock held.

// A receipt is due within 20 ms of a delivery; some of that is for the wire, the rest for a Settle, which carries it too.
const receiptAfter = 12 * time.Millisecond

// An attempt after the first may be one that ends the process: its handler waits until its receipt is on its way, and no
// longer than so where the stream does not take it.
const receiptWithin = 20 * time.Millisecond

// gRPC writes what it has taken in a goroutine of its own, and does not say when it has.
const writtenAfter = time.Millisecond

func (s *session) deliver(delivery *pb.Delivery) {
	if s.moving {
		// Nor receipted: what the new stream's Hello has not seen must not look as if it had been.
		s.crossed = append(s.crossed, delivery)
		return
	}
	s.take(delivery, !s.draining)
}

// take makes leases of a delivery, and begins them or gives them back.
func (s *session) take(delivery *pb.Delivery, begin bool) {
	on := s.stream
	s.delivered = delivery.GetSeq()
	on.delivered(s.delivered)
	time.AfterFunc(receiptAfter, on.receipt)
	var receipted chan struct{}
	for _, message := range delivery.GetJobs() {
		l := &lease{id: message.GetLeaseId(), attempt: message.GetAttempt(), alive: true, started: time.Now()}
		l.job = leasedJob(message, func(report *pb.Progress) { s.report(l, report) })
		s.leases[l.id] = l
		s.observing.started(l)
		handler, ok := s.handlers[l.job.Kind]
		if !ok || !begin {
			// It crossed our Drain or a move on the wire, or is of a kind that was not asked for.
			if !ok {
				s.log.Error("delivered, but its kind has no handler here; it goes back", jobAttributes(l)...)
			}
			s.ended(l, released(), nil)
			continue
		}
		if l.attempt == 1 {
			s.start(l, handler.run, nil)
			continue
		}
		if receipted == nil {
			receipted = make(chan struct{})
		}
		s.start(l, handler.run, receipted)
	}
	if receipted != nil {
		on.receiptNow(receipted)
	}
}

// start runs a handler, once the channel is closed if there is one.
func (s *session) start(l *lease, handler Handler, receipted <-chan struct{}) {
	made := newAttempt(s.values, l.job)
	l.stop = made.stop
	var span Span
	run := func(ctx context.Context) (any, error) {
		if receipted != nil {
			select {
			case <-receipted:
				time.Sleep(writtenAfter)
			case <-ctx.Done():
			case <-time.After(receiptWithin):
			}
			if cause := context.Cause(ctx); cause != nil {
				return nil, cause
			}
		}
		if tracer := s.options.Tracer; tracer != nil {
			ctx, span = tracer.Begin(ctx, l.job, l.id)
			if span != nil {
				l.job.traceparent = span.Traceparent()
			}
		}
		return handler(ctx, l.job)
	}
	go made.run(run, func(outcome *pb.Outcome, failure error) {
		if span != nil {
			span.End(endOf(outcome, context.Cause(made.base)))
		}
		made.stop(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended(l, outcome, failure)
	})
}

// ended: a handler has ended; the error is what it returned. With the lock held.
func (s *session) ended(l *lease, outcome *pb.Outcome, err error) {
	l.alive = false
	l.err = err
	l.took = time.Since(l.started)
	switch {
	case s.capacity.ended(l):
		s.sayCapacity() // of a session that is over: its slot is free again
	case l.place == placeDone:
		if s.leases[l.id] == l {
			delete(s.leases, l.id)
		}
	case l.place == placeRunning:
		l.settle(outcome)
		s.progress.beforeSettling(l.id)
		s.settlements.add(l)
	}
	s.notify()
}

func (s *session) report(l *lease, report *pb.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A number is unique in one session only: an orphan's may meanwhile be another's.
	if s.leases[l.id] == l && l.place == placeRunning && l.alive {
		s.progress.put(l.id, report)
	}
}

func (s *session) cancel(id int64, reason string) {
	l, ok := s.leases[id]
	if !ok || !l.alive || l.cause != nil {
		return
	}
	cause := ErrCancelRequested
	if reason != "" {
		cause = fmt.Errorf("%w: %s", ErrCancelRequested, reason)
	}
	l.end(cause)
}

func (s *session) revoke(id int64, reason string) {
	l, ok := s.leases[id]
	if !ok || (l.alive && l.place == placeDone) {
		return // it is said again as long as the handler runs
	}
	s.log.Warn("the lease was revoked", append(jobAttributes(l), "reason", reason)...)
	cause := fmt.Errorf("%w: %s", ErrLeaseRevoked, reason)
	if reason == "TIMED_OUT" {
		cause = ErrTimedOut
	}
	s.giveUp(l, cause)
	if !l.alive {
		delete(s.leases, id)
	}
	s.notify()
}

// giveUp drops the outcome of a lease that is no longer ours, and stops its handler.
func (s *session) giveUp(l *lease, cause error) {
	if l.place != placeDone {
		s.settlements.drop(l)
		took := l.took
		if l.alive {
			took = time.Since(l.started)
		}
		s.observing.finished(l, OutcomeError, took, cause)
	}
	if l.alive {
		l.end(cause)
	}
}
