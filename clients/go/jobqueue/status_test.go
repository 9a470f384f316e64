package jobqueue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// states is an observer of what the worker does.
type states struct {
	jobqueue.NoObserver
	entered chan jobqueue.WorkerStatus
}

func (s states) SessionChanged(status jobqueue.WorkerStatus) { s.entered <- status }

func (s states) await(t *testing.T, want jobqueue.WorkerState) jobqueue.WorkerStatus {
	t.Helper()
	status := receive(t, "the state "+string(want), s.entered)
	if status.State != want {
		t.Fatalf("%s, not %s", status.State, want)
	}
	return status
}

// probe is the code of an answer, and its body.
func probe(t *testing.T, worker *jobqueue.Worker, method, path string) (int, map[string]any) {
	t.Helper()
	answer := httptest.NewRecorder()
	worker.HealthHandler().ServeHTTP(answer, httptest.NewRequest(method, path, nil))
	if answer.Header().Get("Cache-Control") != "no-store" {
		t.Error(answer.Header())
	}
	var body map[string]any
	if answer.Header().Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
	}
	return answer.Code, body
}

// health is the codes of both probes.
func health(t *testing.T, worker *jobqueue.Worker) [2]int {
	t.Helper()
	live, _ := probe(t, worker, "GET", "/livez")
	ready, _ := probe(t, worker, "GET", "/readyz")
	return [2]int{live, ready}
}

func TestAWorkersStatusFollowsItsLifeAndSoDoItsProbes(t *testing.T) {
	server := newScripted(t)
	seen := states{entered: make(chan jobqueue.WorkerStatus, 10)}
	hold := make(chan struct{})
	handler := func(context.Context, *jobqueue.LeasedJob) (any, error) { <-hold; return nil, nil }
	r := work(server, handler, func(o *jobqueue.WorkerOptions) { o.Observer = seen })
	stream := server.accept()
	if status := r.worker.Status(); status.State != jobqueue.WorkerStarting || status.Server != "" || status.Slots != 8 ||
		!slices.Equal(status.Kinds, []string{"k"}) || !status.LastHeard.IsZero() {
		t.Errorf("%+v", status)
	}
	if codes := health(t, r.worker); codes != [2]int{200, 503} {
		t.Error(codes)
	}

	began := time.Now()
	stream.welcome(&pb.Welcome{
		SessionId: 7, SessionToken: "secret", Server: "server-1", SessionTtl: durationpb.New(time.Second),
	})
	status := seen.await(t, jobqueue.WorkerServing)
	if status.Server != "server-1" || status.Session != 7 || status.Since.Before(began.Add(-time.Second)) {
		t.Errorf("%+v", status)
	}
	// A handler that blocks holds up neither.
	stream.deliver(1, job(1, "k"))
	stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })
	if status := r.worker.Status(); status.Running != 1 || status.Orphans != 0 || status.LastHeard.IsZero() {
		t.Errorf("%+v", status)
	}
	if codes := health(t, r.worker); codes != [2]int{200, 200} {
		t.Error(codes)
	}

	stream.end <- refusal(codes.Unavailable, "DRAINING")
	lost := seen.await(t, jobqueue.WorkerReconnecting)
	if !strings.Contains(lost.LastError, "DRAINING") {
		t.Errorf("%+v", lost)
	}
	if codes := health(t, r.worker); codes != [2]int{200, 200} {
		t.Error(codes)
	}
	again := server.accept()
	time.Sleep(time.Until(lost.Since.Add(1100 * time.Millisecond))) // the ttl of the session is over
	if codes := health(t, r.worker); codes != [2]int{200, 503} {
		t.Error(codes)
	}
	again.end <- refusal(codes.Unauthenticated, "KEY_EXPIRED")
	if status := seen.await(t, jobqueue.WorkerRefused); !strings.Contains(status.LastError, "KEY_EXPIRED") {
		t.Errorf("%+v", status)
	}
	if codes := health(t, r.worker); codes != [2]int{200, 503} {
		t.Error(codes)
	}

	r.drain()
	seen.await(t, jobqueue.WorkerDraining)
	if codes := health(t, r.worker); codes != [2]int{200, 503} {
		t.Error(codes)
	}
	close(hold)
}

func TestAWorkerThatHasEndedSaysSoAndIsNotLiveOnlyWhereItFailed(t *testing.T) {
	server := newScripted(t)
	r := work(server, nothing)
	stream := server.open()
	stream.await("Capacity", func(frame *pb.LeaseRequest) bool { return frame.GetCapacity() != nil })
	r.drain()
	stream.await("Drain", func(frame *pb.LeaseRequest) bool { return frame.GetDrain() != nil })
	stream.goodbye()
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if status := r.worker.Status(); status.State != jobqueue.WorkerEnded {
		t.Errorf("%+v", status)
	}
	if codes := health(t, r.worker); codes != [2]int{200, 503} {
		t.Error(codes)
	}

	refused := work(server, nothing)
	server.accept().end <- refusal(codes.PermissionDenied, "PERMISSION_DENIED")
	if err := refused.end(); !errors.Is(err, jobqueue.ErrNotAllowed) {
		t.Fatal(err)
	}
	if status := refused.worker.Status(); status.State != jobqueue.WorkerRefused ||
		!strings.Contains(status.LastError, "PERMISSION_DENIED") {
		t.Errorf("%+v", status)
	}
	if codes := health(t, refused.worker); codes != [2]int{503, 503} {
		t.Error(codes)
	}
}

