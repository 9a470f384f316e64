package jobqueue

import (
	"context"
	"errors"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// After a stream that lived this long, the next reconnect is fast again.
const goodAfter = 5 * time.Second

// pump hands the frames of one stream to the session, until it ends or another has taken its place.
func (l *link) pump(life context.Context, on *stream) {
	s := l.session
	opened := time.Now()
	defer on.close()
	var ended error
	for {
		response, err := on.call.Recv()
		s.mu.Lock()
		if s.stream != on {
			s.mu.Unlock()
			return
		}
		if err != nil {
			ended = fromRPC(err, on.call.Trailer())
			break
		}
		s.lastHeard = time.Now()
		switch frame := response.GetFrame().(type) {
		case *pb.LeaseResponse_GoAway:
			s.log.Info("the server asks to connect elsewhere", "reason", frame.GoAway.GetReason())
			l.moveAt = time.Now().Add(frame.GoAway.GetReconnectAfter().AsDuration())
			l.poke()
		case *pb.LeaseResponse_Goodbye:
			l.endSession()
			// Or a server that always says so would be asked without a pause.
			l.moveAt = time.Now().Add(l.waits.next())
		default:
			s.handle(response)
		}
		s.mu.Unlock()
	}
	wait := time.Duration(0)
	if time.Since(opened) <= goodAfter {
		// Or a server that welcomes and then hangs up would be asked without a pause.
		wait = l.waits.next()
	} else {
		l.waits.reset()
	}
	l.ended(ended)
	s.mu.Unlock()
	_ = sleep(life, wait)
	l.poke()
}

// beat sends heartbeats on a stream while it is the session's; one that does not answer is let go.
func (l *link) beat(on *stream) {
	s := l.session
	s.mu.Lock()
	every := s.beat
	s.mu.Unlock()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-on.call.Context().Done():
			return
		}
		s.mu.Lock()
		if s.stream != on {
			s.mu.Unlock()
			return
		}
		if !s.heartbeat() {
			l.lost(errors.New("two heartbeats were not answered"))
			s.mu.Unlock()
			on.close()
			l.poke()
			return
		}
		s.mu.Unlock()
	}
}
