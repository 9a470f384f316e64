package jobqueuetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

// encrypting are encodings with keys of these names, the first of which encrypts.
func encrypting(t *testing.T, names ...string) *jobqueue.Encodings {
	t.Helper()
	keys := map[string][]byte{}
	for _, name := range names {
		keys[name] = bytes.Repeat([]byte(name), 32)
	}
	cipher, err := jobqueue.NewAESGCM(keys, names[0])
	if err != nil {
		t.Fatal(err)
	}
	encodings, err := jobqueue.NewEncodings(cipher)
	if err != nil {
		t.Fatal(err)
	}
	return encodings
}

func clientOf(t *testing.T, scope *jobqueuetest.TestScope, encodings *jobqueue.Encodings) *jobqueue.Client {
	t.Helper()
	client, err := jobqueue.NewClient(scope.Target, jobqueue.ClientOptions{
		Access: jobqueue.Access{Token: scope.Key}, Encodings: encodings,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// served runs a worker of the scope that answers the payloads of a kind, until the function has ended.
func served(t *testing.T, scope *jobqueuetest.TestScope, encodings *jobqueue.Encodings, during func()) {
	t.Helper()
	worker := scope.Worker(jobqueue.WorkerOptions{Encodings: encodings})
	worker.Handle("mail", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) { return job.Payload, nil })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	during()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestInAScopeAJobWhoseKeyIsMissingWaitsForItAndThenRuns(t *testing.T) {
	scope := scopeOf(t)
	client := clientOf(t, scope, encrypting(t, "b"))
	job, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "mail", Payload: "the eagle has landed"})
	if err != nil {
		t.Fatal(err)
	}
	served(t, scope, encrypting(t, "a"), func() {
		watch := client.Watch(jobqueue.WatchFilter{IDs: []string{job.ID}, Full: true})
		for job, err := range watch.Jobs(t.Context()) {
			if err != nil || job.Failures > 0 || string(job.Payload) != `"the eagle has landed"` {
				t.Fatal(job, err)
			}
			if job.Attempts == 1 && job.Status != jobqueue.StatusRunning {
				break
			}
		}
	})
	scope.MakeDue(job)
	served(t, scope, encrypting(t, "a", "b"), func() {
		done, err := client.Wait(t.Context(), job.ID)
		if err != nil || done.Status != jobqueue.StatusSucceeded || done.Failures > 0 {
			t.Fatal(done, err)
		}
		// Of the worker's primary key, which this client does not have.
		if encoded := done.OutputEncoded(); encoded == nil || encoded.KeyID != "a" {
			t.Error(encoded)
		}
		read, err := clientOf(t, scope, encrypting(t, "a", "b")).Get(t.Context(), job.ID)
		if err != nil || string(read.Output) != `"the eagle has landed"` {
			t.Error(read, err)
		}
	})
}

func TestInAScopeAnEnvelopeOfAnotherKindEndsItsJobWhichKeepsIt(t *testing.T) {
	scope := scopeOf(t)
	all := encrypting(t, "a")
	made, err := clientOf(t, scope, all).Enqueue(t.Context(), jobqueue.NewJob{Kind: "next", Payload: 7})
	if err != nil {
		t.Fatal(err)
	}
	good, err := scope.Client.Get(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := scope.Client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "mail", Payload: good.Payload})
	if err != nil {
		t.Fatal(err)
	}
	served(t, scope, all, func() {
		done, err := scope.Client.Wait(t.Context(), moved.ID)
		if err != nil || done.Status != jobqueue.StatusFailedPermanent || done.FailedAttempts[0].ErrorType != "PayloadUnreadable" ||
			!bytes.Equal(done.Payload, good.Payload) {
			t.Error(done, err)
		}
	})
}

