// A job that is cancelled while it runs: its handler is told, cleans up, and ends.
//
//	go run ./cancel
package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"jobqueue.dev/go/jobqueue"
)

const queue = "example-cancel"

type Render struct {
	Frames int `json:"frames"`
}

var render = jobqueue.DefineKind[Render, jobqueue.None]("example_render", jobqueue.Defaults(jobqueue.NewJob{Queue: queue}))

// renders returns a handler that tells when it runs.
func renders(tell func()) jobqueue.KindHandler[Render, jobqueue.None] {
	return func(ctx context.Context, _ *jobqueue.LeasedJob, payload Render) (none jobqueue.None, err error) {
		fmt.Println("rendering")
		defer fmt.Println("the frames are removed")
		tell()
		for range payload.Frames {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				// context.Cause(ctx) says why. Of a job that is cancelled this error says that its handler has stopped.
				return none, ctx.Err()
			}
		}
		return none, nil
	}
}

func main() {
	ctx, late := context.WithTimeout(context.Background(), time.Minute)
	defer late()

	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{Queues: []string{queue}, SyncKinds: true})
	check(err)
	runs := make(chan struct{})
	jobqueue.HandleKind(worker, render, renders(sync.OnceFunc(func() { close(runs) })))
	working, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { check(worker.Run(working)) })

	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	check(err)
	defer client.Close()
	_, err = client.SyncKinds(ctx, render)
	check(err)
	job, err := client.Enqueue(ctx, render.New(Render{100_000}))
	check(err)
	select {
	case <-runs:
	case <-ctx.Done():
		check(ctx.Err())
	}
	_, err = client.Cancel(ctx, job.ID)
	check(err)
	done, err := client.Wait(ctx, job.ID)
	check(err)
	fmt.Println(done.Status)

	stop()
	serving.Wait()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
