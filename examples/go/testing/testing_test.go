// Tests of a handler alone, of a producer alone, and of both with a real server, in a namespace of the test's own.
//
//	go test ./testing
package testing_test

import (
	"context"
	"fmt"
	"testing"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

const queue = "example-testing"

type Invoice struct {
	Number int `json:"number"`
	Cents  int `json:"cents"`
}

var invoice = jobqueue.DefineKind[Invoice, string]("example_invoice", jobqueue.Defaults(jobqueue.NewJob{Queue: queue}))

// ---- what is to be tested

func doInvoice(_ context.Context, _ *jobqueue.LeasedJob, payload Invoice) (string, error) {
	return fmt.Sprintf("invoice %d: %d.%02d EUR", payload.Number, payload.Cents/100, payload.Cents%100), nil
}

// order is a producer, as of an HTTP handler.
func order(ctx context.Context, jobs jobqueue.Enqueuer, number, cents int) error {
	_, err := jobs.Enqueue(ctx, invoice.New(Invoice{number, cents}))
	return err
}

// ---- the tests

func TestAnInvoiceHasItsSum(t *testing.T) {
	done, err := jobqueuetest.Perform(t.Context(), invoice.Handler(doInvoice), invoice.New(Invoice{7, 1250}))
	if err != nil {
		t.Fatal(err)
	}
	var text string
	if err := done.DecodeOutput(&text); err != nil || text != "invoice 7: 12.50 EUR" {
		t.Error(text, err)
	}
}

func TestAnOrderEnqueuesItsInvoice(t *testing.T) {
	var client jobqueuetest.RecordingClient
	if err := order(t.Context(), &client, 7, 1250); err != nil {
		t.Fatal(err)
	}
	jobs := client.Stored()
	if len(jobs) != 1 || jobs[0].Queue != queue {
		t.Fatal(jobs)
	}
	if payload, err := invoice.PayloadOf(jobs[0]); err != nil || payload != (Invoice{7, 1250}) {
		t.Error(payload, err)
	}
}

func TestAnOrderIsInvoiced(t *testing.T) {
	scope := jobqueuetest.NewScope(t)
	if _, err := scope.Client.SyncKinds(t.Context(), invoice); err != nil {
		t.Fatal(err)
	}
	if err := order(t.Context(), scope.Client, 8, 99); err != nil {
		t.Fatal(err)
	}
	worker := scope.Worker(jobqueue.WorkerOptions{Queues: []string{queue}})
	jobqueue.HandleKind(worker, invoice, doInvoice)
	idle, err := scope.RunUntilIdle(worker)
	if err != nil || len(idle.Ended) != 1 {
		t.Fatal(idle, err)
	}
	if text, err := invoice.OutputOf(idle.Ended[0]); err != nil || text != "invoice 8: 0.99 EUR" {
		t.Error(text, err)
	}
}
