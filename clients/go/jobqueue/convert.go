package jobqueue

import (
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

// holdOf reads one that this version does not know as HoldUnspecified.
func holdOf(hold pb.Job_Hold) Hold {
	if name, ok := pb.Job_Hold_name[int32(hold)]; ok {
		return Hold(name)
	}
	return HoldUnspecified
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
