package jobqueuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jobqueue.dev/go/internal/testhook"
	"jobqueue.dev/go/jobqueue"
)

// A job that waits for one of these starts by itself when a handler ends, or soon.
var soon = []string{
	"IS_RUNNING", "NO_CREDIT", "BEHIND", "ABOUT_TO_START", "RUNS_ALONE", "WORKERS_DRAINING", "KEY_TURN", "TERMINAL", "NO_WORKER",
}

// Waiting is a job that waits.
type Waiting struct {
	// Job is the job. Why is the server's words for what it waits for.
	Job *jobqueue.Job
	Why string
}

// Idle is what [TestScope.RunUntilIdle] has left.
type Idle struct {
	// Ended are the jobs that ended meanwhile, the oldest first, in full.
	Ended []*jobqueue.Job
	// Waiting are those of the scope that wait, the oldest first.
	Waiting []Waiting
}

// RunOption is one thing that [TestScope.RunUntilIdle] is told.
type RunOption func(*running)

// KeepFailures leaves what a handler fails with to its job alone.
func KeepFailures() RunOption { return func(r *running) { r.keep = true } }

// RetryFailures leaves it to its job as well, and makes backoffs due at once.
func RetryFailures() RunOption { return func(r *running) { r.keep, r.retry = true, true } }

// JobLimit is how many jobs at most may be there. Default: 1000.
func JobLimit(jobs int) RunOption { return func(r *running) { r.limit = jobs } }

// RunWithin is how long it may take. Default: 10 s.
func RunWithin(wait time.Duration) RunOption { return func(r *running) { r.within = wait } }

// The test machine's clock and the server's may differ by so much. What a job of this time waits for, the server says.
const clocksDiffer = time.Minute

// now is the test machine's clock.
var now = time.Now

// running is one run of a worker's handlers in a scope.
type running struct {
	scope         *TestScope
	keep, retry   bool
	limit         int
	within        time.Duration
	queues, kinds []string
}

// RunUntilIdle runs a worker's handlers in this process until no job that they take is due or runs, follow-ups too.
// Whatever server the worker is for, its handlers serve this scope, with its queues, slots and middleware.
//
// Jobs that wait for their time, a backoff, a hold or a limit are not waited for: Idle.Waiting says why each waits.
//
// The error is what a handler returned or panicked with, as itself, or says that its output can't be sent or that it ended
// its goroutine, as t.FailNow does, unless KeepFailures or RetryFailures says otherwise; Retry, Discard, Snooze and
// ErrCancelled are no failures. [ErrStillRunning]: it takes longer; it says what runs and what is
// due. Else there are more jobs than JobLimit, or the server refuses the worker.
func (s *TestScope) RunUntilIdle(worker *jobqueue.Worker, options ...RunOption) (*Idle, error) {
	r := &running{scope: s, limit: 1000, within: 10 * time.Second}
	for _, option := range options {
		option(r)
	}
	failures := make(chan error, 1)
	moved, queues, err := testhook.Moved(worker, s.Target, s.Key, func(err error) {
		select {
		case failures <- err:
		default: // the first one counts
		}
	})
	if err != nil {
		return nil, err
	}
	made := moved.(*jobqueue.Worker)
	r.queues, r.kinds = queues, made.Status().Kinds
	return r.run(made, failures)
}

func (r *running) run(worker *jobqueue.Worker, failures <-chan error) (*Idle, error) {
	all := r.scope.t.Context()
	before, err := r.jobs(all, nil)
	if err != nil {
		return nil, err
	}
	ended := map[string]bool{}
	for _, each := range before {
		ended[each.ID] = each.IsTerminal()
	}
	serving, leave := context.WithCancel(all)
	defer leave()
	served := make(chan error, 1)
	go func() { served <- worker.Run(serving) }()
	looking, stop := context.WithCancel(all)
	defer stop()
	idle := make(chan error, 1)
	go func() { idle <- r.untilIdle(looking) }()
	late := time.NewTimer(r.within)
	defer late.Stop()
	failed := failures
	if r.keep {
		failed = nil
	}
	var failure error
	select {
	case failure = <-served:
		served <- failure
		if failure == nil {
			failure = all.Err()
		}
	case failure = <-idle:
		idle <- failure
	case failure = <-failed:
	case <-late.C:
		failure = r.said(all, worker)
	}
	stop()
	leave()
	<-idle
	if err := <-served; failure == nil && err != nil {
		failure = err
	}
	if failure == nil && !r.keep {
		select {
		case failure = <-failures:
		default:
		}
	}
	if failure != nil {
		return nil, failure
	}
	return r.left(all, ended)
}

