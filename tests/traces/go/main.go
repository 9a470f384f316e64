// Runs jobs of a queue, as tests/traces/worker_program.py does: first, follow_up, called.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/trace"

	"jobqueue.dev/go/jobqueue"
	jobqueueotel "jobqueue.dev/go/otel"
)

func main() {
	server, queue := os.Args[1], os.Args[2]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	exporter, err := otlptracehttp.New(ctx)
	check(err)
	provider := trace.NewTracerProvider(trace.WithSyncer(exporter))
	otel.SetTracerProvider(provider)

	access := jobqueue.Access{Tracer: jobqueueotel.New()}
	client, err := jobqueue.NewClient(server, jobqueue.ClientOptions{Access: access})
	check(err)
	worker, err := jobqueue.NewWorker(server, jobqueue.WorkerOptions{Access: access, Queues: []string{queue}})
	check(err)
	soon := &jobqueue.RetryPolicy{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}
	worker.Handle("first", func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		if _, err := client.Enqueue(ctx, jobqueue.NewJob{Kind: "called", Queue: queue}); err != nil {
			return nil, err
		}
		return nil, job.FollowUp(jobqueue.NewJob{Kind: "follow_up", Queue: queue, RetryPolicy: soon})
	})
	worker.Handle("follow_up", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		if job.Attempt == 1 {
			return nil, errors.New("the first attempt fails")
		}
		return nil, nil
	})
	worker.Handle("called", func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil })
	fmt.Println("ready")
	check(worker.Run(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
