package jobqueue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

func TestASuccessWithoutOutputIsANumberAndAnOutputItsBytes(t *testing.T) {
	server := newScripted(t)
	text := `{ "n":12345678901234567890, "u":"\u00e9 é <" }`
	work(server, func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		if string(job.Payload) == "null" {
			return nil, nil
		}
		return job.Payload, nil
	})
	stream := server.open()

	stream.deliver(1, job(1, "k"))
	plain := stream.settle()
	stream.settled(plain)
	loaded := job(2, "k")
	loaded.Content = &pb.LeasedJob_PayloadJson{PayloadJson: []byte(text)}
	stream.deliver(2, loaded)
	outcome := stream.outcome()

	if len(plain.Succeeded) != 1 || plain.Succeeded[0] != 1 || plain.Seq != 1 {
		t.Errorf("%v", plain)
	}
	if got := string(outcome.GetSuccess().GetOutputJson()); got != text || outcome.LeaseId != 2 {
		t.Errorf("%s", got)
	}
}

func TestWhatAHandlerReturnsDecides(t *testing.T) {
	cases := map[string]struct {
		handler jobqueue.Handler
		check   func(*pb.Outcome) bool
	}{
		"an error fails": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) {
				return nil, fmt.Errorf("reading: %w", &json.SyntaxError{Offset: 3})
			},
			func(o *pb.Outcome) bool {
				return strings.HasPrefix(o.GetFailure().GetError(), "reading: ") &&
					o.GetFailure().GetErrorType() == "json.SyntaxError" && !o.GetFailure().GetPermanent()
			},
		},
		"Retry says when": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) {
				return nil, jobqueue.Retry(errors.New("busy"), time.Minute)
			},
			func(o *pb.Outcome) bool {
				return o.GetFailure().GetRetryAfter().AsDuration() == time.Minute && o.GetFailure().GetError() == "busy" &&
					o.GetPauseKey() == nil
			},
		},
		"Retry pauses the key for as long": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) {
				return nil, fmt.Errorf("for ada: %w", jobqueue.Retry(errors.New("429"), time.Minute, jobqueue.PauseKey))
			},
			func(o *pb.Outcome) bool {
				return o.GetPauseKey().AsDuration() == time.Minute && o.GetFailure().GetRetryAfter().AsDuration() == time.Minute
			},
		},
		"Retry pauses the key for a day at most": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) {
				return nil, jobqueue.Retry(errors.New("429"), 72*time.Hour, jobqueue.PauseKey)
			},
			func(o *pb.Outcome) bool {
				return o.GetPauseKey().AsDuration() == 24*time.Hour && o.GetFailure().GetRetryAfter().AsDuration() == 72*time.Hour
			},
		},
		"Discard is for good": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) {
				return nil, fmt.Errorf("no: %w", jobqueue.Discard(errors.New("no such address")))
			},
			func(o *pb.Outcome) bool {
				return o.GetFailure().GetPermanent() && o.GetFailure().GetRetryAfter() == nil
			},
		},
		"Snooze puts off": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, jobqueue.Snooze(time.Hour) },
			func(o *pb.Outcome) bool { return o.GetSnooze().GetDelay().AsDuration() == time.Hour },
		},
		"ErrCancelled gives up": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, jobqueue.ErrCancelled },
			func(o *pb.Outcome) bool { return o.GetCancellation() != nil },
		},
		"a panic fails with its stack": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) { panic("out of paper") },
			func(o *pb.Outcome) bool {
				f := o.GetFailure()
				return f.GetErrorType() == "panic" && f.GetError() == "out of paper" && strings.Contains(f.GetStack(), "outcomes_test.go")
			},
		},
		"a goroutine's end fails": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) { runtime.Goexit(); return nil, nil },
			func(o *pb.Outcome) bool { return strings.Contains(o.GetFailure().GetError(), "Goexit") },
		},
		"an output that is no JSON fails": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) { return func() {}, nil },
			func(o *pb.Outcome) bool { return o.GetFailure().GetErrorType() == "OutputError" },
		},
		"a long error is cut": {
			func(context.Context, *jobqueue.LeasedJob) (any, error) {
				return nil, errors.New(strings.Repeat("é", 9000))
			},
			func(o *pb.Outcome) bool {
				text := o.GetFailure().GetError()
				return len(text) <= 8*1024 && strings.HasSuffix(text, "[cut, 18000 bytes in all]")
			},
		},
		"follow-ups come with the success and inherit the request id": {
			func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
				return nil, job.FollowUp(jobqueue.NewJob{Kind: "next", Payload: json.RawMessage("[ 1 ]")})
			},
			func(o *pb.Outcome) bool {
				jobs := o.GetSuccess().GetFollowUps()
				return len(jobs) == 1 && jobs[0].Kind == "next" && string(jobs[0].GetPayloadJson()) == "[ 1 ]" &&
					jobs[0].Headers["x-request-id"] == "r-1"
			},
		},
	}
	for name, each := range cases {
		t.Run(name, func(t *testing.T) {
			server := newScripted(t)
			work(server, each.handler)
			stream := server.open()
			delivered := job(1, "k")
			delivered.Headers = map[string]string{"x-request-id": "r-1"}
			stream.deliver(1, delivered)
			if outcome := stream.outcome(); !each.check(outcome) {
				t.Errorf("%v", outcome)
			}
		})
	}
}

func TestOutcomesGatherWhileAnAnswerIsAwaited(t *testing.T) {
	server := newScripted(t)
	work(server, nothing)
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	first := stream.settle()
	var jobs []*pb.LeasedJob
	for id := int64(2); id < 102; id++ {
		jobs = append(jobs, job(id, "k"))
	}
	stream.deliver(2, jobs...)

	frames, settled := 0, 0
	for settled < 100 {
		settled += len(stream.settle().Succeeded)
		frames++
	}

	if len(first.Succeeded) != 1 || frames > 30 {
		t.Errorf("100 outcomes came in %d frames", frames)
	}
}

func TestTryAgainIsSentAgainAndInvalidBecomesAFailureThenARelease(t *testing.T) {
	server := newScripted(t)
	work(server, nothing)
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	verdict := func(verdict pb.SettleResult_Verdict) {
		stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 1, Verdict: verdict, Message: "odd"})
	}

	verdict(pb.SettleResult_TRY_AGAIN)
	verdict(pb.SettleResult_INVALID)
	failure := stream.settle()
	stream.settled(failure, &pb.SettleResult{LeaseId: 1, Verdict: pb.SettleResult_INVALID})
	release := stream.settle()

	if got := failure.Outcomes[0].GetFailure().GetError(); got != "the handler's outcome was refused: odd" {
		t.Errorf("%v", failure)
	}
	if release.Outcomes[0].GetRelease() == nil {
		t.Errorf("%v", release)
	}
}

func TestACheckpointGoesBeforeTheOutcome(t *testing.T) {
	server := newScripted(t)
	work(server, func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		if err := errors.Join(job.Progress(0.5, "halfway"), job.SaveCheckpoint([]byte("page 3"))); err != nil {
			return nil, err
		}
		return nil, errors.New("the rest later")
	})
	stream := server.open()
	stream.deliver(1, job(1, "k"))

	progress := stream.await("Progress", func(frame *pb.LeaseRequest) bool {
		if frame.GetSettle() != nil {
			t.Error("the outcome came first")
		}
		return frame.GetProgress() != nil
	}).GetProgress()

	if progress.LeaseId != 1 || progress.GetFraction() != 0.5 || progress.Message != "halfway" || string(progress.Checkpoint) != "page 3" {
		t.Errorf("%v", progress)
	}
}
