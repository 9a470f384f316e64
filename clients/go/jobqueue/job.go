package jobqueue

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// NewJob is a job to enqueue. Only Kind must be set.
type NewJob struct {
	// Kind is the job's kind, which decides the handler.
	Kind string
	// Payload is the handler's input: a json.RawMessage goes byte for byte, whatever else is marshalled. nil: `null`.
	Payload any
	// Queue is the queue in which the job waits. Empty: `default`.
	Queue string
	// Priority is -10..10, higher first.
	Priority int
	// RunAt is the earliest time at which the job may start, at most 400 days ahead. Zero: at once.
	RunAt time.Time
	// Delay is the same, from now by the database's clock. Not together with RunAt.
	Delay time.Duration
	// MaxAttempts is after how many failures the job ends as FAILED_PERMANENT, 1..1000. 0: the kind's value, else 3.
	MaxAttempts int
	// Timeout is how long one attempt may run, 1 s to 7 days. 0: the kind's value, else no limit.
	Timeout time.Duration
	// RetryPolicy is the wait between attempts. nil: the kind's, else the default.
	RetryPolicy *RetryPolicy
	// IdempotencyKey is the producer's own name for the request: the same key and the same job again answers the job
	// that is there. With one, the client repeats the call when no server answers. See [NewIdempotencyKey].
	IdempotencyKey string
	// Labels are the producer's own labels, by which jobs can be found.
	Labels map[string]string
	// Headers are data for the handler in addition to the payload, at most 8 KiB.
	Headers map[string]string
	// Hold: no worker gets the job until [Client.Release].
	Hold bool
	// Key is what the job is about, for example a customer: its queue may limit how many jobs of one key run. Empty:
	// none.
	Key string
	// Unique is the name of the job's work, if it is to be done once. nil: the job is not unique.
	Unique *Unique

	// typed is the kind that made it. nil: it is of a name alone.
	typed typedJob
	// unread: it is of a schedule, and its payload was not decoded.
	unread *EncodedError
}

// PayloadEncoded says, of the job of a [Schedule] that was read, what its Payload was encoded by, and why it is still
// encoded: an envelope. A client with [Encodings] does not send it: encoded once more it would be decoded to an envelope.
// nil: it is not encoded, or has another Payload now.
func (j *NewJob) PayloadEncoded() *EncodedError {
	if text, ok := j.Payload.(json.RawMessage); ok && j.unread != nil && envelopeIn(text) != nil {
		return j.unread
	}
	return nil
}

// newJobMessage is a job to enqueue, as a message that may be sent; path is where it stands in the request.
func newJobMessage(job *NewJob, path string) (*pb.NewJob, error) {
	if job.rule() == EncodingsRequired {
		return nil, &EncodingRequiredError{Kind: job.Kind}
	}
	return plainMessage(job, path)
}

