package jobqueuetest_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"jobqueue.dev/go/jobqueue"
)

// Handlers with some of the endings, for tests that perform them.

type ask struct {
	Number int `json:"number"`
}

type answer struct {
	Half float64 `json:"half"`
}

// unwilling is an error of a program's own.
type unwilling struct{ words string }

func (u *unwilling) Error() string { return u.words }

var typed = jobqueue.DefineKind[ask, answer]("go.typed", jobqueue.PayloadVersion(2))

func halves(_ context.Context, _ *jobqueue.LeasedJob, of ask) (answer, error) {
	if of.Number < 0 {
		return answer{}, &unwilling{"it is below zero"}
	}
	return answer{float64(of.Number) / 2}, nil
}

var handlers = map[string]jobqueue.Handler{
	"nothing": func(_ context.Context, job *jobqueue.LeasedJob) (any, error) { return nil, job.Progress(1, "done") },
	"echo": func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return map[string]any{"payload": job.Payload, "attempt": job.Attempt, "queue": job.Queue, "key": job.Key,
			"last": job.IsLastAttempt()}, nil
	},
	"fails": func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, &unwilling{"not today"} },
	"retries": func(context.Context, *jobqueue.LeasedJob) (any, error) {
		return nil, jobqueue.Retry(errors.New("busy"), time.Hour)
	},
	"pauses": func(context.Context, *jobqueue.LeasedJob) (any, error) {
		return nil, jobqueue.Retry(errors.New("429"), time.Minute, jobqueue.PauseKey)
	},
	"discards": func(context.Context, *jobqueue.LeasedJob) (any, error) {
		return nil, jobqueue.Discard(errors.New("no such user"))
	},
	"snoozes":  func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, jobqueue.Snooze(time.Hour) },
	"gives-up": func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, jobqueue.ErrCancelled },
	"no-json":  func(context.Context, *jobqueue.LeasedJob) (any, error) { return make(chan int), nil },
	"too-large": func(context.Context, *jobqueue.LeasedJob) (any, error) {
		return strings.Repeat("x", 1<<20), nil
	},
	"too-many": func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		for range 101 {
			if err := job.FollowUp(jobqueue.NewJob{Kind: "go.next"}); err != nil {
				return nil, err
			}
		}
		return nil, nil
	},
	"follows-up": func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return "enqueued", job.FollowUp(jobqueue.NewJob{
			Kind: "go.next", Payload: map[string]int{"of": 1}, Queue: "later", Labels: map[string]string{"a": "b"}, Delay: time.Hour,
		})
	},
	"fails-after-following-up": func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return nil, errors.Join(job.FollowUp(jobqueue.NewJob{Kind: "go.next"}), &unwilling{"after all"})
	},
	"panics": func(context.Context, *jobqueue.LeasedJob) (any, error) { panic(&unwilling{"in the middle"}) },
	"exits":  func(context.Context, *jobqueue.LeasedJob) (any, error) { runtime.Goexit(); return nil, nil },
}
