package jobqueue

import (
	"crypto/rand"
	"encoding/json"
	"time"
)

// Hold is what a job that is held back waits for.
type Hold string

// The holds. One that this version does not know is read as HoldUnspecified.
const (
	HoldUnspecified Hold = "HOLD_UNSPECIFIED"
	// HoldKey: the job waits for its key, of which as many jobs run as the queue allows, or whose rate allows no more now.
	HoldKey Hold = "KEY"
	// HoldTime: the job waits for its RunAt, and then for its key.
	HoldTime Hold = "TIME"
	// HoldHand: the job waits for [Client.Release].
	HoldHand Hold = "HAND"
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

// IsTerminal says whether the job has ended.
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

// NewIdempotencyKey makes a key that was never used, so that the client may repeat a call whose answer was lost.
func NewIdempotencyKey() string { return rand.Text() }

// EnqueueResult is what became of one job of a batch.
type EnqueueResult struct {
	// ID is the job's id.
	ID string
	// Replayed says whether it was there before, by its idempotency key.
	Replayed bool
	// UniqueAction is what was done with this job, which holds the name of the one that was to be enqueued. 0: that one was
	// stored.
	UniqueAction UniqueAction
}

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
	// RetryPolicy, MaxAttempts and Timeout are for jobs without their own values.
	RetryPolicy *RetryPolicy
	MaxAttempts int
	Timeout     time.Duration
	// Limits are what it allows of all its jobs together, over all queues. nil: no limit.
	Limits *Limits
	// SlotWeight is how many slots of a worker each of its jobs takes, 1..1000. 0: 1.
	SlotWeight int
	// OutputSchema is the JSON Schema (2020-12) of its outputs, for readers: no output is held to it. nil: none.
	OutputSchema json.RawMessage
	// Version is that of its payloads, from 1. 0: none was declared.
	Version int
	// Annotations are for people: no part of the system reads them.
	Annotations map[string]string
}
