package jobqueue

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const (
	// A receipt is due within 20 ms of a delivery; some of that is for the wire.
	receiptAfter = 5 * time.Millisecond
	// The server ends an attempt that times out. Where it can't be heard, this side does, so much later.
	timeoutSlack = 3 * time.Second
)

// session is the worker's, over all its streams: its leases, and what each frame of the server does to them. One lock
// guards all of it; nothing under the lock blocks.
type session struct {
	options  *WorkerOptions
	handlers map[string]kindHandler
	values   context.Context // of Run: gives handlers its values, and nothing else
	log      *slog.Logger

	mu          sync.Mutex
	changed     chan struct{} // closed and made anew at a change, where somebody waits
	waiters     int
	leases      map[int64]*lease
	capacity    *capacityBook
	settlements *settlements
	progress    *progressReports
	stream      *stream
	id          int64
	token       string
	beat        time.Duration // between heartbeats
	beatSeq     int64
	pongSeq     int64
	delivered   int64 // on the newest stream
	// crossed are deliveries that came on the old stream after the Hello of a new one, which does not name their leases.
	crossed []*pb.Delivery
	// draining: takes no more jobs, on this stream and on those that follow.
	draining bool
	// moving: while a new stream is opened nothing is settled on the old one, so that both sides know what was said.
	moving bool
	// closed: the worker has left; timers that still run do nothing.
	closed bool
}

func newSession(ctx context.Context, options *WorkerOptions, handlers map[string]kindHandler) *session {
	s := &session{
		options:  options,
		handlers: handlers,
		values:   context.WithoutCancel(ctx),
		log:      options.Logger,
		changed:  make(chan struct{}),
		leases:   map[int64]*lease{},
		capacity: newCapacityBook(options.Concurrency, handlers),
		beat:     5 * time.Second,
	}
	s.settlements = newSettlements(s.sendSettle, s.later)
	s.progress = &progressReports{
		send: func(progress *pb.Progress) {
			s.send(&pb.LeaseRequest{Frame: &pb.LeaseRequest_Progress{Progress: progress}})
		},
		later:  s.later,
		newest: map[int64]*pb.Progress{},
	}
	return s
}

// later runs a function under the lock, after a while, unless the worker has left by then.
func (s *session) later(wait time.Duration, do func()) {
	time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			do()
		}
	})
}

// --- the stream; all with the lock held ---

// hello is the first frame of a stream: opens the session, or resumes it where there is one.
func (s *session) hello() *pb.LeaseRequest {
	hello := &pb.Hello{
		Worker:        s.options.Name,
		Subscriptions: subscriptions(s.options.Queues, s.handlers),
		Capacity:      s.capacity.message(),
		Labels:        s.options.Labels,
		Client:        "jobqueue-go/" + Version,
		PayloadFormat: payloadJSON,
	}
	if s.options.SessionTTL != 0 {
		hello.SessionTtl = durationpb.New(s.options.SessionTTL)
	}
	if s.token != "" {
		hello.Resume = &pb.Resume{SessionToken: s.token, LastDelivery: s.delivered}
		for _, each := range s.leases {
			if each.place == placeRunning {
				hello.Resume.Held = append(hello.Resume.Held, each.held())
			}
		}
		for each := range s.settlements.kept {
			hello.Resume.Unanswered = append(hello.Resume.Unanswered, each.held())
		}
	}
	return &pb.LeaseRequest{Frame: &pb.LeaseRequest_Hello{Hello: hello}}
}

// welcome goes on, or begins, on this stream.
func (s *session) welcome(welcome *pb.Welcome, on *stream) {
	s.stream = on
	s.moving = false
	s.id = welcome.GetSessionId()
	s.token = welcome.GetSessionToken()
	if s.beat = welcome.GetHeartbeatInterval().AsDuration(); s.beat <= 0 {
		s.beat = 5 * time.Second
	}
	s.beatSeq, s.pongSeq, s.delivered = 0, 0, 0
	s.crossed = nil // Hello did not name them: they went back uncharged, and may run elsewhere by now
	for _, each := range welcome.GetRevoked() {
		s.revoke(each.GetLeaseId(), "the session went on without it")
	}
	s.settlements.restart()
	// Names revoked handlers that still run, so that their slots are not given away.
	s.heartbeat()
	if s.draining {
		s.sendDrain()
	} else {
		s.sayCapacity()
	}
	s.notify()
}

// stay goes on with the old stream, if there is one: no other was found.
func (s *session) stay() {
	s.moving = false
	s.settlements.flush()
	crossed := s.crossed
	s.crossed = nil
	if s.stream != nil {
		for _, each := range crossed {
			s.deliver(each)
		}
	}
	s.notify()
}

