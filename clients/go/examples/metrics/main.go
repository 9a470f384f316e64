// Runs jobs of the kind `double` until Ctrl-C, and tells what became of them on a page: /debug/vars.
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
	running, finished, seconds *expvar.Map
}

func (m metrics) Started(kind string) { m.running.Add(kind, 1) }

func (m metrics) Finished(kind, outcome string, took time.Duration) {
	m.running.Add(kind, -1)
	m.finished.Add(kind+"."+outcome, 1)
	m.seconds.AddFloat(kind, took.Seconds())
}

func main() {
	server := flag.String("server", "127.0.0.1:50051", "the server's address")
	page := flag.String("page", "127.0.0.1:9091", "where /debug/vars is shown")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	observer := metrics{expvar.NewMap("running"), expvar.NewMap("finished"), expvar.NewMap("seconds")}
	worker, err := jobqueue.NewWorker(*server, jobqueue.WorkerOptions{Observer: observer})
	check(err)
	worker.Handle("double", func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		var in struct{ Number int }
		if err := job.Decode(&in); err != nil {
			return nil, jobqueue.Discard(err)
		}
		return map[string]int{"doubled": 2 * in.Number}, nil
	})
	go func() { check(http.ListenAndServe(*page, nil)) }()
	check(worker.Run(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
