// Runs jobs of the kind `double` until Ctrl-C.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"

	"jobqueue.dev/go/jobqueue"
)

func main() {
	server := flag.String("server", "127.0.0.1:50051", "the server's address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	worker, err := jobqueue.NewWorker(*server, jobqueue.WorkerOptions{Concurrency: 16})
	if err != nil {
		log.Fatal(err)
	}
	worker.Handle("double", func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		var in struct{ Number int }
		if err := job.Decode(&in); err != nil {
			return nil, jobqueue.Discard(err)
		}
		return map[string]int{"doubled": 2 * in.Number}, nil
	})
	if err := worker.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
