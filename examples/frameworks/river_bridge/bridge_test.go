package riverbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

// inserts are the jobs, and what each comes to.
var inserts = []struct {
	args river.JobArgs
	opts *river.InsertOpts
	// state is the one that it ends in, and says its output as JSON, or its last error.
	state rivertype.JobState
	says  string
}{
	{SortArgs{[]string{"b", "a"}}, nil, rivertype.JobStateCompleted, `["a","b"]`},
	{FailArgs{"fails"}, nil, rivertype.JobStateDiscarded, "wrong"},
	{FailArgs{"cancels"}, nil, rivertype.JobStateCancelled, "JobCancelError: no such user"},
	{FailArgs{"cancels within"}, nil, rivertype.JobStateCancelled, "step 2: JobCancelError: no such user"},
	{FailArgs{"panics"}, &river.InsertOpts{MaxAttempts: 1}, rivertype.JobStateDiscarded, "broken"},
	{SlowArgs{}, &river.InsertOpts{MaxAttempts: 1}, rivertype.JobStateDiscarded, "context deadline exceeded"},
	{SnoozeArgs{}, nil, rivertype.JobStateCompleted, `"attempt 1 after 0 errors"`},
	{BusyArgs{}, nil, rivertype.JobStateCompleted, `"attempt 3 after 2 errors"`},
	{TellArgs{}, nil, rivertype.JobStateCompleted, `"tell default running 3 7 [\"args\"] {} {} true"`},
	{TellArgs{}, &river.InsertOpts{Queue: "other", Priority: 1, Tags: []string{"one", "two"}, Metadata: []byte(`{"a": 1}`)},
		rivertype.JobStateCompleted, `"tell other running 1 7 [\"one\" \"two\"] {\"a\": 1} {} true"`},
	{OnceArgs{"ada", 1}, nil, rivertype.JobStateCompleted, `"ada"`},
	{OnceArgs{"ada", 2}, nil, rivertype.JobStateCompleted, `"ada"`},
	{OldArgs{"bob"}, nil, rivertype.JobStateCompleted, `"outer inner bob"`},
	{TextArgs{"no list"}, &river.InsertOpts{MaxAttempts: 1}, rivertype.JobStateDiscarded,
		"json: cannot unmarshal string into Go struct field SortArgs.strings of type []string"},
}

// worked is how often each worker runs for all of them.
var worked = map[string]int{
	"sort": 1, "fail fails": 2, "fail cancels": 1, "fail cancels within": 1, "fail panics": 1, "slow": 1, "snooze": 3, "busy": 3,
	"tell": 2, "once": 1, "old_name": 1,
}

func TestRiverItselfComesToThis(t *testing.T) {
	address := os.Getenv("RIVER_DATABASE_URL")
	if address == "" {
		t.Skip("RIVER_DATABASE_URL is not set: a PostgreSQL database of River's own")
	}
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil); err != nil {
		t.Fatal(err)
	}
	workers, count := river.NewWorkers(), &runs{count: map[string]int{}}
	river.AddWorker(workers, &SortWorker{runs: count})
	river.AddWorker(workers, &FailWorker{runs: count})
	river.AddWorker(workers, &SlowWorker{runs: count})
	river.AddWorker(workers, &SnoozeWorker{runs: count})
	river.AddWorker(workers, &BusyWorker{runs: count})
	river.AddWorker(workers, &TellWorker{runs: count})
	river.AddWorker(workers, &OnceWorker{runs: count})
	river.AddWorker(workers, &RenamedWorker{runs: count})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:            map[string]river.QueueConfig{"default": {MaxWorkers: 4}, "other": {MaxWorkers: 1}},
		FetchPollInterval: 100 * time.Millisecond, FetchCooldown: 10 * time.Millisecond,
		Workers: workers, SkipUnknownJobCheck: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	events, unsubscribe := client.Subscribe(river.EventKindJobCompleted, river.EventKindJobCancelled, river.EventKindJobFailed)
	defer unsubscribe()
	var ids []int64
	all := map[int64]bool{}
	for _, each := range inserts {
		inserted, err := client.Insert(t.Context(), each.args, each.opts)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, inserted.Job.ID)
		all[inserted.Job.ID] = true
	}
	if err = client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := time.After(time.Minute)
	for len(all) > 0 {
		select {
		case event := <-events:
			if event.Job.FinalizedAt != nil {
				delete(all, event.Job.ID)
			}
		case <-late:
			t.Fatalf("after a minute %d jobs have not ended", len(all))
		}
	}
	if err = client.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, each := range inserts {
		job, err := client.JobGet(t.Context(), ids[i])
		if err != nil {
			t.Fatal(err)
		}
		said := compact(job.Output())
		if last := len(job.Errors) - 1; last >= 0 && job.State != rivertype.JobStateCompleted {
			said = job.Errors[last].Error
		}
		if job.State != each.state || said != each.says {
			t.Errorf("%s %+v: %s %s", job.Kind, each.args, job.State, said)
		}
	}
	if !maps.Equal(count.count, worked) {
		t.Error(count.count)
	}
}

