package riverbridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Args and workers as River's users write them. Nothing here knows of the bridge but RecordOutput.

// runs counts how often the worker of each kind has run.
type runs struct {
	mu    sync.Mutex
	count map[string]int
}

func (r *runs) add(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[kind]++
	return r.count[kind]
}

type SortArgs struct {
	Strings []string `json:"strings"`
}

func (SortArgs) Kind() string { return "sort" }

type SortWorker struct {
	river.WorkerDefaults[SortArgs]
	runs *runs
}

func (w *SortWorker) Work(ctx context.Context, job *river.Job[SortArgs]) error {
	w.runs.add(job.Kind)
	slices.Sort(job.Args.Strings)
	return RecordOutput(ctx, job.Args.Strings)
}

// FailArgs say how a job fails.
type FailArgs struct {
	How string `json:"how"`
}

func (FailArgs) Kind() string                 { return "fail" }
func (FailArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 2} }

type FailWorker struct {
	river.WorkerDefaults[FailArgs]
	runs *runs
}

func (w *FailWorker) NextRetry(*river.Job[FailArgs]) time.Time {
	return time.Now().Add(10 * time.Millisecond)
}

func (w *FailWorker) Work(_ context.Context, job *river.Job[FailArgs]) error {
	w.runs.add(job.Kind + " " + job.Args.How)
	switch job.Args.How {
	case "cancels":
		return river.JobCancel(errors.New("no such user"))
	case "cancels within":
		return fmt.Errorf("step 2: %w", river.JobCancel(errors.New("no such user")))
	case "panics":
		panic("broken")
	}
	return errors.New("wrong")
}

// SlowArgs are of a job that runs into its timeout.
type SlowArgs struct{}

func (SlowArgs) Kind() string { return "slow" }

type SlowWorker struct {
	river.WorkerDefaults[SlowArgs]
	runs *runs
}

func (w *SlowWorker) Timeout(*river.Job[SlowArgs]) time.Duration { return 20 * time.Millisecond }

func (w *SlowWorker) Work(ctx context.Context, job *river.Job[SlowArgs]) error {
	w.runs.add(job.Kind)
	<-ctx.Done()
	return ctx.Err()
}

// SnoozeArgs are of a job that is put off twice.
type SnoozeArgs struct{}

func (SnoozeArgs) Kind() string { return "snooze" }

type SnoozeWorker struct {
	river.WorkerDefaults[SnoozeArgs]
	runs *runs
}

func (w *SnoozeWorker) Work(ctx context.Context, job *river.Job[SnoozeArgs]) error {
	if w.runs.add(job.Kind) < 3 {
		return river.JobSnooze(0)
	}
	return RecordOutput(ctx, fmt.Sprintf("attempt %d after %d errors", job.Attempt, len(job.Errors)))
}

// BusyArgs are of a job that succeeds the third time.
type BusyArgs struct{}

func (BusyArgs) Kind() string { return "busy" }

type BusyWorker struct {
	river.WorkerDefaults[BusyArgs]
	runs *runs
}

func (w *BusyWorker) NextRetry(job *river.Job[BusyArgs]) time.Time {
	return time.Now().Add(time.Duration(job.Attempt) * 10 * time.Millisecond)
}

func (w *BusyWorker) Work(ctx context.Context, job *river.Job[BusyArgs]) error {
	w.runs.add(job.Kind)
	if job.Attempt < 3 {
		return errors.New("busy")
	}
	return RecordOutput(ctx, fmt.Sprintf("attempt %d after %d errors", job.Attempt, len(job.Errors)))
}

// TellArgs are of a job that tells what its row says.
type TellArgs struct{}

func (TellArgs) Kind() string { return "tell" }
func (TellArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Priority: 3, Tags: []string{"args"}, MaxAttempts: 7}
}

type TellWorker struct {
	river.WorkerDefaults[TellArgs]
	runs *runs
}

func (w *TellWorker) Work(ctx context.Context, job *river.Job[TellArgs]) error {
	w.runs.add(job.Kind)
	return RecordOutput(ctx, fmt.Sprintf("%s %s %s %d %d %q %s %s %t", job.Kind, job.Queue, job.State, job.Priority, job.MaxAttempts,
		job.Tags, job.Metadata, job.EncodedArgs, job.ID > 0))
}

// OnceArgs are of a job that is inserted twice and runs once.
type OnceArgs struct {
	Customer string `json:"customer" river:"unique"`
	Trace    int    `json:"trace"`
}

func (OnceArgs) Kind() string { return "once" }
func (OnceArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

type OnceWorker struct {
	river.WorkerDefaults[OnceArgs]
	runs *runs
}

func (w *OnceWorker) Work(ctx context.Context, job *river.Job[OnceArgs]) error {
	w.runs.add(job.Kind)
	return RecordOutput(ctx, job.Args.Customer)
}

// OldArgs are NewArgs under the name that they had.
type OldArgs struct {
	Name string `json:"name"`
}

func (OldArgs) Kind() string { return "old_name" }

type NewArgs struct {
	Name string `json:"name"`
}

func (NewArgs) Kind() string          { return "new_name" }
func (NewArgs) KindAliases() []string { return []string{"old_name"} }

type renamedKey struct{}

type RenamedWorker struct {
	river.WorkerDefaults[NewArgs]
	runs *runs
}

func (w *RenamedWorker) Middleware(*rivertype.JobRow) []rivertype.WorkerMiddleware {
	said := func(text string) rivertype.WorkerMiddleware {
		return river.WorkerMiddlewareFunc(func(ctx context.Context, _ *rivertype.JobRow, within func(context.Context) error) error {
			before, _ := ctx.Value(renamedKey{}).(string)
			return within(context.WithValue(ctx, renamedKey{}, before+text))
		})
	}
	return []rivertype.WorkerMiddleware{said("outer "), said("inner ")}
}

func (w *RenamedWorker) Work(ctx context.Context, job *river.Job[NewArgs]) error {
	w.runs.add(job.Kind)
	return RecordOutput(ctx, fmt.Sprint(ctx.Value(renamedKey{}), job.Args.Name))
}

// TextArgs have the kind of SortArgs, and are none.
type TextArgs struct {
	Strings string `json:"strings"`
}

func (TextArgs) Kind() string { return "sort" }
