package jobqueue_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
	pb "jobqueue.dev/go/jobqueue/v1"
)

const day = 24 * time.Hour

var (
	// seldom is due far from now, so that nothing fires by itself.
	seldom  = jobqueue.ScheduleSpec{Cron: []string{"0 0 1 1 *"}}
	newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	nightly = jobqueue.ScheduleSpec{
		Cron: []string{"30 2 * * *", "0 12 * * MON"}, TimeZone: "Europe/Berlin", Jitter: 90 * time.Second,
		StartsAt: newYear, EndsAt: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	tickPolicy = jobqueue.SchedulePolicy{
		Overlap: jobqueue.OverlapAllow, CatchUpWindow: pointer(2 * time.Hour), CatchUp: jobqueue.CatchUpAll,
		PauseAfterFailures: 7, KeepRuns: 9,
	}
	fullJob = jobqueue.NewJob{
		Kind: "report", Payload: json.RawMessage(`{"digits": 12345678901234567890}`), Queue: "reports", Priority: 3,
		MaxAttempts: 5, Timeout: 90 * time.Second, Labels: map[string]string{"team": "a"},
		Headers: map[string]string{"x-request-id": "r-1"}, Hold: true, Key: "customer 42",
		RetryPolicy: &jobqueue.RetryPolicy{MinBackoff: 2 * time.Second, MaxBackoff: 30 * time.Second},
		Unique: &jobqueue.Unique{
			Key: "u", Scope: jobqueue.ScopeQueueAndKind, Until: jobqueue.UntilEnds, Period: 5 * time.Minute,
			OnConflict: jobqueue.ConflictReplace,
			Replace:    []jobqueue.UniqueField{jobqueue.ReplacePayload, jobqueue.ReplaceLabels},
		},
	}
)

// create makes a schedule that fires nothing by itself.
func create(t *testing.T, scope *jobqueuetest.TestScope, name string, job jobqueue.NewJob) *jobqueue.Schedule {
	t.Helper()
	made := jobqueue.NewSchedule{Name: name, Spec: seldom, Job: job}
	return must[*jobqueue.Schedule](t)(scope.Client.Schedules().Create(t.Context(), made))
}

// all are what a loop reads.
func all[Each any](t *testing.T, loop iter.Seq2[Each, error]) []Each {
	t.Helper()
	var found []Each
	for each, err := range loop {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, each)
	}
	return found
}

func TestInAScopeAScheduleIsReadAsItWasMadeAndCanBeWrittenBack(t *testing.T) {
	scope := scoped(t, "report", "work")
	schedules := scope.Client.Schedules()
	made := must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), jobqueue.NewSchedule{
		Name: "nightly", Spec: nightly, Job: fullJob, Policy: &tickPolicy, Labels: map[string]string{"of": "us"}, Paused: true,
	}))
	read := must[*jobqueue.Schedule](t)(schedules.Get(t.Context(), "nightly"))
	if !reflect.DeepEqual(read, made) {
		t.Errorf("%+v, not %+v", read, made)
	}
	if !reflect.DeepEqual(made.Spec, nightly) || !reflect.DeepEqual(made.Policy, tickPolicy) || !reflect.DeepEqual(made.Job, fullJob) {
		t.Errorf("%+v", made)
	}
	if made.Name != "nightly" || made.Labels["of"] != "us" || !made.Paused || !made.NextAt.IsZero() || made.CreatedAt.IsZero() ||
		made.Fired != 0 || made.LastRun != nil || len(made.Upcoming) != 5 || made.Etag == "" {
		t.Errorf("%+v", made)
	}
	changed := must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "nightly", jobqueue.ScheduleChange{
		Spec: &made.Spec, Job: &made.Job, Policy: &made.Policy,
	}))
	if !reflect.DeepEqual(changed.Spec, made.Spec) || !reflect.DeepEqual(changed.Job, made.Job) ||
		!reflect.DeepEqual(changed.Policy, made.Policy) {
		t.Errorf("%+v", changed)
	}
	every := jobqueue.ScheduleSpec{Every: 10 * time.Minute, Phase: time.Minute, TimeZone: "Etc/UTC"}
	made = must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), jobqueue.NewSchedule{
		Name: "every", Spec: every, Job: jobqueue.NewJob{Kind: "work"},
		Policy: &jobqueue.SchedulePolicy{CatchUpWindow: new(time.Duration)},
	}))
	if !reflect.DeepEqual(made.Spec, every) || made.Policy.CatchUpWindow == nil || *made.Policy.CatchUpWindow != 0 {
		t.Errorf("%+v", made)
	}
}

