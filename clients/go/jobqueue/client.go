package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const (
	defaultDeadline = 30 * time.Second
	// The longest that one call of WaitJob waits; more is done by calling again.
	oneWait = 30 * time.Second
	// A wait of so long that ends in vain asks why, for so long.
	worthAsking = time.Second
	toSayWhy    = time.Second

	payloadJSON = pb.PayloadFormat_PAYLOAD_FORMAT_JSON
)

// ClientOptions are a client's settings. The zero value is right for a server without TLS and tokens.
type ClientOptions struct {
	Access
	// Deadline is for calls whose context has none, all tries together, and what Encodings do for them. 0: 30 s.
	Deadline time.Duration
	// Adaptive: enqueues wait for their turns within the client while the server says that it is nearly full. 64 are in flight
	// at first: hints and refusals make that fewer, down to 1, and answers without them more, up to 1000. The client refuses
	// nothing by itself. The wait is part of the call's deadline. false: no call waits.
	Adaptive bool
	// Observer is told of jobs that were enqueued. nil: none is.
	Observer Observer
	// Middleware goes around enqueues, the outermost first.
	Middleware []Middleware
	// Encodings are what payloads go through before they are sent, within all middleware; payloads and outputs that are read
	// are decoded. nil: nothing is encoded or decoded.
	Encodings *Encodings
}

// Client is a connection to a JobQueue server. Make one and keep it; it may be used by many goroutines at once.
//
// Every method may return an [*Error]. Reads, and what changes nothing when done twice, are tried again while no server
// answers; so is an enqueue that carries an idempotency key, and no other.
type Client struct {
	options    ClientOptions
	connection *grpc.ClientConn
	jobs       pb.JobQueueClient
	admin      pb.QueueAdminClient
	insight    pb.InsightClient
	observing  *observations
	window     *window // nil: enqueues take no turns
	firstUse   firstUse
}

// Enqueuer is what code needs that enqueues, and does no more: a [*Client], or in a unit test a RecordingClient of
// package jobqueuetest.
type Enqueuer interface {
	Enqueue(ctx context.Context, job NewJob) (*Job, error)
	EnqueueMany(ctx context.Context, jobs []NewJob) ([]EnqueueResult, error)
}

var _ Enqueuer = (*Client)(nil)

// NewClient makes a client; it connects at the first call. The target is the server's address, for example
// `127.0.0.1:50051` or `dns:///jobs.internal:50051`. ErrInvalidRequest: it is no host with a port, nor of a scheme of gRPC.
func NewClient(target string, options ClientOptions) (*Client, error) {
	if err := checkTarget(target); err != nil {
		return nil, err
	}
	if options.Encodings != nil && len(options.Encodings.steps) == 0 {
		return nil, invalid("Encodings", "has none: it is made by NewEncodings")
	}
	if options.Deadline == 0 {
		options.Deadline = defaultDeadline
	}
	options.Middleware = slices.Clone(options.Middleware)
	connection, err := options.dial(target)
	if err != nil {
		return nil, err
	}
	made := &Client{
		options:    options,
		connection: connection,
		jobs:       pb.NewJobQueueClient(connection),
		admin:      pb.NewQueueAdminClient(connection),
		insight:    pb.NewInsightClient(connection),
		observing:  observe(options.Observer, slog.Default()),
		firstUse:   firstUse{target: target, access: &options.Access},
	}
	if options.Adaptive {
		made.window = newWindow()
	}
	return made, nil
}

// Close ends the connection and every call on it. What an Observer has not been told yet is waited for, 2 s at most.
func (c *Client) Close() error {
	err := c.connection.Close()
	c.observing.end()
	return err
}

// Enqueue enqueues one job. Once it returns, the job is committed.
//
// Without a key an error may leave open whether the job was enqueued. With one the client repeats the call safely, and
// so may you. The job is as it was enqueued; if the key was used before, as it is now, with Replayed set; if another job
// holds its name (Unique), that job with UniqueAction set, its ID alone if it was deleted since or may not be read.
func (c *Client) Enqueue(ctx context.Context, job NewJob) (*Job, error) {
	message, err := plainMessage(&job, "job")
	if err != nil {
		return nil, err
	}
	if len(c.options.Middleware) == 0 {
		return c.enqueue(ctx, &job, message)
	}
	var enqueued *Job
	_, err = enqueueThrough(ctx, c.options.Middleware, []*pb.NewJob{message},
		func(ctx context.Context) ([]EnqueueResult, error) {
			var err error
			if enqueued, err = c.enqueue(ctx, &job, message); err != nil {
				return nil, err
			}
			return []EnqueueResult{{enqueued.ID, enqueued.Replayed, enqueued.UniqueAction}}, nil
		})
	if err != nil {
		return nil, err
	}
	return enqueued, nil
}

