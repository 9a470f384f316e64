package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const (
	welcomeWithin = 10 * time.Second
	// How long a server is left alone that does not take the credentials: an administrator mends it, or a new token does.
	unauthenticatedWait = 30 * time.Second
	// How often that is said.
	sayUnauthenticatedEvery = time.Minute
)

// link keeps the session on a stream: connects, reconnects for ever, moves when it is asked to, and leaves.
type link struct {
	session *session
	wake    chan struct{}
	targets int // how many were tried
	// Guarded by the session's lock.
	moveAt   time.Time // zero: no move is asked for
	waits    *backoff
	welcomed bool
	saidLost bool
	// When it was last said that the credentials are not taken.
	saidUnauthenticated time.Time
}

func newLink(s *session) *link {
	return &link{session: s, wake: make(chan struct{}, 1), waits: newBackoff(100*time.Millisecond, 5*time.Second)}
}

// run holds the session until the context has ended and the drain is through.
func (l *link) run(ctx context.Context) error {
	s := l.session
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		end()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		l.leaveStream()
		for _, each := range s.running() {
			each.end(ErrShutdown)
		}
	}()
	stop := context.AfterFunc(ctx, func() {
		defer end()
		l.drain()
	})
	defer stop()
	for life.Err() == nil {
		s.mu.Lock()
		// A session that has drained and ended is not opened again, though handlers of it may run on.
		wanted := (s.stream == nil || !l.moveAt.IsZero()) && !s.finished()
		s.mu.Unlock()
		if wanted {
			if err := l.connect(life); err != nil {
				return err
			}
			continue
		}
		select {
		case <-l.wake:
		case <-life.Done():
		}
	}
	return nil
}

// connect is one try to open a stream. What fails is followed by a wait; an error is what no other try will mend.
func (l *link) connect(life context.Context) error {
	s := l.session
	s.mu.Lock()
	wait := time.Duration(0)
	if !l.moveAt.IsZero() {
		wait = time.Until(l.moveAt)
	}
	s.mu.Unlock()
	if sleep(life, wait) != nil {
		return nil
	}
	s.mu.Lock()
	if s.finished() {
		s.mu.Unlock()
		return nil
	}
	s.moving = true
	hello := s.hello()
	s.mu.Unlock()
	target := s.options.Targets[l.targets%len(s.options.Targets)]
	l.targets++
	opened, err := openStream(life, target, &s.options.Access)
	var welcome *pb.Welcome
	if err == nil {
		opened.send(hello)
		if welcome, err = l.awaitWelcome(opened); err != nil {
			opened.close()
		}
	}

	s.mu.Lock()
	if life.Err() != nil {
		s.mu.Unlock()
		if err == nil {
			opened.close()
		}
		return nil
	}
	if err != nil {
		defer s.mu.Unlock()
		return l.refused(life, target, err)
	}
	defer s.mu.Unlock()
	what := "session resumed"
	if s.token == "" {
		what = "session opened"
	}
	// Only now that another has taken its place.
	l.leaveStream()
	s.welcome(welcome, opened)
	s.log.Info(what, "session", s.id, "target", target, "server", welcome.GetServer())
	l.welcomed, l.saidLost, l.moveAt = true, false, time.Time{}
	go l.pump(life, opened)
	go l.beat(opened)
	return nil
}

// refused decides what a failed try means. With the lock held, which it gives up while it waits.
func (l *link) refused(life context.Context, target string, err error) error {
	s := l.session
	if errors.Is(err, ErrSessionUnknown) {
		l.sessionGone(err)
		return nil
	}
	s.stay()
	s.failed(err)
	forGood := errors.Is(err, ErrInvalidRequest) || errors.Is(err, ErrNotAllowed) || errors.Is(err, ErrNotSupported)
	switch {
	case s.stream != nil:
	case forGood:
		s.enter(WorkerRefused)
	default:
		s.away()
	}
	// Only before the first Welcome: later it is a fault of one server among several, or of a token that is renewed.
	if !l.welcomed && forGood {
		return err
	}
	wait := l.waits.next()
	switch {
	case s.stream != nil:
		// It goes on there, and soon tries again: a new token may be on its way.
	case errors.Is(err, ErrUnauthenticated):
		l.sayUnauthenticated(target, err)
		wait = unauthenticatedWait
	default:
		var failure *Error
		if !l.welcomed && errors.As(err, &failure) {
			failure.hint = s.options.hintFor(failure, target)
		}
		l.sayLost(fmt.Sprintf("can't reach %s", target), err)
	}
	s.mu.Unlock()
	_ = sleep(life, wait)
	s.mu.Lock()
	return nil
}

func (l *link) awaitWelcome(on *stream) (*pb.Welcome, error) {
	late := time.AfterFunc(welcomeWithin, on.end)
	for {
		frame, err := on.call.Recv()
		if err != nil {
			if !late.Stop() {
				return nil, newError(codes.Unavailable, fmt.Sprintf("no Welcome within %v", welcomeWithin))
			}
			return nil, fromRPC(err, on.call.Trailer())
		}
		switch frame := frame.GetFrame().(type) {
		case *pb.LeaseResponse_Welcome:
			late.Stop()
			return frame.Welcome, nil
		case *pb.LeaseResponse_GoAway, *pb.LeaseResponse_Goodbye:
			late.Stop()
			return nil, newError(codes.Unavailable, "the server is leaving")
		}
	}
}

// The rest is called with the session's lock held.

// ended: the session's stream has ended, and not by us.
func (l *link) ended(err error) {
	if errors.Is(err, ErrSessionUnknown) {
		l.sessionGone(err)
		// Or a server that always says so would be asked without a pause.
		l.moveAt = time.Now().Add(l.waits.next())
		return
	}
	if l.moveAt.IsZero() {
		l.lost(err)
	} else {
		l.session.log.Info("the stream that was to be left has ended", "error", err.Error())
		l.dropStream()
	}
	if errors.Is(err, ErrTooLarge) {
		l.session.tooLarge(err)
	}
}

func (l *link) sessionGone(err error) {
	l.session.log.Warn("the server has no such session any more", "error", err.Error())
	l.endSession()
}

func (l *link) lost(err error) {
	l.session.failed(err)
	l.dropStream()
	l.sayLost("the stream was lost", err)
}

func (l *link) dropStream() {
	l.session.stream = nil
	l.session.crossed = nil
	l.moveAt = time.Time{}
	l.session.away()
	l.session.notify()
}

// sayLost says so once until there is a stream again: an hour's outage is one line, not a thousand.
func (l *link) sayLost(what string, err error) {
	if !l.saidLost {
		l.saidLost = true
		l.session.log.Warn(what+"; trying again until a server answers",
			"error", fmt.Sprint(err), "running", len(l.session.running()))
	}
}

func (l *link) sayUnauthenticated(target string, err error) {
	if now := time.Now(); now.Sub(l.saidUnauthenticated) >= sayUnauthenticatedEvery {
		l.saidUnauthenticated = now
		l.session.log.Warn("the server does not take the credentials; trying again",
			"target", target, "error", err.Error(), "every", unauthenticatedWait)
	}
}

func (l *link) leaveStream() {
	if l.session.stream != nil {
		l.session.stream.close()
		l.session.stream = nil
	}
}

// endSession: the server has ended the session; its stream goes with it. The next one opens another, unless it drains.
func (l *link) endSession() {
	l.leaveStream()
	l.moveAt = time.Time{}
	l.session.over()
	l.session.away()
	l.poke()
}

func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