func TestInAScopeAScheduleEnqueuesATypedJobWithItsVersion(t *testing.T) {
	scope := scoped(t)
	if _, err := scope.Client.SyncKinds(t.Context(), secondMail); err != nil {
		t.Fatal(err)
	}
	made := create(t, scope, "typed", secondMail.New(letter{"Ada", "L"}))
	if mail := string(made.Job.Payload.(json.RawMessage)); mail != `{"first":"Ada","last":"L"}` || made.Job.Queue != "post" ||
		made.Job.Timeout != time.Minute {
		t.Errorf("%+v", made.Job)
	}
	run := must[*jobqueue.ScheduleRun](t)(scope.Client.Schedules().Run(t.Context(), "typed", jobqueue.ScheduleRunOptions{}))
	job := must[*jobqueue.Job](t)(scope.Client.Get(t.Context(), run.JobID))
	if mail, err := secondMail.PayloadOf(job); err != nil || mail.First != "Ada" || job.Headers["x-payload-version"] != "2" ||
		job.Headers["x-schedule"] != "typed" {
		t.Errorf("%+v %v", job, err)
	}
}

func TestInAScopeAScheduleThatWasListedAndIsWrittenBackKeepsItsPayload(t *testing.T) {
	scope := scoped(t, "work")
	schedules := scope.Client.Schedules()
	made := create(t, scope, "s", jobqueue.NewJob{Kind: "work", Payload: 1, Headers: map[string]string{"h": "v"}})
	listed := all(t, schedules.List(t.Context(), jobqueue.ScheduleFilter{}))[0]
	if listed.Job.Payload != nil || listed.Upcoming != nil {
		t.Errorf("%+v", listed)
	}
	listed.Job.Priority = 3
	_, err := schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &listed.Job, Etag: listed.Etag})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "schedule.job.payload")
	if read := must[*jobqueue.Schedule](t)(schedules.Get(t.Context(), "s")); !reflect.DeepEqual(read.Job, made.Job) {
		t.Errorf("%+v", read.Job)
	}
	// One without a payload says so.
	null := jobqueue.NewJob{Kind: "work", Payload: json.RawMessage("null")}
	changed := must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &null}))
	if !reflect.DeepEqual(changed.Job.Payload, null.Payload) {
		t.Errorf("%+v", changed.Job)
	}
}

