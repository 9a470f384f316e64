package jobqueue_test

import (
	"context"
	"encoding/json"
	"fmt"

	"jobqueue.dev/go/jobqueue"
)

type Letter struct {
	To      string   `json:"to"`
	Subject string   `json:"subject,omitempty"`
	CC      []string `json:"cc,omitempty"`
}

type Receipt struct {
	MessageID string `json:"message_id"`
}

var SendLetter = jobqueue.DefineKind[Letter, Receipt]("send-letter", jobqueue.Defaults(jobqueue.NewJob{MaxAttempts: 5}))

// Deliver is an ordinary function: a unit test calls it.
func Deliver(_ context.Context, _ *jobqueue.LeasedJob, letter Letter) (Receipt, error) {
	return Receipt{fmt.Sprintf("%d for %s", len(letter.CC)+1, letter.To)}, nil
}

func ExampleDefineKind() {
	fmt.Println(SendLetter.Name(), SendLetter.New(Letter{To: "ada@example.org"}).MaxAttempts)
	// Output: send-letter 5
}

func ExampleHandleKind() {
	worker, err := jobqueue.NewWorker("127.0.0.1:50051", jobqueue.WorkerOptions{})
	if err != nil {
		panic(err)
	}
	jobqueue.HandleKind(worker, SendLetter, Deliver, jobqueue.Slots(4))
	fmt.Println(worker.Status().Kinds)
	// Output: [send-letter]
}

// Before version 2 a letter had one name, and no address.
func ExampleUpcast() {
	type named struct {
		Name string `json:"name"`
	}
	kind := jobqueue.DefineKind[Letter, Receipt]("send-letter",
		jobqueue.PayloadVersion(2),
		jobqueue.Upcast(1, func(old named) (Letter, error) { return Letter{To: old.Name + "@example.org"}, nil }))
	letter, err := kind.PayloadOf(&jobqueue.Job{Kind: "send-letter", Payload: json.RawMessage(`{"name":"ada"}`)})
	fmt.Println(letter.To, err)
	// Output: ada@example.org <nil>
}

func ExampleJobKind_New() {
	job := SendLetter.New(Letter{To: "ada@example.org"})
	job.Priority = 3 // and what else this job says
	fmt.Println(job.Kind, job.Priority, job.MaxAttempts)
	// Output: send-letter 3 5
}

func ExampleJobKind_OutputOf() {
	job := &jobqueue.Job{
		ID: "7", Kind: "send-letter", Status: jobqueue.StatusCancelled, Reason: "CANCELLED_BY_WORKER",
	}
	_, err := SendLetter.OutputOf(job)
	fmt.Println(err)
	// Output: the job 7 is CANCELLED (CANCELLED_BY_WORKER)
}

func ExampleJobKind_Schema() {
	fmt.Println(string(jobqueue.DefineKind[map[string]int, jobqueue.None]("counts").Schema()))
	// Output: {"additionalProperties":{"maximum":9223372036854775807,"minimum":-9223372036854775808,"type":"integer"},"type":["object","null"],"x-payload-version":1}
}
