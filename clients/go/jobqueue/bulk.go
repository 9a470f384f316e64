package jobqueue

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// JobFilter says which jobs to change. What is set must all match.
type JobFilter struct {
	// IDs: these jobs, 1000 at most.
	IDs []string
	// Queue and Kind: of this queue, of this kind.
	Queue, Kind string
	// Status: with one of these. None: for a retry FAILED_PERMANENT or CANCELLED, for a cancel any that has not ended, for a
	// delete any that has, for an update QUEUED or RETRYING.
	Status []Status
	// Labels: with all of these.
	Labels map[string]string
	// CreatedAfter: enqueued then or later. CreatedBefore: enqueued before.
	CreatedAfter, CreatedBefore time.Time
	// EndedAfter: ended then or later. EndedBefore: ended before.
	EndedAfter, EndedBefore time.Time
	// Reason: ended for one of these, such as ATTEMPTS_EXHAUSTED.
	Reason []string
	// ErrorType: the last attempt that failed did so with an error of this type.
	ErrorType string
	// Everything: all jobs, if nothing else is set.
	Everything bool
}

// Bulk is how many jobs are changed.
type Bulk struct {
	// Force: do it. Without it nothing changes, and the answer has how many match and some of them.
	Force bool
	// PerSecond is how many jobs a second. 0: as fast as the service takes it.
	PerSecond int
	// MaxJobs: after so many it is done. 0: after all.
	MaxJobs int
	// RequestID is a text of your own: the same call again is answered the operation of the first. Without one the call is
	// not tried again when the server is away.
	RequestID string
	// Expected is how many should match, as the dry run said ([Operation.Estimate]). More than a tenth off, nothing is
	// changed. nil: any number.
	Expected *int
}

// RetryJobsOptions say how many jobs are retried.
type RetryJobsOptions struct {
	Bulk
	// ToQueue is the queue in which they wait from now on, which must exist. Empty: each stays in its own.
	ToQueue string
	// RunAt is the earliest time at which they start. Zero: the retry, and Delay. Delay is how long after its retry a job may
	// start; not together with RunAt.
	RunAt time.Time
	Delay time.Duration
	// Spread draws each start evenly from so long after the earliest.
	Spread time.Duration
	// ResetCheckpoint: each starts from the beginning, without the checkpoint that its attempts left.
	ResetCheckpoint bool
	// RespectUnique: one whose name another job holds is skipped; the others take theirs again.
	RespectUnique bool
}

// CancelJobsOptions say how many jobs are cancelled.
type CancelJobsOptions struct {
	Bulk
	// Reason says why, for workers and people. At most 255 characters.
	Reason string
}

// UpdateJobsOptions say what is changed of many jobs, and how. What is nil stays.
type UpdateJobsOptions struct {
	Bulk
	// Priority is theirs from now on, -10..10.
	Priority *int
	// RunAt is when they may start. Zero: it stays, but for Delay. Delay is how long after the change they may start, 0: now;
	// not together with RunAt.
	RunAt time.Time
	Delay *time.Duration
	// Spread, with one of these: each starts at a time that is drawn from so long after it.
	Spread time.Duration
	// ToQueue: they wait in this queue, which must exist. Empty: each in its own.
	ToQueue string
	// MaxAttempts is theirs from now on; one more than a job's failures at least. 0: each keeps its own.
	MaxAttempts int
}

// RetryJobs makes many jobs that have ended QUEUED again, by an operation that goes on without this program.
//
//	counted, err := client.RetryJobs(ctx, jobqueue.JobFilter{Queue: "mail"}, jobqueue.RetryJobsOptions{})
//
// ErrFilterChanged: not about as many as Expected match. ErrQueueNotFound: no job was ever enqueued in ToQueue.
// ErrRequestIDReused: another request was made with this RequestID.
func (c *Client) RetryJobs(ctx context.Context, filter JobFilter, options RetryJobsOptions) (*Operation, error) {
	chosen, err := jobFilterMessage(&filter)
	if err != nil {
		return nil, err
	}
	request := &pb.RetryJobsRequest{
		Filter:          chosen,
		Force:           options.Force,
		PerSecond:       whole(options.PerSecond),
		MaxJobs:         int64(options.MaxJobs),
		RequestId:       options.RequestID,
		Expected:        options.expected(),
		Spread:          durationMessage(options.Spread),
		ToQueue:         options.ToQueue,
		ResetCheckpoint: options.ResetCheckpoint,
		RespectUnique:   options.RespectUnique,
	}
	switch {
	case !options.RunAt.IsZero() && options.Delay != 0:
		return nil, twoStarts()
	case !options.RunAt.IsZero():
		request.Start = &pb.RetryJobsRequest_RunAt{RunAt: timestamppb.New(options.RunAt)}
	case options.Delay != 0:
		request.Start = &pb.RetryJobsRequest_Delay{Delay: durationpb.New(options.Delay)}
	}
	answer, err := call(ctx, c, options.again(), c.bulk().RetryJobs, request)
	if err != nil {
		return nil, err
	}
	return operationOf(answer.GetOperation()), nil
}