func TestInAScopeWhatIsWrongWithAScheduleIsToldByItsOwnError(t *testing.T) {
	scope := scoped(t, "work")
	schedules, ctx := scope.Client.Schedules(), t.Context()
	work := jobqueue.NewJob{Kind: "work", Payload: 1}
	create(t, scope, "s", work)
	_, err := schedules.Create(ctx, jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: work})
	refusedWith(t, err, jobqueue.ErrScheduleExists, "")
	odd := jobqueue.ScheduleSpec{Cron: []string{"0 0 * * *", "61 * * * *"}}
	_, err = schedules.Create(ctx, jobqueue.NewSchedule{Name: "t", Spec: odd, Job: work})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "schedule.spec.cron[1]")
	_, err = schedules.Create(ctx, jobqueue.NewSchedule{Name: "t", Job: work})
	if refusedWith(t, err, jobqueue.ErrInvalidRequest, ""); !strings.Contains(err.Error(), "schedule.spec.cron") {
		t.Error(err)
	}
	_, err = schedules.Create(ctx, jobqueue.NewSchedule{Name: "t", Spec: seldom, Job: jobqueue.NewJob{Kind: "unheard-of"}})
	refusedWith(t, err, jobqueue.ErrKindUnknown, "")
	strict := jobqueue.Kind{Name: "strict", Schema: json.RawMessage(`{"type": "object"}`)}
	must[*jobqueue.Kind](t)(scope.Client.PutKind(ctx, strict))
	_, err = schedules.Create(ctx, jobqueue.NewSchedule{Name: "t", Spec: seldom, Job: jobqueue.NewJob{Kind: "strict", Payload: 1}})
	refusedWith(t, err, jobqueue.ErrPayloadInvalid, "schedule.job.payload")
	_, err = schedules.Update(ctx, "s", jobqueue.ScheduleChange{})
	if refusedWith(t, err, jobqueue.ErrInvalidRequest, ""); !strings.Contains(err.Error(), "update_mask") {
		t.Error(err)
	}
	_, err = schedules.Preview(ctx, odd, 0, time.Time{})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "spec.cron[1]")
	for name, do := range scheduleCalls(schedules, ctx, "no") {
		if name == "create" || name == "list" || name == "preview" {
			continue
		}
		err := do()
		var failure *jobqueue.Error
		if !errors.Is(err, jobqueue.ErrScheduleNotFound) || !errors.As(err, &failure) || failure.Metadata["schedule"] != "no" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// scheduleCalls are all calls about a schedule.
func scheduleCalls(schedules *jobqueue.Schedules, ctx context.Context, name string) map[string]func() error {
	run := func(options jobqueue.ScheduleRunOptions) func() error {
		return func() error { _, err := schedules.Run(ctx, name, options); return err }
	}
	update := func(change jobqueue.ScheduleChange) func() error {
		return func() error { _, err := schedules.Update(ctx, name, change); return err }
	}
	backfill := func(span jobqueue.Backfill) func() error {
		span.StartAt, span.EndAt = newYear, newYear.Add(day)
		return func() error { _, err := schedules.Backfill(ctx, name, span); return err }
	}
	return map[string]func() error{
		"create": func() error {
			_, err := schedules.Create(ctx, jobqueue.NewSchedule{Name: name, Spec: seldom, Job: jobqueue.NewJob{Kind: "work"}})
			return err
		},
		"get": func() error { _, err := schedules.Get(ctx, name); return err },
		"list": func() error {
			for _, err := range schedules.List(ctx, jobqueue.ScheduleFilter{}) {
				return err
			}
			return nil
		},
		"update":           update(jobqueue.ScheduleChange{Spec: &seldom}),
		"update of etag":   update(jobqueue.ScheduleChange{Spec: &seldom, Etag: "e"}),
		"delete":           func() error { return schedules.Delete(ctx, name, "") },
		"pause":            func() error { _, err := schedules.Pause(ctx, name, ""); return err },
		"resume":           func() error { _, err := schedules.Resume(ctx, name); return err },
		"run":              run(jobqueue.ScheduleRunOptions{}),
		"run of an id":     run(jobqueue.ScheduleRunOptions{RequestID: "r"}),
		"backfill":         backfill(jobqueue.Backfill{}),
		"counted backfill": backfill(jobqueue.Backfill{ValidateOnly: true}),
		"backfill of id":   backfill(jobqueue.Backfill{RequestID: "r"}),
		"runs": func() error {
			for _, err := range schedules.Runs(ctx, name, 0) {
				return err
			}
			return nil
		},
		"preview": func() error { _, err := schedules.Preview(ctx, seldom, 0, time.Time{}); return err },
	}
}

func TestOfTheCallsAboutSchedulesThoseAreTriedAgainThatDoNoHarmTwice(t *testing.T) {
	var tries atomic.Int32
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		if tries.Add(1) == 1 {
			return nil, refusal(codes.Unavailable, "DRAINING")
		}
		return nil, refusal(codes.NotFound, "SCHEDULE_NOT_FOUND")
	})
	once := map[string]bool{"create": true, "update of etag": true, "delete": true, "run": true, "backfill": true}
	for name, do := range scheduleCalls(client.Schedules(), t.Context(), "s") {
		tries.Store(0)
		wanted, count := jobqueue.ErrScheduleNotFound, int32(2)
		if once[name] {
			wanted, count = jobqueue.ErrUnavailable, 1
		}
		if err := do(); !errors.Is(err, wanted) || tries.Load() != count {
			t.Errorf("%s: %v after %d tries", name, err, tries.Load())
		}
	}
}

