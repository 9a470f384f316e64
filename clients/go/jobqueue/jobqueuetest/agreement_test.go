package jobqueuetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

// facts are what became of a job: by a worker of a real server, or alone.
type facts struct {
	outcome                      jobqueuetest.Ending
	output, errorText, errorType string
	// Whole hours, in seconds: a server adds up to a tenth to a retry. 0: less than one.
	after    int
	progress jobqueuetest.Report
	next     []following
}

type following struct {
	kind, payload string
	labels        map[string]string
	after         int
}

func hours(wait time.Duration) int { return int(wait/time.Hour) * 3600 }

var endings = map[jobqueue.Status]map[string]jobqueuetest.Ending{
	jobqueue.StatusSucceeded: {"": jobqueuetest.Succeeded},
	jobqueue.StatusFailedPermanent: {
		"ATTEMPTS_EXHAUSTED": jobqueuetest.Failed, "NOT_RETRYABLE": jobqueuetest.Discarded,
	},
	jobqueue.StatusCancelled: {
		"CANCELLED_BY_WORKER": jobqueuetest.Cancelled, "CANCELLED_BY_CALLER": jobqueuetest.Cancelled,
	},
}

func TestInAScopeAHandlerComesToTheSameByItselfAndByAWorker(t *testing.T) {
	scope := scopeOf(t)
	rows := rowsOfTheTable(t)
	encodings := encrypting(t, "a")
	sealing := clientOf(t, scope, encodings)
	handlers := map[string]jobqueue.Handler{}
	// Those with middleware of their own have a worker each, and so has the one that leaves.
	workers := map[string]*jobqueue.Worker{}
	stops := map[string]func(){}
	for _, each := range rows {
		name := each.Around
		options := jobqueue.WorkerOptions{ShutdownGrace: -1}
		switch {
		case each.Around != "":
			options.Middleware = []jobqueue.Middleware{around(each.Around)}
		case each.Encoded:
			name, options.Encodings = "encoding", encodings
		case each.Stop == "shutdown":
			name = "leaving"
		}
		if workers[name] == nil {
			workers[name] = scope.Worker(options)
		}
		if handlers[each.kind()] == nil {
			handlers[each.kind()] = each.handler()
			workers[name].Handle(each.kind(), each.handler())
			if _, err := scope.Client.PutKind(t.Context(), jobqueue.Kind{Name: each.kind()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, worker := range workers {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(ctx) }()
		stops[name] = stop
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
	}
	sent := make([]*jobqueue.Job, len(rows))
	clients := make([]*jobqueue.Client, len(rows))
	for i, each := range rows {
		clients[i] = scope.Client
		if each.Encoded {
			clients[i] = sealing
		}
		var err error
		if sent[i], err = clients[i].Enqueue(t.Context(), each.job()); err != nil {
			t.Fatalf("%s: %v", each.Name, err)
		}
	}
	for i, each := range rows {
		worker := handlers[each.kind()]
		if each.Encoded {
			worker = workers["encoding"].HandlerOf(each.kind())
		}
		alone := factsAlone(t, each, worker)
		there := factsThere(t, clients[i], sent[i].ID, each, stops["leaving"])
		otherwise := each.Alone
		if there, ok := each.Except["go"]["alone"]; ok {
			otherwise = there.(map[string]any)
		}
		if otherwise == nil && !reflect.DeepEqual(there, alone) {
			t.Errorf("%s: by a worker %s, alone %s", each.Name, short(there), short(alone))
		}
		expected := maps.Clone(each.ComesTo)
		maps.Copy(expected, each.Except["go"])
		holds(t, each.Name+" by a worker", there, expected)
		if otherwise != nil {
			expected = otherwise
		}
		holds(t, each.Name+" alone", alone, expected)
	}
}

func factsAlone(t *testing.T, of *row, handler jobqueue.Handler) facts {
	t.Helper()
	options := []jobqueuetest.Option{jobqueuetest.Within(time.Minute)}
	if of.Around != "" {
		options = append(options, jobqueuetest.Middleware(around(of.Around)))
	}
	stopping := options
	if of.Stop != "" {
		stopping = append(stopping, jobqueuetest.StopAtProgress(1))
	}
	if of.Stop == "shutdown" {
		stopping = append(stopping, jobqueuetest.Because(jobqueue.ErrShutdown))
	}
	done, err := jobqueuetest.Perform(t.Context(), handler, of.job(), stopping...)
	for range len(of.Does) - 1 {
		if done != nil {
			done, err = done.Again(t.Context())
		}
	}
	if done == nil {
		t.Fatalf("%s came to nothing: %v", of.Name, err)
	}
	made := facts{
		outcome: done.Ending, output: string(done.Output), errorText: done.Error, errorType: done.ErrorType,
		after: hours(done.Delay),
	}
	if done.RetryAfter != nil && done.Failures+1 < max(1, of.Job.MaxAttempts) {
		made.after = hours(*done.RetryAfter)
	}
	if of.Stop != "" {
		made.progress = done.Progress[0]
	}
	for _, each := range done.FollowUps {
		labels := map[string]string{}
		maps.Copy(labels, each.Labels)
		text := "null"
		if payload, ok := each.Payload.(json.RawMessage); ok {
			text = string(payload)
		}
		made.next = append(made.next, following{each.Kind, text, labels, hours(each.Delay)})
	}
	return made
}

func factsThere(t *testing.T, client *jobqueue.Client, id string, of *row, leave func()) facts {
	t.Helper()
	made := facts{}
	if of.Stop != "" {
		job := until(t, client, id, func(job *jobqueue.Job) bool { return job.Progress != nil })
		made.progress = jobqueuetest.Report{Fraction: job.Progress.Fraction, Message: job.Progress.Message}
		if of.Stop == "shutdown" {
			leave()
		} else if _, err := client.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	job := until(t, client, id, func(job *jobqueue.Job) bool {
		return job.IsTerminal() || (job.Attempts >= len(of.Does) && job.Status != jobqueue.StatusRunning)
	})
	made.outcome, made.output = endings[job.Status][job.Reason], string(job.Output)
	switch {
	case job.Status == jobqueue.StatusRetrying, job.CancelRequested && len(job.FailedAttempts) > 0:
		// What an attempt that was to stop has failed with is kept, but there is no next one.
		made.outcome = jobqueuetest.Failed
	case job.Status == jobqueue.StatusQueued && job.RunAt.After(job.UpdatedAt):
		made.outcome = jobqueuetest.Snoozed
	case job.Status == jobqueue.StatusQueued:
		made.outcome = jobqueuetest.Released
	}
	if made.outcome == jobqueuetest.Failed || made.outcome == jobqueuetest.Discarded {
		failed := job.FailedAttempts[len(job.FailedAttempts)-1]
		made.errorText, made.errorType = failed.Error, failed.ErrorType
	}
	if !job.IsTerminal() {
		made.after = hours(job.RunAt.Sub(job.CreatedAt))
	}
	for next, err := range client.List(t.Context(), jobqueue.Filter{Queue: job.Kind, Full: true}) {
		if err != nil {
			t.Fatal(err)
		}
		labels := map[string]string{}
		maps.Copy(labels, next.Labels)
		made.next = append(made.next,
			following{next.Kind, string(next.Payload), labels, hours(next.RunAt.Sub(next.CreatedAt))})
	}
	return made
}

func until(t *testing.T, client *jobqueue.Client, id string, holds func(*jobqueue.Job) bool) *jobqueue.Job {
	t.Helper()
	ends := time.Now().Add(time.Minute)
	for {
		job, err := client.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if holds(job) {
			return job
		}
		if time.Now().After(ends) {
			t.Fatalf("the job %s of %s is still %s", id, job.Kind, job.Status)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// holds fails the test where the facts are not what the table has, in those things that it names.
func holds(t *testing.T, name string, found facts, wanted comesTo) {
	t.Helper()
	for what, value := range wanted {
		var is any
		switch what {
		case "outcome":
			is = string(found.outcome)
		case "error":
			is = found.errorText
		case "error_ends":
			is = value
			if !strings.HasSuffix(found.errorText, value.(string)) {
				is = found.errorText
			}
		case "error_type":
			is = strings.ToLower(found.errorType[strings.LastIndex(found.errorType, ".")+1:])
		case "output_text":
			is = found.output
		case "output_bytes":
			is = float64(len(found.output))
		case "output":
			is = decoded(t, found.output)
		case "after":
			is = float64(found.after)
		case "progress":
			is = []any{*found.progress.Fraction, float64(len(found.progress.Message))}
		case "follow_ups":
			all := []any{}
			for _, each := range found.next {
				labels := map[string]any{}
				for name, value := range each.labels {
					labels[name] = value
				}
				all = append(all, map[string]any{"payload": decoded(t, each.payload), "labels": labels})
			}
			is = all
		case "why", "alone":
			continue
		default:
			t.Fatalf("%s: what is %s?", name, what)
		}
		if !reflect.DeepEqual(is, value) {
			t.Errorf("%s: %s is %s, the table has %v", name, what, short(is), value)
		}
	}
}

func short(value any) string { return fmt.Sprintf("%.1000s", fmt.Sprintf("%+v", value)) }

func decoded(t *testing.T, text string) any {
	t.Helper()
	var value any
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}
