package jobqueue_test

import (
	"context"
	"errors"
	"testing"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

const itsTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// tracer traces each lease but the second.
type tracer struct{ ends chan jobqueue.SpanEnd }

type traced struct{}

func (t tracer) Begin(ctx context.Context, _ *jobqueue.LeasedJob, lease int64) (context.Context, jobqueue.Span) {
	if lease == 2 {
		return ctx, nil
	}
	return context.WithValue(ctx, traced{}, true), span(t)
}

func (t tracer) Traceparent(context.Context) string { return "" }

type span tracer

func (s span) Traceparent() string      { return itsTrace }
func (s span) End(how jobqueue.SpanEnd) { s.ends <- how }

func TestAHandlerRunsInItsSpanWhichIsToldHowItEnded(t *testing.T) {
	server := newScripted(t)
	ends := make(chan jobqueue.SpanEnd, 10)
	handler := func(ctx context.Context, leased *jobqueue.LeasedJob) (any, error) {
		if (ctx.Value(traced{}) != nil) == (leased.ID == job(2, "k").Id) {
			t.Error("the span is in the context of the jobs that have one, and of no other")
		}
		switch leased.ID {
		case job(3, "k").Id:
			panic("no")
		case job(4, "k").Id:
			return nil, jobqueue.Discard(errors.New("never"))
		case job(5, "k").Id:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, leased.FollowUp(jobqueue.NewJob{Kind: "next"})
	}
	work(server, handler, func(o *jobqueue.WorkerOptions) { o.Tracer = tracer{ends} })
	stream := server.open()
	followed := func(settle *pb.Settle) string {
		return settle.GetOutcomes()[0].GetSuccess().GetFollowUps()[0].GetHeaders()["traceparent"]
	}

	for number := int64(1); number <= 4; number++ {
		one := job(number, "k")
		one.Headers = map[string]string{"traceparent": "the producer's"}
		stream.deliver(number, one)
		settle := stream.settle()
		if want := map[int64]string{1: itsTrace, 2: "the producer's"}[number]; want != "" && followed(settle) != want {
			t.Errorf("a follow-up of job %d has %q", number, followed(settle))
		}
		stream.settled(settle)
	}
	stream.deliver(5, job(5, "k"))
	stream.revoke("TIMED_OUT", 5)

	for _, want := range []jobqueue.SpanEnd{
		{Outcome: "succeeded"},
		{Outcome: "failed", ErrorType: "panic", Error: "no"},
		{Outcome: "failed", ErrorType: "error", Error: "never"},
		{Outcome: "revoked"},
	} {
		end := receive(t, "the end of a span", ends)
		end.Stack = ""
		if end != want {
			t.Errorf("%+v, and not %+v", end, want)
		}
	}
}
