package jobqueuetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

// said is what a test says of an attempt: what each part does.
type said map[string]string

func (s said) does(part string) (any, error, bool) {
	switch s[part] {
	case "fails":
		return nil, errors.New("no"), true
	case "retries":
		return nil, jobqueue.Retry(errors.New("busy"), time.Minute), true
	case "discards":
		return nil, jobqueue.Discard(errors.New("never")), true
	case "snoozes":
		return nil, jobqueue.Snooze(time.Hour), true
	case "cancels":
		return nil, jobqueue.ErrCancelled, true
	case "skips":
		return "skip", nil, true
	case "panics":
		panic("oh")
	}
	return nil, nil, false
}

// letters writes down what is called, and adds its name to headers.
func letters(name string, says said, told *[]string) jobqueue.Middleware {
	tell := func(word string) { *told = append(*told, word) }
	return jobqueue.Middleware{
		Handle: func(next jobqueue.Handler) jobqueue.Handler {
			return func(ctx context.Context, job *jobqueue.LeasedJob) (output any, err error) {
				tell(name + "(")
				if says[name+".recovers"] != "" {
					defer func() { _ = recover() }()
				}
				if output, err, ends := says.does(name + ".before"); ends {
					return output, err
				}
				if output, err = next(ctx, job); err != nil {
					tell(name + "!" + err.Error())
					if says[name+".catches"] == "" {
						return nil, err
					}
					err = nil
				}
				if says[name+".twice"] != "" {
					_, again := next(ctx, job)
					tell(again.Error())
				}
				if says[name+".follows"] != "" {
					err = job.FollowUp(jobqueue.NewJob{Kind: "late"})
				}
				tell(")" + name)
				if other, failure, ends := says.does(name + ".after"); ends {
					return other, failure
				}
				return output, err
			}
		},
		Enqueue: func(
			ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
		) ([]jobqueue.EnqueueResult, error) {
			if says[name+".refuses"] != "" {
				return nil, errors.New("refused")
			}
			for i := range jobs {
				jobs[i].Headers["by"] += name
				jobs[i].Labels[name] = fmt.Sprint(len(jobs))
			}
			return next(ctx, jobs)
		},
	}
}

var nameless = regexp.MustCompile(`the middleware \S+ `)

func three(says said, told *[]string) []jobqueue.Middleware {
	return []jobqueue.Middleware{letters("a", says, told), letters("b", says, told), letters("c", says, told)}
}

