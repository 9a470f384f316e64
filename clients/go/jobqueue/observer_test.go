package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// told is an observer that passes on what it is told.
type told chan string

func (t told) Started(kind string)                            { t <- "started " + kind }
func (t told) Finished(kind, outcome string, _ time.Duration) { t <- outcome + " " + kind }

func TestAnObserverIsToldOfEveryStartAndOfWhatBecameOfIt(t *testing.T) {
	server := newScripted(t)
	observer := make(told, 100)
	handler := func(ctx context.Context, leased *jobqueue.LeasedJob) (any, error) {
		switch leased.ID {
		case job(2, "k").Id, job(3, "k").Id:
			return nil, errors.New("no")
		case job(4, "k").Id:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, nil
	}
	work(server, handler, func(o *jobqueue.WorkerOptions) { o.Observer = observer })
	stream := server.open()

	stream.deliver(1, job(1, "k"))
	stream.settled(stream.settle())
	stream.deliver(2, job(2, "k"))
	stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 2, Verdict: pb.SettleResult_APPLIED, Status: pb.Job_RETRYING})
	stream.deliver(3, job(3, "k"))
	stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 3, Verdict: pb.SettleResult_APPLIED, Status: pb.Job_FAILED_PERMANENT})
	stream.deliver(4, job(4, "k"))
	stream.revoke("TIMED_OUT", 4)
	stream.deliver(5, job(5, "k"))
	stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 5, Verdict: pb.SettleResult_STALE_LEASE})

	var all []string
	for range 10 {
		all = append(all, receive(t, "what an observer is told", observer))
	}
	want := []string{
		"started k", "succeeded k", "started k", "retrying k", "started k", "failed_permanent k", "started k", "error k",
		"started k", "error k",
	}
	if !slices.Equal(all, want) {
		t.Error(fmt.Sprint(all))
	}
}
