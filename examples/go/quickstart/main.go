// A kind with types, its handler, and one job: enqueued, run, and its output read.
//
//	go run ./quickstart
package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"jobqueue.dev/go/jobqueue"
)

const queue = "example-quickstart"

type Greet struct {
	Name string `json:"name"`
}

type Greeting struct {
	Text string `json:"text"`
}

var greet = jobqueue.DefineKind[Greet, Greeting]("example_greet", jobqueue.Defaults(jobqueue.NewJob{Queue: queue}))

func doGreet(_ context.Context, _ *jobqueue.LeasedJob, payload Greet) (Greeting, error) {
	return Greeting{"Hello, " + payload.Name + "!"}, nil
}

func main() {
	ctx, late := context.WithTimeout(context.Background(), time.Minute)
	defer late()

	// The worker tells the server its kinds. A program that is nothing but a worker ends with `worker.Run(ctx)`.
	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{Queues: []string{queue}, SyncKinds: true})
	check(err)
	jobqueue.HandleKind(worker, greet, doGreet)
	working, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { check(worker.Run(working)) })

	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	check(err)
	defer client.Close()
	_, err = client.SyncKinds(ctx, greet)
	check(err)
	job, err := client.Enqueue(ctx, greet.New(Greet{"Ada"}))
	check(err)
	done, err := client.Wait(ctx, job.ID)
	check(err)
	greeting, err := greet.OutputOf(done)
	check(err)
	fmt.Println(greeting.Text)

	stop() // the worker drains
	serving.Wait()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
