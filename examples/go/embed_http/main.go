// A web application with its worker in one process: a request enqueues and is answered at once, one asks for the end.
//
//	go run ./embed_http
//
// It makes both requests itself, and ends in the order that loses nothing: first no more requests, then the worker
// drains, then the client closes. docs/recipes/nethttp.md has a larger one, which ends by a signal.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"jobqueue.dev/go/jobqueue"
)

const queue = "example-embed-http"

type Report struct {
	Of string `json:"of"`
}

var report = jobqueue.DefineKind[Report, string]("example_report", jobqueue.Defaults(jobqueue.NewJob{Queue: queue}))

func doReport(_ context.Context, _ *jobqueue.LeasedJob, payload Report) (string, error) {
	return "report of " + payload.Of, nil
}

// Answer is the body of each answer.
type Answer struct {
	ID     string          `json:"id,omitempty"`
	Status jobqueue.Status `json:"status,omitempty"`
	Report json.RawMessage `json:"report,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// routes: POST /reports enqueues, GET /reports/ID says how the job stands.
func routes(client *jobqueue.Client) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reports", func(w http.ResponseWriter, r *http.Request) {
		var asked Report
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			respond(w, http.StatusBadRequest, Answer{Error: err.Error()})
			return
		}
		wanted := report.New(asked)
		wanted.IdempotencyKey = r.Header.Get("Idempotency-Key") // a client who asks twice gets one job
		job, err := client.Enqueue(r.Context(), wanted)
		if err != nil {
			respond(w, http.StatusServiceUnavailable, Answer{Error: err.Error()})
			return
		}
		respond(w, http.StatusAccepted, Answer{ID: job.ID})
	})
	mux.HandleFunc("GET /reports/{id}", func(w http.ResponseWriter, r *http.Request) {
		job, err := client.Get(r.Context(), r.PathValue("id"))
		switch {
		case errors.Is(err, jobqueue.ErrJobNotFound):
			respond(w, http.StatusNotFound, Answer{Error: "no such report"})
		case err != nil:
			respond(w, http.StatusServiceUnavailable, Answer{Error: err.Error()})
		default:
			respond(w, http.StatusOK, Answer{Status: job.Status, Report: job.Output})
		}
	})
	return mux
}

func respond(w http.ResponseWriter, status int, answer Answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func main() {
	ctx, late := context.WithTimeout(context.Background(), time.Minute)
	defer late()

	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{Queues: []string{queue}, SyncKinds: true})
	check(err)
	jobqueue.HandleKind(worker, report, doReport)
	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	check(err)
	_, err = client.SyncKinds(ctx, report)
	check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	server := &http.Server{Handler: routes(client), ReadHeaderTimeout: 10 * time.Second}
	working, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { check(worker.Run(working)) })
	serving.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			check(err)
		}
	})

	browse(ctx, "http://"+listener.Addr().String()+"/reports")

	check(server.Shutdown(ctx))
	stop()
	serving.Wait()
	check(client.Close())
}

// browse does what a user's browser would do.
func browse(ctx context.Context, address string) {
	status, placed := ask(ctx, http.MethodPost, address, `{"of": "May"}`)
	fmt.Println(status)
	for {
		_, found := ask(ctx, http.MethodGet, address+"/"+placed.ID, "")
		if found.Status.IsTerminal() {
			var text string
			check(json.Unmarshal(found.Report, &text))
			fmt.Println(found.Status, text)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func ask(ctx context.Context, method, address, body string) (status int, answer Answer) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	check(err)
	request.Header.Set("Idempotency-Key", jobqueue.NewIdempotencyKey())
	response, err := http.DefaultClient.Do(request)
	check(err)
	defer response.Body.Close()
	check(json.NewDecoder(response.Body).Decode(&answer))
	return response.StatusCode, answer
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
