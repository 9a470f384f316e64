package jobqueue

import (
	"crypto/rand"
	"encoding/json"
	"time"
)

// Status is where a job is in its life.
type Status string

// The statuses. One that this version does not know is read as StatusUnspecified.
const (
	StatusUnspecified     Status = "STATUS_UNSPECIFIED"
	StatusQueued          Status = "QUEUED"
	StatusRunning         Status = "RUNNING"
	StatusSucceeded       Status = "SUCCEEDED"
	StatusRetrying        Status = "RETRYING"
	StatusFailedPermanent Status = "FAILED_PERMANENT"
	StatusCancelled       Status = "CANCELLED"
)

// IsTerminal says whether the job is over.
func (s Status) IsTerminal() bool {
	return s == StatusSucceeded || s == StatusFailedPermanent || s == StatusCancelled
}

// RetryPolicy is the wait between a failure and the next attempt. What is 0 is the default.
type RetryPolicy struct {
	// MinBackoff is the shortest wait, 1 ms to 7 days. 0: 1 s.
	MinBackoff time.Duration
	// MaxBackoff is the longest wait, MinBackoff to 7 days. 0: 60 s.
	MaxBackoff time.Duration
}

// NewJob is a job to enqueue. Only Kind must be set.
type NewJob struct {
	// Kind is what sort of work it is: chooses the handler.
	Kind string
	// Payload is the handler's input: a json.RawMessage goes byte for byte, whatever else is marshalled. nil: `null`.
	Payload any
	// Queue is the line that it waits in. Empty: `default`.
	Queue string
	// Priority is -10..10, higher first.
	Priority int
	// RunAt is the earliest moment at which it may start, at most 400 days ahead. Zero: at once.
	RunAt time.Time
	// Delay is the same, from now by the database's clock. Not together with RunAt.
	Delay time.Duration
	// MaxAttempts is how many failures end it for good, 1..1000. 0: the kind's value, else 3.
	MaxAttempts int
	// Timeout is how long one attempt may run, 1 s to 7 days. 0: the kind's value, else no limit.
	Timeout time.Duration
	// RetryPolicy is the wait between attempts. nil: the kind's, else the default.
	RetryPolicy *RetryPolicy
	// IdempotencyKey is the producer's own name for the request: the same key and the same job again answers the job
	// that is there. With one, the client repeats the call when no server answers. See [NewIdempotencyKey].
	IdempotencyKey string
	// Labels are the producer's own marks, to find jobs by.
	Labels map[string]string
	// Headers are given to the handler beside the payload.
	Headers map[string]string
}

// NewIdempotencyKey makes a key that was never used, so that the client may repeat a call whose answer was lost.
func NewIdempotencyKey() string { return rand.Text() }

// EnqueueResult is what became of one job of a batch.
type EnqueueResult struct {
	// ID is the job's id.
	ID string
	// Replayed says whether it was there before, by its idempotency key.
	Replayed bool
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
	// MaxAttempts is how many failures end it for good.
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
	// Replayed, of an answer to Enqueue: whether the job was there before, by its idempotency key.
	Replayed bool
}

// IsTerminal says whether it is over.
func (j *Job) IsTerminal() bool { return j.Status.IsTerminal() }

// Cancellation is the answer to Cancel.
type Cancellation struct {
	// Job is the job as the call left it.
	Job *Job
	// Pending says whether it ran: its worker is told.
	Pending bool
}

// Filter chooses jobs to list. What is set must all match.
type Filter struct {
	Queue string
	Kind  string
	// Status: only with one of these.
	Status []Status
	// Labels: only with all of these.
	Labels map[string]string
	// CreatedAfter: only enqueued then or later. CreatedBefore: only before.
	CreatedAfter, CreatedBefore time.Time
	// Full: with payloads, outputs, headers and failed attempts.
	Full bool
	// PageSize is how many one call reads. 0: 50; above 1000: 1000.
	PageSize int
}

// Kind is a sort of work. Putting one replaces it as a whole.
type Kind struct {
	Name string
	// Schema is the JSON Schema (2020-12) of its payloads. nil: every JSON value is taken.
	Schema json.RawMessage
	// RetryPolicy, MaxAttempts and Timeout are for jobs that don't say.
	RetryPolicy *RetryPolicy
	MaxAttempts int
	Timeout     time.Duration
}
