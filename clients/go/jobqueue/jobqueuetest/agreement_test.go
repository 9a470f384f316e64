package jobqueuetest_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

type comes struct {
	status jobqueue.Status
	reason string
}

var ends = map[jobqueuetest.Ending]comes{
	jobqueuetest.Succeeded: {jobqueue.StatusSucceeded, ""},
	jobqueuetest.Failed:    {jobqueue.StatusFailedPermanent, "ATTEMPTS_EXHAUSTED"},
	jobqueuetest.Discarded: {jobqueue.StatusFailedPermanent, "NOT_RETRYABLE"},
	jobqueuetest.Cancelled: {jobqueue.StatusCancelled, "CANCELLED_BY_WORKER"},
	jobqueuetest.Snoozed:   {jobqueue.StatusQueued, ""},
}

// A test of the repository runs it, with the address of a server whose kinds are open.
func TestAHandlerComesToTheSameByItselfAndByAWorkerOfAServer(t *testing.T) {
	address := os.Getenv("JOBQUEUE_TEST_SERVER")
	if address == "" {
		t.Skip("JOBQUEUE_TEST_SERVER is not set")
	}
	ctx, drain := context.WithTimeout(t.Context(), time.Minute)
	defer drain()
	client, err := jobqueue.NewClient(address, jobqueue.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	worker, err := jobqueue.NewWorker(address, jobqueue.WorkerOptions{Concurrency: 32})
	if err != nil {
		t.Fatal(err)
	}
	jobqueue.HandleKind(worker, typed, halves)
	var jobs []jobqueue.NewJob
	for name, handler := range handlers {
		worker.Handle("go."+name, handler)
		jobs = append(jobs, jobqueue.NewJob{Kind: "go." + name, Payload: map[string]int{"n": 7}, Key: "k", MaxAttempts: 1})
	}
	for _, number := range []int{7, -1} {
		job := typed.New(ask{number})
		job.MaxAttempts = 1
		jobs = append(jobs, job)
	}
	for version, text := range map[string]string{"1": `{"number":1}`, "2": `{"number":"secret"}`, "3": `{}`} {
		jobs = append(jobs, jobqueue.NewJob{Kind: typed.Name(), Payload: json.RawMessage(text), MaxAttempts: 1,
			Headers: map[string]string{"x-payload-version": version}})
	}
	sent, err := client.EnqueueMany(ctx, jobs)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	serving, stop := context.WithCancel(ctx)
	go func() { served <- worker.Run(serving) }()
	for i, job := range jobs {
		done, _ := jobqueuetest.Perform(ctx, worker.HandlerOf(job.Kind), job)
		if done == nil {
			t.Fatalf("%s came to nothing", job.Kind)
		}
		there := over(ctx, t, client, sent[i].ID)
		if came := (comes{there.Status, there.Reason}); came != ends[done.Ending] {
			t.Errorf("%s: %v there, %s alone", job.Kind, came, done.Ending)
		}
		if string(there.Output) != string(done.Output) || there.LastError != done.Error {
			t.Errorf("%s: %s, %q there, %s, %q alone", job.Kind, there.Output, there.LastError, done.Output, done.Error)
		}
		failed := ""
		if len(there.FailedAttempts) > 0 {
			failed = there.FailedAttempts[0].ErrorType
		}
		if failed != done.ErrorType {
			t.Errorf("%s: %q there, %q alone", job.Kind, failed, done.ErrorType)
		}
	}
	alone, err := jobqueuetest.Perform(ctx, handlers["follows-up"], jobqueue.NewJob{})
	if err != nil {
		t.Fatal(err)
	}
	for next, err := range client.List(ctx, jobqueue.Filter{Kind: "go.next", Full: true}) {
		job := alone.FollowUps[0]
		if err != nil || next.Queue != job.Queue || string(next.Payload) != string(job.Payload.(json.RawMessage)) ||
			next.Labels["a"] != job.Labels["a"] {
			t.Errorf("%+v there, %+v alone, %v", next, job, err)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// over is the job once its first attempt is over.
func over(ctx context.Context, t *testing.T, client *jobqueue.Client, id string) *jobqueue.Job {
	t.Helper()
	for ctx.Err() == nil {
		job, err := client.Get(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if job.IsTerminal() || (job.Attempts > 0 && job.Status != jobqueue.StatusRunning) {
			return job
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the job %s is not over", id)
	return nil
}
