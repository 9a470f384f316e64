package jobqueue

import "time"

// The session's part that others wait for.

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
