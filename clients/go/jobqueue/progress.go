package jobqueue

import (
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const progressInterval = 100 * time.Millisecond

// progressReports gathers what handlers say, so that a chatty one costs no more than a quiet one: the newest of each
// lease, ten times a second at most. The session's lock guards it.
type progressReports struct {
	send   func(*pb.Progress)
	later  func(time.Duration, func())
	newest map[int64]*pb.Progress
}

// put takes a report; what it does not say stays as it was.
func (p *progressReports) put(id int64, report *pb.Progress) {
	if len(p.newest) == 0 {
		p.later(progressInterval, p.flush)
	}
	kept, ok := p.newest[id]
	if !ok {
		kept = &pb.Progress{LeaseId: id}
		p.newest[id] = kept
	}
	if report.Fraction != nil {
		kept.Fraction = report.Fraction
	}
	if report.Message != "" {
		kept.Message = report.Message
	}
	if report.Checkpoint != nil {
		kept.Checkpoint = report.Checkpoint
	}
}

// beforeSettling sends a checkpoint that waits: behind the outcome it would come too late for the next attempt.
func (p *progressReports) beforeSettling(id int64) {
	if kept, ok := p.newest[id]; ok && kept.Checkpoint != nil {
		delete(p.newest, id)
		p.send(kept)
	}
}

func (p *progressReports) flush() {
	newest := p.newest
	p.newest = map[int64]*pb.Progress{}
	for _, each := range newest {
		p.send(each)
	}
}