func TestTheFirstMiddlewareIsOutermostAndWhatTheyDoIsWhatTheHandlerWouldHaveDone(t *testing.T) {
	const whole = "a( b( c( handler )c )b )a"
	const wrong = "called next twice"
	for _, row := range []struct {
		says   said
		told   string
		ending jobqueuetest.Ending
		value  string // its output or error
		jobs   int
	}{
		{said{}, whole, jobqueuetest.Succeeded, `"handler"`, 0},
		{said{"handler": "fails"}, "a( b( c( handler c!no b!no a!no", jobqueuetest.Failed, "no", 0},
		{said{"handler": "retries"}, "a( b( c( handler c!busy b!busy a!busy", jobqueuetest.Failed, "busy", 0},
		{said{"handler": "discards"}, "a( b( c( handler c!never b!never a!never", jobqueuetest.Discarded, "never", 0},
		{said{"handler": "cancels"}, "a( b( c( handler c!cancelled b!cancelled a!cancelled", jobqueuetest.Cancelled, "", 0},
		{said{"handler": "panics"}, "a( b( c( handler", jobqueuetest.Failed, "oh", 0},
		{said{"handler": "fails", "c.catches": "1"}, "a( b( c( handler c!no )c )b )a", jobqueuetest.Succeeded, "", 0},
		{said{"handler": "fails", "a.catches": "1"}, "a( b( c( handler c!no b!no a!no )a", jobqueuetest.Succeeded, "", 0},
		{said{"handler": "panics", "b.recovers": "1", "jobs": "1"}, "a( b( c( handler )a", jobqueuetest.Succeeded, "", 0},
		{said{"a.before": "fails"}, "a(", jobqueuetest.Failed, "no", 0},
		{said{"b.before": "fails"}, "a( b( a!no", jobqueuetest.Failed, "no", 0},
		{said{"c.before": "fails"}, "a( b( c( b!no a!no", jobqueuetest.Failed, "no", 0},
		{said{"c.before": "fails", "b.catches": "1"}, "a( b( c( b!no )b )a", jobqueuetest.Succeeded, "", 0},
		{said{"c.before": "panics"}, "a( b( c(", jobqueuetest.Failed, "oh", 0},
		{said{"b.before": "retries"}, "a( b( a!busy", jobqueuetest.Failed, "busy", 0},
		{said{"b.before": "discards"}, "a( b( a!never", jobqueuetest.Discarded, "never", 0},
		{said{"b.before": "snoozes"}, "a( b( a!snoozed for 1h0m0s", jobqueuetest.Snoozed, "", 0},
		{said{"a.before": "skips"}, "a(", jobqueuetest.Succeeded, `"skip"`, 0},
		{said{"b.before": "skips"}, "a( b( )a", jobqueuetest.Succeeded, `"skip"`, 0},
		{said{"c.before": "skips"}, "a( b( c( )b )a", jobqueuetest.Succeeded, `"skip"`, 0},
		{said{"c.before": "skips", "a.after": "snoozes"}, "a( b( c( )b )a", jobqueuetest.Snoozed, "", 0},
		{said{"a.after": "fails"}, whole, jobqueuetest.Failed, "no", 0},
		{said{"b.after": "fails"}, "a( b( c( handler )c )b a!no", jobqueuetest.Failed, "no", 0},
		{said{"c.after": "fails", "b.catches": "1"}, "a( b( c( handler )c b!no )b )a", jobqueuetest.Succeeded, "", 0},
		{said{"b.after": "snoozes"}, "a( b( c( handler )c )b a!snoozed for 1h0m0s", jobqueuetest.Snoozed, "", 0},
		{said{"a.after": "panics"}, whole, jobqueuetest.Failed, "oh", 0},
		{said{"jobs": "3"}, whole, jobqueuetest.Succeeded, `"handler"`, 3},
		{said{"jobs": "3", "handler": "fails"}, "a( b( c( handler c!no b!no a!no", jobqueuetest.Failed, "no", 0},
		{said{"jobs": "3", "handler": "fails", "c.catches": "1"}, "a( b( c( handler c!no )c )b )a", jobqueuetest.Succeeded, "", 0},
		{said{"jobs": "3", "a.after": "fails"}, whole, jobqueuetest.Failed, "no", 0},
		{said{"jobs": "3", "b.refuses": "1"}, "a( b( c( handler c!refused b!refused a!refused", jobqueuetest.Failed, "refused", 0},
		{said{"jobs": "1", "a.follows": "1"}, whole, jobqueuetest.Failed,
			"FollowUp was called after a middleware's next: call it before", 0},
		{said{"b.twice": "1", "a.catches": "1"}, "a( b( c( handler )c " + wrong + " )b a!" + wrong + " )a", jobqueuetest.Succeeded, "", 0},
		{said{"c.twice": "1"}, "a( b( c( handler " + wrong + " )c b!" + wrong + " a!" + wrong, jobqueuetest.Failed, wrong, 0},
	} {
		var told []string
		handler := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			told = append(told, "handler")
			count, _ := strconv.Atoi(row.says["jobs"])
			for number := range count {
				if err := job.FollowUp(jobqueue.NewJob{Kind: "next", Payload: number}); err != nil {
					return nil, err
				}
			}
			if output, err, ends := row.says.does("handler"); ends {
				return output, err
			}
			return "handler", nil
		}
		around := jobqueuetest.Middleware(three(row.says, &told)...)
		done, err := jobqueuetest.Perform(t.Context(), handler, jobqueue.NewJob{}, around)
		if done == nil {
			t.Fatal(err)
		}
		words := nameless.ReplaceAllString(strings.Join(told, " "), "")
		value := nameless.ReplaceAllString(done.Error+string(done.Output), "")
		var own *jobqueue.MiddlewareError
		if errors.As(err, &own) != (strings.Contains(row.value, "next") && done.Ending == jobqueuetest.Failed) {
			t.Errorf("%v: %v", row.says, err)
		}
		if words != row.told || done.Ending != row.ending || value != row.value {
			t.Errorf("%v: %s, %s %s; not %s, %s %s", row.says, words, done.Ending, value, row.told, row.ending, row.value)
		}
		if len(done.FollowUps) != row.jobs {
			t.Errorf("%v: %d follow-ups", row.says, len(done.FollowUps))
		}
		for number, each := range done.FollowUps {
			if string(each.Payload.(json.RawMessage)) != fmt.Sprint(number) || each.Headers["by"] != "abc" || each.Labels["b"] != "3" {
				t.Errorf("%+v", each)
			}
		}
	}
}

