// Command handlers is a worker whose handler reads its payload and answers it, `handlers WAY SERVER`, or `handlers kit`.
//
// bench/programs.py says what both do. bench/workers/handlers.py is the same in Python.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"jobqueue.dev/go/jobqueue"
	jobqueuezstd "jobqueue.dev/go/zstd"
)

const slots = 1000

// Order is what a payload is.
type Order struct {
	ID       int      `json:"id"`
	Customer string   `json:"customer"`
	Paid     bool     `json:"paid"`
	Lines    []string `json:"lines"`
	Note     string   `json:"note"`
}

// Total is what a handler answers.
type Total struct {
	ID    int `json:"id"`
	Lines int `json:"lines"`
}

var typed = jobqueue.DefineKind[Order, Total]("typed")

// nothing goes around a handler, and does nothing.
var nothing = jobqueue.Middleware{
	Handle: func(next jobqueue.Handler) jobqueue.Handler {
		return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) { return next(ctx, job) }
	},
}

func main() {
	switch arguments := os.Args[1:]; {
	case slices.Equal(arguments, []string{"kit"}):
		tell()
	case len(arguments) == 2:
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second signal ends the process at once
		check(workerOf(arguments[0], arguments[1]).Run(ctx))
	default:
		log.Fatal("handlers WAY SERVER or handlers kit")
	}
}

func workerOf(way, server string) *jobqueue.Worker {
	options := jobqueue.WorkerOptions{Concurrency: slots}
	switch way {
	case "middleware":
		options.Middleware = []jobqueue.Middleware{nothing, nothing, nothing}
	case "encoded":
		options.Encodings = encodings()
	}
	worker, err := jobqueue.NewWorker(server, options)
	check(err)
	if way == "typed" {
		jobqueue.HandleKind(worker, typed, total)
	} else {
		worker.Handle(way, plain)
	}
	return worker
}

// encodings are compression and encryption, of payloads of any size.
func encodings() *jobqueue.Encodings {
	compressor, err := jobqueuezstd.New(jobqueuezstd.Over(0))
	check(err)
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	cipher, err := jobqueue.NewAESGCM(map[string][]byte{"bench": key}, "bench")
	check(err)
	made, err := jobqueue.NewEncodings(compressor, cipher)
	check(err)
	return made
}

// plain reads its payload by encoding/json, into the struct of the typed kind.
func plain(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
	var order Order
	if err := job.Decode(&order); err != nil {
		return nil, jobqueue.Discard(err)
	}
	return Total{order.ID, len(order.Lines)}, nil
}

func total(_ context.Context, _ *jobqueue.LeasedJob, order Order) (Total, error) {
	return Total{order.ID, len(order.Lines)}, nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
