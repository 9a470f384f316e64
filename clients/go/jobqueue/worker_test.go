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

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

func nothing(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil }

// stuck waits for the end of its context, and tells the cause.
func stuck(causes chan<- error) jobqueue.Handler {
	return func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, fmt.Errorf("stopped in the middle: %w", ctx.Err())
	}
}

func TestHelloSaysWhatTheWorkerTakes(t *testing.T) {
	server := newScripted(t)
	work(server, nothing, func(o *jobqueue.WorkerOptions) {
		o.Queues = []string{"mail", "default"}
		o.SessionTTL = 6 * time.Second
	})

	hello := server.accept().hello

	if hello.Worker != "tested" || hello.Client != "jobqueue-go/"+jobqueue.Version || hello.Resume != nil {
		t.Errorf("%v", hello)
	}
	if len(hello.Subscriptions) != 2 || hello.Subscriptions[0].Queue != "mail" || hello.Subscriptions[1].Kinds[0] != "k" {
		t.Errorf("subscriptions %v", hello.Subscriptions)
	}
	if hello.Capacity.Slots != 8 || hello.Capacity.SlotsByKind["k"] != 4 || hello.SessionTtl.AsDuration() != 6*time.Second {
		t.Errorf("capacity %v, ttl %v", hello.Capacity, hello.SessionTtl)
	}
}

func TestADeliveryIsReceiptedWhileItsHandlerRuns(t *testing.T) {
	server := newScripted(t)
	work(server, stuck(make(chan error, 1)))
	stream := server.open()
	stream.await("Capacity", func(frame *pb.LeaseRequest) bool { return frame.GetCapacity() != nil })

	stream.deliver(1, job(1, "k"))

	receipt := stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })
	if receipt.Frame != nil {
		t.Errorf("a bare receipt was due, not %v", receipt)
	}
}

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
				return o.GetFailure().GetRetryAfter().AsDuration() == time.Minute && o.GetFailure().GetError() == "busy"
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
				return f.GetErrorType() == "panic" && f.GetError() == "out of paper" && strings.Contains(f.GetStack(), "worker_test.go")
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

func TestAnUnansweredSettlementIsNamedAndSentAgainAfterAResume(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	work(server, func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
		if job.Attempt == 7 {
			return stuck(causes)(ctx, job)
		}
		return "done", nil
	})
	stream := server.open()
	held := job(2, "k")
	held.Attempt = 7
	stream.deliver(1, job(1, "k"), held)
	stream.settle()
	stream.end <- status.Error(codes.Unavailable, "cut")

	resumed := server.accept()
	resume := resumed.hello.GetResume()
	resumed.welcome(&pb.Welcome{SessionId: 1, SessionToken: "second"})
	again := resumed.settle()

	if resume.SessionToken != "secret" || resume.LastDelivery != 1 {
		t.Errorf("%v", resume)
	}
	if len(resume.Held) != 1 || resume.Held[0].LeaseId != 2 || resume.Held[0].Attempt != 7 || resume.Held[0].JobId != held.Id {
		t.Errorf("held %v", resume.Held)
	}
	if len(resume.Unanswered) != 1 || resume.Unanswered[0].LeaseId != 1 {
		t.Errorf("unanswered %v", resume.Unanswered)
	}
	if again.Seq != 1 || string(again.Outcomes[0].GetSuccess().GetOutputJson()) != `"done"` {
		t.Errorf("sent again: %v", again)
	}
	// Answered now, so that the next resume names it no more.
	resumed.settled(again)
	resumed.end <- nil
	if third := server.accept().hello.GetResume(); third.SessionToken != "second" || len(third.Unanswered) != 0 {
		t.Errorf("%v", third)
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

func TestACancelEndsTheContextAndTheHandlerAnswersIt(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	work(server, stuck(causes))
	stream := server.open()
	stream.deliver(1, job(1, "k"))

	stream.cancel("wrong address", 1)

	cause := receive(t, "the cause", causes)
	if !errors.Is(cause, jobqueue.ErrCancelRequested) || !strings.Contains(cause.Error(), "wrong address") {
		t.Errorf("%v", cause)
	}
	if outcome := stream.outcome(); outcome.GetCancellation() == nil {
		t.Errorf("%v", outcome)
	}
}

func TestARevokedLeaseIsStoppedAndNotSettledAndHeldWhileItRuns(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	free := make(chan struct{})
	work(server, func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		<-free
		return nil, ctx.Err()
	})
	stream := server.accept()
	stream.welcome(&pb.Welcome{SessionToken: "secret", HeartbeatInterval: durationpb.New(50 * time.Millisecond)})
	pong := func(held int) {
		stream.await("the heartbeat", func(frame *pb.LeaseRequest) bool {
			if frame.GetSettle() != nil {
				t.Errorf("a revoked lease was settled: %v", frame)
			}
			beat := frame.GetHeartbeat()
			if beat != nil {
				stream.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Pong{Pong: &pb.Pong{Seq: beat.Seq}}})
			}
			return beat != nil && len(beat.Held) == held
		})
	}
	stream.deliver(1, job(1, "k"))
	pong(1)

	stream.revoke("TIMED_OUT", 1)

	if cause := receive(t, "the cause", causes); !errors.Is(cause, jobqueue.ErrTimedOut) {
		t.Errorf("%v", cause)
	}
	pong(1)
	close(free)
	pong(0)
}

