package jobqueue

import (
	"context"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// place is where a lease stands on the way of its outcome.
type place int

const (
	// placeRunning: no outcome yet.
	placeRunning place = iota
	// placeWaiting: goes with the next Settle frame.
	placeWaiting
	// placeSent: in a Settle frame that was not answered yet.
	placeSent
	// placeHeldBack: was told TRY_AGAIN, and waits for its turn.
	placeHeldBack
	// placeDone: answered, or dropped.
	placeDone
)

// lease is one in this process: from its delivery until its outcome was answered and its handler has ended. The
// session's lock guards it.
type lease struct {
	id      int64
	attempt int32
	job     *LeasedJob
	// stop ends the handler's context; cause says why it was, nil: it was not.
	stop  context.CancelCauseFunc
	cause error
	// outcome with a place beyond placeRunning: nil is a success without output.
	outcome *pb.Outcome
	place   place
	// alive: its handler runs, and so takes up a slot, whatever became of the lease.
	alive bool
	// started is when it was delivered, and took how long its handler ran, once it has ended.
	started time.Time
	took    time.Duration
	// err is what the handler returned, once it has ended.
	err error
	// observed is the attempt as an observer is told of it, where there is one.
	observed Attempt
	// corrections is how often the server has called an outcome of it INVALID.
	corrections int
}

// held is its three numbers, for Resume.
func (l *lease) held() *pb.HeldLease {
	return &pb.HeldLease{LeaseId: l.id, JobId: l.job.ID, Attempt: l.attempt}
}

// settle takes an outcome, and names the lease in it: a frame must not be changed once it is on its way.
func (l *lease) settle(outcome *pb.Outcome) {
	if outcome != nil {
		outcome.LeaseId = l.id
	}
	l.outcome = outcome
}

// end stops the handler. A later cause does not replace an earlier one in its context.
func (l *lease) end(cause error) {
	l.cause = cause
	if l.stop != nil {
		l.stop(cause)
	}
}

// deadlined is a handler's context: it tells when the attempt times out, and leaves the ending of it to the server,
// whose clock counts.
type deadlined struct {
	context.Context
	at time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.at, true }
