package jobqueuetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

func perform(
	t *testing.T, handler jobqueue.Handler, job jobqueue.NewJob, options ...jobqueuetest.Option,
) *jobqueuetest.Performed {
	t.Helper()
	done, err := jobqueuetest.Perform(t.Context(), handler, job, options...)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestAnOrdinaryFailureIsTheHandlersOwnError(t *testing.T) {
	done, err := jobqueuetest.Perform(t.Context(), handlers["fails"], jobqueue.NewJob{})
	var own *unwilling
	if !errors.As(err, &own) || done.Ending != jobqueuetest.Failed || done.Error != "not today" ||
		done.ErrorType != "jobqueuetest_test.unwilling" {
		t.Error(done, err)
	}
	done, err = jobqueuetest.Perform(t.Context(), handlers["panics"], jobqueue.NewJob{})
	var panicked *jobqueue.PanicError
	if !errors.As(err, &panicked) || done.ErrorType != "panic" || !strings.Contains(done.Stack, "handlers_test.go") {
		t.Error(done, err)
	}
	if done, err = jobqueuetest.Perform(t.Context(), handlers["exits"], jobqueue.NewJob{}); err == nil || done.Ending != jobqueuetest.Failed {
		t.Error(done, err)
	}
	if done, err = jobqueuetest.Perform(t.Context(), handlers["no-json"], jobqueue.NewJob{}); err == nil || done.ErrorType != "OutputError" {
		t.Error(done, err)
	}
}

func TestWhatAHandlerAsksForIsAnEndingAndNoError(t *testing.T) {
	if done := perform(t, handlers["retries"], jobqueue.NewJob{}); done.Ending != jobqueuetest.Failed || *done.RetryAfter != time.Hour {
		t.Errorf("%+v", done)
	}
	if done := perform(t, handlers["retries"], jobqueue.NewJob{}); done.PauseKey != nil {
		t.Errorf("%+v", done)
	}
	if done := perform(t, handlers["pauses"], jobqueue.NewJob{}); done.Ending != jobqueuetest.Failed || *done.PauseKey != time.Minute {
		t.Errorf("%+v", done)
	}
	if done := perform(t, handlers["discards"], jobqueue.NewJob{}); done.Ending != jobqueuetest.Discarded || done.Error != "no such user" ||
		done.RetryAfter != nil {
		t.Errorf("%+v", done)
	}
	if done := perform(t, handlers["snoozes"], jobqueue.NewJob{}); done.Ending != jobqueuetest.Snoozed || done.Delay != time.Hour {
		t.Errorf("%+v", done)
	}
	if done := perform(t, handlers["gives-up"], jobqueue.NewJob{}); done.Ending != jobqueuetest.Cancelled {
		t.Errorf("%+v", done)
	}
}

func TestTheJobIsWhatAServerWouldHandOut(t *testing.T) {
	given := jobqueue.NewJob{
		Kind: "k", Payload: map[string]int{"n": 7}, Queue: "mail", Priority: 3, MaxAttempts: 5, Timeout: time.Minute,
		Labels: map[string]string{"a": "b"}, Headers: map[string]string{"c": "d"}, Key: "customer",
	}
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var deadline bool
	done := perform(t, func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		_, deadline = ctx.Deadline()
		return fmt.Sprintf("%s %d %d %s %s %s %d %d %v %v %v %s %s %v", job.ID, job.Attempt, job.Failures, job.Kind, job.Payload,
			job.Queue, job.Priority, job.MaxAttempts, job.Timeout, job.Labels, job.Headers, job.Key, job.Checkpoint,
			job.CreatedAt.Equal(at)), nil
	}, given, jobqueuetest.ID("7"), jobqueuetest.AttemptNumber(3), jobqueuetest.Failures(1), jobqueuetest.Checkpoint([]byte("page 4")),
		jobqueuetest.CreatedAt(at))
	const said = `"7 3 1 k {\"n\":7} mail 3 5 1m0s map[a:b] map[c:d] customer page 4 true"`
	if string(done.Output) != said || !deadline {
		t.Errorf("%s", done.Output)
	}
	leased, err := jobqueuetest.Attempt(jobqueue.NewJob{Kind: "k"}, jobqueuetest.AttemptNumber(2))
	if err != nil || leased.Failures != 1 || leased.MaxAttempts != 3 || leased.Queue != "default" || string(leased.Payload) != "null" {
		t.Error(leased, err)
	}
	if err := errors.Join(leased.Progress(0.5, "half"), leased.SaveCheckpoint(nil), leased.FollowUp(given)); err != nil {
		t.Error(err)
	}
	if _, err := jobqueuetest.Attempt(given, jobqueuetest.AttemptNumber(0)); !errors.Is(err, jobqueue.ErrInvalidRequest) {
		t.Error(err)
	}
}

