package jobqueuezstd

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
)

type note struct {
	Text string `json:"text"`
}

type answer struct {
	Got        string `json:"got"`
	Checkpoint string `json:"checkpoint"`
}

// A test of the repository runs it, with the address of a server on which Python does the same on its side.
func TestEncodedJobsOfGoAndPythonAreEachOthers(t *testing.T) {
	address := os.Getenv("JOBQUEUE_TEST_SERVER")
	if address == "" {
		t.Skip("JOBQUEUE_TEST_SERVER is not set")
	}
	ctx, drain := context.WithTimeout(t.Context(), time.Minute)
	defer drain()
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	cipher, err := jobqueue.NewAESGCM(map[string][]byte{"a": key}, "a")
	if err != nil {
		t.Fatal(err)
	}
	all := listed(t, compressing(t, Over(200)), cipher)
	client, err := jobqueue.NewClient(address, jobqueue.ClientOptions{Encodings: all})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	worker, err := jobqueue.NewWorker(address, jobqueue.WorkerOptions{Encodings: all})
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle("go.encoded", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		var told note
		if err := job.Decode(&told); err != nil {
			return nil, err
		}
		if job.Attempt == 1 {
			return nil, errors.Join(job.SaveCheckpoint([]byte("half of "+told.Text)), jobqueue.Retry(errors.New("again"), 0))
		}
		return answer{told.Text, string(job.Checkpoint)}, job.FollowUp(jobqueue.NewJob{Kind: "py.next", Payload: told})
	})
	served := make(chan error, 1)
	go func() { served <- worker.Run(ctx) }()

	// What Python has enqueued, and does not wait for.
	for job, err := range client.List(ctx, jobqueue.Filter{Kind: "go.encoded", Full: true}) {
		if err != nil {
			t.Fatal(err)
		}
		var told note
		if err := job.Decode(&told); err != nil {
			t.Fatal(err)
		}
		wait(ctx, t, client, job.ID, told.Text)
	}
	// What Python does for us.
	text := "the eagle has landed"
	for range 5 {
		text += ", " + text
	}
	theirs, err := client.Enqueue(ctx, jobqueue.NewJob{Kind: "py.encoded", Payload: note{text}})
	if err != nil {
		t.Fatal(err)
	}
	wait(ctx, t, client, theirs.ID, text)
	// The same keyed call, and the same kind.
	keyed := jobqueue.NewJob{Kind: "keyed", Payload: json.RawMessage(`{"text":"zürich"}`), IdempotencyKey: "order-ä-7"}
	if job, err := client.Enqueue(ctx, keyed); err != nil || !job.Replayed || string(job.Payload) != `{"text":"zürich"}` {
		t.Errorf("%+v %v", job, err)
	}
	kind := jobqueue.DefineKind[note, jobqueue.None]("both.required", jobqueue.KindEncodings(jobqueue.EncodingsRequired))
	if synced, err := client.SyncKinds(ctx, kind); err != nil || synced[0].Kind.Version != 1 {
		t.Errorf("%+v %v", synced, err)
	}
	if _, err := client.Enqueue(ctx, kind.New(note{text})); err != nil {
		t.Error(err)
	}
	drain()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func wait(ctx context.Context, t *testing.T, client *jobqueue.Client, id, text string) {
	t.Helper()
	done, err := client.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var said answer
	if err := done.DecodeOutput(&said); err != nil || said != (answer{text, "half of " + text}) {
		t.Errorf("%s is %s: %+v %v", done.Kind, done.Status, said, err)
	}
}
