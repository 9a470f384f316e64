package jobqueuetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

func signUp(ctx context.Context, client jobqueue.Enqueuer, address string) error {
	_, err := client.Enqueue(ctx, jobqueue.NewJob{
		Kind: "welcome", Payload: map[string]string{"to": address}, IdempotencyKey: "welcome-" + address,
	})
	return err
}

func TestWhatIsEnqueuedIsKeptOnceForEachKey(t *testing.T) {
	var client jobqueuetest.RecordingClient
	for _, address := range []string{"ada", "ada", "bob"} {
		if err := signUp(t.Context(), &client, address); err != nil {
			t.Fatal(err)
		}
	}
	jobs := client.Jobs()
	if len(jobs) != 2 || jobs[0].Kind != "welcome" || string(jobs[0].Payload.(json.RawMessage)) != `{"to":"ada"}` ||
		jobs[1].IdempotencyKey != "welcome-bob" || jobs[0].Queue != "" || jobs[0].MaxAttempts != 0 {
		t.Errorf("%+v", jobs)
	}
	first := jobqueue.NewJob{Kind: "welcome", Payload: map[string]string{"to": "ada"}, IdempotencyKey: "welcome-ada"}
	first.Headers = map[string]string{"not": "part of it"}
	again, err := client.Enqueue(t.Context(), first)
	if err != nil || !again.Replayed || again.ID != client.Stored()[0].ID {
		t.Error(again, err)
	}
	first.Priority = 1
	_, err = client.Enqueue(t.Context(), first)
	var failure *jobqueue.Error
	if !errors.Is(err, jobqueue.ErrIdempotencyKeyReused) || !errors.As(err, &failure) || failure.Metadata["job_id"] != again.ID {
		t.Error(err)
	}
}

func TestAnAnswerHasAllThatWasSaidOfTheJob(t *testing.T) {
	var client jobqueuetest.RecordingClient
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	job, err := client.Enqueue(t.Context(), jobqueue.NewJob{
		Kind: "mail", Key: "k", Unique: &jobqueue.Unique{Key: "u"}, Timeout: time.Minute, RunAt: at, Hold: true,
	})
	if err != nil || job.Key != "k" || job.UniqueKey != "u" || job.Timeout != time.Minute || !job.RunAt.Equal(at) ||
		job.Hold != jobqueue.HoldHand {
		t.Errorf("%+v, %v", job, err)
	}
	later, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "mail", Delay: time.Hour})
	if err != nil || later.RunAt.Sub(later.CreatedAt) != time.Hour || later.Hold != "" {
		t.Errorf("%+v, %v", later, err)
	}
}

func TestAnAnswerIsAQueuedJobWithAnIDOfItsOwn(t *testing.T) {
	var client jobqueuetest.RecordingClient
	one, err := client.Enqueue(t.Context(), typed.New(ask{7}))
	if err != nil || one.Status != jobqueue.StatusQueued || one.Queue != "default" || one.MaxAttempts != 3 || one.CreatedAt.IsZero() {
		t.Error(one, err)
	}
	if payload, err := typed.PayloadOf(client.Stored()[0]); err != nil || payload.Number != 7 {
		t.Error(payload, err)
	}
	two, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "k"}, {Kind: "k"}})
	if err != nil || two[0].ID == two[1].ID || two[0].ID == one.ID || len(client.Jobs()) != 3 {
		t.Error(two, err)
	}
}

func TestAJobIsKeptAsItWasGiven(t *testing.T) {
	var client jobqueuetest.RecordingClient
	given := jobqueue.NewJob{
		Kind: "k", Payload: json.RawMessage(`{ }`), Queue: "q", Priority: -3, Delay: time.Hour, MaxAttempts: 7, Timeout: time.Minute,
		RetryPolicy: &jobqueue.RetryPolicy{MinBackoff: time.Second}, IdempotencyKey: "i", Labels: map[string]string{"a": "b"},
		Headers: map[string]string{"c": "d"}, Hold: true, Key: "key",
		Unique: &jobqueue.Unique{Key: "u", PayloadFields: []string{"/a"}, Scope: jobqueue.ScopeQueue, Until: jobqueue.UntilPeriod,
			Period: time.Hour, OnConflict: jobqueue.ConflictReplace, Replace: []jobqueue.UniqueField{jobqueue.ReplaceRunAt}, MaxDelay: time.Hour},
	}
	if _, err := client.Enqueue(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	wanted, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := json.Marshal(client.Jobs()[0]); err != nil || string(kept) != string(wanted) {
		t.Errorf("%s\n%s", kept, wanted)
	}
}

func TestWhatEveryServerRefusesIsRefusedAndNothingIsKept(t *testing.T) {
	var client jobqueuetest.RecordingClient
	for field, job := range map[string]jobqueue.NewJob{
		"jobs[1].kind":         {},
		"jobs[1].queue":        {Kind: "k", Queue: "Not a name"},
		"jobs[1].priority":     {Kind: "k", Priority: 11},
		"jobs[1].max_attempts": {Kind: "k", MaxAttempts: 1001},
		"jobs[1].payload":      {Kind: "k", Payload: strings.Repeat("x", 1<<20)},
	} {
		_, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "k", IdempotencyKey: "i"}, job})
		var failure *jobqueue.Error
		if !errors.Is(err, jobqueue.ErrInvalidRequest) || !errors.As(err, &failure) || failure.Violations[0].Field != field {
			t.Error(err)
		}
	}
	if _, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k", Payload: json.RawMessage(`{"a":`)}); err == nil {
		t.Error("it is no JSON")
	}
	if len(client.Jobs()) != 0 {
		t.Error(client.Jobs())
	}
	if _, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "other", IdempotencyKey: "i"}); err != nil {
		t.Error("a key of a refused batch is used:", err)
	}
	batch := []jobqueue.NewJob{{Kind: "k"}, {Kind: "k", IdempotencyKey: "i"}}
	if _, err := client.EnqueueMany(t.Context(), batch); !errors.Is(err, jobqueue.ErrIdempotencyKeyReused) || len(client.Jobs()) != 1 {
		t.Error("half of a batch is kept:", err, client.Jobs())
	}
}

// even has a rule that its type does not show.
type even int

func (e *even) UnmarshalJSON(text []byte) error {
	var number int
	if err := json.Unmarshal(text, &number); err != nil || number%2 != 0 {
		return errors.New("odd")
	}
	*e = even(number)
	return nil
}

func TestAPayloadThatItsWorkerCouldNotReadIsRefused(t *testing.T) {
	var client jobqueuetest.RecordingClient
	kind := jobqueue.DefineKind[struct{ N even }, jobqueue.None]("even")
	if _, err := client.Enqueue(t.Context(), kind.New(struct{ N even }{2})); err != nil {
		t.Error(err)
	}
	_, err := client.Enqueue(t.Context(), kind.New(struct{ N even }{3}))
	if !errors.Is(err, jobqueue.ErrPayloadInvalid) || !strings.Contains(err.Error(), "payload.N: must be what a even is read from") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Enqueue(ctx, kind.New(struct{ N even }{2})); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