// compact is the text without the spaces that PostgreSQL writes.
func compact(text []byte) string {
	var said bytes.Buffer
	if json.Compact(&said, text) != nil {
		return string(text)
	}
	return said.String()
}

// workerOf has all of the workers, by the bridge.
func workerOf(t *testing.T) (*jobqueue.Worker, *runs) {
	t.Helper()
	worker, err := jobqueue.NewWorker("elsewhere:1", jobqueue.WorkerOptions{Queues: []string{"default", "other"}})
	if err != nil {
		t.Fatal(err)
	}
	count := &runs{count: map[string]int{}}
	jobqueue.HandleKind(worker, KindOf[SortArgs](), Bridge(&SortWorker{runs: count}))
	jobqueue.HandleKind(worker, KindOf[FailArgs](), Bridge(&FailWorker{runs: count}))
	jobqueue.HandleKind(worker, KindOf[SlowArgs](), Bridge(&SlowWorker{runs: count}))
	jobqueue.HandleKind(worker, KindOf[SnoozeArgs](), Bridge(&SnoozeWorker{runs: count}))
	jobqueue.HandleKind(worker, KindOf[BusyArgs](), Bridge(&BusyWorker{runs: count}))
	jobqueue.HandleKind(worker, KindOf[TellArgs](), Bridge(&TellWorker{runs: count}))
	jobqueue.HandleKind(worker, KindOf[OnceArgs](), Bridge(&OnceWorker{runs: count}))
	jobqueue.HandleKind(worker, KindOf[NewArgs](), Bridge(&RenamedWorker{runs: count}))
	return worker, count
}