func TestALeaseThatAResumeRevokesIsStopped(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	work(server, stuck(causes))
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })
	stream.end <- nil

	resumed := server.accept()
	resumed.welcome(&pb.Welcome{SessionToken: "second", Revoked: resumed.hello.Resume.Held})

	if cause := receive(t, "the cause", causes); !errors.Is(cause, jobqueue.ErrLeaseRevoked) {
		t.Errorf("%v", cause)
	}
}

func TestAnUnknownSessionIsOpenedAnewAndItsHandlersTakeUpSlots(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	free := make(chan struct{})
	work(server, func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		<-free
		return nil, nil
	})
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })
	stream.end <- nil
	server.accept().end <- refusal(codes.NotFound, "SESSION_UNKNOWN")

	opened := server.accept()

	if opened.hello.Resume != nil || opened.hello.Capacity.Slots != 7 || opened.hello.Capacity.SlotsByKind["k"] != 3 {
		t.Errorf("%v", opened.hello)
	}
	if cause := receive(t, "the cause", causes); !errors.Is(cause, jobqueue.ErrLeaseRevoked) {
		t.Errorf("%v", cause)
	}
	opened.welcome(&pb.Welcome{SessionToken: "another"})
	close(free)
	opened.await("all slots", func(frame *pb.LeaseRequest) bool { return frame.GetCapacity().GetSlots() == 8 })
}

func TestGoAwayOpensTheNewStreamBeforeItLetsTheOldOneGo(t *testing.T) {
	server := newScripted(t)
	free := make(chan struct{})
	work(server, func(context.Context, *jobqueue.LeasedJob) (any, error) { <-free; return nil, nil })
	old := server.open()
	old.deliver(1, job(1, "k"))
	old.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })

	old.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_GoAway{GoAway: &pb.GoAway{Reason: "DRAINING"}}})
	moved := server.accept()
	if len(moved.hello.Resume.Held) != 1 {
		t.Errorf("%v", moved.hello.Resume)
	}
	select {
	case <-old.stream.Context().Done():
		t.Error("the old stream was let go before there was another")
	default:
	}
	// Refused: it stays where it is, and asks again.
	moved.end <- status.Error(codes.Unavailable, "full")
	close(free)
	old.settled(old.settle())
	moved = server.open()

	old.gone()
	moved.deliver(1, job(2, "k"))
	if settle := moved.settle(); settle.Succeeded[0] != 2 {
		t.Errorf("%v", settle)
	}
}

func TestWhatEndsWhileTheWorkerMovesIsSettledOnTheNewStreamAlone(t *testing.T) {
	server := newScripted(t)
	free := make(chan struct{})
	work(server, func(context.Context, *jobqueue.LeasedJob) (any, error) { <-free; return nil, nil })
	old := server.accept()
	old.welcome(&pb.Welcome{SessionToken: "secret", HeartbeatInterval: durationpb.New(50 * time.Millisecond)})
	old.deliver(1, job(1, "k"))
	old.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })
	old.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_GoAway{GoAway: &pb.GoAway{}}})
	moved := server.accept()

	close(free)
	for range 3 { // a heartbeat sends all that may be sent
		old.await("the heartbeat", func(frame *pb.LeaseRequest) bool {
			if frame.GetSettle() != nil {
				t.Error("settled on the old stream: neither side knows which of them counts")
			}
			beat := frame.GetHeartbeat()
			if beat != nil {
				old.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Pong{Pong: &pb.Pong{Seq: beat.Seq}}})
			}
			return beat != nil
		})
	}
	moved.welcome(&pb.Welcome{SessionToken: "second"})

	if settle := moved.settle(); settle.Seq != 1 || settle.Succeeded[0] != 1 {
		t.Errorf("%v", settle)
	}
}