func TestInAScopeAWorkerTellsTheServerThatItsKindsMayBeEncoded(t *testing.T) {
	scope := scopeOf(t)
	all := encrypting(t, "a")
	kind := jobqueue.DefineKind[map[string]string, map[string]string]("told")
	worker := scope.Worker(jobqueue.WorkerOptions{Encodings: all, SyncKinds: true})
	jobqueue.HandleKind(worker, kind, func(
		_ context.Context, _ *jobqueue.LeasedJob, payload map[string]string,
	) (map[string]string, error) {
		return payload, nil
	})
	client := clientOf(t, scope, all)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	for worker.Status().State != jobqueue.WorkerServing {
		time.Sleep(10 * time.Millisecond)
	}
	job, err := client.Enqueue(t.Context(), kind.New(map[string]string{"text": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	done, err := client.Wait(t.Context(), job.ID)
	if err != nil {
		t.Fatal(err)
	}
	if output, err := kind.OutputOf(done); err != nil || output["text"] != "x" {
		t.Error(output, err)
	}
	if payload, err := kind.PayloadOf(done); err != nil || payload["text"] != "x" {
		t.Error(payload, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestInAScopeTheServerTakesWhatAKindSaysOfEncodings(t *testing.T) {
	scope := scopeOf(t)
	all := encrypting(t, "a")
	type note struct {
		Text string `json:"text"`
	}
	for rule, takes := range map[jobqueue.EncodingRule][2]bool{
		"": {true, true}, jobqueue.EncodingsNever: {true, false}, jobqueue.EncodingsAllowed: {true, true},
		jobqueue.EncodingsRequired: {false, true},
	} {
		kind := jobqueue.DefineKind[note, jobqueue.None]("note."+string("x"+rule), jobqueue.KindEncodings(rule))
		client := clientOf(t, scope, all)
		for _, changed := range []bool{true, false} {
			if synced, err := client.SyncKinds(t.Context(), kind); err != nil || synced[0].Changed != changed {
				t.Fatal(rule, synced, err)
			}
		}
		// By its name alone, so that what the client knows of the kind does not count.
		_, plain := scope.Client.Enqueue(t.Context(), jobqueue.NewJob{Kind: kind.Name(), Payload: note{"x"}})
		_, sealed := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: kind.Name(), Payload: note{"x"}})
		_, wrong := scope.Client.Enqueue(t.Context(), jobqueue.NewJob{Kind: kind.Name(), Payload: json.RawMessage(`{"text":7}`)})
		for i, err := range []error{plain, sealed} {
			if (err == nil) != takes[i] || (err != nil && !errors.Is(err, jobqueue.ErrPayloadInvalid)) {
				t.Error(rule, i, err)
			}
		}
		if !errors.Is(wrong, jobqueue.ErrPayloadInvalid) {
			t.Error(rule, wrong)
		}
	}
}

func TestInAScopeTheJobOfAScheduleIsEncodedAndAppliedAgainItHasTheSameBytes(t *testing.T) {
	scope := scopeOf(t)
	all := encrypting(t, "a")
	schedules := clientOf(t, scope, all).Schedules()
	seldom := jobqueue.ScheduleSpec{Cron: []string{"0 0 1 1 *"}}
	mail := jobqueue.NewJob{Kind: "mail", Payload: "the eagle has landed"}
	if _, err := schedules.Create(t.Context(), jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: mail}); err != nil {
		t.Fatal(err)
	}
	stored, err := scope.Client.Schedules().Get(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	envelope, encoded := stored.Job.Payload.(json.RawMessage), stored.Job.PayloadEncoded()
	if encoded == nil || encoded.KeyID != "a" || bytes.Contains(envelope, []byte("eagle")) {
		t.Fatalf("%s, %v", envelope, encoded)
	}
	same, err := schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &mail})
	if err != nil || string(same.Job.Payload.(json.RawMessage)) != `"the eagle has landed"` {
		t.Fatal(same, err)
	}
	if _, err := schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &stored.Job}); !errors.As(err, &encoded) {
		t.Error(err)
	}
	if read, err := scope.Client.Schedules().Get(t.Context(), "s"); err != nil ||
		!bytes.Equal(read.Job.Payload.(json.RawMessage), envelope) {
		t.Error(read, err)
	}
	run, err := schedules.Run(t.Context(), "s", jobqueue.ScheduleRunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	served(t, scope, all, func() {
		done, err := clientOf(t, scope, all).Wait(t.Context(), run.JobID)
		if err != nil || done.Status != jobqueue.StatusSucceeded || string(done.Output) != `"the eagle has landed"` {
			t.Error(done, err)
		}
	})
}
