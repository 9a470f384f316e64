package jobqueue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

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
	old.welcome(&pb.Welcome{SessionToken: "secret", HeartbeatInterval: durationpb.New(250 * time.Millisecond)})
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

func TestADeliveryThatCrossesAMoveIsNotBegunAndGoesBackIfTheWorkerStays(t *testing.T) {
	server := newScripted(t)
	ran := make(chan string, 10)
	held, causes := make(chan string, 2), make(chan error, 2)
	work(server, func(ctx context.Context, leased *jobqueue.LeasedJob) (any, error) {
		if leased.ID == job(8, "k").Id || leased.ID == job(9, "k").Id {
			held <- leased.ID
			return stuck(causes)(ctx, leased)
		}
		ran <- leased.ID
		return nil, nil
	})
	old := server.open()
	goAway := &pb.LeaseResponse{Frame: &pb.LeaseResponse_GoAway{GoAway: &pb.GoAway{}}}
	// A worker that has read this has read what was sent before on the same stream.
	read := func(lease int64) {
		old.revoke("TIMED_OUT", lease)
		receive(t, "the revoke", causes)
	}
	old.deliver(1, job(8, "k"), job(9, "k"))
	receive(t, "the first to be held", held)
	receive(t, "the second to be held", held)

	old.send(goAway)
	refused := server.accept()
	old.deliver(2, job(1, "k"))
	read(8)
	refused.end <- status.Error(codes.Unavailable, "full")
	if back := old.settle(); len(back.Outcomes) != 1 || back.Outcomes[0].GetRelease() == nil {
		t.Errorf("%v", back)
	}
	moved := server.accept()
	old.deliver(3, job(2, "k"))
	read(9)
	moved.welcome(&pb.Welcome{SessionToken: "second"})
	moved.deliver(1, job(3, "k"))
	if id := receive(t, "the job of the new stream", ran); id != job(3, "k").Id {
		t.Errorf("%s ran, which went back", id)
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