type tenant struct{}

func TestWhatMiddlewareSetsIsSeenByTheHandlerAndItsFollowUps(t *testing.T) {
	passes := jobqueue.Middleware{
		Handle: func(next jobqueue.Handler) jobqueue.Handler {
			return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
				return next(context.WithValue(ctx, tenant{}, job.Headers["tenant"]), job)
			}
		},
		Enqueue: func(
			ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
		) ([]jobqueue.EnqueueResult, error) {
			for i := range jobs {
				jobs[i].Headers = map[string]string{"tenant": ctx.Value(tenant{}).(string)}
			}
			return next(ctx, jobs)
		},
	}
	handler := func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		return ctx.Value(tenant{}), job.FollowUp(typed.New(ask{1}))
	}
	job := jobqueue.NewJob{Headers: map[string]string{"tenant": "acme"}}
	done, err := jobqueuetest.Perform(t.Context(), handler, job, jobqueuetest.Middleware(passes))
	if err != nil || string(done.Output) != `"acme"` {
		t.Fatal(done, err)
	}
	if headers := done.FollowUps[0].Headers; headers["tenant"] != "acme" || headers["x-payload-version"] != "2" {
		t.Error(headers)
	}
	if again, err := done.Again(t.Context()); err != nil || string(again.Output) != `"acme"` {
		t.Error(again, err)
	}
}

