// One worker with two kinds. Each has its handler; they share the worker's slots.
//
//	go run ./two_kinds
package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"jobqueue.dev/go/jobqueue"
)

const queue = "example-two-kinds"

type Resize struct {
	Path  string `json:"path"`
	Width int    `json:"width"`
}

type SendEmail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
}

var (
	resize = jobqueue.DefineKind[Resize, jobqueue.None]("example_resize",
		jobqueue.Defaults(jobqueue.NewJob{Queue: queue}))
	// More urgent than pictures: of jobs that wait, those of the higher priority go first.
	sendEmail = jobqueue.DefineKind[SendEmail, jobqueue.None]("example_send_email",
		jobqueue.Defaults(jobqueue.NewJob{Queue: queue, Priority: 5}))
)

func doResize(_ context.Context, _ *jobqueue.LeasedJob, payload Resize) (jobqueue.None, error) {
	fmt.Printf("%s is %d wide\n", payload.Path, payload.Width)
	return jobqueue.None{}, nil
}

func doSend(_ context.Context, _ *jobqueue.LeasedJob, payload SendEmail) (jobqueue.None, error) {
	fmt.Printf("sent '%s' to %s\n", payload.Subject, payload.To)
	return jobqueue.None{}, nil
}

func main() {
	ctx, late := context.WithTimeout(context.Background(), time.Minute)
	defer late()

	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{
		Queues: []string{queue}, Concurrency: 4, SyncKinds: true,
	})
	check(err)
	jobqueue.HandleKind(worker, resize, doResize)
	jobqueue.HandleKind(worker, sendEmail, doSend)
	working, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { check(worker.Run(working)) })

	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	check(err)
	defer client.Close()
	_, err = client.SyncKinds(ctx, resize, sendEmail)
	check(err)
	for _, each := range []jobqueue.NewJob{
		resize.New(Resize{"a.png", 640}),
		sendEmail.New(SendEmail{"ada@example.org", "Hello"}),
	} {
		job, err := client.Enqueue(ctx, each)
		check(err)
		done, err := client.Wait(ctx, job.ID)
		check(err)
		fmt.Println(done.Kind, done.Status)
	}

	stop()
	serving.Wait()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
