package jobqueue

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// The session's part that reads what became of outcomes. All is called with the lock held.

func (s *session) settled(settled *pb.Settled) {
	results := map[int64]*pb.SettleResult{}
	for _, each := range settled.GetExceptions() {
		results[each.GetLeaseId()] = each
	}
	var again []*lease
	for _, l := range s.settlements.answered(settled) {
		result, ok := results[l.id]
		switch {
		case !ok, result.GetVerdict() == pb.SettleResult_APPLIED, result.GetVerdict() == pb.SettleResult_ALREADY_APPLIED:
			s.logApplied(l, result)
			s.forget(l, outcomeLabel(l.outcome, result), failureOf(l))
		case result.GetVerdict() == pb.SettleResult_TRY_AGAIN:
			again = append(again, l)
		case result.GetVerdict() == pb.SettleResult_INVALID:
			s.correct(l, result.GetMessage())
		default:
			s.log.Warn("the outcome was not taken",
				append(jobAttributes(l), "verdict", result.GetVerdict().String(), "message", result.GetMessage())...)
			s.forget(l, OutcomeError, fmt.Errorf("the outcome was not taken: %s %s", result.GetVerdict(), result.GetMessage()))
		}
	}
	if len(again) > 0 {
		s.settlements.againLater(again)
	}
	s.notify()
}

// correct: the server called an outcome malformed. A failure says so instead, and if that is no better, a release.
func (s *session) correct(l *lease, message string) {
	l.corrections++
	s.log.Error("the server refused the outcome", append(jobAttributes(l), "message", message)...)
	switch l.corrections {
	case 1:
		l.settle(failed("InvalidOutcome", "the handler's outcome was refused: "+message))
	case 2:
		l.settle(released())
	default:
		s.forget(l, OutcomeError, errors.New("the outcome was refused: "+message))
		return
	}
	s.settlements.add(l)
}

// tooLarge: the stream has ended because a frame was larger than the server takes.
func (s *session) tooLarge(err error) {
	if l := s.settlements.tooLarge(); l != nil {
		s.correct(l, fmt.Sprintf("it has %d bytes, more than the server takes at once (%v)", proto.Size(l.outcome), err))
	}
}

func (s *session) forget(l *lease, outcome string, err error) {
	s.settlements.drop(l)
	if !l.alive {
		delete(s.leases, l.id)
	}
	s.observing.finished(l, outcome, l.took, err)
}

func (s *session) logApplied(l *lease, result *pb.SettleResult) {
	failure := l.outcome.GetFailure()
	if failure == nil {
		return
	}
	attributes := append(jobAttributes(l), "error_type", failure.GetErrorType(), "error", failure.GetError())
	if failure.GetStack() != "" {
		attributes = append(attributes, "stack", failure.GetStack())
	}
	if result.GetStatus() == pb.Job_RETRYING {
		s.log.WarnContext(l.job.context(), "failed, is tried again", append(attributes, "run_at", result.GetRunAt().AsTime())...)
	} else {
		s.log.ErrorContext(l.job.context(), "failed for good", append(attributes, "status", string(statusOf(result.GetStatus())))...)
	}
}

func jobAttributes(l *lease) []any {
	return []any{
		"job_id", l.job.ID, "kind", l.job.Kind, "attempt", l.job.Attempt, "request_id", l.job.Headers["x-request-id"],
	}
}