func TestWhatCanOnlyBeWrongInAScheduleIsRefusedBeforeTheCall(t *testing.T) {
	client := answering(t, func(method string, _ any, _ metadata.MD) (any, error) {
		t.Error(method, "was called")
		return nil, refusal(codes.Internal, "INTERNAL")
	})
	schedules, ctx := client.Schedules(), t.Context()
	for field, job := range map[string]jobqueue.NewJob{
		"schedule.job.run_at":          {Kind: "work", Delay: time.Second},
		"schedule.job.idempotency_key": {Kind: "work", IdempotencyKey: "k"},
		"schedule.job.payload":         {Kind: "work", Payload: func() {}},
	} {
		_, err := schedules.Create(ctx, jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: job})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, field)
		_, err = schedules.Update(ctx, "s", jobqueue.ScheduleChange{Job: &job})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, field)
	}
	_, err := schedules.Create(ctx, jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: jobqueue.NewJob{Kind: "work", RunAt: newYear}})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "schedule.job.run_at")
	for field, policy := range map[string]jobqueue.SchedulePolicy{
		"schedule.policy.overlap": {Overlap: "BUFFER_SOME"}, "schedule.policy.catch_up": {CatchUp: "SOME"},
	} {
		_, err = schedules.Create(ctx, jobqueue.NewSchedule{Name: "s", Spec: seldom, Policy: &policy})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, field)
		_, err = schedules.Update(ctx, "s", jobqueue.ScheduleChange{Policy: &policy})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, field)
	}
	_, err = schedules.Run(ctx, "s", jobqueue.ScheduleRunOptions{Overlap: "BUFFER_SOME"})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "overlap")
	_, err = schedules.Backfill(ctx, "s", jobqueue.Backfill{Overlap: "BUFFER_SOME"})
	if refusedWith(t, err, jobqueue.ErrInvalidRequest, "overlap"); !strings.Contains(err.Error(), "ALLOW, BUFFER_ALL") {
		t.Error(err)
	}
}

func TestWhatANewerServerSaysOfAScheduleIsUnspecified(t *testing.T) {
	client := answering(t, func(method string, _ any, _ metadata.MD) (any, error) {
		if strings.HasSuffix(method, "RunSchedule") {
			return &pb.RunScheduleResponse{Run: &pb.ScheduleRun{Outcome: 99, Cause: 99}}, nil
		}
		return &pb.GetScheduleResponse{Schedule: &pb.Schedule{
			Policy: &pb.SchedulePolicy{Overlap: 99, CatchUp: 99}, Upcoming: []*pb.ScheduleTick{{Rule: 99}},
		}}, nil
	})
	schedule := must[*jobqueue.Schedule](t)(client.Schedules().Get(t.Context(), "s"))
	if schedule.Policy.Overlap != jobqueue.OverlapUnspecified || schedule.Policy.CatchUp != jobqueue.CatchUpUnspecified ||
		schedule.Upcoming[0].Rule != jobqueue.RuleUnspecified || schedule.Policy.CatchUpWindow != nil {
		t.Errorf("%+v", schedule)
	}
	run := must[*jobqueue.ScheduleRun](t)(client.Schedules().Run(t.Context(), "s", jobqueue.ScheduleRunOptions{}))
	if run.Outcome != jobqueue.RunUnspecified || run.Cause != jobqueue.CauseUnspecified {
		t.Errorf("%+v", run)
	}
}

func TestInAScopeSchedulesAreListedByNameOverAllPagesAndByWhatTheyAre(t *testing.T) {
	scope := scoped(t, "kind-a", "kind-b", "kind-c")
	schedules := scope.Client.Schedules()
	for _, name := range []string{"b", "a", "c"} {
		made := jobqueue.NewSchedule{Name: name, Spec: seldom, Job: jobqueue.NewJob{Kind: "kind-" + name, Queue: "q"}}
		if name == "a" {
			made.Job.Queue, made.Paused, made.Labels = "", true, map[string]string{"of": "us", "in": "may"}
		}
		must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), made))
	}
	for wanted, filter := range map[string]jobqueue.ScheduleFilter{
		"a b c": {}, "b c": {Queue: "q"}, "c": {Kind: "kind-c"}, "a": {Paused: pointer(true)},
		" b c": {Paused: pointer(false)}, " a": {Labels: map[string]string{"of": "us", "in": "may"}},
	} {
		filter.PageSize = 1
		var names []string
		for _, each := range all(t, schedules.List(t.Context(), filter)) {
			names = append(names, each.Name)
		}
		if got := strings.Join(names, " "); got != strings.TrimSpace(wanted) {
			t.Errorf("%s, not %s", got, wanted)
		}
	}
	for first := range schedules.List(t.Context(), jobqueue.ScheduleFilter{PageSize: 2}) {
		if first.Name != "a" {
			t.Error(first.Name)
		}
		break
	}
}