func TestMiddlewareForSomeKindsIsAroundTheirHandlersAndTheirJobsAlone(t *testing.T) {
	var told []string
	kind := jobqueue.DefineKind[int, jobqueue.None]("typed", jobqueue.Aliases("before"))
	a, b, c := letters("a", nil, &told), letters("b", nil, &told), letters("c", nil, &told)
	worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{Middleware: []jobqueue.Middleware{
		jobqueue.ForKinds(a, "one", "next"), jobqueue.ForKinds(b, kind.Names()...),
		jobqueue.ForKinds(jobqueue.ForKinds(c, "one", "two"), "two"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	handler := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		told = append(told, "handler")
		return nil, job.FollowUp(jobqueue.NewJob{Kind: "next"})
	}
	worker.Handle("one", handler)
	worker.Handle("two", handler)
	jobqueue.HandleKind(worker, kind, func(ctx context.Context, job *jobqueue.LeasedJob, _ int) (jobqueue.None, error) {
		_, err := handler(ctx, job)
		return jobqueue.None{}, err
	})
	for name, words := range map[string]string{
		"one": "a( handler )a", "two": "c( handler )c", "typed": "b( handler )b", "before": "b( handler )b",
	} {
		told = nil
		done := perform(t, worker.HandlerOf(name), jobqueue.NewJob{Kind: name, Payload: 1})
		if got := strings.Join(told, " "); got != words || done.FollowUps[0].Headers["by"] != "a" {
			t.Error(name, got, done.FollowUps)
		}
	}
}

func TestFollowUpsThatGrowTooLargeInMiddlewareFailTheAttempt(t *testing.T) {
	grows := jobqueue.Middleware{Enqueue: func(
		ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
	) ([]jobqueue.EnqueueResult, error) {
		jobs[0].Labels["large"] = strings.Repeat("x", 1<<20)
		return next(ctx, jobs)
	}}
	handler := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return nil, job.FollowUp(jobqueue.NewJob{Kind: "next", Payload: strings.Repeat("x", 1<<20-10)})
	}
	_, err := jobqueuetest.Perform(t.Context(), handler, jobqueue.NewJob{}, jobqueuetest.Middleware(grows))
	if !errors.Is(err, jobqueue.ErrInvalidRequest) || !strings.Contains(err.Error(), "the follow-ups of a job may have 2097152 bytes") {
		t.Error(err)
	}
}

func TestAHandleThatAnswersNilIsRefusedWhenTheHandlerIsAdded(t *testing.T) {
	worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{Middleware: []jobqueue.Middleware{
		{Handle: func(jobqueue.Handler) jobqueue.Handler { return nil }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if value := recover(); !strings.Contains(fmt.Sprint(value), "answers nil in place of a handler") {
			t.Error(value)
		}
	}()
	worker.Handle("k", handlers["nothing"])
}

func TestWithoutMiddlewareAHandlerIsRunAsItIs(t *testing.T) {
	worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle("k", handlers["nothing"])
	if reflect.ValueOf(worker.HandlerOf("k")).Pointer() != reflect.ValueOf(handlers["nothing"]).Pointer() {
		t.Error("it is another function")
	}
}

func TestEachMiddlewareIsCalledOnceForACallAndItsHeadersAndLabelsAreSent(t *testing.T) {
	var told []string
	client := jobqueuetest.RecordingClient{Middleware: three(nil, &told)}
	given := jobqueue.NewJob{Kind: "mail", Payload: 1, Headers: map[string]string{"x": "1"}}
	job, err := client.Enqueue(t.Context(), given)
	if err != nil || !maps.Equal(job.Headers, map[string]string{"x": "1", "by": "abc"}) || job.Labels["c"] != "1" {
		t.Error(job, err)
	}
	if len(given.Headers) != 1 {
		t.Error("the headers that were given are another's now:", given.Headers)
	}
	many, err := client.EnqueueMany(t.Context(), slices.Repeat([]jobqueue.NewJob{{Kind: "mail"}}, 1000))
	if err != nil || len(many) != 1000 || client.Jobs()[1000].Headers["by"] != "abc" || client.Jobs()[1000].Labels["a"] != "1000" {
		t.Error(len(many), err)
	}
	if none, err := client.EnqueueMany(t.Context(), nil); err != nil || len(none) != 0 {
		t.Error(none, err)
	}
}

type enqueues = func(context.Context, []jobqueue.NewJob, jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error)

func changing(change func(*jobqueue.NewJob)) enqueues {
	return func(ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error) {
		change(&jobs[0])
		return next(ctx, jobs)
	}
}

func TestMiddlewareThatDoesNotKeepToItsPartIsRefused(t *testing.T) {
	const marks = "has changed a job of kind mail: headers and labels alone may be others"
	rows := []struct {
		does  enqueues
		words string
		jobs  int
	}{
		{func(ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error) {
			_, _ = next(ctx, jobs)
			return next(ctx, jobs)
		}, "called next twice; what it called first with counts", 1},
		{func(ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error) {
			answered, err := next(ctx, jobs)
			_, _ = next(ctx, jobs)
			return answered, err
		}, "called next twice", 1},
		{func(context.Context, []jobqueue.NewJob, jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error) {
			return []jobqueue.EnqueueResult{{ID: "mine"}}, nil
		}, "did not call next, so nothing says that the jobs are enqueued", 0},
		{func(ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error) {
			answered, _ := next(ctx, append(jobs, jobs...))
			return answered, nil
		}, "has dropped an error of next, so nothing says", 0},
		{func(ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error) {
			answered, err := next(ctx, jobs)
			return slices.Clone(answered), err
		}, "must answer what next answered; the jobs are enqueued", 1},
		{func(ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue) ([]jobqueue.EnqueueResult, error) {
			_, err := next(ctx, append(jobs, jobs...))
			return nil, err
		}, "called next with 2 jobs, and got 1", 0},
		{changing(func(job *jobqueue.NewJob) { job.Payload = json.RawMessage("2") }), marks, 0},
		{changing(func(job *jobqueue.NewJob) { job.Payload = 1 }), marks, 0},
		{changing(func(job *jobqueue.NewJob) { job.Payload = nil }), marks, 0},
		{changing(func(job *jobqueue.NewJob) { job.IdempotencyKey = "other" }),
			marks + ", since another payload under its idempotency key would be another request", 0},
		{changing(func(job *jobqueue.NewJob) { job.Kind = "other" }), marks, 0},
		{changing(func(job *jobqueue.NewJob) { job.Queue = "other" }), marks, 0},
		{changing(func(job *jobqueue.NewJob) { job.Delay = time.Second }), marks, 0},
		{changing(func(job *jobqueue.NewJob) { job.Unique.Key = "other" }), marks, 0},
	}
	job := jobqueue.NewJob{Kind: "mail", Payload: 1, IdempotencyKey: "k", Unique: &jobqueue.Unique{Key: "u"}}
	for _, row := range rows {
		does := jobqueue.Middleware{Enqueue: row.does}
		client := jobqueuetest.RecordingClient{Middleware: []jobqueue.Middleware{does}}
		_, err := client.Enqueue(t.Context(), job)
		var wrong *jobqueue.MiddlewareError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), row.words) || len(client.Jobs()) != row.jobs {
			t.Errorf("%v, %d jobs, not %s", err, len(client.Jobs()), row.words)
		}
		if job.Unique.Key != "u" {
			t.Fatal("the job that was given is another")
		}
		client = jobqueuetest.RecordingClient{Middleware: []jobqueue.Middleware{jobqueue.ForKinds(does, "mail")}}
		_, err = client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "post"}, job})
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), row.words) || len(client.Jobs()) != 2*row.jobs {
			t.Errorf("for kinds: %v, %d jobs, not %s", err, len(client.Jobs()), row.words)
		}
	}
}