func TestThePayloadGoesThroughJSON(t *testing.T) {
	_, err := jobqueuetest.Perform(t.Context(), handlers["echo"], jobqueue.NewJob{Payload: make(chan int)})
	if !errors.Is(err, jobqueue.ErrInvalidRequest) {
		t.Error(err)
	}
	_, err = jobqueuetest.Perform(t.Context(), handlers["echo"], jobqueue.NewJob{Payload: json.RawMessage(`{`)})
	if !errors.Is(err, jobqueue.ErrInvalidRequest) {
		t.Error(err)
	}
}

func TestWhatAnAttemptCameToIsReadAsWords(t *testing.T) {
	done := perform(t, func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		job.ProgressMessage("begun")
		return json.RawMessage(`{"count":2}`), job.Progress(0.5, "half")
	}, jobqueue.NewJob{})
	failed, _ := jobqueuetest.Perform(t.Context(), handlers["fails"], jobqueue.NewJob{})
	for said, want := range map[string]string{
		fmt.Sprintf("%v", done):                    `succeeded, output {"count":2}, progress "begun", progress 0.5 "half"`,
		fmt.Sprintf("%+v", failed):                 `failed, error "not today" (jobqueuetest_test.unwilling)`,
		fmt.Sprint((*jobqueuetest.Performed)(nil)): "not performed",
	} {
		if said != want {
			t.Error(said)
		}
	}
}

func TestWhatAHandlerTellsIsKeptInOrder(t *testing.T) {
	done := perform(t, func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		job.ProgressMessage("begun")
		return nil, errors.Join(
			job.Progress(0.5, strings.Repeat("x", 2000)), job.SaveCheckpoint([]byte("1")), job.SaveCheckpoint([]byte("2")))
	}, jobqueue.NewJob{}, jobqueuetest.Checkpoint([]byte("0")))
	if len(done.Progress) != 2 || done.Progress[0].Fraction != nil || *done.Progress[1].Fraction != 0.5 ||
		len(done.Progress[1].Message) != 1024 || string(done.Checkpoint()) != "2" || len(done.Checkpoints) != 2 {
		t.Errorf("%+v", done)
	}
}

func TestTheLimitsOfAWorkerHold(t *testing.T) {
	for name, words := range map[string]string{"too-large": "the limit is 1048576", "too-many": "at most 100 follow-ups"} {
		done, err := jobqueuetest.Perform(t.Context(), handlers[name], jobqueue.NewJob{})
		if err == nil || !strings.Contains(done.Error, words) || done.FollowUps != nil {
			t.Error(done, err)
		}
	}
	_, err := jobqueuetest.Perform(t.Context(), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return nil, job.SaveCheckpoint(make([]byte, 64*1024+1))
	}, jobqueue.NewJob{})
	if err == nil {
		t.Error("the checkpoint was taken")
	}
}

func TestFollowUpsAreThoseOfASuccessAlone(t *testing.T) {
	done := perform(t, handlers["follows-up"], jobqueue.NewJob{Headers: map[string]string{"x-request-id": "r"}})
	job := done.FollowUps[0]
	if job.Kind != "go.next" || job.Queue != "later" || job.Delay != time.Hour || job.Headers["x-request-id"] != "r" ||
		string(job.Payload.(json.RawMessage)) != `{"of":1}` {
		t.Errorf("%+v", job)
	}
	done, _ = jobqueuetest.Perform(t.Context(), handlers["fails-after-following-up"], jobqueue.NewJob{})
	if done.Ending != jobqueuetest.Failed || done.FollowUps != nil {
		t.Errorf("%+v", done)
	}
}

func TestTheNextAttemptHasTheCheckpointAndTheFailuresThatItWouldHave(t *testing.T) {
	step := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		seen := fmt.Sprintf("%s %d %d %q", job.ID, job.Attempt, job.Failures, job.Checkpoint)
		if err := job.SaveCheckpoint([]byte(seen[:1])); err != nil {
			return nil, err
		}
		switch job.Attempt {
		case 1:
			return nil, jobqueue.Snooze(time.Second)
		case 2:
			return nil, &unwilling{"once"}
		}
		return seen, nil
	}
	first := perform(t, step, jobqueue.NewJob{}, jobqueuetest.ID("j"))
	second, err := first.Again(t.Context())
	if err == nil || second.Failures != 0 {
		t.Error(second, err)
	}
	third, err := second.Again(t.Context())
	var output string
	if err != nil || third.DecodeOutput(&output) != nil || output != `j 3 1 "j"` {
		t.Error(output, err)
	}
	changed, err := second.Again(t.Context(), jobqueuetest.Checkpoint(nil))
	if err != nil || string(changed.Output) != `"j 3 1 \"\""` {
		t.Error(string(changed.Output), err)
	}
	if first.DecodeOutput(&output) == nil {
		t.Error("there is an output")
	}
}