// over: the server has ended the session, or does not know it any more. What it still held went back.
func (s *session) over() {
	leases := s.leases
	s.leases = map[int64]*lease{}
	s.token = ""
	s.moving = false
	s.crossed = nil
	lost := 0
	for _, each := range leases {
		if each.place != placeDone { // those of revoked leases were told already
			lost++
			s.giveUp(each, fmt.Errorf("%w: the session is over", ErrLeaseRevoked))
		}
		if each.alive {
			s.capacity.orphans[each] = struct{}{}
		}
	}
	if lost > 0 {
		s.log.Warn("the session is over; jobs went back, their handlers are stopped", "jobs", lost)
	}
	s.notify()
}

// opening: a Welcome is awaited that would begin a session.
func (s *session) opening() bool { return s.moving && s.token == "" }

// finished: it drains and the server keeps nothing of it; there is nothing left to say.
func (s *session) finished() bool { return s.draining && s.token == "" }

// handle does what a frame says. An unknown one is ignored.
func (s *session) handle(frame *pb.LeaseResponse) {
	switch frame := frame.GetFrame().(type) {
	case *pb.LeaseResponse_Delivery:
		s.deliver(frame.Delivery)
	case *pb.LeaseResponse_Settled:
		s.settled(frame.Settled)
	case *pb.LeaseResponse_Pong:
		s.pongSeq = max(s.pongSeq, frame.Pong.GetSeq())
	case *pb.LeaseResponse_Control:
		for _, id := range frame.Control.GetCancel().GetLeaseIds() {
			s.cancel(id, frame.Control.GetCancel().GetReason())
		}
		for _, id := range frame.Control.GetRevoke().GetLeaseIds() {
			s.revoke(id, frame.Control.GetRevoke().GetReason())
		}
	}
}

// heartbeat sends one. False: the last two were not answered, and the stream is as good as dead.
func (s *session) heartbeat() bool {
	if s.beatSeq-s.pongSeq >= 2 {
		return false
	}
	s.settlements.flush()
	s.beatSeq++
	beat := &pb.Heartbeat{Seq: s.beatSeq}
	for id, each := range s.leases {
		// Those that are settled and wait for the answer alone are no longer held: they should free their slots.
		if each.alive || each.place != placeSent {
			beat.Held = append(beat.Held, id)
		}
	}
	s.send(&pb.LeaseRequest{Frame: &pb.LeaseRequest_Heartbeat{Heartbeat: beat}})
	return true
}

func (s *session) send(frame *pb.LeaseRequest) {
	if s.stream != nil {
		s.stream.send(frame)
	}
}

func (s *session) sendSettle(settle *pb.Settle) bool {
	if s.stream == nil || s.moving {
		return false
	}
	s.stream.send(&pb.LeaseRequest{Frame: &pb.LeaseRequest_Settle{Settle: settle}})
	return true
}

func (s *session) sendDrain() {
	s.send(&pb.LeaseRequest{Frame: &pb.LeaseRequest_Drain{Drain: &pb.Drain{Reason: "the worker is shutting down"}}})
}

func (s *session) sayCapacity() {
	s.send(&pb.LeaseRequest{Frame: &pb.LeaseRequest_Capacity{Capacity: s.capacity.message()}})
}

// --- what the server says; all with the lock held ---

func (s *session) deliver(delivery *pb.Delivery) {
	if s.moving {
		// Nor receipted: what the new stream's Hello has not seen must not look as if it had been.
		s.crossed = append(s.crossed, delivery)
		return
	}
	on := s.stream
	s.delivered = delivery.GetSeq()
	on.delivered(s.delivered)
	time.AfterFunc(receiptAfter, on.receipt)
	for _, message := range delivery.GetJobs() {
		l := &lease{id: message.GetLeaseId(), attempt: message.GetAttempt(), alive: true}
		l.job = leasedJob(message, func(report *pb.Progress) { s.report(l, report) })
		s.leases[l.id] = l
		handler, ok := s.handlers[l.job.Kind]
		if !ok || s.draining {
			// It crossed our Drain on the wire, or is of a kind that was not asked for.
			if !ok {
				s.log.Error("delivered, but its kind has no handler here; it goes back", jobAttributes(l)...)
			}
			s.ended(l, released())
			continue
		}
		s.start(l, handler.run)
	}
}