func TestMiddlewareForSomeKindsSeesTheirJobsOfACallAlone(t *testing.T) {
	var told []string
	a, b, c := letters("a", nil, &told), letters("b", nil, &told), letters("c", nil, &told)
	client := jobqueuetest.RecordingClient{Middleware: []jobqueue.Middleware{
		jobqueue.ForKinds(a, "mail", "typed"), jobqueue.ForKinds(b, "none"), c,
	}}
	answered, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "mail"}, {Kind: "post"}, {Kind: "typed"}})
	if err != nil || len(answered) != 3 || answered[2].ID != client.Stored()[2].ID {
		t.Fatal(answered, err)
	}
	for i, by := range []string{"ac", "c", "ac"} {
		if job := client.Jobs()[i]; job.Headers["by"] != by || (job.Labels["a"] == "2") != (i != 1) {
			t.Errorf("%+v", job)
		}
	}
}

func TestAPayloadIsSentAsItWasGivenHoweverItIsChangedInItsPlace(t *testing.T) {
	client := jobqueuetest.RecordingClient{Middleware: []jobqueue.Middleware{{
		Enqueue: changing(func(job *jobqueue.NewJob) { job.Payload.(json.RawMessage)[0] = '2' }),
	}}}
	given := json.RawMessage("1")
	if job, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k", Payload: given}); err != nil ||
		string(job.Payload) != "1" || string(given) != "1" {
		t.Error(job, err)
	}
}

// followsUp is a handler with one follow-up.
func followsUp(told *[]string) jobqueue.Handler {
	return func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		*told = append(*told, "handler")
		return "handler", job.FollowUp(jobqueue.NewJob{Kind: "next"})
	}
}

