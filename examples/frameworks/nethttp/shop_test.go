package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

const order = `{"number": 7, "email": "ada@example.org"}`

var quiet = slog.New(slog.DiscardHandler)

// shopOf is a shop in a namespace of its own, whose kinds are known there.
func shopOf(t *testing.T) (*Shop, *jobqueuetest.TestScope) {
	t.Helper()
	scope := jobqueuetest.NewScope(t)
	if _, err := scope.Client.SyncKinds(t.Context(), SendReceipt, CountOrder); err != nil {
		t.Fatal(err)
	}
	return &Shop{Jobs: scope.Client, Log: quiet}, scope
}

// ask is what a route answers.
func ask(t *testing.T, shop *Shop, method, path, body string, headers map[string]string) (int, map[string]any, http.Header) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	answer := httptest.NewRecorder()
	shop.Routes(http.NotFoundHandler()).ServeHTTP(answer, request)
	var said map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &said); err != nil {
		t.Fatalf("%d %q: %v", answer.Code, answer.Body, err)
	}
	return answer.Code, said, answer.Header()
}

func TestARequestEnqueuesAJobThatALaterRequestSeesDone(t *testing.T) {
	shop, scope := shopOf(t)
	status, placed, _ := ask(t, shop, "POST", "/orders", order, nil)
	if status != http.StatusAccepted {
		t.Fatal(status, placed)
	}
	there := "/orders/" + placed["job"].(string)
	if _, seen, _ := ask(t, shop, "GET", there, "", nil); seen["status"] != "QUEUED" || seen["receipt"] != nil {
		t.Error(seen)
	}
	worker, err := shop.Worker()
	if err != nil {
		t.Fatal(err)
	}
	idle, err := scope.RunUntilIdle(worker)
	if err != nil || len(idle.Ended) != 2 || idle.Ended[1].Kind != CountOrder.Name() {
		t.Fatal(idle, err)
	}
	_, seen, _ := ask(t, shop, "GET", there, "", nil)
	if receipt, _ := seen["receipt"].(map[string]any); seen["status"] != "SUCCEEDED" ||
		receipt["text"] != "order 7 for ada@example.org" {
		t.Error(seen)
	}
}

func TestABodyThatIsNoOrderIsRefusedByTheFieldThatIsWrongAndEnqueuesNothing(t *testing.T) {
	shop, scope := shopOf(t)
	for body, wrong := range map[string]string{
		`{"number": 0, "email": "ada@example.org"}`:   "number",
		`{"email": "ada@example.org"}`:                "number",
		`{"number": 7}`:                               "email",
		`{"number": "7", "email": "ada@example.org"}`: "number",
	} {
		status, said, _ := ask(t, shop, "POST", "/orders", body, nil)
		if fields, _ := said["fields"].(map[string]any); status != http.StatusUnprocessableEntity || fields[wrong] == nil {
			t.Error(body, status, said)
		}
	}
	if status, said, _ := ask(t, shop, "POST", "/orders", "no JSON", nil); status != http.StatusBadRequest {
		t.Error(status, said)
	}
	if jobs := scope.Enqueued(""); len(jobs) != 0 {
		t.Error(jobs)
	}
}

func TestAKindThatIsNotDeclaredIsNoFaultOfTheCaller(t *testing.T) {
	shop := &Shop{Jobs: jobqueuetest.NewScope(t).Client, Log: quiet}
	if status, said, _ := ask(t, shop, "POST", "/orders", order, nil); status != http.StatusInternalServerError {
		t.Error(status, said)
	}
}

func TestTheSameIdempotencyKeyIsTheSameJobAndAnotherOrderIsRefused(t *testing.T) {
	shop, scope := shopOf(t)
	key := map[string]string{"Idempotency-Key": "o7"}
	_, first, _ := ask(t, shop, "POST", "/orders", order, key)
	_, second, _ := ask(t, shop, "POST", "/orders", order, key)
	if first["job"] == nil || first["job"] != second["job"] {
		t.Error(first, second)
	}
	if status, said, _ := ask(t, shop, "POST", "/orders", `{"number": 8, "email": "ada@example.org"}`, key); status != 409 {
		t.Error(status, said)
	}
	scope.AssertEnqueued(jobqueuetest.Want{Kind: SendReceipt.Name(), Payload: Order{7, "ada@example.org"}, Count: 1})
}