func TestInAScopeWhatIsNotGivenToAnUpdateOfAScheduleStays(t *testing.T) {
	scope := scoped(t, "report")
	schedules := scope.Client.Schedules()
	made := must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), jobqueue.NewSchedule{
		Name: "s", Spec: seldom, Job: fullJob, Policy: &tickPolicy, Labels: map[string]string{"a": "b"},
	}))
	update := func(change jobqueue.ScheduleChange) *jobqueue.Schedule {
		t.Helper()
		return must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "s", change))
	}
	changed := update(jobqueue.ScheduleChange{
		Policy: &jobqueue.SchedulePolicy{Overlap: jobqueue.OverlapBufferOne, KeepRuns: 3}, PolicyFields: []string{"keep_runs"},
	})
	wanted := tickPolicy
	wanted.KeepRuns = 3
	if !reflect.DeepEqual(changed.Policy, wanted) || !reflect.DeepEqual(changed.Spec, made.Spec) ||
		!reflect.DeepEqual(changed.Job, made.Job) || changed.Labels["a"] != "b" || changed.Etag == made.Etag {
		t.Errorf("%+v", changed)
	}
	if changed = update(jobqueue.ScheduleChange{Labels: map[string]string{}}); len(changed.Labels) != 0 {
		t.Errorf("%+v", changed)
	}
	defaults := update(jobqueue.ScheduleChange{Policy: &jobqueue.SchedulePolicy{}}).Policy
	if defaults.Overlap != jobqueue.OverlapBufferOne || defaults.CatchUp != jobqueue.CatchUpLatest || defaults.KeepRuns != 100 ||
		*defaults.CatchUpWindow != time.Hour {
		t.Errorf("%+v", defaults)
	}
}

func TestInAScopeOfTwoChangesOfOneEtagOfAScheduleTheSecondIsRefused(t *testing.T) {
	scope := scoped(t, "work")
	schedules, work := scope.Client.Schedules(), jobqueue.NewJob{Kind: "work"}
	made := create(t, scope, "s", work)
	change := jobqueue.ScheduleChange{Labels: map[string]string{"n": "1"}, Etag: made.Etag}
	changed := must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "s", change))
	change.Labels = map[string]string{"n": "2"}
	_, err := schedules.Update(t.Context(), "s", change)
	var late *jobqueue.Error
	if !errors.Is(err, jobqueue.ErrEtagMismatch) || !errors.As(err, &late) || late.Metadata["etag"] != changed.Etag {
		t.Errorf("%v", err)
	}
	if err = schedules.Delete(t.Context(), "s", made.Etag); !errors.Is(err, jobqueue.ErrEtagMismatch) {
		t.Error(err)
	}
	if err = schedules.Delete(t.Context(), "s", changed.Etag); err != nil {
		t.Error(err)
	}
	again := jobqueue.ScheduleChange{Spec: &seldom, Job: &work, AllowMissing: true}
	if made = must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "s", again)); len(made.Labels) != 0 || made.Name != "s" {
		t.Errorf("%+v", made)
	}
}

func TestInAScopeAPausedScheduleHasNoNextTickAndRunsByHand(t *testing.T) {
	scope := scoped(t, "work")
	schedules, ctx := scope.Client.Schedules(), t.Context()
	made := must[*jobqueue.Schedule](t)(schedules.Create(ctx, jobqueue.NewSchedule{
		Name: "s", Spec: seldom, Job: jobqueue.NewJob{Kind: "work", Payload: 1},
		Policy: &jobqueue.SchedulePolicy{Overlap: jobqueue.OverlapSkip},
	}))
	paused := must[*jobqueue.Schedule](t)(schedules.Pause(ctx, "s", "maintenance"))
	if !paused.Paused || paused.PauseNote != "maintenance" || !paused.NextAt.IsZero() {
		t.Errorf("%+v", paused)
	}
	once := jobqueue.ScheduleRunOptions{RequestID: "r"}
	first := must[*jobqueue.ScheduleRun](t)(schedules.Run(ctx, "s", once))
	if first.Outcome != jobqueue.RunFired || first.Nth != 1 || first.Ticks != 1 || first.Cause != jobqueue.CauseByHand {
		t.Errorf("%+v", first)
	}
	if again := must[*jobqueue.ScheduleRun](t)(schedules.Run(ctx, "s", once)); !reflect.DeepEqual(again, first) {
		t.Errorf("%+v", again)
	}
	skipped := must[*jobqueue.ScheduleRun](t)(schedules.Run(ctx, "s", jobqueue.ScheduleRunOptions{}))
	if skipped.Outcome != jobqueue.RunSkippedOverlap || skipped.JobID != "" {
		t.Errorf("%+v", skipped)
	}
	beside := jobqueue.ScheduleRunOptions{Overlap: jobqueue.OverlapAllow}
	last := must[*jobqueue.ScheduleRun](t)(schedules.Run(ctx, "s", beside))
	runs := all(t, schedules.Runs(ctx, "s", 1))
	if len(runs) != 3 || !reflect.DeepEqual(runs[0], last) || !reflect.DeepEqual(runs[1], skipped) || !reflect.DeepEqual(runs[2], first) {
		t.Errorf("%+v", runs)
	}
	resumed := must[*jobqueue.Schedule](t)(schedules.Resume(ctx, "s"))
	if resumed.Paused || !resumed.NextAt.Equal(made.NextAt) || resumed.Fired != 2 || len(resumed.OpenJobIDs) != 2 ||
		resumed.LastRun == nil || resumed.LastRun.Outcome != jobqueue.RunFired {
		t.Errorf("%+v", resumed)
	}
}

