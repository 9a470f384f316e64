package jobqueue

import (
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Retention is how long jobs of a queue can be read after their end, by the status of that end, each 1 h to 3650 days. 0: as
// those of every queue.
type Retention struct {
	Succeeded, FailedPermanent, Cancelled time.Duration
}

func retentionMessage(retention *Retention) *pb.Retention {
	return &pb.Retention{
		Succeeded:       durationMessage(retention.Succeeded),
		FailedPermanent: durationMessage(retention.FailedPermanent),
		Cancelled:       durationMessage(retention.Cancelled),
	}
}

func retentionOf(message *pb.Retention) *Retention {
	if message == nil {
		return nil
	}
	return &Retention{
		Succeeded:       message.GetSucceeded().AsDuration(),
		FailedPermanent: message.GetFailedPermanent().AsDuration(),
		Cancelled:       message.GetCancelled().AsDuration(),
	}
}
