// Package jobqueueotel makes traces of a worker's jobs by OpenTelemetry:
//
//	worker, err := jobqueue.NewWorker(address, jobqueue.WorkerOptions{
//		Access: jobqueue.Access{Tracer: jobqueueotel.New()},
//	})
//
// A span is made where the job's producer was sampled; of all others OpenTelemetry hears nothing. A client with the same
// Tracer sends the trace of its calls' contexts.
package jobqueueotel

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"jobqueue.dev/go/jobqueue"
)

// ParentVariable: `parent` makes a handler's span a child of its producer's. Otherwise it begins a trace, and is linked to
// it: a job may run days after its producer has ended.
const ParentVariable = "JOBQUEUE_TRACE_PARENT"

const header = "traceparent"

// The last bit of the flags says who is sampled, which stand behind version, trace and span.
const flagsEnd = 55

// Option is one setting of a Tracer.
type Option func(*tracer)

// Provider is what makes the spans. Without it that of [otel.GetTracerProvider] does.
func Provider(provider trace.TracerProvider) Option {
	return func(t *tracer) { t.provider = provider }
}

// Parent says whether a handler's span is a child of its producer's, whatever the variable says.
func Parent(parent bool) Option {
	return func(t *tracer) { t.parent = parent }
}

// New makes a Tracer, for a worker, a client or both.
func New(options ...Option) jobqueue.Tracer {
	made := &tracer{parent: os.Getenv(ParentVariable) == "parent"}
	for _, option := range options {
		option(made)
	}
	if made.provider == nil {
		made.provider = otel.GetTracerProvider()
	}
	made.tracer = made.provider.Tracer("jobqueue.dev/go", trace.WithInstrumentationVersion(jobqueue.Version))
	return made
}

type tracer struct {
	provider trace.TracerProvider
	tracer   trace.Tracer
	parent   bool
}

// Begin is the span of an attempt; nil where the job's producer was not sampled.
func (t *tracer) Begin(ctx context.Context, job *jobqueue.LeasedJob, lease int64) (context.Context, jobqueue.Span) {
	given := job.Headers[header]
	if !sampled(given) {
		return ctx, nil
	}
	producer := trace.SpanContextFromContext(
		propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{header: given}),
	)
	if !producer.IsValid() {
		return ctx, nil
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.Link{SpanContext: producer}),
		trace.WithAttributes(
			attribute.String(messagingSystem, system),
			attribute.String(messagingOperation, process),
			attribute.String(messagingOperationType, process),
			attribute.String(messagingDestination, job.Queue),
			attribute.String(messagingMessageID, job.ID),
			attribute.String(jobKind, job.Kind),
			attribute.Int(jobAttempt, job.Attempt),
			attribute.Int64(jobLease, lease),
			attribute.Int64(jobWait, max(0, time.Since(job.CreatedAt).Milliseconds())),
		),
	}
	if t.parent {
		ctx = trace.ContextWithRemoteSpanContext(ctx, producer)
	} else {
		options = append(options, trace.WithNewRoot())
	}
	ctx, made := t.tracer.Start(ctx, process+" "+job.Queue, options...)
	return ctx, &span{made}
}

// Traceparent is that of the context's span.
func (t *tracer) Traceparent(ctx context.Context) string {
	return text(trace.SpanContextFromContext(ctx))
}

type span struct{ span trace.Span }

func (s *span) Traceparent() string { return text(s.span.SpanContext()) }

func (s *span) End(how jobqueue.SpanEnd) {
	s.span.SetAttributes(attribute.String(jobOutcome, how.Outcome))
	if how.ErrorType != "" || how.Error != "" {
		event := []attribute.KeyValue{
			attribute.String(exceptionType, how.ErrorType), attribute.String(exceptionMessage, how.Error),
		}
		if how.Stack != "" {
			event = append(event, attribute.String(exceptionStack, how.Stack))
		}
		s.span.AddEvent(exception, trace.WithAttributes(event...))
		s.span.SetAttributes(attribute.String(errorType, how.ErrorType))
		s.span.SetStatus(codes.Error, how.Error)
	}
	s.span.End()
}

func sampled(traceparent string) bool {
	if len(traceparent) < flagsEnd {
		return false
	}
	switch traceparent[flagsEnd-1] {
	case '1', '3', '5', '7', '9', 'b', 'd', 'f':
		return true
	}
	return false
}

func text(of trace.SpanContext) string {
	if !of.IsValid() {
		return ""
	}
	return fmt.Sprintf("00-%s-%s-%s", of.TraceID(), of.SpanID(), of.TraceFlags())
}