func TestInAScopeABackfillIsCountedFirstAndBegunOnceForARequestID(t *testing.T) {
	scope := scoped(t, "work")
	schedules, ctx := scope.Client.Schedules(), t.Context()
	daily := jobqueue.NewSchedule{
		Name: "s", Spec: jobqueue.ScheduleSpec{Every: day}, Job: jobqueue.NewJob{Kind: "work"}, Paused: true,
	}
	must[*jobqueue.Schedule](t)(schedules.Create(ctx, daily))
	span := jobqueue.Backfill{StartAt: newYear, EndAt: newYear.Add(10 * day), ValidateOnly: true}
	counted := must[*jobqueue.Operation](t)(schedules.Backfill(ctx, "s", span))
	if counted.Name != "" || !counted.Done || !counted.DryRun || counted.Estimate != 10 {
		t.Errorf("%+v", counted)
	}
	if runs := all(t, schedules.Runs(ctx, "s", 0)); len(runs) != 0 {
		t.Errorf("%+v", runs)
	}
	span.ValidateOnly, span.MaxTicks, span.RequestID = false, 4, "r"
	begun := must[*jobqueue.Operation](t)(schedules.Backfill(ctx, "s", span))
	if begun.Verb != "BackfillSchedule" || begun.Schedule != "s" || !begun.StartAt.Equal(span.StartAt) ||
		!begun.EndAt.Equal(span.EndAt) || begun.MaxJobs != 4 || begun.CreatedAt.IsZero() {
		t.Errorf("%+v", begun)
	}
	if again := must[*jobqueue.Operation](t)(schedules.Backfill(ctx, "s", span)); again.Name != begun.Name {
		t.Errorf("%+v", again)
	}
	span.MaxTicks = 5
	_, err := schedules.Backfill(ctx, "s", span)
	refusedWith(t, err, jobqueue.ErrRequestIDReused, "")
}

func TestInAScopeAPreviewSaysWhichRuleAChangeOfClocksApplied(t *testing.T) {
	schedules := scoped(t).Client.Schedules()
	told := func(cron string, since time.Time) []string {
		t.Helper()
		spec := jobqueue.ScheduleSpec{Cron: []string{cron}, TimeZone: "Europe/Berlin"}
		var said []string
		for _, each := range must[[]jobqueue.ScheduleTick](t)(schedules.Preview(t.Context(), spec, 2, since)) {
			said = append(said, each.LocalTime+" "+string(each.Rule))
		}
		return said
	}
	if got := told("30 2 * * *", time.Date(2027, 3, 28, 0, 0, 0, 0, time.UTC)); !reflect.DeepEqual(got, []string{
		"2027-03-28T03:00:00+02:00 AFTER_GAP", "2027-03-29T02:30:00+02:00 RULE_UNSPECIFIED",
	}) {
		t.Error(got)
	}
	if got := told("30 * * * *", time.Date(2027, 10, 31, 0, 0, 0, 0, time.UTC)); !reflect.DeepEqual(got, []string{
		"2027-10-31T02:30:00+02:00 FIRST_OF_TWO", "2027-10-31T02:30:00+01:00 SECOND_OF_TWO",
	}) {
		t.Error(got)
	}
	if ticks := must[[]jobqueue.ScheduleTick](t)(schedules.Preview(t.Context(), seldom, 0, time.Time{})); len(ticks) != 10 ||
		!ticks[0].TickAt.After(newYear) {
		t.Error(ticks)
	}
	_, err := schedules.Preview(t.Context(), seldom, 101, time.Time{})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "count")
}
