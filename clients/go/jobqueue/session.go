package jobqueue

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Where Welcome does not say it.
const defaultTTL = 30 * time.Second

// session is the worker's, over all its streams: its leases, and what each frame of the server does to them. One lock
// guards all of it; nothing under the lock blocks.
type session struct {
	options   *WorkerOptions
	handlers  map[string]kindHandler
	values    context.Context // of Run: gives handlers its values, and nothing else
	log       *slog.Logger
	observing *observations
	// By the monotonic clock: when it last was seen not to be stuck, and the ttl. Read without the lock.
	ticked, ttlShown atomic.Int64

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced at a change, if a goroutine waits
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
	// heard is when the newest frame was sent that the server has answered: so it has heard of the session since.
	heard     time.Time
	helloSent time.Time
	beatsSent map[int64]time.Time
	ttl       time.Duration
	losing    bool // a timer looks whether the worker is cut off
	// crossed are deliveries that came on the old stream after the Hello of a new one, which does not name their leases.
	crossed []*pb.Delivery
	// draining: takes no more jobs, on this stream and on those that follow.
	draining bool
	// moving: while a new stream is opened nothing is settled on the old one, so that both sides know what was said.
	moving bool
	// closed: the worker has left; timers that still run do nothing.
	closed bool
	// What a status says.
	state        WorkerState
	since        time.Time
	awaySince    time.Time // when it last stopped serving
	server       string
	unknownKinds []string
	lastError    string
	lastHeard    time.Time
	shown        shown
}

func newSession(ctx context.Context, options *WorkerOptions, handlers map[string]kindHandler) *session {
	s := &session{
		options:   options,
		handlers:  handlers,
		values:    context.WithoutCancel(ctx),
		log:       options.Logger,
		observing: observe(options.Observer, options.Logger),
		state:     WorkerStarting,
		shown:     shown{state: WorkerStarting},
		since:     time.Now(),
		changed:   make(chan struct{}),
		leases:    map[int64]*lease{},
		capacity:  newCapacityBook(options.Concurrency, handlers),
		beat:      5 * time.Second,
		ttl:       defaultTTL,
	}
	s.settlements = newSettlements(options.Concurrency, s.sendSettle, s.later)
	s.progress = &progressReports{
		send: func(progress *pb.Progress) {
			s.send(&pb.LeaseRequest{Frame: &pb.LeaseRequest_Progress{Progress: progress}})
		},
		later:  s.later,
		newest: map[int64]*pb.Progress{},
	}
	return s
}

// run syncs kinds where that is asked for, and then serves until the context has ended and the drain is through.
func (s *session) run(ctx context.Context, kinds []DeclaredKind) error {
	s.mu.Lock()
	s.tick()
	s.mu.Unlock()
	if s.options.SyncKinds {
		if synced, err := s.declare(ctx, kinds); !synced {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.closed = true
			return err
		}
	}
	return newLink(s).run(ctx)
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
	s.helloSent = time.Now()
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
	if s.ttl = welcome.GetSessionTtl().AsDuration(); s.ttl <= 0 {
		s.ttl = defaultTTL
	}
	s.ttlShown.Store(int64(s.ttl))
	s.server = welcome.GetServer()
	s.lastHeard = time.Now()
	s.notDeclared(welcome.GetUnknownKinds())
	s.enter(WorkerServing)
	s.heard, s.beatsSent = s.helloSent, map[int64]time.Time{}
	if s.options.StopWhenLost && !s.losing {
		s.losing = true
		s.later(s.ttl, s.stopIfLost)
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
			// Not begun after all: the server that refused may have taken the session over, and then each of these went
			// back and may run elsewhere. A release by a lease that is over is told so, and does no harm.
			s.take(each, false)
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
		s.pong(frame.Pong.GetSeq())
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
	s.beatsSent[s.beatSeq] = time.Now()
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

func (s *session) pong(seq int64) {
	s.pongSeq = max(s.pongSeq, seq)
	for each, sent := range s.beatsSent {
		if each <= s.pongSeq {
			delete(s.beatsSent, each)
			if sent.After(s.heard) {
				s.heard = sent
			}
		}
	}
}

// stopIfLost stops the handlers if no server can have heard of the session for its ttl, and else looks again.
func (s *session) stopIfLost() {
	s.losing = false
	if s.token == "" {
		return
	}
	if left := s.ttl - time.Since(s.heard); left > 0 {
		s.losing = true
		s.later(left, s.stopIfLost)
		return
	}
	s.log.Warn("no server was heard for the session's ttl; its handlers are stopped",
		"ttl", s.ttl.String(), "running", len(s.running()))
	for _, each := range s.running() {
		if each.place == placeRunning {
			each.end(ErrSessionLost)
		}
	}
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
