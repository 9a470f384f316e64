package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// One for each thing that a caller can do something about, for [errors.Is]. An [*Error] may be several of them: what is
// ErrPayloadInvalid is ErrInvalidRequest too.
var (
	// ErrInvalidRequest: a field is malformed or out of its range: mend the call; Violations says where.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrPayloadInvalid: the payload does not satisfy its kind's schema: mend the payload.
	ErrPayloadInvalid = errors.New("payload invalid")
	// ErrTooLarge: make it smaller, or store it elsewhere and send its address.
	ErrTooLarge = errors.New("too large")
	// ErrKindUnknown: the kind was never put: look for a typing error, or declare it by SyncKinds or PutKind.
	ErrKindUnknown = errors.New("kind unknown")
	// ErrNotFound: what was asked for does not exist, or no longer exists.
	ErrNotFound = errors.New("not found")
	// ErrJobNotFound: it was never there, was deleted, or its retention has ended.
	ErrJobNotFound = errors.New("job not found")
	// ErrQueueNotFound: no job was ever enqueued in this queue.
	ErrQueueNotFound = errors.New("queue not found")
	// ErrScheduleNotFound: no schedule has this name: it was never made, or it was deleted.
	ErrScheduleNotFound = errors.New("schedule not found")
	// ErrFilterChanged: not about as many jobs match as were expected: Metadata["estimate"] says how many.
	ErrFilterChanged = errors.New("filter changed")
	// ErrRequestIDReused: the request id belongs to another request, whose operation is in Metadata["operation"]: choose a new
	// one.
	ErrRequestIDReused = errors.New("request id reused")
	// ErrOperationNotFound: it never existed, was deleted, is another's, or its retention has ended.
	ErrOperationNotFound = errors.New("operation not found")
	// ErrOperationNotDone: the operation is not done: wait for it, or cancel it first.
	ErrOperationNotDone = errors.New("operation not done")
	// ErrWorkerNotFound: no open session has this number: it never existed, has ended, or takes nothing that may be read.
	ErrWorkerNotFound = errors.New("worker not found")
	// ErrScheduleExists: a schedule has this name: choose another one, or change that one.
	ErrScheduleExists = errors.New("schedule exists")
	// ErrSchedulesFull: the namespace has as many schedules as it may have: delete some of them.
	ErrSchedulesFull = errors.New("schedules full")
	// ErrJobTerminal: the job has ended and can't be cancelled: Metadata["status"] says how it ended.
	ErrJobTerminal = errors.New("job terminal")
	// ErrJobNotTerminal: the job is not over: wait for it or cancel it first.
	ErrJobNotTerminal = errors.New("job not terminal")
	// ErrJobNotHeld: the job is not held back: it was released before, enqueued without Hold, or has ended.
	ErrJobNotHeld = errors.New("job not held")
	// ErrIdempotencyKeyReused: the key stands for another request: Metadata["job_id"] names its job.
	ErrIdempotencyKeyReused = errors.New("idempotency key reused")
	// ErrDuplicate: another job, Metadata["job_id"], holds the name of a unique one: wait for it, or leave the work to it.
	ErrDuplicate = errors.New("duplicate")
	// ErrServersDiffer: an older server that still runs would break what was asked for: upgrade those in
	// Metadata["servers"] first.
	ErrServersDiffer = errors.New("servers differ")
	// ErrEtagMismatch: the queue was changed since its Etag was read: read it again and decide anew.
	ErrEtagMismatch = errors.New("etag mismatch")
	// ErrKeyPolicyConflict: parts of a queue's key policy would contradict each other.
	ErrKeyPolicyConflict = errors.New("key policy conflict")
	// ErrKeyNotBlocked: no failed job blocks the key: it was unblocked before, or its job was retried or deleted.
	ErrKeyNotBlocked = errors.New("key not blocked")
	// ErrQueueKeysFull: something is said of as many keys of the queue as may be: set back some of them first.
	ErrQueueKeysFull = errors.New("queue keys full")
	// ErrOverloaded: the server takes no more for now: try again after RetryAfter.
	ErrOverloaded = errors.New("overloaded")
	// ErrQueueBacklogFull: as many jobs wait in the queue Metadata["queue"] as it lets wait: Metadata["limit"] says how many. It
	// is ErrOverloaded as well.
	ErrQueueBacklogFull = errors.New("queue backlog full")
	// ErrKeyBacklogFull: as many jobs wait for a key as its queue lets wait: Violations says which jobs of the call have it. It
	// is ErrOverloaded as well.
	ErrKeyBacklogFull = errors.New("key backlog full")
	// ErrUnavailable: no server answered, or it can't reach its database or the issuer of tokens. What was asked for may
	// have been done.
	ErrUnavailable = errors.New("unavailable")
	// ErrDeadlineExceeded: not done in time. What was asked for may have been done. It is
	// [context.DeadlineExceeded] as well.
	ErrDeadlineExceeded = errors.New("deadline exceeded")
	// ErrWatchTokenExpired: too old to go on from: list the jobs, then watch without it.
	ErrWatchTokenExpired = errors.New("watch token expired")
	// ErrSessionUnknown: the server has no such session: open a new one. The Worker does so by itself.
	ErrSessionUnknown = errors.New("session unknown")
	// ErrSessionEnded: the worker's session has ended, its leases were given back: open a new one. The Worker does so by
	// itself.
	ErrSessionEnded = errors.New("session ended")
	// ErrSessionSuperseded: the session goes on on another stream: resume it there. The Worker does so by itself.
	ErrSessionSuperseded = errors.New("session superseded")
	// ErrSessionSilent: the server heard nothing of the worker for three heartbeats: resume the session. The Worker does
	// so by itself.
	ErrSessionSilent = errors.New("session silent")
	// ErrNotAllowed: the credentials are not enough for this call: Metadata["permission"] is what an administrator would
	// grant.
	ErrNotAllowed = errors.New("not allowed")
	// ErrUnauthenticated: the credentials are missing or wrong, have expired, or were revoked: Reason says which. It is
	// ErrNotAllowed as well.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrNamespaceDisabled: an administrator has disabled the namespace of the credentials. It is ErrNotAllowed as well.
	ErrNamespaceDisabled = errors.New("namespace disabled")
	// ErrNotSupported: the server does not have this method: it is older than the client, or no JobQueue server.
	ErrNotSupported = errors.New("not supported")
	// ErrServerFault: give the server's operator RequestID or Metadata["error_id"].
	ErrServerFault = errors.New("server fault")
)

