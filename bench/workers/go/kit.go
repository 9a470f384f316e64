package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"slices"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

const scopes, performed, suite = 20, 200, 100

type number struct {
	Number int `json:"number"`
}

type answer struct {
	Twice int `json:"twice"`
}

// test stands for a test of `go test`, since a scope ends with its test. A test that fails ends the program.
type test struct {
	ctx   context.Context
	end   context.CancelFunc
	after []func()
}

func newTest() *test {
	ctx, end := context.WithCancel(context.Background())
	return &test{ctx: ctx, end: end}
}

func (t *test) Helper()                                {}
func (t *test) Context() context.Context               { return t.ctx }
func (t *test) Cleanup(do func())                      { t.after = append(t.after, do) }
func (t *test) Fatal(arguments ...any)                 { log.Fatal(arguments...) }
func (t *test) Fatalf(format string, arguments ...any) { log.Fatalf(format, arguments...) }
func (t *test) Logf(format string, arguments ...any)   { log.Printf(format, arguments...) }

// done ends the context and then runs what was given to Cleanup, the last one first, as `go test` does.
func (t *test) done() {
	t.end()
	for _, do := range slices.Backward(t.after) {
		do()
	}
}

// tell measures what the test kit takes, as a suite uses it, and prints the line.
func tell() {
	found := map[string]float64{}
	began := time.Now()
	server, err := jobqueuetest.StartServer(context.Background())
	check(err)
	found["start"] = time.Since(began).Seconds()
	each := make([]float64, scopes)
	for i := range each {
		began = time.Now()
		t := newTest()
		server.NewScope(t)
		t.done()
		each[i] = time.Since(began).Seconds()
	}
	slices.Sort(each)
	found["scope"] = (each[(scopes-1)/2] + each[scopes/2]) / 2
	began = time.Now()
	for i := range performed {
		done, err := jobqueuetest.Perform(context.Background(), twice, jobqueue.NewJob{Payload: number{i}})
		check(err)
		var output answer
		check(done.DecodeOutput(&output))
		if output.Twice != 2*i {
			log.Fatalf("twice %d is not %d", i, output.Twice)
		}
	}
	found["perform"] = time.Since(began).Seconds()
	began = time.Now()
	for range suite {
		withOneJob(server)
	}
	found["scopes"] = time.Since(began).Seconds()
	began = time.Now()
	check(server.Close())
	found["close"] = time.Since(began).Seconds()
	check(json.NewEncoder(os.Stdout).Encode(found))
}

func withOneJob(server *jobqueuetest.TestServer) {
	t := newTest()
	defer t.done()
	scope := server.NewScope(t)
	_, err := scope.Client.PutKind(t.Context(), jobqueue.Kind{Name: "twice"})
	check(err)
	_, err = scope.Client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "twice", Payload: number{21}})
	check(err)
	worker, err := jobqueue.NewWorker("127.0.0.1:1", jobqueue.WorkerOptions{})
	check(err)
	worker.Handle("twice", twice)
	idle, err := scope.RunUntilIdle(worker)
	check(err)
	if len(idle.Ended) != 1 || string(idle.Ended[0].Output) != `{"twice":42}` {
		t.Fatalf("these ended: %v", idle.Ended)
	}
}

func twice(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
	var given number
	if err := job.Decode(&given); err != nil {
		return nil, jobqueue.Discard(err)
	}
	return answer{2 * given.Number}, nil
}