// left is what there is now.
func (r *running) left(ctx context.Context, ended map[string]bool) (*Idle, error) {
	jobs, err := r.jobs(ctx, nil)
	if err != nil {
		return nil, err
	}
	idle := &Idle{}
	for _, job := range jobs {
		switch {
		case !job.IsTerminal():
			idle.Waiting = append(idle.Waiting, Waiting{job, r.why(ctx, job)})
		case !ended[job.ID]:
			idle.Ended = append(idle.Ended, job)
		}
	}
	return idle, nil
}

func (r *running) untilIdle(ctx context.Context) error {
	for {
		jobs, err := r.jobs(ctx, live)
		if err != nil {
			return err
		}
		var later, waiting []*jobqueue.Job
		ours := 0
		for _, job := range jobs {
			if r.retry && job.Status == jobqueue.StatusRetrying {
				waits, _, err := r.waits(ctx, job)
				if err != nil {
					return err
				}
				if waits {
					later = append(later, job)
				}
			}
			if slices.Contains(r.kinds, job.Kind) && slices.Contains(r.queues, job.Queue) {
				if ours++; job.Status != jobqueue.StatusRunning {
					waiting = append(waiting, job)
				}
			}
		}
		if len(later) > 0 {
			// Fewer may be changed: one of them has begun meanwhile.
			if _, err = r.scope.makeDue(ctx, later); err != nil {
				return err
			}
		} else if len(waiting) == ours {
			starts, err := r.anyStarts(ctx, waiting)
			if err != nil || !starts {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

// anyStarts says whether one of these jobs, which all wait, starts soon by itself.
func (r *running) anyStarts(ctx context.Context, jobs []*jobqueue.Job) (bool, error) {
	for _, job := range jobs {
		if job.Hold != "" {
			continue
		}
		waits, first, err := r.waits(ctx, job)
		switch {
		case err != nil:
			return false, err
		case r.retry && waits && job.Status == jobqueue.StatusRetrying: // it has failed since its backoff was made due
			return true, nil
		case !waits && slices.Contains(soon, first):
			return true, nil
		}
	}
	return false, nil
}

// waits says whether a job waits for its time, by the server's clock, and else what it waits for first. One that is gone
// is TERMINAL.
func (r *running) waits(ctx context.Context, job *jobqueue.Job) (waits bool, first string, err error) {
	if job.RunAt.After(now().Add(clocksDiffer)) {
		return true, "", nil
	}
	found, err := r.scope.Client.Explain(ctx, job.ID)
	switch {
	case errors.Is(err, jobqueue.ErrJobNotFound):
		return false, "TERMINAL", nil
	case err != nil:
		return false, "", err
	case found.Status != job.Status: // it goes on meanwhile
		return false, "IS_RUNNING", nil
	}
	for _, reason := range found.Reasons {
		if reason.Code == "NOT_DUE" || reason.Code == "BACKOFF" {
			return true, "", nil
		}
	}
	return false, found.Reasons[0].Code, nil
}

// jobs are those of the scope with one of these statuses, or with any.
func (r *running) jobs(ctx context.Context, status []jobqueue.Status) ([]*jobqueue.Job, error) {
	found, err := r.scope.jobs(ctx, "", status)
	if err == nil && len(found) > r.limit {
		return nil, fmt.Errorf("jobqueuetest: the scope has %d jobs, and JobLimit is %d", len(found), r.limit)
	}
	return found, err
}

func (r *running) why(ctx context.Context, job *jobqueue.Job) string {
	found, err := r.scope.Client.Explain(ctx, job.ID)
	if err != nil {
		return err.Error()
	}
	return found.Summary
}

// said is what there is still to do.
func (r *running) said(ctx context.Context, worker *jobqueue.Worker) error {
	if status := worker.Status(); status.State != jobqueue.WorkerServing {
		why := status.LastError
		if why == "" {
			why = "no server answers it"
		}
		return fmt.Errorf("%w: the worker is %s after %v: %s", ErrStillRunning, status.State, r.within, why)
	}
	jobs, err := r.jobs(ctx, live)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("after %v there is still something to do:", r.within)}
	for _, job := range jobs[:min(len(jobs), shownJobs)] {
		what := ""
		if job.Status == jobqueue.StatusRunning {
			what = fmt.Sprintf("runs for %.1f s", time.Since(job.LockedAt).Seconds())
		} else {
			what = r.why(ctx, job)
		}
		lines = append(lines, fmt.Sprintf("  %s %s: %s", job.Kind, job.ID, what))
	}
	return fmt.Errorf("%w: %s", ErrStillRunning, strings.Join(lines, "\n"))
}
