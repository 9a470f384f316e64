// Jobs that follow: they are stored in the transaction that ends their job, so there is never one without the other.
//
//	go run ./follow_up
package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"jobqueue.dev/go/jobqueue"
)

const queue = "example-follow-up"

type Order struct {
	Number int `json:"number"`
}

var (
	inQueue = jobqueue.Defaults(jobqueue.NewJob{Queue: queue})
	pack    = jobqueue.DefineKind[Order, jobqueue.None]("example_pack", inQueue)
	receipt = jobqueue.DefineKind[Order, jobqueue.None]("example_receipt", inQueue)
)

func doPack(_ context.Context, job *jobqueue.LeasedJob, order Order) (jobqueue.None, error) {
	fmt.Printf("order %d is packed\n", order.Number)
	// Stored if this attempt succeeds, and only then.
	return jobqueue.None{}, job.FollowUp(receipt.New(order))
}

func main() {
	ctx, late := context.WithTimeout(context.Background(), time.Minute)
	defer late()

	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{Queues: []string{queue}, SyncKinds: true})
	check(err)
	jobqueue.HandleKind(worker, pack, doPack)
	sent := make(chan struct{})
	tell := sync.OnceFunc(func() { close(sent) }) // a job may run twice
	jobqueue.HandleKind(worker, receipt, func(_ context.Context, _ *jobqueue.LeasedJob, order Order) (jobqueue.None, error) {
		fmt.Printf("the receipt of order %d is sent\n", order.Number)
		tell()
		return jobqueue.None{}, nil
	})
	working, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { check(worker.Run(working)) })

	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	check(err)
	defer client.Close()
	_, err = client.SyncKinds(ctx, pack, receipt)
	check(err)
	_, err = client.Enqueue(ctx, pack.New(Order{7}))
	check(err)
	select {
	case <-sent:
	case <-ctx.Done():
		check(ctx.Err())
	}

	stop()
	serving.Wait()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
