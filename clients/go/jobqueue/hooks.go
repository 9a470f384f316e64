package jobqueue

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"jobqueue.dev/go/internal/testhook"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// What package jobqueuetest runs of this one.
func init() {
	testhook.Message = func(job any, path string) (*pb.NewJob, error) {
		made := job.(NewJob)
		// There is no wire on which a payload would be seen.
		message, err := plainMessage(&made, path)
		if err == nil && made.typed != nil {
			if wrong := made.typed.accepts(message.GetPayloadJson()); wrong != nil {
				return nil, refused(codes.InvalidArgument, "PAYLOAD_INVALID", path+".payload", wrong.Error(), nil)
			}
		}
		return message, err
	}
	testhook.NewJob = func(message *pb.NewJob) any { return newJobOf(message) }
	testhook.Job = func(message *pb.Job) any { return jobOf(message) }
	testhook.LeasedJob = func(message *pb.LeasedJob, report func(*pb.Progress)) any {
		job := leasedJob(message, report)
		job.ofTest = true
		return job
	}
	testhook.Refused = refused
	testhook.Seal = func(ctx context.Context, encodings any, data []byte, at testhook.Place, key string) ([]byte, error) {
		sealer, err := encodings.(*Encodings).sealer(ctx)
		if err != nil {
			return nil, err
		}
		return sealer.seal(data, codingPlace{at.Purpose, at.Kind, at.JobID, at.ContentType}, key)
	}
	testhook.Open = func(ctx context.Context, encodings any, text []byte, at testhook.Place, encrypted bool) ([]byte, error) {
		return encodings.(*Encodings).opened(
			ctx, text, codingPlace{at.Purpose, at.Kind, at.JobID, at.ContentType}, encrypted)
	}
	testhook.Moved = moved
	testhook.Invoke = func(ctx context.Context, client any, do testhook.Call) error {
		made := client.(*Client)
		once := func(ctx context.Context, _ struct{}, options ...grpc.CallOption) (struct{}, error) {
			return struct{}{}, do(ctx, made.connection, options...)
		}
		_, err := call(ctx, made, false, once, struct{}{})
		return err
	}
	testhook.Around = func(handler any, kind string, middleware any) any {
		return surrounded(handler.(Handler), []string{kind}, middleware.([]Middleware))
	}
	testhook.Through = func(ctx context.Context, middleware any, messages []*pb.NewJob, send func() (any, error)) error {
		_, err := enqueueThrough(ctx, middleware.([]Middleware), messages, func(context.Context) ([]EnqueueResult, error) {
			sent, err := send()
			results, _ := sent.([]EnqueueResult)
			return results, err
		})
		return err
	}
	testhook.Start = func(ctx context.Context, job, handler any) testhook.Attempt {
		leased, run := job.(*LeasedJob), handler.(Handler)
		made := newAttempt(context.WithoutCancel(ctx), leased)
		ended := make(chan testhook.End, 1)
		go made.run(
			func(ctx context.Context) (any, error) { return run(ctx, leased) },
			func(outcome *pb.Outcome, err error) {
				ended <- testhook.End{Outcome: outcome, How: endOf(outcome, context.Cause(made.base)).Outcome, Err: err}
				made.stop(nil)
			})
		return testhook.Attempt{Stop: made.stop, Ended: ended}
	}
}

// moved is a worker of another server with the handlers of one, which tell of ordinary failures.
func moved(worker any, target, token string, failed func(error)) (any, []string, error) {
	from := worker.(*Worker)
	from.mu.Lock()
	defer from.mu.Unlock()
	made, err := NewWorker(target, WorkerOptions{
		Access: Access{Token: token}, Queues: from.options.Queues, Concurrency: from.options.Concurrency,
		Logger: from.options.Logger, ShutdownGrace: time.Second,
	})
	if err != nil {
		return nil, nil, err
	}
	for kind, handler := range from.handlers {
		handler.run = telling(handler.run, failed)
		made.handlers[kind] = handler
	}
	made.idle.Kinds = kindsOf(made.handlers)
	return made, made.options.Queues, nil
}

// telling is a handler that tells of what fails its attempt in the ordinary way: an error, a panic, the end of its
// goroutine, or an output that can't be sent.
func telling(run Handler, failed func(error)) Handler {
	return func(ctx context.Context, job *LeasedJob) (output any, err error) {
		failure := exited() // stays where the handler neither returns nor panics
		defer func() {
			if value := recover(); value != nil {
				failed(&PanicError{value, string(debug.Stack())})
				panic(value)
			}
			if failure != nil {
				failed(failure)
			}
		}()
		output, err = run(ctx, job)
		outcome := outcomeOf(job, output, err, context.Cause(ctx))
		if text := outcome.GetSuccess().GetOutputJson(); text != nil {
			output = json.RawMessage(text) // it is marshalled once
		}
		failure = nil
		if said := outcome.GetFailure(); said != nil && !said.GetPermanent() && said.GetRetryAfter() == nil {
			if failure = err; err == nil {
				failure = fmt.Errorf("%s: %s", said.GetErrorType(), said.GetError())
			}
		}
		return output, err
	}
}

func refused(code codes.Code, reason, field, words string, metadata map[string]string) error {
	made := newError(code, words)
	made.Reason, made.Metadata, made.sentinels = reason, metadata, sentinelsByReason[reason]
	if field != "" {
		made.Message = field + ": " + words
		made.Violations = []FieldViolation{{field, words}}
	}
	return made
}

// newJobOf is the job that a message enqueues.
func newJobOf(message *pb.NewJob) NewJob {
	job := NewJob{
		Kind:           message.GetKind(),
		Queue:          message.GetQueue(),
		Priority:       int(message.GetPriority()),
		RunAt:          timeOf(message.GetRunAt()),
		Delay:          message.GetDelay().AsDuration(),
		MaxAttempts:    int(message.GetMaxAttempts()),
		Timeout:        message.GetTimeout().AsDuration(),
		RetryPolicy:    policyOf(message.GetRetryPolicy()),
		IdempotencyKey: message.GetIdempotencyKey(),
		Labels:         message.GetLabels(),
		Headers:        message.GetHeaders(),
		Hold:           message.GetHold(),
		Key:            message.GetKey(),
		Unique:         uniqueOf(message.GetUnique()),
	}
	if text := message.GetPayloadJson(); text != nil {
		job.Payload = json.RawMessage(text)
	}
	return job
}