func TestAHandlerThatHasMiddlewareMayGetMoreAroundIt(t *testing.T) {
	var told []string
	a, b, c, w := letters("a", nil, &told), letters("b", nil, &told), letters("c", nil, &told), letters("w", nil, &told)
	w.Handle = nil
	handlerOf := func(handler jobqueue.Handler, middleware ...jobqueue.Middleware) jobqueue.Handler {
		worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{Middleware: middleware})
		if err != nil {
			t.Fatal(err)
		}
		worker.Handle("k", handler)
		return worker.HandlerOf("k")
	}
	few, many := handlerOf(followsUp(&told), w), handlerOf(followsUp(&told), a, b)
	twice := func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		if _, err := few(ctx, job); err != nil {
			return nil, err
		}
		return few(ctx, job)
	}
	for _, row := range []struct {
		handler    jobqueue.Handler
		middleware []jobqueue.Middleware
		told       string
		by         []string
	}{
		{few, []jobqueue.Middleware{a, b}, "a( b( handler )b )a", []string{"wab"}},
		{many, []jobqueue.Middleware{w}, "a( b( handler )b )a", []string{"abw"}},
		{many, []jobqueue.Middleware{c}, "c( a( b( handler )b )a )c", []string{"abc"}},
		{handlerOf(few, a, b), []jobqueue.Middleware{c}, "c( a( b( handler )b )a )c", []string{"wabc"}},
		{twice, []jobqueue.Middleware{a}, "a( handler handler )a", []string{"wa", "wa"}},
	} {
		told = nil
		done := perform(t, row.handler, jobqueue.NewJob{Kind: "k"}, jobqueuetest.Middleware(row.middleware...))
		var by []string
		for _, each := range done.FollowUps {
			by = append(by, each.Headers["by"])
		}
		if words := strings.Join(told, " "); words != row.told || !slices.Equal(by, row.by) || string(done.Output) != `"handler"` {
			t.Errorf("%s, %v, %s; not %s, %v", words, by, done.Output, row.told, row.by)
		}
	}
}

func TestWhatAHandlersOwnMiddlewareCatchesTakesNoFollowUpsOfOthersAlong(t *testing.T) {
	var told []string
	worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{
		Middleware: []jobqueue.Middleware{letters("w", said{"w.catches": "1"}, &told)},
	})
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle("k", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return nil, errors.Join(job.FollowUp(jobqueue.NewJob{Kind: "lost"}), errors.New("no"))
	})
	handler := func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		if err := job.FollowUp(jobqueue.NewJob{Kind: "kept"}); err != nil {
			return nil, err
		}
		return worker.HandlerOf("k")(ctx, job)
	}
	done := perform(t, handler, jobqueue.NewJob{}, jobqueuetest.Middleware(letters("a", nil, &told)))
	if len(done.FollowUps) != 1 || done.FollowUps[0].Kind != "kept" || done.FollowUps[0].Headers["by"] != "a" {
		t.Errorf("%+v", done.FollowUps)
	}
}

func TestWhatStillRunsOnceItsMiddlewareHasEndedDoesSoForNothing(t *testing.T) {
	var told []string
	w := letters("w", nil, &told)
	w.Handle = nil
	for _, within := range [][]jobqueue.Middleware{nil, {w}} {
		begun, goOn, late := make(chan bool), make(chan bool), make(chan error, 1)
		worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{Middleware: within})
		if err != nil {
			t.Fatal(err)
		}
		worker.Handle("k", func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			err := job.FollowUp(jobqueue.NewJob{Kind: "next"})
			close(begun)
			<-goOn
			return nil, errors.Join(err, job.FollowUp(jobqueue.NewJob{Kind: "late"}))
		})
		leaves := jobqueue.Middleware{Handle: func(next jobqueue.Handler) jobqueue.Handler {
			return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
				go func() {
					_, err := next(ctx, job)
					late <- err
				}()
				<-begun
				return "early", nil
			}
		}}
		done := perform(t, worker.HandlerOf("k"), jobqueue.NewJob{Kind: "k"}, jobqueuetest.Middleware(leaves))
		close(goOn)
		var wrong *jobqueue.MiddlewareError
		if err := <-late; !errors.As(err, &wrong) || !strings.Contains(err.Error(), "FollowUp was called after") {
			t.Error(err)
		}
		if string(done.Output) != `"early"` || len(done.FollowUps) != 0 {
			t.Errorf("%+v", done)
		}
	}
}