func TestAHandlerThatRunsTwiceEnqueuesOnce(t *testing.T) {
	shop, scope := shopOf(t)
	job := SendReceipt.New(Order{7, "ada@example.org"})
	done, err := jobqueuetest.Perform(t.Context(), SendReceipt.Handler(shop.Deliver), job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = done.Again(t.Context()); err != nil {
		t.Fatal(err)
	}
	scope.AssertEnqueued(jobqueuetest.Want{Kind: CountOrder.Name(), Payload: 7, Count: 1})
}

func TestAJobThatIsNotThereOrIsNoOrderIs404(t *testing.T) {
	shop, scope := shopOf(t)
	other, err := scope.Client.Enqueue(t.Context(), CountOrder.New(7))
	if err != nil {
		t.Fatal(err)
	}
	if status, said, _ := ask(t, shop, "GET", "/orders/"+other.ID, "", nil); status != 404 {
		t.Error(status, said)
	}
	if status, said, _ := ask(t, shop, "GET", "/orders/0198f000-0000-7000-8000-000000000000", "", nil); status != 404 {
		t.Error(status, said)
	}
	if status, said, _ := ask(t, shop, "GET", "/orders/7", "", nil); status != http.StatusUnprocessableEntity {
		t.Error(status, said)
	}
}

func TestWithoutAServerTheCallerIsToldToTryAgain(t *testing.T) {
	// Nothing listens at port 1.
	client, err := jobqueue.NewClient("127.0.0.1:1", jobqueue.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	status, said, headers := ask(t, &Shop{Jobs: client, Log: quiet}, "POST", "/orders", order, nil)
	if status != http.StatusServiceUnavailable || headers.Get("Retry-After") != "1" {
		t.Error(status, said, headers)
	}
}

// recorded stands for a client: it keeps what is enqueued.
type recorded struct{ jobqueuetest.RecordingClient }

func (*recorded) Get(context.Context, string) (*jobqueue.Job, error) {
	return nil, jobqueue.ErrJobNotFound
}

func TestARouteIsTestedWithoutAServer(t *testing.T) {
	jobs := &recorded{}
	if status, said, _ := ask(t, &Shop{Jobs: jobs, Log: quiet}, "POST", "/orders", order, nil); status != http.StatusAccepted {
		t.Error(status, said)
	}
	if kept := jobs.Jobs(); len(kept) != 1 || kept[0].Kind != SendReceipt.Name() || kept[0].MaxAttempts != 5 {
		t.Error(kept)
	}
}

func TestALineOfAHandlerHasItsJobAndOneOfARequestHasNone(t *testing.T) {
	var written bytes.Buffer
	log := slog.New(JobLog{slog.NewJSONHandler(&written, nil)}).With("app", "shop")
	shop := &Shop{Jobs: &recorded{}, Log: log}
	_, err := jobqueuetest.Perform(t.Context(), SendReceipt.Handler(shop.Deliver), SendReceipt.New(Order{7, "ada@example.org"}),
		jobqueuetest.ID("j7"), jobqueuetest.AttemptNumber(2), jobqueuetest.Middleware(KnowsJob))
	if err != nil {
		t.Fatal(err)
	}
	log.InfoContext(t.Context(), "elsewhere")
	lines := json.NewDecoder(&written)
	var ours, other map[string]any
	if err = errors.Join(lines.Decode(&ours), lines.Decode(&other)); err != nil {
		t.Fatal(err)
	}
	if ours["app"] != "shop" || ours["job_id"] != "j7" || ours["kind"] != "send-receipt" || ours["attempt"] != 2.0 {
		t.Error(ours)
	}
	if _, has := other["job_id"]; has {
		t.Error(other)
	}
}

func TestALineOfTheWorkerNamesItsJobOnce(t *testing.T) {
	var written bytes.Buffer
	log := slog.New(JobLog{slog.NewJSONHandler(&written, nil)})
	work := KnowsJob.Handle(func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		log.WarnContext(ctx, "failed", "job_id", job.ID, "kind", job.Kind)
		return nil, nil
	})
	if _, err := jobqueuetest.Perform(t.Context(), work, SendReceipt.New(Order{7, "ada@example.org"})); err != nil {
		t.Fatal(err)
	}
	if line := written.String(); strings.Count(line, `"job_id"`) != 1 || strings.Count(line, `"kind"`) != 1 {
		t.Error(line)
	}
}

func TestAMailServiceThatRefusesIsTriedAgain(t *testing.T) {
	jobs := &recorded{}
	service := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if text, _ := io.ReadAll(request.Body); string(text) != "text=order+7+for+ada%40example.org" {
			t.Errorf("%s", text)
		}
		answer.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer service.Close()
	shop := &Shop{Jobs: jobs, Log: quiet, MailURL: service.URL}
	done, err := jobqueuetest.Perform(t.Context(), SendReceipt.Handler(shop.Deliver), SendReceipt.New(Order{7, "ada@example.org"}))
	if err == nil || done.Ending != jobqueuetest.Failed || len(jobs.Jobs()) != 0 {
		t.Error(done, err)
	}
}

func TestTheFirstThatReturnsEndsTheOthersAndAllAreWaitedFor(t *testing.T) {
	failed, late := errors.New("refused"), errors.New("late")
	both := together(t.Context(),
		func(context.Context) error { return failed },
		func(ctx context.Context) error { <-ctx.Done(); return late })
	if !errors.Is(both, failed) || !errors.Is(both, late) {
		t.Error(both)
	}
	ctx, end := context.WithCancel(t.Context())
	waits := func(ctx context.Context) error { <-ctx.Done(); return nil }
	if err := together(ctx, waits, func(context.Context) error { end(); return nil }); err != nil {
		t.Error(err)
	}
}

func TestARequestThatIsOpenWhenTheContextEndsIsAnswered(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	server := &http.Server{Handler: http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		end()
		// The listener closes before the open requests are waited for.
		for {
			other, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				break
			}
			_ = other.Close()
			time.Sleep(time.Millisecond)
		}
		if request.Context().Err() == nil {
			_, _ = answer.Write([]byte("served"))
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, server, listener, time.Minute) }()
	answer, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if text, err := io.ReadAll(answer.Body); string(text) != "served" || err != nil {
		t.Errorf("%s %v", text, err)
	}
	if err = <-ended; err != nil {
		t.Error(err)
	}
}

func TestARequestThatIsOpenAfterTheGraceIsCutOffAndThatIsNoError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		end()
		<-request.Context().Done() // until its connection is closed
	})}
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, server, listener, 10*time.Millisecond) }()
	answer, err := http.Get("http://" + listener.Addr().String())
	if err == nil {
		_ = answer.Body.Close()
		t.Error(answer.Status)
	}
	if err = <-ended; err != nil {
		t.Error(err)
	}
}
