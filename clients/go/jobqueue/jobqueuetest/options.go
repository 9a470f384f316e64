package jobqueuetest

import (
	"crypto/rand"
	"fmt"
	"maps"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"jobqueue.dev/go/internal/testhook"
	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// Option is one thing that [Perform] and [Attempt] say of an attempt.
type Option func(*settings)

type settings struct {
	id         string
	attempt    int
	failures   int // -1: each earlier attempt was one
	checkpoint []byte
	created    time.Time
	within     time.Duration
	middleware []jobqueue.Middleware
	stop       stopping
}

// stopping is when a handler is told to stop, and why.
type stopping struct {
	atStart    bool
	atProgress int
	after      time.Duration
	cause      error
}

func newSettings(options []Option) *settings {
	made := &settings{
		id: rand.Text(), attempt: 1, failures: -1, created: time.Now(), within: 10 * time.Second,
		stop: stopping{cause: jobqueue.ErrCancelRequested},
	}
	for _, option := range options {
		option(made)
	}
	if made.failures < 0 {
		made.failures = made.attempt - 1
	}
	return made
}

// AttemptNumber is which attempt it is, from 1. Default: 1.
func AttemptNumber(number int) Option { return func(s *settings) { s.attempt = number } }

// Failures is how many failures there had been before. Default: each earlier attempt was one.
func Failures(failures int) Option { return func(s *settings) { s.failures = failures } }

// Checkpoint is what the attempts before have left. Default: nothing.
func Checkpoint(data []byte) Option { return func(s *settings) { s.checkpoint = data } }

// ID is the job's id. Default: a new one.
func ID(id string) Option { return func(s *settings) { s.id = id } }

// CreatedAt is when the job was enqueued. Default: now.
func CreatedAt(at time.Time) Option { return func(s *settings) { s.created = at } }

// Within is how long the handler may take. Default: 10 s.
func Within(wait time.Duration) Option { return func(s *settings) { s.within = wait } }

// Middleware goes around the handler and its follow-ups, the outermost first. HandlerOf a worker has the worker's already.
func Middleware(middleware ...jobqueue.Middleware) Option {
	return func(s *settings) { s.middleware = middleware }
}

// StopAtStart tells the handler to stop as soon as it runs.
func StopAtStart() Option { return func(s *settings) { s.stop.atStart = true } }

// StopAtProgress tells the handler to stop at its nth call of Progress, from 1.
func StopAtProgress(number int) Option { return func(s *settings) { s.stop.atProgress = number } }

// StopAfter tells the handler to stop after a while.
func StopAfter(wait time.Duration) Option { return func(s *settings) { s.stop.after = wait } }

// Because is why the handler is to stop, with one of the other options: the cause of its context, such as
// [jobqueue.ErrShutdown]. Default: [jobqueue.ErrCancelRequested].
func Because(cause error) Option { return func(s *settings) { s.stop.cause = cause } }

// Attempt is an attempt of a job, for code that is called with one. What it reports is dropped; [Perform] keeps it.
func Attempt(job jobqueue.NewJob, options ...Option) (*jobqueue.LeasedJob, error) {
	message, err := newSettings(options).leased(job)
	if err != nil {
		return nil, err
	}
	return testhook.LeasedJob(message, func(*pb.Progress) {}).(*jobqueue.LeasedJob), nil
}

// performed is the kind of a job that names none.
const performed = testhook.Performed

// leased is the job as a server would send it.
func (s *settings) leased(job jobqueue.NewJob) (*pb.LeasedJob, error) {
	if s.attempt < 1 {
		words := fmt.Sprintf("is %d; attempts count from 1", s.attempt)
		return nil, testhook.Refused(codes.InvalidArgument, "FIELD_INVALID", "attempt", words, nil)
	}
	if job.Kind == "" {
		job.Kind = performed
	}
	message, err := checked(job, "job")
	if err != nil {
		return nil, err
	}
	leased := &pb.LeasedJob{
		LeaseId:     1,
		Id:          s.id,
		Attempt:     int32(s.attempt),
		Kind:        message.GetKind(),
		Content:     &pb.LeasedJob_PayloadJson{PayloadJson: textOf(message)},
		Queue:       queueOf(message),
		MaxAttempts: attemptsOf(message),
		Failures:    int32(s.failures),
		Timeout:     message.GetTimeout(),
		Priority:    message.GetPriority(),
		CreatedAt:   timestamppb.New(s.created),
		Labels:      maps.Clone(message.GetLabels()),
		Headers:     maps.Clone(message.GetHeaders()),
		Checkpoint:  s.checkpoint,
		Key:         message.GetKey(),
	}
	return leased, nil
}
