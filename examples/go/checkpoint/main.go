// A long job that goes on where it was: it saves a checkpoint after each page, which the attempt after a failure reads.
//
//	go run ./checkpoint
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"jobqueue.dev/go/jobqueue"
)

const queue = "example-checkpoint"

type Import struct {
	Pages int `json:"pages"`
}

type Done struct {
	Pages int `json:"pages"`
}

var (
	atOnce      = &jobqueue.RetryPolicy{MinBackoff: 10 * time.Millisecond, MaxBackoff: 10 * time.Millisecond}
	importPages = jobqueue.DefineKind[Import, jobqueue.None]("example_import",
		jobqueue.Defaults(jobqueue.NewJob{Queue: queue, RetryPolicy: atOnce}))
)

func doImport(_ context.Context, job *jobqueue.LeasedJob, payload Import) (none jobqueue.None, err error) {
	// A value of your own, at most 64 KiB as JSON; as it is in the first attempt.
	done := Done{Pages: 0}
	if _, err := job.CheckpointAs(&done); err != nil {
		return none, err
	}
	fmt.Printf("attempt %d begins at page %d\n", job.Attempt, done.Pages)
	for page := done.Pages; page < payload.Pages; page++ {
		if page == 3 && job.Attempt == 1 {
			return none, errors.New("the source went away")
		}
		if err := job.SaveCheckpoint(Done{page + 1}); err != nil {
			return none, err
		}
	}
	fmt.Printf("imported %d pages\n", payload.Pages)
	return none, nil
}

func main() {
	ctx, late := context.WithTimeout(context.Background(), time.Minute)
	defer late()

	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{Queues: []string{queue}, SyncKinds: true})
	check(err)
	jobqueue.HandleKind(worker, importPages, doImport)
	working, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { check(worker.Run(working)) })

	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	check(err)
	defer client.Close()
	_, err = client.SyncKinds(ctx, importPages)
	check(err)
	job, err := client.Enqueue(ctx, importPages.New(Import{5}))
	check(err)
	done, err := client.Wait(ctx, job.ID)
	check(err)
	fmt.Printf("%s in attempt %d\n", done.Status, done.Attempts)

	stop()
	serving.Wait()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
