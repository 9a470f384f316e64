package jobqueuetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

const days = 24 * time.Hour

// scopeOf is a scope whose kinds back off for long. A test of the repository runs those with one, and says the command.
func scopeOf(t *testing.T) *jobqueuetest.TestScope {
	t.Helper()
	if os.Getenv("JOBQUEUE_SERVER_COMMAND") == "" {
		t.Skip("JOBQUEUE_SERVER_COMMAND is not set")
	}
	scope := jobqueuetest.NewScope(t)
	for _, name := range []string{"mail", "next", "fails", "first"} {
		kind := jobqueue.Kind{Name: name, RetryPolicy: &jobqueue.RetryPolicy{MinBackoff: 7 * days, MaxBackoff: 7 * days}}
		if _, err := scope.Client.PutKind(t.Context(), kind); err != nil {
			t.Fatal(err)
		}
	}
	return scope
}

func enqueue(t *testing.T, scope *jobqueuetest.TestScope, jobs ...jobqueue.NewJob) {
	t.Helper()
	if _, err := scope.Client.EnqueueMany(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
}

func workerOf(t *testing.T, handlers map[string]jobqueue.Handler) *jobqueue.Worker {
	t.Helper()
	worker, err := jobqueue.NewWorker("elsewhere:1", jobqueue.WorkerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for kind, handler := range handlers {
		worker.Handle(kind, handler)
	}
	return worker
}

func nothing(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil }

// failing is a test that fails: what it says of that.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper()                {}
func (f *failing) Fatal(arguments ...any) { f.Fatalf("%s", fmt.Sprint(arguments...)) }
func (f *failing) Fatalf(format string, arguments ...any) {
	f.said = fmt.Sprintf(format, arguments...)
	runtime.Goexit()
}

// failureOf is what a test says that fails in a function.
func failureOf(t *testing.T, do func(t testing.TB)) string {
	t.Helper()
	fails := &failing{TB: t}
	done := make(chan bool)
	go func() {
		defer close(done)
		do(fails)
	}()
	<-done
	return fails.said
}

func TestInAScopeWhatWasEnqueuedIsFoundByAllThatIsSaidOfIt(t *testing.T) {
	scope := scopeOf(t)
	enqueue(t, scope,
		jobqueue.NewJob{Kind: "mail", Payload: map[string]any{"to": "ada", "n": 1}, Labels: map[string]string{"a": "b", "c": "d"},
			Key: "k", Delay: 7 * days},
		jobqueue.NewJob{Kind: "mail", Payload: map[string]any{"to": "bob", "n": true}, Queue: "bulk"})
	if all := scope.AssertEnqueued(jobqueuetest.Want{Kind: "mail"}); len(all) != 2 || all[0].Key != "k" {
		t.Error(all)
	}
	ada := func(job *jobqueue.Job) bool { return strings.Contains(string(job.Payload), "ada") }
	for _, want := range []jobqueuetest.Want{
		{Payload: json.RawMessage(`{"n":1.0,"to":"ada"}`)}, {Fields: map[string]any{"n": 1}}, {Matching: ada}, {Queue: "default"},
		{Labels: map[string]string{"a": "b"}}, {Key: "k"}, {DueIn: 7 * days}, {Fields: map[string]any{"n": 1}, Key: "k", Count: 1},
	} {
		want.Kind = "mail"
		if found := scope.AssertEnqueued(want); len(found) != 1 || found[0].Key != "k" {
			t.Errorf("%v: %v", want, found)
		}
	}
	for _, want := range []jobqueuetest.Want{
		{Payload: map[string]any{"to": "ada"}}, {Fields: map[string]any{"n": 1}, Queue: "bulk"}, {Fields: map[string]any{"none": nil}},
		{DueIn: 6 * days}, {Labels: map[string]string{"a": "d"}}, {Status: []jobqueue.Status{jobqueue.StatusSucceeded}},
		{Payload: json.RawMessage("null")},
	} {
		want.Kind = "mail"
		scope.AssertNotEnqueued(want)
	}
	if found := scope.AssertEnqueued(jobqueuetest.Want{Queue: "bulk"}); len(found) != 1 || found[0].Queue != "bulk" {
		t.Error("of any kind:", found)
	}
	scope.AssertNotEnqueued(jobqueuetest.Want{Queue: "none"})
}

func TestInAScopeAFailedAssertionShowsWhatThereIs(t *testing.T) {
	if os.Getenv("JOBQUEUE_SERVER_COMMAND") == "" {
		t.Skip("JOBQUEUE_SERVER_COMMAND is not set")
	}
	for words, do := range map[string]func(*jobqueuetest.TestScope){
		"no job of kind mail, payload {\"to\":\"bob\"}. There are:\n  mail {\"to\":\"ada\"} queue default labels map[a:b] key k, due in 168h0m0s": func(
			s *jobqueuetest.TestScope) {
			s.AssertEnqueued(jobqueuetest.Want{Kind: "mail", Payload: map[string]string{"to": "bob"}})
		},
		"1 job of kind mail, not 2. There are:":                  func(s *jobqueuetest.TestScope) { s.AssertEnqueued(jobqueuetest.Want{Kind: "mail", Count: 2}) },
		"1 of kind mail, key k, and there should be none. There": func(s *jobqueuetest.TestScope) { s.AssertNotEnqueued(jobqueuetest.Want{Kind: "mail", Key: "k"}) },
		"1 of any kind, queue bulk, and there should be none. There are:\n  mail null queue bulk": func(s *jobqueuetest.TestScope) {
			enqueue(t, s, jobqueue.NewJob{Kind: "mail", Queue: "bulk"})
			s.AssertNotEnqueued(jobqueuetest.Want{Queue: "bulk"})
		},
		"2 jobs of kind mail, not 1. There are:": func(s *jobqueuetest.TestScope) {
			enqueue(t, s, jobqueue.NewJob{Kind: "mail"})
			s.AssertEnqueued(jobqueuetest.Want{Kind: "mail", Count: 1})
		},
		"The scope has no job of this status": func(s *jobqueuetest.TestScope) {
			s.AssertEnqueued(jobqueuetest.Want{Kind: "mail", Status: []jobqueue.Status{jobqueue.StatusCancelled}})
		},
		"0 of 1 jobs waited": func(s *jobqueuetest.TestScope) { s.MakeDue(&jobqueue.Job{ID: "01999999-9999-7999-8999-999999999999"}) },
	} {
		said := failureOf(t, func(fails testing.TB) {
			scope := jobqueuetest.NewScope(fails)
			if _, err := scope.Client.PutKind(t.Context(), jobqueue.Kind{Name: "mail"}); err != nil {
				fails.Fatal(err)
			}
			_, err := scope.Client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "mail", Payload: map[string]string{"to": "ada"}, Key: "k",
				Labels: map[string]string{"a": "b"}, Delay: 7 * days})
			if err != nil {
				fails.Fatal(err)
			}
			do(scope)
		})
		if !strings.Contains(said, words) {
			t.Errorf("%s, not %s", said, words)
		}
	}
}