func (c *Client) enqueue(ctx context.Context, job *NewJob, message *pb.NewJob) (*Job, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	if c.options.Encodings != nil || job.rule() == EncodingsRequired {
		if err := c.encode(ctx, []NewJob{*job}, []*pb.NewJob{message}, func(int) string { return "job" }, ""); err != nil {
			return nil, err
		}
	}
	request := &pb.EnqueueJobRequest{Job: message, PayloadFormat: payloadJSON}
	began := time.Now()
	answer, err := callInTurn(ctx, c, message.GetIdempotencyKey() != "", c.jobs.EnqueueJob, request)
	c.observing.enqueued([]*pb.NewJob{message}, began, err)
	if err != nil {
		return nil, err
	}
	enqueued := c.jobOf(ctx, answer.GetJob())
	enqueued.Replayed = answer.GetReplayed()
	enqueued.UniqueAction = UniqueAction(answer.GetUniqueAction())
	return enqueued, nil
}

// EnqueueMany enqueues many jobs, in batches of up to 1000 and 3 MiB; each batch all or none. A batch of which each job
// has a key is tried again where one without may not be.
//
// There is one result for each job, in their order. With an error they are those of the batches before it, which are
// committed; the paths in Violations count from the first job of all. With Encodings all jobs are encoded before the first
// is sent.
func (c *Client) EnqueueMany(ctx context.Context, jobs []NewJob) ([]EnqueueResult, error) {
	messages := make([]*pb.NewJob, len(jobs))
	for i := range jobs {
		var err error
		// All first, so that one that can't be written leaves none of them enqueued.
		if messages[i], err = plainMessage(&jobs[i], pathOf(i)); err != nil {
			return nil, err
		}
	}
	if len(c.options.Middleware) == 0 || len(jobs) == 0 {
		return c.enqueueMany(ctx, jobs, messages)
	}
	return enqueueThrough(ctx, c.options.Middleware, messages, func(ctx context.Context) ([]EnqueueResult, error) {
		return c.enqueueMany(ctx, jobs, messages)
	})
}

func pathOf(i int) string { return fmt.Sprintf("jobs[%d]", i) }

func (c *Client) enqueueMany(ctx context.Context, jobs []NewJob, messages []*pb.NewJob) ([]EnqueueResult, error) {
	if err := c.encode(ctx, jobs, messages, pathOf, ""); err != nil {
		return nil, err
	}
	results := make([]EnqueueResult, 0, len(messages))
	for len(messages) > 0 {
		size, keyed := cutBatch(messages)
		request := &pb.BatchEnqueueJobsRequest{Jobs: messages[:size]}
		began := time.Now()
		answer, err := callInTurn(ctx, c, keyed, c.jobs.BatchEnqueueJobs, request)
		c.observing.enqueued(messages[:size], began, err)
		if err != nil {
			return results, rebased(err, len(results))
		}
		for _, each := range answer.GetResults() {
			results = append(results, EnqueueResult{
				each.GetId(), each.GetReplayed(), UniqueAction(each.GetUniqueAction()),
			})
		}
		messages = messages[size:]
	}
	return results, nil
}

// Get reads a job, in full.
func (c *Client) Get(ctx context.Context, id string) (*Job, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	request := &pb.GetJobRequest{Id: id, PayloadFormat: payloadJSON}
	answer, err := call(ctx, c, true, c.jobs.GetJob, request)
	if err != nil {
		return nil, err
	}
	return c.jobOf(ctx, answer.GetJob()), nil
}

