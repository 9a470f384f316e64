// Runs jobs of the kind `double` until Ctrl-C, and tells what became of them on a page, /debug/vars, and how the worker is
// on two more: /livez and /readyz.
package main

import (
	"context"
	"expvar"
	"flag"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"jobqueue.dev/go/jobqueue"
)

// metrics counts attempts by kind and outcome. With another library of metrics it looks the same.
type metrics struct {
	jobqueue.NoObserver
	running, finished, seconds *expvar.Map
}

func (m metrics) AttemptStarted(attempt jobqueue.Attempt) { m.running.Add(attempt.Kind, 1) }

func (m metrics) AttemptEnded(attempt jobqueue.Attempt, outcome string, took time.Duration, _ error) {
	m.running.Add(attempt.Kind, -1)
	m.finished.Add(attempt.Kind+"."+outcome, 1)
	m.seconds.AddFloat(attempt.Kind, took.Seconds())
}

func main() {
	server := flag.String("server", "127.0.0.1:50051", "the server's address")
	page := flag.String("page", "127.0.0.1:9091", "where /debug/vars is shown")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	observer := metrics{
		running: expvar.NewMap("running"), finished: expvar.NewMap("finished"), seconds: expvar.NewMap("seconds"),
	}
	worker, err := jobqueue.NewWorker(*server, jobqueue.WorkerOptions{Observer: observer})
	check(err)
	worker.Handle("double", func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		var in struct{ Number int }
		if err := job.Decode(&in); err != nil {
			return nil, jobqueue.Discard(err)
		}
		return map[string]int{"doubled": 2 * in.Number}, nil
	})
	http.Handle("/livez", worker.HealthHandler())
	http.Handle("/readyz", worker.HealthHandler())
	go func() { check(http.ListenAndServe(*page, nil)) }()
	check(worker.Run(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