func TestAProbeHasTheStatusAsJSONAndOtherPathsAndMethodsAreRefused(t *testing.T) {
	server := newScripted(t)
	r := work(server, nothing)
	server.accept()

	code, body := probe(t, r.worker, "GET", "/livez")
	names := make([]string, 0, len(body))
	for name := range body {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"kinds", "last_error", "last_heard", "observer_dropped", "orphans", "running", "server", "session", "since", "slots",
		"state", "unknown_kinds",
	}
	if code != 200 || !slices.Equal(names, want) {
		t.Error(code, names)
	}
	if since, err := time.Parse(time.RFC3339, body["since"].(string)); err != nil || time.Since(since) > time.Hour {
		t.Error(since, err)
	}
	if body["server"] != "" || body["last_heard"] != nil || body["state"] != "starting" || len(body["unknown_kinds"].([]any)) != 0 {
		t.Error(body)
	}
	if code, _ := probe(t, r.worker, "GET", "/metrics"); code != http.StatusNotFound {
		t.Error(code)
	}
	if code, _ := probe(t, r.worker, "POST", "/livez"); code != http.StatusMethodNotAllowed {
		t.Error(code)
	}
}

func TestKindsThatTheServerDoesNotKnowAreSaidOnceForEachSetOfThem(t *testing.T) {
	server := newScripted(t)
	var lines bytes.Buffer
	r := work(server, nothing, func(o *jobqueue.WorkerOptions) {
		o.Logger = slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.MessageKey {
				a.Value = slog.StringValue(strings.ReplaceAll(a.Value.String(), `"`, `'`))
			}
			return a
		}}))
	})
	welcome := func(unknown ...string) {
		stream := server.accept()
		stream.welcome(&pb.Welcome{SessionId: 1, SessionToken: "secret", UnknownKinds: unknown})
		stream.await("Capacity", func(frame *pb.LeaseRequest) bool { return frame.GetCapacity() != nil })
		if got := r.worker.Status().UnknownKinds; !slices.Equal(got, unknown) {
			t.Errorf("%v, not %v", got, unknown)
		}
		stream.end <- refusal(codes.Unavailable, "DRAINING")
		stream.gone()
	}

	welcome("k")
	welcome("k")
	welcome()
	welcome("k")
	r.drain()
	_ = r.end()

	line := "the server knows no kind 'k': no job of it can be enqueued; declare it by SyncKinds, " +
		"or by PutKind (jobqueue kinds put k)"
	if count := strings.Count(lines.String(), line); count != 2 {
		t.Errorf("said %d times in\n%s", count, lines.String())
	}
}

func TestAPauseBeforeTheWorkerRunsIsKept(t *testing.T) {
	for _, paused := range []bool{true, false} {
		server := newScripted(t)
		worker, err := jobqueue.NewWorker("passthrough:///scripted", jobqueue.WorkerOptions{Access: server.access(), Paused: paused})
		if err != nil {
			t.Fatal(err)
		}
		worker.Handle("k", nothing)
		if !paused {
			worker.Pause()
		}
		ctx, stop := context.WithCancel(context.Background())
		t.Cleanup(stop)
		go func() { _ = worker.Run(ctx) }()
		stream := server.open()
		if slots := stream.hello.GetCapacity().GetSlots(); slots != 0 {
			t.Errorf("%d slots, where Paused is %v", slots, paused)
		}
		worker.Resume()
		stream.await("slots", func(frame *pb.LeaseRequest) bool { return frame.GetCapacity().GetSlots() == 8 })
	}
}

func TestAMessageIsToldWithoutAFraction(t *testing.T) {
	server := newScripted(t)
	work(server, func(ctx context.Context, leased *jobqueue.LeasedJob) (any, error) {
		leased.ProgressMessage("reading")
		<-ctx.Done()
		return nil, ctx.Err()
	})
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	progress := stream.await("Progress", func(f *pb.LeaseRequest) bool { return f.GetProgress() != nil }).GetProgress()
	if progress.Message != "reading" || progress.Fraction != nil {
		t.Error(progress)
	}
}

func double(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil }

func TestASecondHandlerIsRefusedWithBothNamesAndTheQueues(t *testing.T) {
	worker, err := jobqueue.NewWorker("127.0.0.1:1", jobqueue.WorkerOptions{Queues: []string{"mail", "default"}})
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle("k", double)
	defer func() {
		want := `jobqueue: kind "k" already has a handler, jobqueue.dev/go/jobqueue_test.double, in the worker of queues ` +
			`["mail" "default"]; jobqueue.dev/go/jobqueue_test.nothing would be its second`
		if value := recover(); value != want {
			t.Error(value)
		}
	}()
	worker.Handle("k", nothing)
}

