// Package riverbridge runs workers of River as handlers of jobs. Their JobArgs and their Work stay as they are.
//
//	jobqueue.HandleKind(worker, riverbridge.KindOf[SortArgs](), riverbridge.Bridge(&SortWorker{}))
//	client.Enqueue(ctx, riverbridge.New(SortArgs{...}, nil))      in place of riverClient.Insert(ctx, SortArgs{...}, nil)
//
// docs/migrate/river.md says what it maps and what it drops.
package riverbridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"jobqueue.dev/go/jobqueue"
)

// longestWait is how long a job can wait at most: River's policy would say more after 77 failures.
const longestWait = 400 * 24 * time.Hour

// KindOf declares the kind of these args, with its aliases. It has no schema, as in River.
func KindOf[T river.JobArgs]() *jobqueue.JobKind[json.RawMessage, any] {
	var args T
	var older []string
	if renamed, ok := any(args).(river.JobArgsWithKindAliases); ok {
		older = renamed.KindAliases()
	}
	return jobqueue.DefineKind[json.RawMessage, any](args.Kind(), jobqueue.Aliases(older...))
}

// Bridge is a worker of River as a handler of the kind of its args.
func Bridge[T river.JobArgs](worker river.Worker[T]) jobqueue.KindHandler[json.RawMessage, any] {
	return func(ctx context.Context, leased *jobqueue.LeasedJob, args json.RawMessage) (any, error) {
		job, decoded := &river.Job[T]{JobRow: rowOf(leased, args)}, false
		work := func(ctx context.Context) error {
			if err := json.Unmarshal(args, &job.Args); err != nil {
				return err
			}
			decoded = true
			if most := cmp.Or(worker.Timeout(job), river.JobTimeoutDefault); most > 0 {
				bounded, end := context.WithTimeout(ctx, most)
				defer end()
				ctx = bounded
			}
			return worker.Work(ctx, job)
		}
		for _, each := range slices.Backward(worker.Middleware(job.JobRow)) {
			within := work
			work = func(ctx context.Context) error { return each.Work(ctx, job.JobRow, within) }
		}
		var output any
		err := work(context.WithValue(ctx, outputKey{}, &output))
		var snoozed *river.JobSnoozeError
		var cancelled *river.JobCancelError
		switch {
		case err == nil:
			return output, nil
		case errors.Is(context.Cause(ctx), jobqueue.ErrCancelRequested):
			return nil, jobqueue.ErrCancelled
		case errors.As(err, &snoozed):
			return nil, jobqueue.Snooze(snoozed.Duration)
		case errors.As(err, &cancelled):
			return nil, jobqueue.Discard(err)
		}
		var next time.Time
		if decoded {
			next = worker.NextRetry(job)
		}
		if next.Before(time.Now()) { // it has none of its own, or one that has gone by
			next = (&river.DefaultClientRetryPolicy{}).NextRetry(job.JobRow)
		}
		return nil, jobqueue.Retry(err, min(max(0, time.Until(next)), longestWait))
	}
}

// rowOf is what River knows of a job. Its ID is a number made of the job's id, the same for each attempt. Of earlier
// attempts there is their number, and not what they said.
func rowOf(job *jobqueue.LeasedJob, args json.RawMessage) *rivertype.JobRow {
	number := fnv.New64a()
	_, _ = number.Write([]byte(job.ID))
	now := time.Now().UTC()
	row := &rivertype.JobRow{
		ID:          int64(number.Sum64() >> 1),
		Attempt:     job.Failures + 1, // a snooze counts for neither
		AttemptedAt: &now,
		CreatedAt:   job.CreatedAt,
		EncodedArgs: args,
		Errors:      make([]rivertype.AttemptError, job.Failures),
		Kind:        job.Kind,
		MaxAttempts: job.MaxAttempts,
		Metadata:    []byte(cmp.Or(job.Headers[metadataHeader], "{}")),
		Priority:    min(max(1, 1-job.Priority), 4),
		Queue:       job.Queue,
		ScheduledAt: job.CreatedAt,
		State:       rivertype.JobStateRunning,
	}
	for i := range row.Errors {
		row.Errors[i].Attempt = i + 1
	}
	for label := range job.Labels {
		if tag, ok := strings.CutPrefix(label, tagLabel); ok {
			row.Tags = append(row.Tags, tag)
		}
	}
	slices.Sort(row.Tags)
	return row
}

type outputKey struct{}

// RecordOutput is River's function of this name, for a worker that runs on both sides: under Bridge the output is the
// job's, once it has succeeded.
func RecordOutput(ctx context.Context, output any) error {
	kept, ok := ctx.Value(outputKey{}).(*any)
	if !ok {
		return river.RecordOutput(ctx, output)
	}
	text, err := json.Marshal(output)
	if err == nil {
		*kept = json.RawMessage(text)
	}
	return err
}