var sentinelsByReason = map[string][]error{
	"FIELD_INVALID":          {ErrInvalidRequest},
	"PAYLOAD_INVALID":        {ErrPayloadInvalid, ErrInvalidRequest},
	"PAYLOAD_TOO_LARGE":      {ErrTooLarge, ErrInvalidRequest},
	"BODY_TOO_LARGE":         {ErrTooLarge, ErrInvalidRequest},
	"KIND_UNKNOWN":           {ErrKindUnknown, ErrInvalidRequest},
	"JOB_NOT_FOUND":          {ErrJobNotFound, ErrNotFound},
	"QUEUE_NOT_FOUND":        {ErrQueueNotFound, ErrNotFound},
	"SCHEDULE_NOT_FOUND":     {ErrScheduleNotFound, ErrNotFound},
	"SCHEDULE_EXISTS":        {ErrScheduleExists},
	"SCHEDULES_FULL":         {ErrSchedulesFull},
	"FILTER_CHANGED":         {ErrFilterChanged},
	"REQUEST_ID_REUSED":      {ErrRequestIDReused},
	"OPERATION_NOT_FOUND":    {ErrOperationNotFound, ErrNotFound},
	"OPERATION_NOT_DONE":     {ErrOperationNotDone},
	"WORKER_NOT_FOUND":       {ErrWorkerNotFound, ErrNotFound},
	"JOB_TERMINAL":           {ErrJobTerminal},
	"JOB_NOT_TERMINAL":       {ErrJobNotTerminal},
	"JOB_NOT_HELD":           {ErrJobNotHeld},
	"IDEMPOTENCY_KEY_REUSED": {ErrIdempotencyKeyReused},
	"DUPLICATE":              {ErrDuplicate},
	"SERVERS_DIFFER":         {ErrServersDiffer},
	"ETAG_MISMATCH":          {ErrEtagMismatch},
	"KEY_POLICY_CONFLICT":    {ErrKeyPolicyConflict},
	"KEY_NOT_BLOCKED":        {ErrKeyNotBlocked},
	"QUEUE_KEYS_FULL":        {ErrQueueKeysFull},
	"QUEUE_BACKLOG_FULL":     {ErrQueueBacklogFull, ErrOverloaded},
	"KEY_BACKLOG_FULL":       {ErrKeyBacklogFull, ErrOverloaded},
	"WATCH_TOKEN_EXPIRED":    {ErrWatchTokenExpired},
	"SESSION_UNKNOWN":        {ErrSessionUnknown},
	"SESSION_ENDED":          {ErrSessionEnded, ErrSessionUnknown},
	"SESSION_SUPERSEDED":     {ErrSessionSuperseded},
	"SESSION_SILENT":         {ErrSessionSilent},
	"NAMESPACE_DISABLED":     {ErrNamespaceDisabled, ErrNotAllowed},
}