func TestServerTokenAndTLSComeFromTheEnvironmentAndWhatIsGivenWins(t *testing.T) {
	server := newScripted(t)
	t.Setenv("JOBQUEUE_SERVER", "passthrough:///scripted")
	t.Setenv("JOBQUEUE_TOKEN", "t0ken")
	for _, name := range []string{"JOBQUEUE_TLS_ROOTS", "JOBQUEUE_TLS_CLIENT_CERT", "JOBQUEUE_TLS_CLIENT_KEY"} {
		t.Setenv(name, "")
	}
	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{Access: server.access()})
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle("k", nothing)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go func() { _ = worker.Run(ctx) }()
	if got := server.accept().token(); got != "Bearer t0ken" {
		t.Error(got)
	}

	t.Setenv("JOBQUEUE_TLS_CLIENT_CERT", "client.pem")
	if _, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{}); err == nil || !strings.Contains(err.Error(), "need JOBQUEUE_TLS_ROOTS") {
		t.Error(err)
	}
	t.Setenv("JOBQUEUE_TLS_ROOTS", "/nowhere/ca.pem")
	if _, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{}); err == nil || !strings.Contains(err.Error(), "/nowhere/ca.pem") {
		t.Error(err)
	}
	t.Setenv("JOBQUEUE_TLS_CLIENT_CERT", "")
	t.Setenv("JOBQUEUE_TLS_ROOTS", "public")
	t.Setenv("JOBQUEUE_SERVER", "")
	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
}

func TestAWorkerOfTheEnvironmentHasItsQueuesSlotsAndNameUnlessTheProgramSaysThem(t *testing.T) {
	t.Setenv("JOBQUEUE_SERVER", "passthrough:///scripted")
	for _, name := range []string{"JOBQUEUE_TOKEN", "JOBQUEUE_TLS_ROOTS", "JOBQUEUE_TLS_CLIENT_CERT", "JOBQUEUE_TLS_CLIENT_KEY"} {
		t.Setenv(name, "")
	}
	hello := func(options jobqueue.WorkerOptions) string {
		t.Helper()
		server := newScripted(t)
		options.Access, options.Logger = server.access(), slog.New(slog.DiscardHandler)
		worker, err := jobqueue.NewWorkerFromEnv(options)
		if err != nil {
			t.Fatal(err)
		}
		worker.Handle("k", nothing)
		ctx, stop := context.WithCancel(context.Background())
		t.Cleanup(stop)
		go func() { _ = worker.Run(ctx) }()
		said := server.accept().hello
		var queues []string
		for _, each := range said.GetSubscriptions() {
			queues = append(queues, each.GetQueue())
		}
		return fmt.Sprint(queues, said.GetCapacity().GetSlots(), " ", said.GetWorker())
	}
	t.Setenv("JOBQUEUE_QUEUES", "mail, reports,")
	t.Setenv("WORKER_CONCURRENCY", "7")
	t.Setenv("JOBQUEUE_WORKER_NAME", "blue")
	if got := hello(jobqueue.WorkerOptions{}); got != "[mail reports] 7 blue" {
		t.Error(got)
	}
	given := jobqueue.WorkerOptions{Queues: []string{"bulk"}, Concurrency: 2, Name: "green"}
	if got := hello(given); got != "[bulk] 2 green" {
		t.Error(got)
	}
	for _, wrong := range []string{"many", "0", "10001", "7.5"} {
		t.Setenv("WORKER_CONCURRENCY", wrong)
		_, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, "WORKER_CONCURRENCY")
		if !strings.Contains(err.Error(), fmt.Sprintf("is %q; it is a number", wrong)) {
			t.Error(err)
		}
	}
	for _, name := range []string{"JOBQUEUE_QUEUES", "WORKER_CONCURRENCY"} {
		t.Setenv(name, "")
	}
	if got := hello(jobqueue.WorkerOptions{}); got != "[default] 8 blue" {
		t.Error(got)
	}
}

// logged is the lines of a log.
type logged chan string

func (l logged) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestAWorkerThatFindsNoServerSaysWhatToDo(t *testing.T) {
	lines := make(logged, 10)
	address := unused(t)
	worker, err := jobqueue.NewWorker(address, jobqueue.WorkerOptions{Logger: slog.New(slog.NewTextHandler(lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle("k", nothing)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go func() { _ = worker.Run(ctx) }()

	if line := receive(t, "a line", lines); !strings.Contains(line, "nothing answers at "+address+"; start a server by") {
		t.Error(line)
	}
	if status := worker.Status(); status.State != jobqueue.WorkerStarting || !strings.Contains(status.LastError, "refused") {
		t.Errorf("%+v", status)
	}
}
