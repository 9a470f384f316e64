package jobqueuetest_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
)

// The handlers of tests/testing_kit/handlers.json in Go: each does the steps of its row.

// comesTo is what a row says that there is then, by the names of the table.
type comesTo map[string]any

type row struct {
	Name        string
	PayloadText *string `json:"payload_text"`
	Job         struct {
		Key         string
		Labels      map[string]string
		Headers     map[string]string
		MaxAttempts int `json:"max_attempts"`
		Timeout     int
	}
	Typed, Encoded bool
	Around, Stop   string
	Does           [][][]any
	ComesTo        comesTo `json:"comes_to"`
	Alone          comesTo
	Except         map[string]comesTo
}

// rowsOfTheTable are the handlers that can be written in Go.
func rowsOfTheTable(t *testing.T) []*row {
	t.Helper()
	text, err := os.ReadFile("../../../../tests/testing_kit/handlers.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct{ Handlers []*row }
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	var rows []*row
	for _, each := range table.Handlers {
		if each.Except["go"]["left_out"] == nil {
			rows = append(rows, each)
		}
	}
	return rows
}

var halving = jobqueue.DefineKind[ask, answer]("halves", jobqueue.PayloadVersion(2),
	jobqueue.Upcast(1, func(old struct{ N int }) (ask, error) { return ask{old.N}, nil }))

func (r *row) kind() string {
	if r.Typed {
		return halving.Name()
	}
	return r.Name
}

// job is what a producer enqueues.
func (r *row) job() jobqueue.NewJob {
	text := "null"
	if r.PayloadText != nil {
		text = *r.PayloadText
	}
	return jobqueue.NewJob{
		Kind: r.kind(), Payload: json.RawMessage(text), Key: r.Job.Key, Labels: r.Job.Labels, Headers: r.Job.Headers,
		MaxAttempts: max(1, r.Job.MaxAttempts), Timeout: time.Duration(r.Job.Timeout) * time.Second,
	}
}

// handler does the steps, and is without the middleware of the row.
func (r *row) handler() jobqueue.Handler {
	if r.Typed {
		return halving.Handler(halves)
	}
	return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		for _, step := range r.Does[job.Attempt-1] {
			output, err := done(ctx, job, step[0].(string), step[1:])
			if output != nil || err != nil {
				return output, err
			}
		}
		return nil, nil
	}
}

func seconds(value any) time.Duration { return time.Duration(value.(float64)) * time.Second }

// done does a step. Without a result there is another one.
func done(ctx context.Context, job *jobqueue.LeasedJob, step string, given []any) (any, error) {
	switch step {
	case "return":
		return given[0], nil
	case "payload":
		return job.Payload, nil
	case "echo":
		labels := job.Labels
		if labels == nil {
			labels = map[string]string{}
		}
		return map[string]any{
			"payload": job.Payload, "attempt": job.Attempt, "failures": job.Failures, "last": job.IsLastAttempt(),
			"checkpoint": string(job.Checkpoint), "key": job.Key, "labels": labels,
		}, nil
	case "raise":
		return nil, &unwilling{given[0].(string)}
	case "raise_long":
		return nil, &unwilling{strings.Repeat("é", int(given[0].(float64)))}
	case "break":
		panic(given[0])
	case "retry":
		return nil, jobqueue.Retry(&unwilling{given[0].(string)}, seconds(given[1]))
	case "discard":
		return nil, jobqueue.Discard(&unwilling{given[0].(string)})
	case "snooze":
		return nil, jobqueue.Snooze(seconds(given[0]))
	case "give_up":
		return nil, jobqueue.ErrCancelled
	case "no_json":
		return make(chan int), nil
	case "return_long":
		return strings.Repeat("x", int(given[0].(float64))-2), nil
	case "follow_up":
		next := given[0].(map[string]any)
		made := jobqueue.NewJob{Kind: next["kind"].(string), Payload: next["payload"], Queue: job.Kind}
		if labels, ok := next["labels"].(map[string]any); ok {
			made.Labels = map[string]string{}
			for name, value := range labels {
				made.Labels[name] = value.(string)
			}
		}
		if delay, ok := next["delay"]; ok {
			made.Delay = seconds(delay)
		}
		return nil, job.FollowUp(made)
	case "follow_ups":
		for range int(given[0].(float64)) {
			if err := job.FollowUp(jobqueue.NewJob{Kind: "next", Queue: job.Kind}); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "progress":
		return nil, job.Progress(given[0].(float64), "")
	case "checkpoint":
		return nil, job.SaveCheckpoint([]byte(given[0].(string)))
	case "checkpoint_long":
		return nil, job.SaveCheckpoint(make([]byte, int(given[0].(float64))))
	case "told", "told_long":
		words, ok := given[1].(string)
		if !ok {
			words = strings.Repeat("é", int(given[1].(float64)))
		}
		if err := job.Progress(given[0].(float64), words); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, nil
	case "stop":
		return nil, ctx.Err()
	case "time_left":
		ends, ok := ctx.Deadline()
		return ok && time.Until(ends) > 0 && time.Until(ends) <= time.Minute, nil
	}
	panic("no step: " + step)
}

// around does what a row says.
func around(says string) jobqueue.Middleware {
	return jobqueue.Middleware{
		Handle: func(next jobqueue.Handler) jobqueue.Handler {
			return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
				switch says {
				case "raises":
					return nil, &unwilling{"of no tenant"}
				case "answers":
					return "instead", nil
				}
				output, err := next(ctx, job)
				switch {
				case says == "raises_after":
					return nil, &unwilling{"too late"}
				case says == "changes" && err == nil:
					return map[string]any{"was": output}, nil
				}
				return output, err
			}
		},
		Enqueue: func(ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error) {
			for i := range jobs {
				jobs[i].Labels["of"] = "1"
			}
			return next(ctx, jobs)
		},
	}
}