// For reasons that this version does not know, and for answers of proxies, which have none.
var sentinelsByCode = map[codes.Code][]error{
	codes.InvalidArgument:   {ErrInvalidRequest},
	codes.OutOfRange:        {ErrInvalidRequest},
	codes.NotFound:          {ErrNotFound},
	codes.ResourceExhausted: {ErrOverloaded},
	codes.Unavailable:       {ErrUnavailable},
	codes.DeadlineExceeded:  {ErrDeadlineExceeded, context.DeadlineExceeded},
	codes.Canceled:          {context.Canceled},
	codes.Unauthenticated:   {ErrUnauthenticated, ErrNotAllowed},
	codes.PermissionDenied:  {ErrNotAllowed},
	codes.Unimplemented:     {ErrNotSupported},
	codes.Internal:          {ErrServerFault},
	codes.Unknown:           {ErrServerFault},
	codes.DataLoss:          {ErrServerFault},
}

// FieldViolation is one field that was wrong.
type FieldViolation struct {
	// Field is its path in the request, for example `job.payload.to`.
	Field string
	// Description says what is wrong with it and what would be right.
	Description string
}

// Error is a call that was refused or failed. Every answer of a server that is no success becomes one.
type Error struct {
	// Message says what went wrong, for people.
	Message string
	// Code is that of gRPC.
	Code codes.Code
	// Reason is the stable name of the cause, for example `JOB_NOT_FOUND`. Empty when no JobQueue server answered.
	Reason string
	// Metadata are facts about the error, for example `job_id`.
	Metadata map[string]string
	// Violations are the fields that were wrong.
	Violations []FieldViolation
	// RetryAfter is how long the server asks to wait before another try. 0: it does not ask.
	RetryAfter time.Duration
	// RequestID finds the call in the server's log. Empty when no server answered.
	RequestID string

	sentinels []error
	asked     bool
	note      string
	hint      string
}

// Error says everything that a person needs.
func (e *Error) Error() string {
	name := e.Reason
	if name == "" {
		name = e.Code.String()
	}
	text := name + ": " + e.Message
	fields := make([]string, len(e.Violations))
	for i, each := range e.Violations {
		fields[i] = each.Field + ": " + each.Description
	}
	// A server often says the one violation in its message already.
	if all := strings.Join(fields, "; "); all != "" && !strings.Contains(e.Message, all) {
		text += " (" + all + ")"
	}
	if e.note != "" {
		text += "; " + e.note
	}
	if e.hint != "" {
		text += "; " + e.hint
	}
	return text
}

// Is says whether the error is one of the sentinels, such as ErrJobNotFound.
func (e *Error) Is(target error) bool {
	for _, each := range e.sentinels {
		if each == target {
			return true
		}
	}
	return false
}

// GRPCStatus lets [status.Code] read the code.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Error()) }

// WaitTimeoutError is a [Client.Wait] whose context ended by its deadline before the job did. [errors.Is] finds
// [context.DeadlineExceeded] and ErrDeadlineExceeded in it.
type WaitTimeoutError struct {
	// Job is the job as it was last seen. nil: no server has answered.
	Job *Job
	// Summary says in a sentence why it had not ended, as [Client.Explain] does. Empty: the wait was shorter than a second, or no
	// server answered that within one.
	Summary string

	err error
}

// Error says how the job was, and why.
func (e *WaitTimeoutError) Error() string {
	text := "jobqueue: the job had not ended in time"
	if e.err != nil {
		text = e.err.Error()
	}
	if e.Summary != "" {
		text += "; " + e.Summary
	}
	return text
}

// Is says that it is one of a deadline.
func (e *WaitTimeoutError) Is(target error) bool {
	return target == context.DeadlineExceeded || target == ErrDeadlineExceeded
}

// Unwrap is the [*Error] of the wait.
func (e *WaitTimeoutError) Unwrap() error { return e.err }

func newError(code codes.Code, message string) *Error {
	return &Error{Code: code, Message: message, sentinels: sentinelsByCode[code]}
}

// fromRPC is the typed error of a failed call; the metadata is what came back with it.
func fromRPC(err error, received ...metadata.MD) *Error {
	answer := status.Convert(err)
	made := newError(answer.Code(), answer.Message())
	for _, detail := range answer.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			made.Reason, made.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, each := range detail.GetFieldViolations() {
				made.Violations = append(made.Violations, FieldViolation{each.GetField(), each.GetDescription()})
			}
		case *errdetails.RetryInfo:
			made.RetryAfter, made.asked = detail.GetRetryDelay().AsDuration(), detail.RetryDelay != nil
		}
	}
	if known, ok := sentinelsByReason[made.Reason]; ok {
		made.sentinels = known
	}
	if made.Reason == "" && made.Code == codes.ResourceExhausted && strings.Contains(made.Message, "larger than max") {
		// gRPC refuses a message before anybody has read it.
		made.sentinels = []error{ErrTooLarge, ErrInvalidRequest}
		made.Message = fmt.Sprintf("a message is too large, the most is 4 MiB (%s)", made.Message)
	}
	if made.Reason == "CREDENTIALS_MISSING" {
		made.hint = "give them by Access.Token or Access.TokenSource"
	}
	for _, each := range received {
		if found := each.Get("x-request-id"); len(found) > 0 {
			made.RequestID = found[0]
		}
	}
	return made
}
