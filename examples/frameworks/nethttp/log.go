package main

import (
	"context"
	"log/slog"

	"jobqueue.dev/go/jobqueue"
)

type jobKey struct{}

// KnowsJob lets the context of a handler know its job, for JobLog.
var KnowsJob = jobqueue.Middleware{Handle: func(next jobqueue.Handler) jobqueue.Handler {
	return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		return next(context.WithValue(ctx, jobKey{}, job), job)
	}
}}

// JobLog adds to each line of a handler which job and which attempt it is of: to all that is logged with its context.
type JobLog struct{ slog.Handler }

// Handle writes a line.
func (l JobLog) Handle(ctx context.Context, line slog.Record) error {
	job, ok := ctx.Value(jobKey{}).(*jobqueue.LeasedJob)
	line.Attrs(func(said slog.Attr) bool { // a line of the worker itself has it
		ok = ok && said.Key != "job_id"
		return ok
	})
	if ok {
		line.AddAttrs(slog.String("job_id", job.ID), slog.String("kind", job.Kind), slog.Int("attempt", job.Attempt))
	}
	return l.Handler.Handle(ctx, line)
}

// WithAttrs is the same with more in each line.
func (l JobLog) WithAttrs(more []slog.Attr) slog.Handler { return JobLog{l.Handler.WithAttrs(more)} }

// WithGroup is the same with all that follows in a group.
func (l JobLog) WithGroup(name string) slog.Handler { return JobLog{l.Handler.WithGroup(name)} }