func TestAHandlerIsToldToStopByItsContext(t *testing.T) {
	waits := func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		for range 3 {
			if err := job.Progress(0, ""); err != nil {
				return nil, err
			}
		}
		<-ctx.Done()
		return nil, fmt.Errorf("stopped: %w", ctx.Err())
	}
	for _, each := range []struct {
		options []jobqueuetest.Option
		ending  jobqueuetest.Ending
	}{
		{[]jobqueuetest.Option{jobqueuetest.StopAtStart()}, jobqueuetest.Cancelled},
		{[]jobqueuetest.Option{jobqueuetest.StopAtProgress(3)}, jobqueuetest.Cancelled},
		{[]jobqueuetest.Option{jobqueuetest.StopAfter(time.Millisecond)}, jobqueuetest.Cancelled},
		{[]jobqueuetest.Option{jobqueuetest.StopAtStart(), jobqueuetest.Because(jobqueue.ErrShutdown)}, jobqueuetest.Released},
		{[]jobqueuetest.Option{jobqueuetest.StopAtStart(), jobqueuetest.Because(jobqueue.ErrSessionLost)}, jobqueuetest.Released},
		{[]jobqueuetest.Option{jobqueuetest.StopAtStart(), jobqueuetest.Because(jobqueue.ErrLeaseRevoked)}, jobqueuetest.Revoked},
		{[]jobqueuetest.Option{jobqueuetest.StopAtStart(), jobqueuetest.Because(jobqueue.ErrTimedOut)}, jobqueuetest.Revoked},
	} {
		if done := perform(t, waits, jobqueue.NewJob{}, each.options...); done.Ending != each.ending {
			t.Errorf("%s, not %s", done.Ending, each.ending)
		}
	}
}

func TestAHandlerThatDoesNotEndInTimeIsToldToStopAndSaid(t *testing.T) {
	causes := make(chan error, 1)
	waits := func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, nil
	}
	_, err := jobqueuetest.Perform(t.Context(), waits, jobqueue.NewJob{}, jobqueuetest.Within(time.Millisecond))
	if cause := <-causes; !errors.Is(err, jobqueuetest.ErrStillRunning) || !errors.Is(cause, jobqueue.ErrShutdown) {
		t.Error(err, cause)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = jobqueuetest.Perform(ctx, waits, jobqueue.NewJob{})
	if <-causes; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestATypedHandlerIsPerformedWithItsKind(t *testing.T) {
	handler := typed.Handler(halves)
	done := perform(t, handler, typed.New(ask{7}))
	if string(done.Output) != `{"half":3.5}` {
		t.Errorf("%s", done.Output)
	}
	stored := jobqueue.NewJob{Kind: typed.Name(), Payload: json.RawMessage(`{"number":"secret"}`),
		Headers: map[string]string{"x-payload-version": "2"}}
	if done = perform(t, handler, stored); done.Ending != jobqueuetest.Discarded || done.ErrorType != "PayloadUnreadable" ||
		done.Error != "payload.number: must be a whole number" {
		t.Errorf("%+v", done)
	}
	stored.Headers["x-payload-version"] = "3"
	if done = perform(t, handler, stored); done.Ending != jobqueuetest.Snoozed || done.Delay < 11*time.Second {
		t.Errorf("%+v", done)
	}
	worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	jobqueue.HandleKind(worker, typed, halves)
	if done = perform(t, worker.HandlerOf("go.typed"), typed.New(ask{8})); string(done.Output) != `{"half":4}` {
		t.Errorf("%s", done.Output)
	}
	if _, err = jobqueuetest.Perform(t.Context(), worker.HandlerOf("other"), stored); err == nil {
		t.Error("there is no handler")
	}
}

func TestAJobOfAnotherKindThanTheTypedHandlersFailsInWords(t *testing.T) {
	other := typed.New(ask{7})
	other.Kind = "other"
	_, err := jobqueuetest.Perform(t.Context(), typed.Handler(halves), other)
	if err == nil || err.Error() != `jobqueue: the job is of the kind "other", and the handler is of the kind "go.typed"` {
		t.Error(err)
	}
	for _, kind := range append(typed.Names(), "") {
		other.Kind = kind
		if done, err := jobqueuetest.Perform(t.Context(), typed.Handler(halves), other); err != nil || done.Ending != jobqueuetest.Succeeded {
			t.Error(kind, done, err)
		}
	}
}

func TestNothingOfAnAttemptStays(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 200 {
		perform(t, handlers["nothing"], jobqueue.NewJob{})
	}
	late := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(late) {
		runtime.Gosched()
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}

type cursor struct {
	Page int      `json:"page"`
	Seen []string `json:"seen,omitempty"`
}

func TestACheckpointIsAValueAndJSONWhileItIsStored(t *testing.T) {
	var read []cursor
	step := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		at := cursor{-1, []string{"of this attempt"}}
		found, err := job.CheckpointAs(&at)
		read = append(read, at)
		if err == nil && !found {
			err = errors.Join(job.SaveCheckpoint(cursor{Page: 2}), &unwilling{})
		}
		return nil, err
	}
	first, _ := jobqueuetest.Perform(t.Context(), step, jobqueue.NewJob{})
	if string(first.Checkpoint()) != `{"page":2}` {
		t.Errorf("%s", first.Checkpoint())
	}
	if _, err := first.Again(t.Context()); err != nil {
		t.Error(err)
	}
	// What was not saved is not there.
	if fmt.Sprint(read) != "[{-1 [of this attempt]} {2 []}]" {
		t.Error(read)
	}
}

func TestBytesAreACheckpointAsTheyAreAndNilTakesItBack(t *testing.T) {
	done := perform(t, func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		var errs error
		for _, each := range []any{[]byte(`"a"`), json.RawMessage(`{"n": 1.0}`), "<b>", 7, nil} {
			errs = errors.Join(errs, job.SaveCheckpoint(each))
		}
		return nil, errs
	}, jobqueue.NewJob{}, jobqueuetest.Checkpoint([]byte("before")))
	if said := fmt.Sprintf("%q", done.Checkpoints); said != `["\"a\"" "{\"n\": 1.0}" "\"<b>\"" "7" ""]` {
		t.Error(said)
	}
}

