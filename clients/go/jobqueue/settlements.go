package jobqueue

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const (
	frameOutcomes = 1000
	// A frame may measure 4 MiB; one outcome at most 3 MiB and a little.
	frameBytes = 2 * 1024 * 1024
	// While an answer is awaited, outcomes gather for so long, or until half of the slots wait: a frame and its answer
	// cost the server about as much as a hundred outcomes in it.
	linger = 10 * time.Millisecond
)

// settlements keeps every outcome until its answer has come, and sends it again on a new stream. The session's lock
// guards it.
type settlements struct {
	// send sends a Settle; false when it can't now, and flush or restart will follow.
	send func(*pb.Settle) bool
	// later runs a function under the session's lock, after a while.
	later func(time.Duration, func())

	// enough outcomes that wait are sent at once.
	enough  int
	kept    map[*lease]struct{}
	waiting []*lease
	frames  map[int64][]*lease
	// suspects were not answered because a frame was too large for the server: while there are any, a frame holds one.
	suspects map[*lease]struct{}
	seq      int64
	planned  bool
	waits    *backoff
}

func newSettlements(slots int, send func(*pb.Settle) bool, later func(time.Duration, func())) *settlements {
	return &settlements{
		send:     send,
		later:    later,
		enough:   min(frameOutcomes, (slots+1)/2),
		kept:     map[*lease]struct{}{},
		frames:   map[int64][]*lease{},
		suspects: map[*lease]struct{}{},
		waits:    newBackoff(100*time.Millisecond, 5*time.Second),
	}
}

// add takes the outcome of a lease.
func (s *settlements) add(l *lease) {
	s.kept[l] = struct{}{}
	l.place = placeWaiting
	s.waiting = append(s.waiting, l)
	switch {
	case len(s.frames) == 0 || len(s.waiting) >= s.enough:
		s.flush()
	case !s.planned:
		s.planned = true
		s.later(linger, func() {
			s.planned = false
			s.flush()
		})
	}
}

// drop forgets an outcome: the lease is no longer ours.
func (s *settlements) drop(l *lease) {
	delete(s.kept, l)
	l.place = placeDone
}

// flush sends what waits.
func (s *settlements) flush() {
	var waiting []*lease
	for _, each := range s.waiting {
		if each.place == placeWaiting {
			waiting = append(waiting, each)
		}
	}
	s.waiting = nil
	most := frameOutcomes
	for each := range s.suspects {
		if most = 1; each.place == placeDone {
			delete(s.suspects, each)
		}
	}
	for len(waiting) > 0 {
		frame, count := s.frame(waiting[:min(len(waiting), most)])
		if !s.send(frame) {
			s.waiting = waiting
			return
		}
		s.seq = frame.Seq
		s.frames[frame.Seq] = waiting[:count]
		for _, each := range waiting[:count] {
			each.place = placeSent
		}
		waiting = waiting[count:]
	}
}

// answered takes the leases of a frame out. They are still kept: the session decides what an answer means, and drops
// them or sends them again.
func (s *settlements) answered(settled *pb.Settled) []*lease {
	var leases []*lease
	for _, each := range s.frames[settled.GetSeq()] {
		if each.place == placeSent {
			leases = append(leases, each)
		}
	}
	delete(s.frames, settled.GetSeq())
	if len(settled.GetExceptions()) == 0 {
		s.waits.reset()
	}
	return leases
}

// againLater sends outcomes again after a while that grows: the server could not commit them.
func (s *settlements) againLater(leases []*lease) {
	for _, each := range leases {
		each.place = placeHeldBack
	}
	s.later(s.waits.next(), func() {
		for _, each := range leases {
			// A restart in between has sent it already; a revocation has dropped it.
			if each.place == placeHeldBack {
				s.add(each)
			}
		}
	})
}

// restart sends everything on a new stream, whose frames are counted from 1.
func (s *settlements) restart() {
	s.frames = map[int64][]*lease{}
	s.seq = 0
	s.waiting = nil
	for each := range s.kept {
		each.place = placeWaiting
		s.waiting = append(s.waiting, each)
	}
	s.flush()
}

// tooLarge: the stream has ended for a frame that is larger than the server takes, and from now on each outcome goes
// alone. It returns the lease whose outcome is too large by itself; nil: the frame held several.
func (s *settlements) tooLarge() *lease {
	var largest []*lease
	size := -1
	for _, leases := range s.frames {
		sum := 0
		for _, each := range leases {
			if sum += proto.Size(each.outcome); each.place == placeSent {
				s.suspects[each] = struct{}{}
			}
		}
		if sum > size {
			size, largest = sum, leases
		}
	}
	if len(largest) != 1 || largest[0].place != placeSent || largest[0].outcome == nil {
		return nil
	}
	return largest[0]
}

// frame is one of as many of these as it takes, at least one, and how many those are.
func (s *settlements) frame(waiting []*lease) (*pb.Settle, int) {
	frame := &pb.Settle{Seq: s.seq + 1}
	room, count := frameBytes, 0
	for _, each := range waiting {
		if each.outcome == nil {
			frame.Succeeded = append(frame.Succeeded, each.id)
		} else {
			if room -= proto.Size(each.outcome); room < 0 && count > 0 {
				break
			}
			frame.Outcomes = append(frame.Outcomes, each.outcome)
		}
		count++
	}
	return frame, count
}