// plainMessage is the same of a job that is yet to be encoded.
func plainMessage(job *NewJob, path string) (*pb.NewJob, error) {
	text, err := encode(job.Payload)
	if err != nil {
		refused := invalid(path+".payload", "can't be written as JSON: %v", err)
		if job.typed != nil {
			refused.Reason, refused.sentinels = "PAYLOAD_INVALID", sentinelsByReason["PAYLOAD_INVALID"]
		}
		return nil, refused
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
		Headers:        job.headers(),
		Hold:           job.Hold,
		Key:            job.Key,
		Unique:         uniqueMessage(job.Unique),
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

// headers are those of the job, and the version of its payload where a typed kind says one.
func (j *NewJob) headers() map[string]string {
	if j.typed == nil || j.typed.Version() == 1 {
		return j.Headers
	}
	headers := make(map[string]string, len(j.Headers)+1)
	maps.Copy(headers, j.Headers)
	headers[versionHeader] = strconv.Itoa(j.typed.Version())
	return headers
}

// FailedAttempt is one attempt that did not succeed.
type FailedAttempt struct {
	Attempt int
	// Reason is HANDLER_FAILED, TIMED_OUT or SESSION_LOST; more may be added.
	Reason             string
	ErrorType          string
	Error              string
	Worker             string
	StartedAt, EndedAt time.Time
}

// JobProgress is how far a running attempt says it is.
type JobProgress struct {
	// Fraction is 0..1, of the whole. nil: it can't tell.
	Fraction *float64
	// Message is for people.
	Message string
	// UpdatedAt is when it said so, by the database's clock.
	UpdatedAt time.Time
}

// Job is a job as it was when it was read. Times that are not set are zero.
//
// Payload, Output, Headers and FailedAttempts are nil in lists and watches unless they ask for Full.
type Job struct {
	ID       string
	Kind     string
	Queue    string
	Status   Status
	Priority int
	// Attempts is how often it was claimed; never goes down.
	Attempts int
	// MaxAttempts is after how many failures the job ends as FAILED_PERMANENT.
	MaxAttempts int
	Failures    int
	// Losses is how many attempts ended because their worker was lost.
	Losses int
	// Payload is the text as it was enqueued, byte for byte.
	Payload json.RawMessage
	// Output is the text as the handler gave it, byte for byte. nil: none.
	Output json.RawMessage
	// Reason says why it ended, for example ATTEMPTS_EXHAUSTED. Empty while it is not over and when it succeeded.
	Reason string
	// LastError is what the newest unsuccessful attempt said.
	LastError                               string
	RunAt, CreatedAt, UpdatedAt, FinishedAt time.Time
	// LockedAt and LockedBy tell when and by which worker the current attempt was claimed.
	LockedAt        time.Time
	LockedBy        string
	CancelRequested bool
	IdempotencyKey  string
	// Timeout is how long one attempt may run. 0: no limit.
	Timeout        time.Duration
	RetryPolicy    *RetryPolicy
	Labels         map[string]string
	Headers        map[string]string
	FailedAttempts []FailedAttempt
	Progress       *JobProgress
	// Hold is what the job waits for before it is in line for a worker. Empty: it is not held back.
	Hold Hold
	// Key is that by which its queue may limit it. Empty: none.
	Key string
	// UniqueKey is the name that it was enqueued with (Unique.Key). Empty: it is not unique, or its payload makes the name.
	UniqueKey string
	// Replayed, of an answer to Enqueue: whether the job was there before, by its idempotency key.
	Replayed bool
	// UniqueAction, of an answer to Enqueue: what was done with this job, which holds the name of the one that was to be
	// enqueued (Unique). 0: that one was stored, or Replayed.
	UniqueAction UniqueAction

	// opened: the client has decoded what it could, and of the rest knows why not.
	opened                      bool
	unreadPayload, unreadOutput *EncodedError
}

// Decode reads the payload into a value, as json.Unmarshal does. Of a job without one, as lists have it, it is an error.
func (j *Job) Decode(value any) error {
	if encoded := j.PayloadEncoded(); encoded != nil {
		return encoded
	}
	return j.decode("payload", j.Payload, value)
}

// DecodeOutput reads the output into a value, as json.Unmarshal does. Of a job without one it is an error: look at Status.
func (j *Job) DecodeOutput(value any) error {
	if encoded := j.OutputEncoded(); encoded != nil {
		return encoded
	}
	return j.decode("output", j.Output, value)
}

func (j *Job) decode(what string, text json.RawMessage, value any) error {
	if len(text) == 0 {
		return fmt.Errorf("jobqueue: the %s job %s has no %s here; its status is %s", j.Kind, j.ID, what, j.Status)
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("jobqueue: the %s of the %s job %s does not fit: %w", what, j.Kind, j.ID, err)
	}
	return nil
}

// PayloadEncoded says what the Payload was encoded by, and why it is still encoded: an envelope, which Decode and
// [JobKind.PayloadOf] refuse. nil: it is not encoded.
func (j *Job) PayloadEncoded() *EncodedError { return j.unread(j.Payload, j.unreadPayload) }

// OutputEncoded says the same of the Output.
func (j *Job) OutputEncoded() *EncodedError { return j.unread(j.Output, j.unreadOutput) }

func (j *Job) unread(text json.RawMessage, known *EncodedError) *EncodedError {
	if !j.opened {
		if members := envelopeIn(text); members != nil {
			return encodedOf(members, noEncodings)
		}
	}
	return known
}

// IsTerminal says whether the job has ended.
func (j *Job) IsTerminal() bool { return j.Status.IsTerminal() }

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
		Key:             message.GetKey(),
		UniqueKey:       message.GetUniqueKey(),
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
	if message.Hold != nil {
		job.Hold = holdOf(message.GetHold())
	}
	if progress := message.GetProgress(); progress != nil {
		job.Progress = &JobProgress{progress.Fraction, progress.GetMessage(), timeOf(progress.GetUpdatedAt())}
	}
	return job
}

// LeasedJob is one attempt of a job, as its handler sees it.
type LeasedJob struct {
	// ID and Attempt together are a fencing token, for the handler's own store: Attempt is higher than that of every
	// earlier lease on the job.
	ID      string
	Attempt int
	Kind    string
	// Payload is the JSON text as it was enqueued, byte for byte.
	Payload json.RawMessage
	Queue   string
	// MaxAttempts is after how many failures the job ends as FAILED_PERMANENT, Failures is how many it has.
	MaxAttempts int
	Failures    int
	// Timeout is how long this attempt may run. 0: no limit.
	Timeout   time.Duration
	Priority  int
	CreatedAt time.Time
	Labels    map[string]string
	// Headers are the producer's, with `x-request-id` and `traceparent` of the call that enqueued the job.
	Headers map[string]string
	// Checkpoint is what the attempts before left behind; [LeasedJob.CheckpointAs] reads it as a value. Empty: nothing.
	Checkpoint []byte
	// Key is that by which the queue may limit the job. Empty: none.
	Key string

	report func(*pb.Progress)
	coded  coded
	// traceparent is that of the attempt's span. Empty: it has none.
	traceparent string
	// around is what its innermost middleware that runs has come to. nil: it has none.
	around    atomic.Pointer[around]
	mu        sync.Mutex
	followUps []*pb.NewJob
	size      int
	// closed: all of its middleware has ended.
	closed bool
	// ofTest: a test performs it, and may have chosen the wrong handler.
	ofTest bool
}

func leasedJob(message *pb.LeasedJob, report func(*pb.Progress)) *LeasedJob {
	return &LeasedJob{
		ID:          message.GetId(),
		Attempt:     int(message.GetAttempt()),
		Kind:        message.GetKind(),
		Payload:     json.RawMessage(message.GetPayloadJson()),
		Queue:       message.GetQueue(),
		MaxAttempts: int(message.GetMaxAttempts()),
		Failures:    int(message.GetFailures()),
		Timeout:     message.GetTimeout().AsDuration(),
		Priority:    int(message.GetPriority()),
		CreatedAt:   timeOf(message.GetCreatedAt()),
		Labels:      message.GetLabels(),
		Headers:     message.GetHeaders(),
		Checkpoint:  message.GetCheckpoint(),
		Key:         message.GetKey(),
		report:      report,
	}
}
