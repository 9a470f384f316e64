// Command program is the producer and worker of tests/clients, which tests/conformance/languages.py specifies.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"jobqueue.dev/go/jobqueue"
)

type line struct {
	SKU   string  `json:"sku"`
	Count int64   `json:"count"`
	Price float64 `json:"price"`
}

type order struct {
	Customer string  `json:"customer"`
	Lines    []line  `json:"lines"`
	Paid     bool    `json:"paid"`
	Note     *string `json:"note,omitempty"`
}

type summary struct {
	Customer string   `json:"customer"`
	Count    int64    `json:"count"`
	Dearest  *float64 `json:"dearest"`
}

var orders = jobqueue.DefineKind[order, summary]("order")

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("program enqueue or program work")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	server := flags.String("server", "", "the server's address")
	queue := flags.String("queue", "default", "where jobs are put and taken from")
	kind := flags.String("kind", "echo", "of the jobs to enqueue")
	name := flags.String("name", "go", "the worker's name")
	slots := flags.Int("slots", 32, "how many jobs run at once")
	workers := flags.Int("workers", 1, "how many there are, each with a stream and slots of its own")
	health := flags.String("health", "", "where /livez and /readyz are answered")
	roots := flags.String("roots", "", "TLS: who signs the server's certificate")
	cert := flags.String("cert", "", "TLS: the certificate to show")
	key := flags.String("key", "", "TLS: its key")
	check(flags.Parse(os.Args[2:]))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	var access jobqueue.Access
	if *roots != "" {
		config, err := jobqueue.TLSFromFiles(*roots, *cert, *key)
		check(err)
		access.TLS = config
	}
	switch os.Args[1] {
	case "enqueue":
		check(enqueue(ctx, access, *server, *queue, *kind))
	case "work":
		options := jobqueue.WorkerOptions{
			Access: access, Queues: []string{*queue}, Concurrency: *slots, Name: *name,
		}
		ended := make(chan error)
		for range *workers {
			go func() { ended <- work(ctx, *server, *health, options) }()
		}
		for range *workers {
			check(<-ended)
		}
	default:
		log.Fatalf("%q is neither enqueue nor work", os.Args[1])
	}
}

func enqueue(ctx context.Context, access jobqueue.Access, server, queue, kind string) error {
	client, err := jobqueue.NewClient(server, jobqueue.ClientOptions{Access: access})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	lines, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if kind == "order" {
		return enqueueOrders(ctx, client, queue, lines)
	}
	var jobs []jobqueue.NewJob
	for line := range bytes.Lines(lines) {
		payload := json.RawMessage(bytes.TrimSuffix(line, []byte("\n")))
		jobs = append(jobs, jobqueue.NewJob{Kind: kind, Queue: queue, Payload: payload})
	}
	results, err := client.EnqueueMany(ctx, jobs)
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

func enqueueOrders(ctx context.Context, client *jobqueue.Client, queue string, lines []byte) error {
	for text := range bytes.Lines(lines) {
		var payload order
		if err := json.Unmarshal(text, &payload); err != nil {
			return err
		}
		job := orders.New(payload)
		job.Queue = queue
		stored, err := client.Enqueue(ctx, job)
		if err != nil {
			return err
		}
		if stored, err = client.Wait(ctx, stored.ID); err != nil {
			return err
		}
		output, err := orders.OutputOf(stored)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(output); err != nil {
			return err
		}
	}
	return nil
}

func summarize(_ context.Context, _ *jobqueue.LeasedJob, order order) (summary, error) {
	said := summary{Customer: order.Customer}
	if order.Paid {
		said.Customer += ", paid"
	}
	if order.Note != nil {
		said.Customer += ": " + *order.Note
	}
	for _, each := range order.Lines {
		said.Count += each.Count
		if said.Dearest == nil || each.Price > *said.Dearest {
			said.Dearest = &each.Price
		}
	}
	return said, nil
}

func work(ctx context.Context, server, health string, options jobqueue.WorkerOptions) error {
	worker, err := jobqueue.NewWorker(server, options)
	if err != nil {
		return err
	}
	jobqueue.HandleKind(worker, orders, summarize)
	worker.Handle("echo", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) { return job.Payload, nil })
	worker.Handle("noop", func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil })
	worker.Handle("rest", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		var seconds float64
		if err := job.Decode(&seconds); err != nil {
			return nil, err
		}
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		return nil, nil
	})
	worker.Handle("hold", func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	if health != "" {
		go func() { check(http.ListenAndServe(health, worker.HealthHandler())) }()
	}
	return worker.Run(ctx)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
