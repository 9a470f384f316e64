package jobqueueotel

// The names of attributes. OpenTelemetry's conventions for messaging are not stable: they change here alone.
const (
	messagingSystem        = "messaging.system"
	messagingOperation     = "messaging.operation.name"
	messagingOperationType = "messaging.operation.type"
	messagingDestination   = "messaging.destination.name"
	messagingMessageID     = "messaging.message.id"
	errorType              = "error.type"
	exception              = "exception"
	exceptionType          = "exception.type"
	exceptionMessage       = "exception.message"
	exceptionStack         = "exception.stacktrace"

	jobKind    = "jobqueue.kind"
	jobAttempt = "jobqueue.attempt"
	jobLease   = "jobqueue.lease_id"
	jobWait    = "jobqueue.wait_ms"
	jobOutcome = "jobqueue.outcome"

	system  = "jobqueue"
	process = "process"
)