// CancelJobs cancels many jobs that have not ended, by an operation that goes on without this program. Errors: as of
// RetryJobs.
func (c *Client) CancelJobs(ctx context.Context, filter JobFilter, options CancelJobsOptions) (*Operation, error) {
	chosen, err := jobFilterMessage(&filter)
	if err != nil {
		return nil, err
	}
	request := &pb.CancelJobsRequest{
		Filter:    chosen,
		Force:     options.Force,
		PerSecond: whole(options.PerSecond),
		MaxJobs:   int64(options.MaxJobs),
		RequestId: options.RequestID,
		Expected:  options.expected(),
		Reason:    options.Reason,
	}
	answer, err := call(ctx, c, options.again(), c.bulk().CancelJobs, request)
	if err != nil {
		return nil, err
	}
	return operationOf(answer.GetOperation()), nil
}

// DeleteJobs deletes many jobs that have ended, by an operation that goes on without this program. Errors: as of RetryJobs.
func (c *Client) DeleteJobs(ctx context.Context, filter JobFilter, options Bulk) (*Operation, error) {
	chosen, err := jobFilterMessage(&filter)
	if err != nil {
		return nil, err
	}
	request := &pb.DeleteJobsRequest{
		Filter:    chosen,
		Force:     options.Force,
		PerSecond: whole(options.PerSecond),
		MaxJobs:   int64(options.MaxJobs),
		RequestId: options.RequestID,
		Expected:  options.expected(),
	}
	answer, err := call(ctx, c, options.again(), c.bulk().DeleteJobs, request)
	if err != nil {
		return nil, err
	}
	return operationOf(answer.GetOperation()), nil
}

// UpdateJobs changes many jobs that wait, those that are QUEUED or RETRYING, by an operation that goes on without this
// program. Errors: as of RetryJobs; ErrServersDiffer: an older server runs, which does not know such operations.
func (c *Client) UpdateJobs(ctx context.Context, filter JobFilter, options UpdateJobsOptions) (*Operation, error) {
	chosen, err := jobFilterMessage(&filter)
	if err != nil {
		return nil, err
	}
	request := &pb.UpdateJobsRequest{
		Filter:      chosen,
		Force:       options.Force,
		PerSecond:   whole(options.PerSecond),
		MaxJobs:     int64(options.MaxJobs),
		RequestId:   options.RequestID,
		Expected:    options.expected(),
		Spread:      durationMessage(options.Spread),
		ToQueue:     options.ToQueue,
		MaxAttempts: whole(options.MaxAttempts),
	}
	if options.Priority != nil {
		priority := whole(*options.Priority)
		request.Priority = &priority
	}
	switch {
	case !options.RunAt.IsZero() && options.Delay != nil:
		return nil, twoStarts()
	case !options.RunAt.IsZero():
		request.Start = &pb.UpdateJobsRequest_RunAt{RunAt: timestamppb.New(options.RunAt)}
	case options.Delay != nil:
		request.Start = &pb.UpdateJobsRequest_Delay{Delay: durationpb.New(*options.Delay)}
	}
	answer, err := call(ctx, c, options.again(), c.bulk().UpdateJobs, request)
	if err != nil {
		return nil, err
	}
	return operationOf(answer.GetOperation()), nil
}

func (c *Client) bulk() pb.BulkClient { return pb.NewBulkClient(c.connection) }

// again: the call does no harm twice.
func (b *Bulk) again() bool { return !b.Force || b.RequestID != "" }

func (b *Bulk) expected() *int64 {
	if b.Expected == nil {
		return nil
	}
	expected := int64(*b.Expected)
	return &expected
}

func twoStarts() error {
	return invalid("run_at", "RunAt and Delay are both given; one of them says when the jobs start")
}

func jobFilterMessage(filter *JobFilter) (*pb.JobFilter, error) {
	status, err := statusNumbers("filter.status", filter.Status)
	if err != nil {
		return nil, err
	}
	return &pb.JobFilter{
		Ids:           filter.IDs,
		Queue:         filter.Queue,
		Kind:          filter.Kind,
		Status:        status,
		Labels:        labelFilter(filter.Labels),
		CreatedAfter:  timestampMessage(filter.CreatedAfter),
		CreatedBefore: timestampMessage(filter.CreatedBefore),
		EndedAfter:    timestampMessage(filter.EndedAfter),
		EndedBefore:   timestampMessage(filter.EndedBefore),
		Reason:        filter.Reason,
		ErrorType:     filter.ErrorType,
		Everything:    filter.Everything,
	}, nil
}

func statusNumbers(field string, status []Status) ([]pb.Job_Status, error) {
	var numbers []pb.Job_Status
	for _, each := range status {
		number, ok := pb.Job_Status_value[string(each)]
		if !ok {
			return nil, invalid(field, "%q is no status; they are QUEUED, RUNNING and so on", each)
		}
		numbers = append(numbers, pb.Job_Status(number))
	}
	return numbers, nil
}