func TestInAScopeWhatIsEnqueuedLaterIsWaitedForAndRecordedByItself(t *testing.T) {
	scope := scopeOf(t)
	enqueue(t, scope, jobqueue.NewJob{Kind: "first"})
	later := make(chan error, 1)
	jobs := scope.Recorded(func() {
		go func() {
			time.Sleep(100 * time.Millisecond)
			_, err := scope.Client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "next"})
			later <- err
		}()
		scope.AssertEnqueued(jobqueuetest.Want{Kind: "next", Within: 20 * time.Second})
	})
	if err := <-later; err != nil || len(jobs) != 1 || jobs[0].Kind != "next" {
		t.Error(jobs, err)
	}
}

func TestScopesDoNotSeeEachOthersJobsAndAreClosedWithTheirTests(t *testing.T) {
	scope := scopeOf(t)
	enqueue(t, scope, jobqueue.NewJob{Kind: "mail"})
	var other *jobqueuetest.TestScope
	t.Run("other", func(t *testing.T) {
		other = jobqueuetest.NewScope(t)
		if found := other.Enqueued(""); len(found) != 0 || other.Namespace == scope.Namespace {
			t.Error(found)
		}
		for name, value := range other.Environment() {
			t.Setenv(name, value)
		}
		client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		kinds, err := client.ListKinds(t.Context())
		if err != nil || slices.ContainsFunc(kinds, func(kind *jobqueue.Kind) bool { return kind.Name == "mail" }) {
			t.Error("it sees the kinds of another:", err)
		}
	})
	client, err := jobqueue.NewClient(other.Target, jobqueue.ClientOptions{Access: jobqueue.Access{Token: other.Key}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err = client.ListKinds(t.Context()); !errors.Is(err, jobqueue.ErrNamespaceDisabled) {
		t.Error(err)
	}
	if len(scope.Enqueued("mail")) != 1 {
		t.Error("the scope's own job is gone")
	}
}

func TestInAScopeAWorkerRunsUntilIdleWithItsFollowUpsAndMiddleware(t *testing.T) {
	scope := scopeOf(t)
	var told []string
	worker, err := jobqueue.NewWorker("elsewhere:1", jobqueue.WorkerOptions{
		Middleware: []jobqueue.Middleware{letters("a", nil, &told)}, Concurrency: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle("first", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return "first", errors.Join(job.FollowUp(jobqueue.NewJob{Kind: "next"}),
			job.FollowUp(jobqueue.NewJob{Kind: "next", Delay: 7 * days}), job.FollowUp(jobqueue.NewJob{Kind: "mail"}))
	})
	worker.Handle("next", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) { return job.Headers["by"], nil })
	enqueue(t, scope, jobqueue.NewJob{Kind: "first"}, jobqueue.NewJob{Kind: "first", Hold: true})
	idle, err := scope.RunUntilIdle(worker, jobqueuetest.RunWithin(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if len(idle.Ended) != 2 || idle.Ended[0].Kind != "first" || string(idle.Ended[1].Output) != `"a"` {
		t.Errorf("%+v", idle.Ended)
	}
	if len(idle.Waiting) != 3 {
		t.Fatalf("%+v", idle.Waiting)
	}
	for _, each := range idle.Waiting {
		if each.Why == "" {
			t.Errorf("%+v", each)
		}
	}
	late := scope.AssertEnqueued(jobqueuetest.Want{Kind: "next", DueIn: 7 * days, Count: 1})
	scope.MakeDue(late...)
	if idle, err = scope.RunUntilIdle(worker, jobqueuetest.RunWithin(time.Minute)); err != nil || len(idle.Ended) != 1 ||
		idle.Ended[0].ID != late[0].ID {
		t.Errorf("%+v %v", idle, err)
	}
}

func TestInAScopeWhatAHandlerFailsWithIsTheErrorUnlessItIsKept(t *testing.T) {
	scope := scopeOf(t)
	failure := &unwilling{"not today"}
	attempts := 0
	worker := workerOf(t, map[string]jobqueue.Handler{
		"fails": func(context.Context, *jobqueue.LeasedJob) (any, error) { attempts++; return nil, failure },
		"mail":  func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, jobqueue.Snooze(7 * days) },
		"next":  func(context.Context, *jobqueue.LeasedJob) (any, error) { panic("oh") },
	})
	enqueue(t, scope, jobqueue.NewJob{Kind: "mail"})
	if idle, err := scope.RunUntilIdle(worker, jobqueuetest.RunWithin(time.Minute)); err != nil || len(idle.Waiting) != 1 {
		t.Errorf("%+v %v", idle, err)
	}
	enqueue(t, scope, jobqueue.NewJob{Kind: "fails"})
	if idle, err := scope.RunUntilIdle(worker, jobqueuetest.RunWithin(time.Minute)); err != error(failure) {
		t.Errorf("%+v %v", idle, err)
	}
	jobs := scope.AssertEnqueued(jobqueuetest.Want{Kind: "fails", Count: 1})
	scope.MakeDue(jobs...)
	kept, err := scope.RunUntilIdle(worker, jobqueuetest.KeepFailures(), jobqueuetest.RunWithin(time.Minute))
	if err != nil || attempts != 2 || len(kept.Waiting) != 2 {
		t.Errorf("%+v %v, %d attempts", kept, err, attempts)
	}
	retried, err := scope.RunUntilIdle(worker, jobqueuetest.RetryFailures(), jobqueuetest.RunWithin(time.Minute))
	if err != nil || attempts != 3 || len(retried.Ended) != 1 || retried.Ended[0].Status != jobqueue.StatusFailedPermanent {
		t.Errorf("%+v %v, %d attempts", retried, err, attempts)
	}
	enqueue(t, scope, jobqueue.NewJob{Kind: "next"})
	var panicked *jobqueue.PanicError
	if _, err = scope.RunUntilIdle(worker, jobqueuetest.RunWithin(time.Minute)); !errors.As(err, &panicked) || panicked.Value != "oh" {
		t.Error(err)
	}
}

func TestInAScopeAJobThatFailsBetweenTwoLooksIsTriedAgain(t *testing.T) {
	scope := scopeOf(t)
	worker := workerOf(t, map[string]jobqueue.Handler{
		"fails": func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, errors.New("not today") },
	})
	fail := func() {
		if _, err := scope.RunUntilIdle(worker, jobqueuetest.KeepFailures(), jobqueuetest.RunWithin(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	enqueue(t, scope, jobqueue.NewJob{Kind: "fails"})
	fail()
	scope.MakeDue(scope.AssertEnqueued(jobqueuetest.Want{Kind: "fails"})...)
	// It is due when it is listed, and has another backoff when it is explained.
	listed := scope.AssertEnqueued(jobqueuetest.Want{Kind: "fails"})
	fail()
	if starts, err := scope.AnyStarts(listed, jobqueuetest.RetryFailures()); err != nil || !starts {
		t.Error(starts, err)
	}
	if starts, err := scope.AnyStarts(listed, jobqueuetest.KeepFailures()); err != nil || starts {
		t.Error(starts, err)
	}
}

func TestInAScopeAHandlerThatDoesNotEndIsSaidToRun(t *testing.T) {
	scope := scopeOf(t)
	hold := make(chan struct{})
	worker := workerOf(t, map[string]jobqueue.Handler{
		"mail": func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
			<-ctx.Done()
			close(hold)
			return nil, ctx.Err()
		},
	})
	enqueue(t, scope, jobqueue.NewJob{Kind: "mail"})
	_, err := scope.RunUntilIdle(worker, jobqueuetest.RunWithin(3*time.Second))
	if !errors.Is(err, jobqueuetest.ErrStillRunning) || !strings.Contains(err.Error(), "runs for ") {
		t.Error(err)
	}
	<-hold
	enqueue(t, scope, jobqueue.NewJob{Kind: "mail"}, jobqueue.NewJob{Kind: "mail"})
	if _, err = scope.RunUntilIdle(workerOf(t, map[string]jobqueue.Handler{"mail": nothing}), jobqueuetest.JobLimit(1)); err == nil ||
		!strings.Contains(err.Error(), "the scope has 3 jobs, and JobLimit is 1") {
		t.Error(err)
	}
}

// counted counts how often it is written as JSON.
type counted struct{ times int }

func (c *counted) MarshalJSON() ([]byte, error) {
	c.times++
	return json.Marshal(c.times)
}

func TestInAScopeAnOutputThatCannotBeSentAndAnEndedGoroutineAreFailures(t *testing.T) {
	scope := scopeOf(t)
	worker := workerOf(t, map[string]jobqueue.Handler{
		"first": handlers["no-json"], "next": handlers["too-large"], "mail": handlers["exits"],
		"fails": func(context.Context, *jobqueue.LeasedJob) (any, error) { return &counted{}, nil },
	})
	for kind, words := range map[string]string{
		"first": "OutputError: the handler's output can't be written as JSON",
		"next":  "OutputError: the handler's output is 1048578 bytes of JSON, the limit is 1048576",
		"mail":  "the handler ended its goroutine (runtime.Goexit)",
	} {
		enqueue(t, scope, jobqueue.NewJob{Kind: kind})
		if idle, err := scope.RunUntilIdle(worker, jobqueuetest.RunWithin(time.Minute)); err == nil ||
			!strings.HasPrefix(err.Error(), words) {
			t.Errorf("%s: %+v %v", kind, idle, err)
		}
	}
	enqueue(t, scope, jobqueue.NewJob{Kind: "fails"})
	if idle, err := scope.RunUntilIdle(worker, jobqueuetest.RunWithin(time.Minute)); err != nil || len(idle.Ended) != 1 ||
		string(idle.Ended[0].Output) != "1" {
		t.Errorf("%+v %v", idle, err)
	}
}

func TestInAScopeWhatIsDueIsJudgedByTheServersClock(t *testing.T) {
	scope := scopeOf(t)
	attempts := 0
	worker := workerOf(t, map[string]jobqueue.Handler{
		"mail": nothing,
		"fails": func(context.Context, *jobqueue.LeasedJob) (any, error) {
			if attempts++; attempts == 1 {
				return nil, errors.New("not today")
			}
			return nil, nil
		},
	})
	jobqueuetest.TheClockIs(t, -30*time.Second)
	enqueue(t, scope, jobqueue.NewJob{Kind: "mail"})
	if idle, err := scope.RunUntilIdle(worker, jobqueuetest.RunWithin(time.Minute)); err != nil || len(idle.Ended) != 1 {
		t.Errorf("%+v %v", idle, err)
	}
	jobqueuetest.TheClockIs(t, 8*days)
	enqueue(t, scope, jobqueue.NewJob{Kind: "fails"}, jobqueue.NewJob{Kind: "mail", Delay: 7 * days})
	idle, err := scope.RunUntilIdle(worker, jobqueuetest.RetryFailures(), jobqueuetest.RunWithin(time.Minute))
	if err != nil || attempts != 2 || len(idle.Ended) != 1 || len(idle.Waiting) != 1 {
		t.Errorf("%+v %v, %d attempts", idle, err, attempts)
	}
}

func TestAServerForTestsIsSharedWhereTheEnvironmentAsksForIt(t *testing.T) {
	if os.Getenv("JOBQUEUE_SERVER_COMMAND") == "" {
		t.Skip("JOBQUEUE_SERVER_COMMAND is not set")
	}
	// Callers find each other in there; its name must leave room for that of a socket.
	folder, err := os.MkdirTemp("", "jq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	t.Setenv("XDG_RUNTIME_DIR", folder)
	t.Setenv("JOBQUEUE_TEST_SHARED", "1")
	var servers []*jobqueuetest.TestServer
	for range 2 {
		server, err := jobqueuetest.StartServer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		servers = append(servers, server)
	}
	if servers[0].Target != servers[1].Target {
		t.Error(servers[0].Target, servers[1].Target)
	}
	if err = servers[0].Close(); err != nil {
		t.Error(err)
	}
	if servers[1].NewScope(t).Namespace == "" {
		t.Error("it has ended with the first that left")
	}
}

func TestAServerForTestsEndsWhenItIsClosed(t *testing.T) {
	if os.Getenv("JOBQUEUE_SERVER_COMMAND") == "" {
		t.Skip("JOBQUEUE_SERVER_COMMAND is not set")
	}
	t.Setenv("JOBQUEUE_TEST_SHARED", "")
	server, err := jobqueuetest.StartServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if server.NewScope(t).Namespace == "" || server.Key == "" {
		t.Error(server)
	}
	if err = server.Close(); err != nil {
		t.Error(err)
	}
	client, err := jobqueue.NewClient(server.Target, jobqueue.ClientOptions{Access: jobqueue.Access{Token: server.Key}, Deadline: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err = client.ListKinds(t.Context()); !errors.Is(err, jobqueue.ErrUnavailable) {
		t.Error(err)
	}
}

func TestAServerForTestsIsTheOneThatTheEnvironmentNamesOrSaysWhatIsMissing(t *testing.T) {
	t.Setenv("JOBQUEUE_TEST_SERVER", "jobs.internal:1")
	t.Setenv("JOBQUEUE_TEST_KEY", "jq_1")
	server, err := jobqueuetest.StartServer(t.Context())
	if err != nil || server.Target != "jobs.internal:1" || server.Key != "jq_1" || server.Close() != nil {
		t.Error(server, err)
	}
	t.Setenv("JOBQUEUE_TEST_SERVER", "")
	t.Setenv("JOBQUEUE_TEST_SHARED", "0")
	t.Setenv("PATH", t.TempDir())
	for command, words := range map[string]string{
		"": "pip install 'jobqueue-server[embedded]'", `/bin/sh -c 'echo "too old" >&2; exit 3' "a b"`: "too old",
		"/bin/sh -c 'echo no JSON'": `said "no JSON\n"`, "/no/such/server": "/no/such/server ephemeral can't be started",
	} {
		t.Setenv("JOBQUEUE_SERVER_COMMAND", command)
		if _, err = jobqueuetest.StartServer(t.Context()); !errors.Is(err, jobqueuetest.ErrServerMissing) ||
			!strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", command, err)
		}
	}
	for said, words := range map[string]string{
		"1": "/no/such/server ephemeral --shared can't", "0": "/no/such/server ephemeral can't", "": "/no/such/server ephemeral can't",
	} {
		t.Setenv("JOBQUEUE_SERVER_COMMAND", "/no/such/server")
		t.Setenv("JOBQUEUE_TEST_SHARED", said)
		if _, err = jobqueuetest.StartServer(t.Context()); !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", said, err)
		}
	}
}

func TestAServerThatDoesNotAnswerIsNotWaitedForOnceTheContextHasEnded(t *testing.T) {
	t.Setenv("JOBQUEUE_TEST_SERVER", "")
	// What it has started holds its stdout until stdin ends.
	t.Setenv("JOBQUEUE_SERVER_COMMAND", "/bin/sh -c 'cat | cat'")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := jobqueuetest.StartServer(ctx)
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, jobqueuetest.ErrServerMissing) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it is waited for")
	}
}
