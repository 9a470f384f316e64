package jobqueue

import "time"

const (
	// How long a handler that was told to stop at the end of the grace may take for it.
	unwind = 2 * time.Second
	// How long the last answers, and then Goodbye, are waited for.
	answersWithin = 5 * time.Second
)

// drain: no new jobs, finish what is held within the grace, give the rest back, wait for the answers.
func (l *link) drain() {
	s := l.session
	s.mu.Lock()
	s.draining = true
	s.enter(WorkerDraining)
	s.sendDrain()
	s.mu.Unlock()
	l.poke()
	grace := s.options.ShutdownGrace
	s.log.Info("draining", "grace", max(0, grace).String())
	// A session that is just being opened may have been given jobs: it is drained as well.
	s.until(answersWithin, func() bool { return !s.opening() })
	idle := func() bool { return len(s.running()) == 0 }
	if !s.until(max(0, grace), idle) {
		s.mu.Lock()
		s.log.Warn("handlers still run at the end of the grace; they are stopped", "handlers", len(s.running()))
		for _, each := range s.running() {
			if each.place == placeRunning {
				each.end(ErrShutdown)
			}
		}
		s.mu.Unlock()
		s.until(unwind, idle)
		s.mu.Lock()
		for _, each := range s.leases {
			if each.alive && each.place == placeRunning {
				s.log.Warn("the handler did not stop in time; its job goes back", jobAttributes(each)...)
				each.took = time.Since(each.started)
				each.settle(released())
				s.settlements.add(each)
			}
		}
		s.mu.Unlock()
	}
	if !s.until(answersWithin, func() bool { return len(s.settlements.kept) == 0 }) {
		s.log.Error("outcomes were not answered; their jobs run again when the session ends")
	} else if !s.until(answersWithin, func() bool { return s.stream == nil || s.finished() }) {
		s.log.Warn("the server said no Goodbye")
	}
}