// List reads all jobs that match, newest first, page by page as the loop asks for them. An error is the last pair.
//
//	for job, err := range client.List(ctx, jobqueue.Filter{Queue: "mail"}) {
func (c *Client) List(ctx context.Context, filter Filter) iter.Seq2[*Job, error] {
	return func(yield func(*Job, error) bool) {
		token := ""
		for {
			jobs, next, err := c.ListPage(ctx, filter, token)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, job := range jobs {
				if !yield(job, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			token = next
		}
	}
}

// ListPage reads one page of jobs, newest first, and the token of the next one; an empty token: this was the last. A page
// may be short, even empty, and still have a next one.
func (c *Client) ListPage(ctx context.Context, filter Filter, token string) ([]*Job, string, error) {
	request := &pb.ListJobsRequest{
		PageSize:      whole(filter.PageSize),
		PageToken:     token,
		Queue:         filter.Queue,
		Kind:          filter.Kind,
		Labels:        labelFilter(filter.Labels),
		CreatedAfter:  timestampMessage(filter.CreatedAfter),
		CreatedBefore: timestampMessage(filter.CreatedBefore),
		View:          viewOf(filter.Full),
		PayloadFormat: payloadJSON,
	}
	for _, each := range filter.Status {
		number, ok := pb.Job_Status_value[string(each)]
		if !ok {
			return nil, "", invalid("status", "%q is no status; they are QUEUED, RUNNING and so on", each)
		}
		request.Status = append(request.Status, pb.Job_Status(number))
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	answer, err := call(ctx, c, true, c.jobs.ListJobs, request)
	if err != nil {
		return nil, "", err
	}
	return c.jobsOf(ctx, answer.GetJobs()), answer.GetNextPageToken(), nil
}

// CancelOption is one thing that [Client.Cancel] says beside the job.
type CancelOption func(*pb.CancelJobRequest)

// CancelReason is why a job is cancelled, for people: the worker of the job and all who read the job see it.
func CancelReason(reason string) CancelOption {
	return func(request *pb.CancelJobRequest) { request.Reason = reason }
}

// Cancel cancels a job: a waiting one at once, a running one by telling its worker.
func (c *Client) Cancel(ctx context.Context, id string, options ...CancelOption) (*Cancellation, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	request := &pb.CancelJobRequest{Id: id, PayloadFormat: payloadJSON}
	for _, option := range options {
		option(request)
	}
	answer, err := call(ctx, c, false, c.jobs.CancelJob, request)
	if err != nil {
		return nil, err
	}
	return &Cancellation{c.jobOf(ctx, answer.GetJob()), answer.GetPending()}, nil
}

// Retry makes a finished job QUEUED again. It keeps its history; failures and losses start at 0.
func (c *Client) Retry(ctx context.Context, id string) (*Job, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	request := &pb.RetryJobRequest{Id: id, PayloadFormat: payloadJSON}
	answer, err := call(ctx, c, false, c.jobs.RetryJob, request)
	if err != nil {
		return nil, err
	}
	return c.jobOf(ctx, answer.GetJob()), nil
}

// Release lets a job go that was enqueued with Hold: it waits for its RunAt and a worker, as any job.
func (c *Client) Release(ctx context.Context, id string) (*Job, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	request := &pb.ReleaseJobRequest{Id: id, PayloadFormat: payloadJSON}
	answer, err := call(ctx, c, false, c.jobs.ReleaseJob, request)
	if err != nil {
		return nil, err
	}
	return c.jobOf(ctx, answer.GetJob()), nil
}

// Delete deletes a terminal job and its history.
func (c *Client) Delete(ctx context.Context, id string) error {
	_, err := call(ctx, c, false, c.jobs.DeleteJob, &pb.DeleteJobRequest{Id: id})
	return err
}

// Wait waits until a job has ended, for as long as the context lasts, and returns it in full. It has no limit of its own:
// ClientOptions.Deadline is not for it.
//
// When the context ends first, the job is as it was last read, or nil. By its deadline the error is a [*WaitTimeoutError], which
// is [context.DeadlineExceeded]: where the context had a second or more, the client then asks once why the job has not ended,
// for a second at most. A context that was cancelled is [context.Canceled].
func (c *Client) Wait(ctx context.Context, id string) (*Job, error) {
	limit := time.Duration(0)
	if ends, ok := ctx.Deadline(); ok {
		// A second that was given a moment ago is one.
		limit = time.Until(ends).Round(100 * time.Millisecond)
	}
	var seen *Job
	for {
		wait := oneWait
		if ends, ok := ctx.Deadline(); ok {
			wait = max(0, min(wait, time.Until(ends)))
		}
		request := &pb.WaitJobRequest{Id: id, Timeout: durationpb.New(wait), PayloadFormat: payloadJSON}
		// Time for the answer to come back, after the server has waited; and a restart of it costs a retry, not the wait.
		trying, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait+c.options.Deadline)
		stop := context.AfterFunc(ctx, func() {
			if ctx.Err() == context.Canceled {
				cancel()
			}
		})
		answer, err := call(trying, c, true, c.jobs.WaitJob, request)
		stop()
		cancel()
		if err != nil {
			if ctx.Err() == context.Canceled && errors.Is(err, context.Canceled) {
				return seen, ctx.Err()
			}
			if late(ctx) && errors.Is(err, context.DeadlineExceeded) {
				return seen, c.inVain(ctx, limit, id, seen, err)
			}
			return seen, err
		}
		if seen = c.jobOf(ctx, answer.GetJob()); seen.IsTerminal() {
			return seen, nil
		}
		if ctx.Err() == context.Canceled {
			return seen, ctx.Err()
		}
		if late(ctx) {
			failure := newError(codes.DeadlineExceeded, fmt.Sprintf("job %s is %s and not over in time", id, seen.Status))
			failure.Metadata = map[string]string{"job_id": id}
			return seen, c.inVain(ctx, limit, id, seen, failure)
		}
	}
}

// late: the context's deadline has passed, though it may not know yet.
func late(ctx context.Context) bool {
	ends, ok := ctx.Deadline()
	return ctx.Err() == context.DeadlineExceeded || (ok && time.Until(ends) <= 0)
}

// inVain is the error of a wait that had so long, with why the job has not ended where a server says so soon.
func (c *Client) inVain(ctx context.Context, limit time.Duration, id string, seen *Job, failure error) error {
	made := &WaitTimeoutError{Job: seen, err: failure}
	if limit < worthAsking {
		return made
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(toSayWhy, c.options.Deadline))
	defer cancel()
	if why, err := c.Explain(asking, id); err == nil {
		made.Summary = why.Summary
	}
	return made
}
