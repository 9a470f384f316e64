package jobqueue

import (
	"encoding/json"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// whole is a number of the caller's in the contract's 32 bits; one that does not fit stays out of every range.
func whole(number int) int32 {
	return int32(max(math.MinInt32, min(math.MaxInt32, number)))
}

// newJobMessage is a job to enqueue, as a message; path is where it stands in the request.
func newJobMessage(job *NewJob, path string) (*pb.NewJob, error) {
	text, err := encode(job.Payload)
	if err != nil {
		return nil, invalid(path+".payload", "can't be written as JSON: %v", err)
	}
	message := &pb.NewJob{
		Kind:           job.Kind,
		Queue:          job.Queue,
		Priority:       whole(job.Priority),
		MaxAttempts:    whole(job.MaxAttempts),
		Timeout:        durationMessage(job.Timeout),
		RetryPolicy:    policyMessage(job.RetryPolicy),
		IdempotencyKey: job.IdempotencyKey,
		Labels:         job.Labels,
		Headers:        job.Headers,
	}
	if text != nil {
		message.Content = &pb.NewJob_PayloadJson{PayloadJson: text}
	}
	switch {
	case !job.RunAt.IsZero() && job.Delay != 0:
		return nil, invalid(path+".run_at", "RunAt and Delay are both given; one of them says when the job starts")
	case !job.RunAt.IsZero():
		message.Start = &pb.NewJob_RunAt{RunAt: timestamppb.New(job.RunAt)}
	case job.Delay != 0:
		message.Start = &pb.NewJob_Delay{Delay: durationpb.New(job.Delay)}
	}
	return message, nil
}

func policyMessage(policy *RetryPolicy) *pb.RetryPolicy {
	if policy == nil {
		return nil
	}
	return &pb.RetryPolicy{
		MinBackoff: durationMessage(policy.MinBackoff), MaxBackoff: durationMessage(policy.MaxBackoff),
	}
}

// durationMessage is unset for 0.
func durationMessage(duration time.Duration) *durationpb.Duration {
	if duration == 0 {
		return nil
	}
	return durationpb.New(duration)
}

func timestampMessage(moment time.Time) *timestamppb.Timestamp {
	if moment.IsZero() {
		return nil
	}
	return timestamppb.New(moment)
}

func timeOf(message *timestamppb.Timestamp) time.Time {
	if message == nil {
		return time.Time{}
	}
	return message.AsTime()
}

// statusOf reads one that this version does not know as StatusUnspecified.
func statusOf(status pb.Job_Status) Status {
	if name, ok := pb.Job_Status_name[int32(status)]; ok {
		return Status(name)
	}
	return StatusUnspecified
}

func policyOf(message *pb.RetryPolicy) *RetryPolicy {
	if message == nil {
		return nil
	}
	return &RetryPolicy{MinBackoff: message.MinBackoff.AsDuration(), MaxBackoff: message.MaxBackoff.AsDuration()}
}

// jobOf is a job as it was answered.
func jobOf(message *pb.Job) *Job {
	job := &Job{
		ID:              message.GetId(),
		Kind:            message.GetKind(),
		Queue:           message.GetQueue(),
		Status:          statusOf(message.GetStatus()),
		Priority:        int(message.GetPriority()),
		Attempts:        int(message.GetAttempts()),
		MaxAttempts:     int(message.GetMaxAttempts()),
		Failures:        int(message.GetFailures()),
		Losses:          int(message.GetLosses()),
		Payload:         json.RawMessage(message.GetPayloadJson()),
		Output:          json.RawMessage(message.GetOutputJson()),
		Reason:          message.GetReason(),
		LastError:       message.GetLastError(),
		RunAt:           timeOf(message.GetRunAt()),
		CreatedAt:       timeOf(message.GetCreatedAt()),
		UpdatedAt:       timeOf(message.GetUpdatedAt()),
		FinishedAt:      timeOf(message.GetFinishedAt()),
		LockedAt:        timeOf(message.GetLockedAt()),
		LockedBy:        message.GetLockedBy(),
		CancelRequested: message.GetCancelRequested(),
		IdempotencyKey:  message.GetIdempotencyKey(),
		Timeout:         message.GetTimeout().AsDuration(),
		RetryPolicy:     policyOf(message.GetRetryPolicy()),
		Labels:          message.GetLabels(),
		Headers:         message.GetHeaders(),
	}
	for _, each := range message.GetFailedAttempts() {
		job.FailedAttempts = append(job.FailedAttempts, FailedAttempt{
			Attempt:   int(each.GetAttempt()),
			Reason:    each.GetReason(),
			ErrorType: each.GetErrorType(),
			Error:     each.GetError(),
			Worker:    each.GetWorker(),
			StartedAt: timeOf(each.GetStartedAt()),
			EndedAt:   timeOf(each.GetEndedAt()),
		})
	}
	if progress := message.GetProgress(); progress != nil {
		job.Progress = &JobProgress{progress.Fraction, progress.GetMessage(), timeOf(progress.GetUpdatedAt())}
	}
	return job
}

// labelFilter is the contract's form of labels in a filter.
func labelFilter(labels map[string]string) []string {
	var filter []string
	for name, value := range labels {
		filter = append(filter, name+"="+value)
	}
	return filter
}

func viewOf(full bool) pb.JobView {
	if full {
		return pb.JobView_JOB_VIEW_FULL
	}
	return pb.JobView_JOB_VIEW_BASIC
}
