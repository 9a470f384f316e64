// Command e2e is the producer and the worker of the tests against a real server (tests/clients/test_go.py).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"jobqueue.dev/go/jobqueue"
)

func main() {
	server := flag.String("server", "", "the server's address")
	queue := flag.String("queue", "default", "where jobs are put and taken from")
	kind := flag.String("kind", "echo", "of the jobs to enqueue")
	journal := flag.String("journal", "", "the file that handlers note their starts in")
	name := flag.String("name", "go", "the worker's name")
	slots := flag.Int("slots", 32, "how many jobs run at once")
	workers := flag.Int("workers", 1, "how many there are in this process, each with a stream and slots of its own")
	roots := flag.String("roots", "", "TLS: who signs the server's certificate")
	cert := flag.String("cert", "", "TLS: the certificate to show")
	key := flag.String("key", "", "TLS: its key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var access jobqueue.Access
	if *roots != "" {
		config, err := jobqueue.TLSFromFiles(*roots, *cert, *key)
		check(err)
		access.TLS = config
	}
	switch flag.Arg(0) {
	case "enqueue":
		check(enqueue(ctx, access, *server, *queue, *kind))
	case "work":
		ended := make(chan error)
		for range *workers {
			go func() { ended <- work(ctx, access, *server, *queue, *journal, *name, *slots) }()
		}
		for range *workers {
			check(<-ended)
		}
	default:
		log.Fatalf("%q is neither enqueue nor work", flag.Arg(0))
	}
}

// enqueue makes a job of each line of its input, as it is, and prints the outputs in their order, as they are.
func enqueue(ctx context.Context, access jobqueue.Access, server, queue, kind string) error {
	client, err := jobqueue.NewClient(server, jobqueue.ClientOptions{Access: access})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	var jobs []jobqueue.NewJob
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		payload := json.RawMessage(append([]byte{}, lines.Bytes()...))
		jobs = append(jobs, jobqueue.NewJob{Kind: kind, Queue: queue, Payload: payload})
	}
	results, err := client.EnqueueBatch(ctx, jobs)
	if err != nil {
		return err
	}
	for _, each := range results {
		job, err := client.Wait(ctx, each.ID)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", job.Output)
	}
	return nil
}

// work answers each job with its payload; a job of the kind `count` is noted in the journal instead.
func work(ctx context.Context, access jobqueue.Access, server, queue, journal, name string, slots int) error {
	file, err := os.OpenFile(journal, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	worker, err := jobqueue.NewWorker(server, jobqueue.WorkerOptions{
		Access: access, Queues: []string{queue}, Concurrency: slots, Name: name, SessionTTL: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	worker.Handle("echo", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) { return job.Payload, nil })
	worker.Handle("noop", func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil })
	worker.Handle("count", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		// One write, which a kill -9 can't cut.
		_, err := fmt.Fprintf(file, "%s %d\n", job.ID, job.Attempt)
		return nil, err
	})
	worker.Handle("hold", func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		if _, err := fmt.Fprintf(file, "%s %d\n", job.ID, job.Attempt); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	return worker.Run(ctx)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
