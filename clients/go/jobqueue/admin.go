package jobqueue

import (
	"context"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Queue is a queue as it was when it was read.
type Queue struct {
	Name string
	// Paused: no job may be claimed from it.
	Paused bool
	// Running is how many of its jobs run.
	Running int
	// Depths are its jobs that are not over, by StatusQueued, StatusRetrying and StatusRunning.
	Depths map[Status]QueueDepth
	// Held are its jobs that are held back, by what they wait for. They count in Depths too.
	Held map[Hold]HoldDepth
}

// HoldDepth is how many jobs of a queue are held back and wait for the same.
type HoldDepth struct {
	Jobs int
	// Capped: counting stopped at its bound, so that there are at least so many.
	Capped bool
}

// QueueDepth is how many jobs of one status there are in a queue.
type QueueDepth struct {
	// Jobs is how many, those with a later RunAt and those that are held back included.
	Jobs int
	// Capped: counting stopped at its bound, so that there are at least so many.
	Capped bool
	// OldestAge is how long the first of them has been due, or the first running one has run. 0: there is none.
	OldestAge time.Duration
}

// PutKind makes a kind, or replaces it as a whole.
func (c *Client) PutKind(ctx context.Context, kind Kind) (*Kind, error) {
	message := &pb.Kind{
		Name:        kind.Name,
		RetryPolicy: policyMessage(kind.RetryPolicy),
		MaxAttempts: whole(kind.MaxAttempts),
		Timeout:     durationMessage(kind.Timeout),
	}
	if kind.Schema != nil {
		message.Definition = &pb.Kind_SchemaJson{SchemaJson: kind.Schema}
	}
	request := &pb.PutKindRequest{Kind: message, PayloadFormat: payloadJSON}
	answer, err := call(ctx, &c.options.Access, c.options.Deadline, true, c.admin.PutKind, request)
	if err != nil {
		return nil, err
	}
	return kindOf(answer.GetKind()), nil
}

// ListKinds reads all kinds, in order of their names.
func (c *Client) ListKinds(ctx context.Context) ([]*Kind, error) {
	var kinds []*Kind
	request := &pb.ListKindsRequest{PageSize: 1000, PayloadFormat: payloadJSON}
	for {
		answer, err := call(ctx, &c.options.Access, c.options.Deadline, true, c.admin.ListKinds, request)
		if err != nil {
			return nil, err
		}
		for _, each := range answer.GetKinds() {
			kinds = append(kinds, kindOf(each))
		}
		if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
			return kinds, nil
		}
	}
}

// ListQueues reads all queues, in order of their names.
func (c *Client) ListQueues(ctx context.Context) ([]*Queue, error) {
	var queues []*Queue
	request := &pb.ListQueuesRequest{PageSize: 1000}
	for {
		answer, err := call(ctx, &c.options.Access, c.options.Deadline, true, c.admin.ListQueues, request)
		if err != nil {
			return nil, err
		}
		for _, each := range answer.GetQueues() {
			queues = append(queues, queueOf(each))
		}
		if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
			return queues, nil
		}
	}
}

// GetQueue reads a queue. ErrQueueNotFound: no job was ever enqueued in it.
func (c *Client) GetQueue(ctx context.Context, name string) (*Queue, error) {
	request := &pb.GetQueueRequest{Name: name}
	answer, err := call(ctx, &c.options.Access, c.options.Deadline, true, c.admin.GetQueue, request)
	if err != nil {
		return nil, err
	}
	return queueOf(answer.GetQueue()), nil
}

// PauseQueue stops the claiming of jobs from a queue. Running ones run on.
func (c *Client) PauseQueue(ctx context.Context, name string) (*Queue, error) {
	request := &pb.PauseQueueRequest{Name: name}
	answer, err := call(ctx, &c.options.Access, c.options.Deadline, true, c.admin.PauseQueue, request)
	if err != nil {
		return nil, err
	}
	return queueOf(answer.GetQueue()), nil
}

// ResumeQueue lets jobs be claimed from a queue again. ErrQueueNotFound: no job was ever enqueued in it.
func (c *Client) ResumeQueue(ctx context.Context, name string) (*Queue, error) {
	request := &pb.ResumeQueueRequest{Name: name}
	answer, err := call(ctx, &c.options.Access, c.options.Deadline, true, c.admin.ResumeQueue, request)
	if err != nil {
		return nil, err
	}
	return queueOf(answer.GetQueue()), nil
}

func kindOf(message *pb.Kind) *Kind {
	return &Kind{
		Name:        message.GetName(),
		Schema:      message.GetSchemaJson(),
		RetryPolicy: policyOf(message.GetRetryPolicy()),
		MaxAttempts: int(message.GetMaxAttempts()),
		Timeout:     message.GetTimeout().AsDuration(),
	}
}

func queueOf(message *pb.Queue) *Queue {
	queue := &Queue{
		Name:    message.GetName(),
		Paused:  message.GetPaused(),
		Running: int(message.GetRunning()),
		Depths:  map[Status]QueueDepth{},
		Held:    map[Hold]HoldDepth{},
	}
	for _, each := range message.GetHeld() {
		queue.Held[holdOf(each.GetHold())] = HoldDepth{Jobs: int(each.GetJobs()), Capped: each.GetCapped()}
	}
	for _, each := range message.GetDepths() {
		queue.Depths[statusOf(each.GetStatus())] = QueueDepth{
			Jobs: int(each.GetJobs()), Capped: each.GetCapped(), OldestAge: each.GetOldestAge().AsDuration(),
		}
	}
	return queue
}