func TestADeliveryThatCrossesAMoveRunsOnlyIfTheWorkerStays(t *testing.T) {
	server := newScripted(t)
	ran := make(chan string, 10)
	work(server, func(_ context.Context, job *jobqueue.LeasedJob) (any, error) { ran <- job.ID; return nil, nil })
	old := server.open()
	goAway := &pb.LeaseResponse{Frame: &pb.LeaseResponse_GoAway{GoAway: &pb.GoAway{}}}
	pong := &pb.LeaseResponse{Frame: &pb.LeaseResponse_Pong{Pong: &pb.Pong{}}}

	old.send(goAway)
	refused := server.accept()
	old.deliver(1, job(1, "k"))
	old.send(pong)
	select {
	case id := <-ran:
		t.Fatalf("%s ran before it was known who holds it", id)
	case <-time.After(50 * time.Millisecond):
	}
	refused.end <- status.Error(codes.Unavailable, "full")
	if id := receive(t, "the job, now that the worker stays", ran); id != job(1, "k").Id {
		t.Errorf("%s", id)
	}
	moved := server.accept()
	old.deliver(2, job(2, "k"))
	time.Sleep(50 * time.Millisecond) // the delivery is to be there before the Welcome
	moved.welcome(&pb.Welcome{SessionToken: "second"})
	moved.deliver(1, job(3, "k"))
	if id := receive(t, "the job of the new stream", ran); id != job(3, "k").Id {
		t.Errorf("%s ran, which went back", id)
	}
}

func TestADrainFinishesWhatIsHeldAndWaitsForGoodbye(t *testing.T) {
	server := newScripted(t)
	free := make(chan struct{})
	worker := work(server, func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		<-free
		return nil, ctx.Err()
	})
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })

	worker.drain()
	stream.await("Drain", func(frame *pb.LeaseRequest) bool { return frame.GetDrain() != nil })
	stream.deliver(2, job(2, "k")) // it crossed the Drain
	crossed := stream.outcome()
	close(free)
	finished := stream.settle()
	stream.settled(finished)
	stream.goodbye()

	if crossed.LeaseId != 2 || crossed.GetRelease() == nil {
		t.Errorf("%v", crossed)
	}
	if len(finished.Succeeded) != 1 {
		t.Errorf("%v", finished)
	}
	if err := worker.end(); err != nil {
		t.Error(err)
	}
}

func TestADrainWithoutGraceStopsHandlersAndGivesTheirJobsBack(t *testing.T) {
	server := newScripted(t)
	causes := make(chan error, 1)
	worker := work(server, stuck(causes), func(o *jobqueue.WorkerOptions) { o.ShutdownGrace = -1 })
	stream := server.open()
	stream.deliver(1, job(1, "k"))
	stream.await("the receipt", func(frame *pb.LeaseRequest) bool { return frame.LastDelivery == 1 })

	worker.drain()

	if cause := receive(t, "the cause", causes); !errors.Is(cause, jobqueue.ErrShutdown) {
		t.Errorf("%v", cause)
	}
	if outcome := stream.outcome(); outcome.GetRelease() == nil {
		t.Errorf("%v", outcome)
	}
	stream.goodbye()
	if err := worker.end(); err != nil {
		t.Error(err)
	}
}

func TestAStreamWithoutPongsIsLetGo(t *testing.T) {
	server := newScripted(t)
	work(server, nothing)
	silent := server.accept()
	silent.welcome(&pb.Welcome{SessionToken: "secret", HeartbeatInterval: durationpb.New(20 * time.Millisecond)})

	resumed := server.accept()

	silent.gone()
	if resumed.hello.Resume == nil {
		t.Errorf("%v", resumed.hello)
	}
}

func TestUnknownFramesAndVerdictsAreIgnored(t *testing.T) {
	server := newScripted(t)
	work(server, nothing)
	stream := server.open()

	unknown := &pb.LeaseResponse{}
	unknown.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("new")))
	stream.send(unknown)
	stream.send(&pb.LeaseResponse{Frame: &pb.LeaseResponse_Control{Control: &pb.Control{}}})
	stream.deliver(1, job(1, "k"))
	stream.settled(stream.settle(), &pb.SettleResult{LeaseId: 1, Verdict: 42})
	stream.deliver(2, job(2, "k"))

	if settle := stream.settle(); settle.Succeeded[0] != 2 {
		t.Errorf("%v", settle)
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

func TestTheContextTellsTheTimeout(t *testing.T) {
	server := newScripted(t)
	left := make(chan time.Duration, 1)
	work(server, func(ctx context.Context, _ *jobqueue.LeasedJob) (any, error) {
		at, _ := ctx.Deadline()
		left <- time.Until(at)
		return nil, nil
	})
	stream := server.open()
	limited := job(1, "k")
	limited.Timeout = durationpb.New(time.Hour)
	stream.deliver(1, limited)

	if got := receive(t, "the deadline", left); got < 59*time.Minute || got > time.Hour {
		t.Errorf("%v", got)
	}
}

func TestAWorkerThatIsRefusedAtFirstEndsAndOneThatFindsNoServerGoesOn(t *testing.T) {
	server := newScripted(t)
	worker := work(server, nothing)
	server.accept().end <- status.Error(codes.Unavailable, "not yet")
	server.accept().end <- refusal(codes.InvalidArgument, "FIELD_INVALID")

	err := worker.end()

	var failure *jobqueue.Error
	if !errors.Is(err, jobqueue.ErrInvalidRequest) || !errors.As(err, &failure) || failure.Reason != "FIELD_INVALID" {
		t.Errorf("%v", err)
	}
}
