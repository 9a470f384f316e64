package jobqueuetest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

func ExamplePerform() {
	count := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		if job.Attempt == 1 {
			return nil, jobqueue.Retry(errors.New("the store is busy"), 5*time.Minute)
		}
		return map[string]int{"rows": 42}, job.Progress(0.5, "half of it")
	}
	ctx := context.Background()
	first, err := jobqueuetest.Perform(ctx, count, jobqueue.NewJob{Payload: map[string]int{"rows": 21}})
	fmt.Println(first.Ending, *first.RetryAfter, err)
	second, err := first.Again(ctx)
	fmt.Println(string(second.Output), second.Progress[0].Message, err)
	// Output:
	// failed 5m0s <nil>
	// {"rows":42} half of it <nil>
}

func ExampleAttempt() {
	job, err := jobqueuetest.Attempt(jobqueue.NewJob{MaxAttempts: 2}, jobqueuetest.AttemptNumber(2))
	fmt.Println(job.IsLastAttempt(), err)
	// Output: true <nil>
}

func ExampleRecordingClient() {
	var client jobqueuetest.RecordingClient
	_, err := client.Enqueue(context.Background(), jobqueue.NewJob{Kind: "welcome", Payload: []int{1}})
	fmt.Printf("%s %s %v\n", client.Jobs()[0].Kind, client.Jobs()[0].Payload, err)
	// Output: welcome [1] <nil>
}