func TestAMiddlewareAndWhatItHasLeftRunningMayEndAtOnce(t *testing.T) {
	var told []string
	for range 200 {
		late := make(chan error, 1)
		leaves := jobqueue.Middleware{Handle: func(next jobqueue.Handler) jobqueue.Handler {
			return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
				go func() {
					_, err := next(ctx, job)
					late <- err
				}()
				return nil, nil
			}
		}}
		handler := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			return nil, job.FollowUp(jobqueue.NewJob{Kind: "next"})
		}
		marks := letters("a", nil, &told)
		marks.Handle = nil
		// Its follow-ups are there whole or not at all.
		done, _ := jobqueuetest.Perform(t.Context(), handler, jobqueue.NewJob{}, jobqueuetest.Middleware(leaves, marks))
		if done == nil || len(done.FollowUps) > 1 || (len(done.FollowUps) == 1 && done.FollowUps[0].Headers["by"] != "a") {
			t.Fatalf("%+v", done)
		}
		<-late
	}
}

func TestACallOfNextThatComesLateDoesNothing(t *testing.T) {
	var handle func() error
	var enqueue func() ([]jobqueue.EnqueueResult, error)
	keeps := jobqueue.Middleware{
		Handle: func(next jobqueue.Handler) jobqueue.Handler {
			return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
				handle = func() error {
					_, err := next(ctx, job)
					return err
				}
				return "early", nil
			}
		},
		Enqueue: func(
			ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
		) ([]jobqueue.EnqueueResult, error) {
			enqueue = func() ([]jobqueue.EnqueueResult, error) { return next(ctx, jobs) }
			return nil, errors.New("refused")
		},
	}
	ran := false
	perform(t, func(context.Context, *jobqueue.LeasedJob) (any, error) { ran = true; return nil, nil }, jobqueue.NewJob{},
		jobqueuetest.Middleware(keeps))
	var wrong *jobqueue.MiddlewareError
	if err := handle(); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "called next after it had ended") || ran {
		t.Error(err, ran)
	}
	client := jobqueuetest.RecordingClient{Middleware: []jobqueue.Middleware{keeps}}
	if _, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k"}); err == nil || err.Error() != "refused" {
		t.Error(err)
	}
	if _, err := enqueue(); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "called next after it had ended") ||
		len(client.Jobs()) != 0 {
		t.Error(err, client.Jobs())
	}
}

func TestAnEnqueueThatIsLeftRunningIsWaitedFor(t *testing.T) {
	begun := make(chan bool)
	leaves := jobqueue.Middleware{Enqueue: func(
		ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
	) ([]jobqueue.EnqueueResult, error) {
		go func() { _, _ = next(ctx, jobs) }()
		<-begun
		return nil, nil
	}}
	tells := jobqueue.Middleware{Enqueue: func(
		ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
	) ([]jobqueue.EnqueueResult, error) {
		close(begun)
		time.Sleep(20 * time.Millisecond)
		return next(ctx, jobs)
	}}
	client := jobqueuetest.RecordingClient{Middleware: []jobqueue.Middleware{leaves, tells}}
	_, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k"})
	if err == nil || !strings.Contains(err.Error(), "must answer what next answered; the jobs are enqueued") || len(client.Jobs()) != 1 {
		t.Error(err, client.Jobs())
	}
}

func TestEachMiddlewareGetsHeadersAndLabelsOfItsOwn(t *testing.T) {
	var told []string
	for _, headers := range []map[string]string{nil, {"x": "1"}} {
		gives := jobqueue.Middleware{Enqueue: func(
			ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
		) ([]jobqueue.EnqueueResult, error) {
			for i := range jobs {
				jobs[i].Headers, jobs[i].Labels = headers, headers // the same for all
			}
			return next(ctx, jobs)
		}}
		client := jobqueuetest.RecordingClient{Middleware: []jobqueue.Middleware{
			gives, jobqueue.ForKinds(letters("a", nil, &told), "mail"), letters("b", nil, &told),
		}}
		if _, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "mail"}, {Kind: "mail"}, {Kind: "post"}}); err != nil {
			t.Fatal(err)
		}
		for i, by := range []string{"ab", "ab", "b"} {
			if job := client.Jobs()[i]; job.Headers["by"] != by || job.Headers["x"] != headers["x"] || job.Labels["b"] != "3" {
				t.Errorf("%+v", job)
			}
		}
		if len(headers) > 1 {
			t.Error("what was given is another's now:", headers)
		}
	}
}
