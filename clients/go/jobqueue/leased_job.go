package jobqueue

import (
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const (
	progressBytes = 1024
	followUps     = 100
	// With an output of 1 MiB the outcome still fits into a message of 4 MiB.
	followUpsBytes = 2 * 1024 * 1024
)

// One id from the first caller to the last handler.
var inherited = []string{"x-request-id", traceparentHeader}

// Decode reads the payload into a value, as json.Unmarshal does. An error is a failure like any other; wrap it in
// [Discard] where no later attempt can do better. Of a payload that was encoded it says where it does not fit, and has
// nothing of what stands there.
func (j *LeasedJob) Decode(value any) error {
	if !j.coded.opened {
		if members := envelopeIn(j.Payload); members != nil {
			return encodedOf(members, noEncodings)
		}
	}
	if err := json.Unmarshal(j.Payload, value); err != nil {
		if j.coded.encoded {
			return fmt.Errorf("the payload of the %s job does not fit: %s", j.Kind, unfit(err))
		}
		return fmt.Errorf("the payload of the %s job does not fit: %w", j.Kind, err)
	}
	return nil
}

// unfit is why a payload that was encoded does not fit, without a word of it: a server must not see what was encrypted, and
// the errors of a type, as of encoding/json, say what stands there.
func unfit(err error) string {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return fmt.Sprintf("field %q, which is a %v in Go, at byte %d", wrong.Field, wrong.Type, wrong.Offset)
	}
	return fmt.Sprintf("%T", err)
}

// IsLastAttempt says whether one more failure ends the job as FAILED_PERMANENT.
func (j *LeasedJob) IsLastAttempt() bool { return j.Failures >= j.MaxAttempts-1 }

// Progress says how far the attempt is: a fraction of the whole, 0..1, and what the attempt does, for people, at most
// 1 KiB. Returns at once. What follows within 100 ms replaces it; the last one before a broken connection may be lost.
func (j *LeasedJob) Progress(fraction float64, message string) error {
	// Written so that it refuses NaN as well.
	if !(fraction >= 0 && fraction <= 1) {
		return invalid("fraction", "is %v; it is 0..1, of the whole", fraction)
	}
	j.report(&pb.Progress{Fraction: &fraction, Message: cut(message, progressBytes, "")})
	return nil
}

// ProgressMessage says what the attempt does, as [LeasedJob.Progress] does, where no fraction of the whole is known.
func (j *LeasedJob) ProgressMessage(message string) {
	j.report(&pb.Progress{Message: cut(message, progressBytes, "")})
}

// FollowUp enqueues a job in the transaction that settles this one as succeeded, or not at all; at most 100, of 2 MiB in
// all. It gets the request id and the trace of this job, unless it has headers of these names.
func (j *LeasedJob) FollowUp(job NewJob) error {
	made := newJobMessage
	if j.coded.sealer != nil {
		if unread := job.PayloadEncoded(); unread != nil {
			return unread
		}
		// It is encoded after the handler, as the middleware has left it.
		made = plainMessage
	}
	message, err := made(&job, "follow_up")
	if err != nil {
		return err
	}
	headers := make(map[string]string, len(job.Headers)+len(inherited))
	for _, name := range inherited {
		if value, ok := j.Headers[name]; ok {
			headers[name] = value
		}
	}
	if j.traceparent != "" {
		headers[traceparentHeader] = j.traceparent
	}
	for name, value := range message.Headers {
		headers[name] = value
	}
	message.Headers = headers
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return &MiddlewareError{"FollowUp was called after the handler's middleware had ended: a middleware did not wait for next"}
	}
	if j.coded.late {
		return invalid("follow_up", "came after the handler had ended")
	}
	if len(j.followUps) >= followUps {
		return invalid("follow_up", "a job has at most %d follow-ups", followUps)
	}
	size := j.size + proto.Size(message)
	if size > followUpsBytes {
		return tooManyBytes(size)
	}
	j.followUps, j.size = append(j.followUps, message), size
	if rule := job.rule(); rule != "" && j.coded.sealer != nil {
		if j.coded.rules == nil {
			j.coded.rules = map[*pb.NewJob]EncodingRule{}
		}
		j.coded.rules[message] = rule
	}
	return nil
}

func tooManyBytes(size int) error {
	return invalid("follow_up", "the follow-ups of a job may have %d bytes in all, not %d", followUpsBytes, size)
}

func (j *LeasedJob) takeFollowUps() []*pb.NewJob {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.followUps
}