func (s *session) start(l *lease, handler Handler) {
	base, stop := context.WithCancelCause(s.values)
	l.stop = stop
	ctx, timer := base, (*time.Timer)(nil)
	if timeout := l.job.Timeout; timeout > 0 {
		timer = time.AfterFunc(timeout+timeoutSlack, func() { s.timeOut(l) })
		ctx = deadlined{base, time.Now().Add(timeout)}
	}
	go func() {
		// Stays where the handler neither returns nor panics.
		outcome := outcomeOfError(&panicked{"the handler ended its goroutine (runtime.Goexit)", ""}, nil)
		defer func() {
			if value := recover(); value != nil {
				outcome = outcomeOfError(&panicked{value, string(debug.Stack())}, nil)
			}
			stop(nil)
			if timer != nil {
				timer.Stop()
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ended(l, outcome)
		}()
		output, err := handler(ctx, l.job)
		// In here, because an output's MarshalJSON and an error's Error may panic as well.
		outcome = outcomeOf(l.job, output, err, context.Cause(base))
	}()
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
	s.settlements.drop(l)
	if l.alive {
		l.end(cause)
	}
}

func (s *session) settled(settled *pb.Settled) {
	results := map[int64]*pb.SettleResult{}
	for _, each := range settled.GetExceptions() {
		results[each.GetLeaseId()] = each
	}
	var again []*lease
	for _, l := range s.settlements.answered(settled) {
		result, ok := results[l.id]
		switch {
		case !ok, result.GetVerdict() == pb.SettleResult_APPLIED, result.GetVerdict() == pb.SettleResult_ALREADY_APPLIED:
			s.logApplied(l, result)
			s.forget(l)
		case result.GetVerdict() == pb.SettleResult_TRY_AGAIN:
			again = append(again, l)
		case result.GetVerdict() == pb.SettleResult_INVALID:
			s.correct(l, result.GetMessage())
		default:
			s.log.Warn("the outcome was not taken",
				append(jobAttributes(l), "verdict", result.GetVerdict().String(), "message", result.GetMessage())...)
			s.forget(l)
		}
	}
	if len(again) > 0 {
		s.settlements.againLater(again)
	}
	s.notify()
}

// correct: the server called an outcome malformed. A failure says so instead, and if that is no better, a release.
func (s *session) correct(l *lease, message string) {
	l.corrections++
	s.log.Error("the server refused the outcome", append(jobAttributes(l), "message", message)...)
	switch l.corrections {
	case 1:
		l.settle(failed("InvalidOutcome", "the handler's outcome was refused: "+message))
	case 2:
		l.settle(released())
	default:
		s.forget(l)
		return
	}
	s.settlements.add(l)
}

func (s *session) forget(l *lease) {
	s.settlements.drop(l)
	if !l.alive {
		delete(s.leases, l.id)
	}
}

func (s *session) logApplied(l *lease, result *pb.SettleResult) {
	failure := l.outcome.GetFailure()
	if failure == nil {
		return
	}
	attributes := append(jobAttributes(l), "error_type", failure.GetErrorType(), "error", failure.GetError())
	if failure.GetStack() != "" {
		attributes = append(attributes, "stack", failure.GetStack())
	}
	if result.GetStatus() == pb.Job_RETRYING {
		s.log.Warn("failed, is tried again", append(attributes, "run_at", result.GetRunAt().AsTime())...)
	} else {
		s.log.Error("failed for good", append(attributes, "status", string(statusOf(result.GetStatus())))...)
	}
}

// --- what handlers say ---

// ended: a handler has ended. With the lock held.
func (s *session) ended(l *lease, outcome *pb.Outcome) {
	l.alive = false
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

func (s *session) timeOut(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.alive && l.place == placeRunning {
		l.end(ErrTimedOut)
	}
}

// --- leaving, and waiting ---

func (s *session) pause(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capacity.paused = paused
	s.sayCapacity()
}

// running is every lease whose handler runs, those of earlier sessions included. With the lock held.
func (s *session) running() []*lease {
	var running []*lease
	for _, each := range s.leases {
		if each.alive {
			running = append(running, each)
		}
	}
	for each := range s.capacity.orphans {
		running = append(running, each)
	}
	return running
}

// notify wakes those who wait for a change. With the lock held.
func (s *session) notify() {
	if s.waiters > 0 {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// until waits until a condition on the session holds, which is asked with the lock held. False: it did not in time.
func (s *session) until(within time.Duration, condition func() bool) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters++
	defer func() { s.waiters-- }()
	for !condition() {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
			s.mu.Lock()
		case <-timer.C:
			s.mu.Lock()
			return condition()
		}
	}
	return true
}

func jobAttributes(l *lease) []any {
	return []any{
		"job_id", l.job.ID, "kind", l.job.Kind, "attempt", l.job.Attempt, "request_id", l.job.Headers["x-request-id"],
	}
}