func TestAsJobsTheyComeToTheSame(t *testing.T) {
	scope := jobqueuetest.NewScope(t)
	kinds := []jobqueue.DeclaredKind{
		KindOf[SortArgs](), KindOf[FailArgs](), KindOf[SlowArgs](), KindOf[SnoozeArgs](), KindOf[BusyArgs](), KindOf[TellArgs](),
		KindOf[OnceArgs](), KindOf[NewArgs](), KindOf[OldArgs](),
	}
	if _, err := scope.Client.SyncKinds(t.Context(), kinds...); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, each := range inserts {
		job, err := scope.Client.Enqueue(t.Context(), New(each.args, each.opts))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, job.ID)
	}
	worker, count := workerOf(t)
	if _, err := scope.RunUntilIdle(worker, jobqueuetest.RetryFailures(), jobqueuetest.RunWithin(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for i, each := range inserts {
		job, err := scope.Client.Get(t.Context(), ids[i])
		if err != nil {
			t.Fatal(err)
		}
		said := string(job.Output)
		if job.Status != jobqueue.StatusSucceeded {
			said = job.LastError
		}
		if stateOf(job) != each.state || said != each.says {
			t.Errorf("%s %+v: %s %s %s", job.Kind, each.args, job.Status, job.Reason, said)
		}
	}
	if !maps.Equal(count.count, worked) {
		t.Error(count.count)
	}
}

// stateOf is the state of River's that stands for how a job has ended.
func stateOf(job *jobqueue.Job) rivertype.JobState {
	switch {
	case job.Status == jobqueue.StatusSucceeded:
		return rivertype.JobStateCompleted
	case job.Reason == "NOT_RETRYABLE":
		return rivertype.JobStateCancelled
	}
	return rivertype.JobStateDiscarded
}

// failing is a worker that ends as its function says.
type failing struct {
	river.WorkerDefaults[SlowArgs]
	work func(ctx context.Context) error
	next time.Time
}

func (f *failing) Work(ctx context.Context, _ *river.Job[SlowArgs]) error { return f.work(ctx) }
func (f *failing) NextRetry(*river.Job[SlowArgs]) time.Time               { return f.next }

func perform(t *testing.T, worker *failing, options ...jobqueuetest.Option) *jobqueuetest.Performed {
	t.Helper()
	handler := KindOf[SlowArgs]().Handler(Bridge(worker))
	done, err := jobqueuetest.Perform(t.Context(), handler, New(SlowArgs{}, nil), options...)
	if done == nil {
		t.Fatal(err)
	}
	return done
}

func wrong(context.Context) error { return context.DeadlineExceeded }

func TestARetryWaitsAsLongAsItWouldInRiver(t *testing.T) {
	for failures, seconds := range []float64{1, 16, 81, 256} {
		done := perform(t, &failing{work: wrong}, jobqueuetest.AttemptNumber(failures+5), jobqueuetest.Failures(failures))
		if done.RetryAfter == nil || done.RetryAfter.Seconds() < seconds*0.85 || done.RetryAfter.Seconds() > seconds*1.15 {
			t.Error(failures, done.RetryAfter)
		}
	}
	done := perform(t, &failing{work: wrong, next: time.Now().Add(time.Hour)})
	if done.RetryAfter == nil || (*done.RetryAfter-time.Hour).Abs() > time.Minute {
		t.Error(done.RetryAfter)
	}
	done = perform(t, &failing{work: wrong}, jobqueuetest.Failures(500))
	if done.RetryAfter == nil || *done.RetryAfter != 400*24*time.Hour {
		t.Error(done.RetryAfter)
	}
	// One that has gone by is not taken.
	done = perform(t, &failing{work: wrong, next: time.Now().Add(-time.Hour)})
	if done.RetryAfter == nil || done.RetryAfter.Seconds() < 0.85 {
		t.Error(done.RetryAfter)
	}
}

func TestAWorkerIsNotAskedWhenToRetryArgsThatItCouldNotRead(t *testing.T) {
	worker := &failing{work: wrong, next: time.Now().Add(time.Hour)}
	job := jobqueue.NewJob{Kind: "slow", Payload: json.RawMessage(`[1]`)}
	done, err := jobqueuetest.Perform(t.Context(), KindOf[SlowArgs]().Handler(Bridge(worker)), job)
	if done == nil || done.Ending != jobqueuetest.Failed || done.RetryAfter == nil || *done.RetryAfter > time.Minute {
		t.Error(done, err)
	}
}

func TestASnoozeIsAsLongAsTheWorkerSays(t *testing.T) {
	done := perform(t, &failing{work: func(context.Context) error { return river.JobSnooze(time.Hour) }})
	if done.Ending != jobqueuetest.Snoozed || done.Delay != time.Hour {
		t.Error(done)
	}
}

func TestAWorkerThatIsStoppedEndsAsItsJobIsStopped(t *testing.T) {
	worker := &failing{work: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	if done := perform(t, worker, jobqueuetest.StopAtStart()); done.Ending != jobqueuetest.Cancelled {
		t.Error(done)
	}
	stop := jobqueuetest.Because(jobqueue.ErrShutdown)
	if done := perform(t, worker, jobqueuetest.StopAtStart(), stop); done.Ending != jobqueuetest.Released {
		t.Error(done)
	}
	// Whatever it says, as in River.
	worker.work = func(ctx context.Context) error { <-ctx.Done(); return river.JobSnooze(time.Hour) }
	if done := perform(t, worker, jobqueuetest.StopAtStart()); done.Ending != jobqueuetest.Cancelled {
		t.Error(done)
	}
}

func TestWhatIsOfRiversClientAloneFailsAnAttempt(t *testing.T) {
	for name, use := range map[string]func(ctx context.Context) error{
		"client not found in context": func(ctx context.Context) error { _ = river.ClientFromContext[pgx.Tx](ctx); return nil },
		"resumable step can only be":  func(ctx context.Context) error { river.ResumableStep(ctx, "one", nil, wrong); return nil },
		"RecordOutput must be called": func(ctx context.Context) error { return river.RecordOutput(ctx, 1) },
	} {
		if done := perform(t, &failing{work: use}); done.Ending != jobqueuetest.Failed || !strings.Contains(done.Error, name) {
			t.Error(name, done)
		}
	}
}

func TestARowsNumberIsItsJobsInEachAttempt(t *testing.T) {
	numberOf := func(id string, attempt int) int64 {
		job, err := jobqueuetest.Attempt(New(SlowArgs{}, nil), jobqueuetest.ID(id), jobqueuetest.AttemptNumber(attempt))
		if err != nil {
			t.Fatal(err)
		}
		return rowOf(job, job.Payload).ID
	}
	if one, again := numberOf("one", 1), numberOf("one", 2); one != again || one <= 0 || one == numberOf("two", 1) {
		t.Error(one, again)
	}
}

type address struct {
	City string `json:"city" river:"unique"`
	Zip  string `json:"zip"`
}

type base struct {
	Tenant string `river:"unique"`
}

type sentArgs struct {
	base
	To     *address       `json:"to"`
	Number int            `json:"number,omitempty" river:"unique"`
	Where  address        `json:"-"`
	More   map[string]any `json:"more" river:"unique"`
	Next   *sentArgs      `json:"next"`
	note   string
}

func (sentArgs) Kind() string { return "sent" }

func TestUniqueOptionsBecomeThoseOfJobs(t *testing.T) {
	if job := New(sentArgs{}, nil); job.Unique != nil {
		t.Error(job.Unique)
	}
	completes := []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}
	for _, each := range []struct {
		by   river.UniqueOpts
		want jobqueue.Unique
	}{
		{river.UniqueOpts{ByQueue: true},
			jobqueue.Unique{Key: "any", Scope: jobqueue.ScopeQueueAndKind, Until: jobqueue.UntilEnds, Period: 24 * time.Hour}},
		{river.UniqueOpts{ByQueue: true, ExcludeKind: true},
			jobqueue.Unique{Key: "any", Scope: jobqueue.ScopeQueue, Until: jobqueue.UntilEnds, Period: 24 * time.Hour}},
		{river.UniqueOpts{ByPeriod: time.Minute}, jobqueue.Unique{Key: "any", Until: jobqueue.UntilPeriod, Period: time.Minute}},
		{river.UniqueOpts{ByPeriod: time.Minute, ExcludeKind: true},
			jobqueue.Unique{Key: "any", Scope: jobqueue.ScopeNamespace, Until: jobqueue.UntilPeriod, Period: time.Minute}},
		{river.UniqueOpts{ByState: completes}, jobqueue.Unique{Key: "any", Until: jobqueue.UntilEnds}},
	} {
		unique := New(sentArgs{}, &river.InsertOpts{UniqueOpts: each.by}).Unique
		said, _ := json.Marshal(unique)
		if want, _ := json.Marshal(each.want); string(said) != string(want) {
			t.Errorf("%s, not %s", said, want)
		}
	}
	fields := New(sentArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}}).Unique.PayloadFields
	if first := strings.Join(fields[:4], " "); first != "/Tenant /to/city /number /more" {
		t.Error(first)
	}
}

func TestAJobIsInsertedAsTheOptionsSay(t *testing.T) {
	at := time.Now().Add(time.Hour)
	job := New(SortArgs{}, &river.InsertOpts{ScheduledAt: at, Pending: true, Priority: 4})
	if !job.RunAt.Equal(at) || !job.Hold || job.Priority != -3 || job.MaxAttempts != 25 {
		t.Errorf("%+v", job)
	}
}