func TestACheckpointThatDoesNotFitIsAFailureThatSaysWhereAndNeverWhatStandsThere(t *testing.T) {
	for stored, words := range map[string]string{
		`{"page":"secret"}`: "checkpoint.page: must be a whole number",
		`secret`:            "checkpoint: must be JSON",
		"\xff\xfe":          "checkpoint: must be JSON",
		`null`:              "checkpoint: must be an object",
	} {
		at := cursor{Page: 9}
		done, _ := jobqueuetest.Perform(t.Context(), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			_, err := job.CheckpointAs(&at)
			return nil, err
		}, jobqueue.NewJob{}, jobqueuetest.Checkpoint([]byte(stored)))
		if done.Ending != jobqueuetest.Failed || done.ErrorType != "CheckpointUnreadable" || done.Error != words || at.Page != 9 {
			t.Errorf("%s: %+v, %v", stored, done, at)
		}
	}
}

func TestAnEncodedCheckpointIsNotTakenForAValue(t *testing.T) {
	const envelope = `{"$jobqueue.encoded":1,"content_type":"","encodings":["aes256gcm"],"key_id":"k","data":""}`
	done, _ := jobqueuetest.Perform(t.Context(), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		var any map[string]any
		_, err := job.CheckpointAs(&any)
		return nil, err
	}, jobqueue.NewJob{}, jobqueuetest.Checkpoint([]byte(envelope)))
	if done.ErrorType != "Encoded" || !strings.Contains(done.Error, "key k") {
		t.Errorf("%+v", done)
	}
}

func TestWhatHasNoFormInJSONIsNoCheckpoint(t *testing.T) {
	job, err := jobqueuetest.Attempt(jobqueue.NewJob{Kind: "k"}, jobqueuetest.Checkpoint([]byte("1")))
	if err != nil {
		t.Fatal(err)
	}
	into := make(chan int)
	_, noPointer := job.CheckpointAs(cursor{})
	_, noForm := job.CheckpointAs(&into)
	for words, err := range map[string]error{
		"checkpoint: is no JSON": job.SaveCheckpoint(into),
		"checkpoint: is read into a jobqueuetest_test.cursor; it takes a pointer to a value": noPointer,
		"checkpoint: is read into a *chan int: chan int has no form in JSON":                 noForm,
		"checkpoint: has 65538 bytes; at most 65536":                                         job.SaveCheckpoint(strings.Repeat("x", 65_536)),
	} {
		if !errors.Is(err, jobqueue.ErrInvalidRequest) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

func TestAHandlerIsPerformedInABubbleWhoseClockIsFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		done, err := jobqueuetest.Perform(t.Context(), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			time.Sleep(9 * time.Second)
			return 7, nil
		}, jobqueue.NewJob{})
		if err != nil || string(done.Output) != "7" || time.Since(begun) != 9*time.Second {
			t.Error(done, err, time.Since(begun))
		}
	})
}
