// A worker whose attempts are counted on a page for Prometheus, under the names that the worker service has.
//
//	go run ./metrics
//
// The page is written by hand here. With Prometheus' own library the observer looks the same.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"jobqueue.dev/go/jobqueue"
)

const queue = "example-metrics"

// Metrics is told of each attempt by a goroutine of its own, so it delays none. It serves what it has counted.
type Metrics struct {
	jobqueue.NoObserver
	mu      sync.Mutex
	samples map[string]float64
}

func (m *Metrics) AttemptStarted(attempt jobqueue.Attempt) {
	m.add("worker_jobs_started_total", fmt.Sprintf("kind=%q", attempt.Kind), 1)
}

func (m *Metrics) AttemptEnded(attempt jobqueue.Attempt, outcome string, took time.Duration, _ error) {
	labels := fmt.Sprintf("kind=%q,outcome=%q", attempt.Kind, outcome)
	m.add("worker_jobs_completed_total", labels, 1)
	m.add("worker_job_duration_seconds_count", labels, 1)
	m.add("worker_job_duration_seconds_sum", labels, took.Seconds())
}

func (m *Metrics) add(name, labels string, more float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples[name+"{"+labels+"}"] += more
}

func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, metric := range []struct{ name, of string }{
		{"worker_jobs_started_total", "counter"},
		{"worker_jobs_completed_total", "counter"},
		{"worker_job_duration_seconds", "summary"},
	} {
		fmt.Fprintf(w, "# TYPE %s %s\n", metric.name, metric.of)
		for _, sample := range slices.Sorted(maps.Keys(m.samples)) {
			if strings.HasPrefix(sample, metric.name) {
				fmt.Fprintln(w, sample, m.samples[sample])
			}
		}
	}
}

type Work struct {
	Fails bool `json:"fails"`
}

var work = jobqueue.DefineKind[Work, jobqueue.None]("example_work", jobqueue.Defaults(jobqueue.NewJob{Queue: queue}))

func doWork(_ context.Context, _ *jobqueue.LeasedJob, payload Work) (none jobqueue.None, err error) {
	if payload.Fails {
		return none, jobqueue.Discard(errors.New("this can never be done"))
	}
	return none, nil
}

func main() {
	ctx, late := context.WithTimeout(context.Background(), time.Minute)
	defer late()

	metrics := &Metrics{samples: map[string]float64{}}
	routes := http.NewServeMux()
	routes.Handle("GET /metrics", metrics)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	page := &http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second}
	defer page.Close()
	go page.Serve(listener)
	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{
		Queues: []string{queue}, SyncKinds: true, Observer: metrics,
	})
	check(err)
	jobqueue.HandleKind(worker, work, doWork)
	working, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { check(worker.Run(working)) })

	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	check(err)
	defer client.Close()
	_, err = client.SyncKinds(ctx, work)
	check(err)
	for _, fails := range []bool{false, true, false} {
		job, err := client.Enqueue(ctx, work.New(Work{fails}))
		check(err)
		_, err = client.Wait(ctx, job.ID)
		check(err)
	}

	// The worker hears of the end of a job a little later than who waits for it. Once it has left, all is counted.
	stop()
	serving.Wait()
	show("http://" + listener.Addr().String() + "/metrics")
}

// show prints what Prometheus reads.
func show(address string) {
	response, err := http.Get(address)
	check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err)
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "worker_jobs") {
			fmt.Print(line)
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
