// Package testhook leads from package jobqueuetest to what package jobqueue keeps to itself, and fills in. What is any
// here is a type of that package, which this one can't name.
package testhook

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Performed is the kind of a job of a test that names none.
const Performed = "performed"

// Attempt is one that runs.
type Attempt struct {
	// Stop ends the handler's context, for a cause.
	Stop context.CancelCauseFunc
	// Ended gets the end, once.
	Ended <-chan End
}

// End is how an attempt has ended.
type End struct {
	// Outcome as a worker sends it. nil: a success without output.
	Outcome *pb.Outcome
	// How is the outcome in a word, as a span has it.
	How string
	// Err is what the handler returned or panicked with.
	Err error
}

// Call makes one call.
type Call = func(ctx context.Context, connection grpc.ClientConnInterface, options ...grpc.CallOption) error

// Place is where something encoded belongs.
type Place struct{ Purpose, Kind, JobID, ContentType string }

var (
	// Message is that of a jobqueue.NewJob, which a worker of its kind could read; the path is for errors.
	Message func(job any, path string) (*pb.NewJob, error)
	// NewJob is the jobqueue.NewJob of a message.
	NewJob func(message *pb.NewJob) any
	// Job is the *jobqueue.Job of a message.
	Job func(message *pb.Job) any
	// LeasedJob is the *jobqueue.LeasedJob of a message. It reports to the function.
	LeasedJob func(message *pb.LeasedJob, report func(*pb.Progress)) any
	// Start begins an attempt of a *jobqueue.LeasedJob by a jobqueue.Handler. Of the context its values count.
	Start func(ctx context.Context, job, handler any) Attempt
	// Around is a jobqueue.Handler with a []jobqueue.Middleware around it, for a kind.
	Around func(handler any, kind string, middleware any) any
	// Through calls the enqueue side of a []jobqueue.Middleware, and then the function, which answers a
	// []jobqueue.EnqueueResult.
	Through func(ctx context.Context, middleware any, messages []*pb.NewJob, send func() (any, error)) error
	// Invoke makes one call by the connection of a *jobqueue.Client, with its credentials. The error is a *jobqueue.Error.
	Invoke func(ctx context.Context, client any, do Call) error
	// Moved is a *jobqueue.Worker of another server with the handlers of one, which tell the function of ordinary failures;
	// and its queues.
	Moved func(worker any, target, token string, failed func(error)) (any, []string, error)
	// Seal is the envelope that a *jobqueue.Encodings makes of bytes in a place; an empty key: they have no idempotency key.
	Seal func(ctx context.Context, encodings any, data []byte, at Place, key string) ([]byte, error)
	// Open reads it. encrypted: it must be.
	Open func(ctx context.Context, encodings any, text []byte, at Place, encrypted bool) ([]byte, error)
	// Refused is the *jobqueue.Error of a reason, as a server makes it. An empty field: no single one is wrong.
	Refused func(code codes.Code, reason, field, words string, metadata map[string]string) error
)
