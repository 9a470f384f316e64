package jobqueue

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

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
	// KeyPolicy is what it allows of the jobs of one key. nil: keys are marks, and limit nothing.
	KeyPolicy *KeyPolicy
	// MaxWaiting is how many of its jobs may wait before enqueues are refused. 0: any number.
	MaxWaiting int
	// Limits are what it allows of all its jobs together. nil: their workers alone limit them.
	Limits *Limits
	// Retention is how long its jobs can be read after their end. nil: as those of every queue.
	Retention *Retention
	// Etag stands for this version of KeyPolicy, MaxWaiting, Limits and Retention, for [Client.UpdateQueue].
	Etag string
}

// Limits are what a queue or a kind allows of all its jobs together. 0: no limit.
type Limits struct {
	// MaxRunning is how many of them run at once, over all workers and servers, 1..1000000.
	MaxRunning int
	// Rate is how many of them start in a time, over all workers and servers.
	Rate *Rate
}

// KeyPolicy is what a queue allows of the jobs of one key ([NewJob.Key]). 0 and nil: no limit.
type KeyPolicy struct {
	// MaxRunning is how many of them run at once, 1..1000000.
	MaxRunning int
	// Rate is how many of them start in a time.
	Rate *Rate
	// MaxWaiting is how many of them may wait for the key.
	MaxWaiting int
	// RequireKey: a job without a key is refused.
	RequireKey bool
	// Order is in what order they start; KeyOrderStrict lets one run at once. Empty: none is promised.
	Order KeyOrder
	// OnFailure is what becomes of a key in strict order whose job failed for good or was cancelled.
	OnFailure OnKeyFailure
	// Fair: keys take turns, so that one with many jobs delays another by a round at most.
	Fair bool
}

// KeyOrder is in what order jobs of one key start.
type KeyOrder string

// KeyOrderStrict: in the order in which their enqueues were answered, one after the other.
const KeyOrderStrict KeyOrder = "KEY_ORDER_STRICT"

// OnKeyFailure is what becomes of a key in strict order whose job failed for good or was cancelled.
type OnKeyFailure string

const (
	// OnKeyFailureContinue: the next job goes.
	OnKeyFailureContinue OnKeyFailure = "ON_KEY_FAILURE_CONTINUE"
	// OnKeyFailureHold: the key is blocked, until that job is retried or deleted, or [Client.UnblockQueueKey].
	OnKeyFailureHold OnKeyFailure = "ON_KEY_FAILURE_HOLD"
	// OnKeyFailureCancelRest: the jobs that wait for the key are cancelled.
	OnKeyFailureCancelRest OnKeyFailure = "ON_KEY_FAILURE_CANCEL_REST"
)

// Rate is how many jobs may start in a time.
type Rate struct {
	// Count is how many in each Period, 1..1000000.
	Count int
	// Period is 1 ms to 24 h, in whole milliseconds.
	Period time.Duration
	// Burst is how many may start at once after a pause. 0: what the rate lets start in 50 ms, 1 at least.
	Burst int
	// MostInAPeriod, of an answer: the most that start in any span as long as Period.
	MostInAPeriod int
}

// QueueChange is what to change of a queue.
type QueueChange struct {
	// KeyPolicy is the new policy. An empty one: keys limit nothing any longer. nil: it stays.
	KeyPolicy *KeyPolicy
	// Fields are those of the policy that are changed, as the contract calls them, such as `max_running`. Empty: all. Without
	// a KeyPolicy they change nothing.
	Fields []string
	// MaxWaiting is how many of its jobs may wait before enqueues are refused, 1..1000000. 0: any number. nil: as it is.
	MaxWaiting *int
	// Limits are what it allows of all its jobs together. Empty ones: anything. nil: they stay.
	Limits *Limits
	// LimitFields are those of Limits that are changed, as the contract calls them, such as `rate`. Empty: all. Without Limits
	// they change nothing.
	LimitFields []string
	// Retention is how long its jobs can be read after their end. An empty one: as those of every queue. nil: it stays.
	Retention *Retention
	// RetentionFields are those of Retention that are changed, as the contract calls them, such as `succeeded`. Empty: all.
	// Without a Retention they change nothing.
	RetentionFields []string
	// Etag is [Queue.Etag]: the queue is changed only if it still has it. Empty: whatever was changed since.
	Etag string
	// AllowMissing: a queue that was never used is made.
	AllowMissing bool
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
		SlotWeight:  whole(kind.SlotWeight),
		Version:     whole(kind.Version),
		Annotations: kind.Annotations,
	}
	if kind.Limits != nil {
		message.Limits = limitsMessage(kind.Limits)
	}
	if kind.Schema != nil {
		message.Definition = &pb.Kind_SchemaJson{SchemaJson: kind.Schema}
	}
	if kind.OutputSchema != nil {
		message.OutputDefinition = &pb.Kind_OutputSchemaJson{OutputSchemaJson: kind.OutputSchema}
	}
	request := &pb.PutKindRequest{Kind: message, PayloadFormat: payloadJSON}
	answer, err := call(ctx, c, true, c.admin.PutKind, request)
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
		answer, err := call(ctx, c, true, c.admin.ListKinds, request)
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
		answer, err := call(ctx, c, true, c.admin.ListQueues, request)
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
	answer, err := call(ctx, c, true, c.admin.GetQueue, request)
	if err != nil {
		return nil, err
	}
	return queueOf(answer.GetQueue()), nil
}

// PauseQueue stops the claiming of jobs from a queue. Running ones run on. The reason is for people, who read it in an
// Explanation, and may be empty.
func (c *Client) PauseQueue(ctx context.Context, name, reason string) (*Queue, error) {
	request := &pb.PauseQueueRequest{Name: name, Reason: reason}
	answer, err := call(ctx, c, true, c.admin.PauseQueue, request)
	if err != nil {
		return nil, err
	}
	return queueOf(answer.GetQueue()), nil
}

// ResumeQueue lets jobs be claimed from a queue again. ErrQueueNotFound: no job was ever enqueued in it.
func (c *Client) ResumeQueue(ctx context.Context, name string) (*Queue, error) {
	request := &pb.ResumeQueueRequest{Name: name}
	answer, err := call(ctx, c, true, c.admin.ResumeQueue, request)
	if err != nil {
		return nil, err
	}
	return queueOf(answer.GetQueue()), nil
}

// UpdateQueue changes what a queue allows of its jobs, and of those of one key. All servers know it when this returns.
// ErrQueueNotFound: no job was ever enqueued in it. ErrEtagMismatch: it was changed since its Etag was read.
func (c *Client) UpdateQueue(ctx context.Context, name string, change QueueChange) (*Queue, error) {
	queue, mask := &pb.Queue{Name: name, Etag: change.Etag}, &fieldmaskpb.FieldMask{}
	if change.KeyPolicy != nil {
		var err error
		if queue.KeyPolicy, err = keyPolicyMessage(change.KeyPolicy); err != nil {
			return nil, err
		}
		for _, field := range change.Fields {
			mask.Paths = append(mask.Paths, "key_policy."+field)
		}
		if len(change.Fields) == 0 {
			mask.Paths = append(mask.Paths, "key_policy")
		}
	}
	if change.MaxWaiting != nil {
		queue.MaxWaiting = whole(*change.MaxWaiting)
		mask.Paths = append(mask.Paths, "max_waiting")
	}
	if change.Limits != nil {
		queue.Limits = limitsMessage(change.Limits)
		for _, field := range change.LimitFields {
			mask.Paths = append(mask.Paths, "limits."+field)
		}
		if len(change.LimitFields) == 0 {
			mask.Paths = append(mask.Paths, "limits")
		}
	}
	if change.Retention != nil {
		queue.Retention = retentionMessage(change.Retention)
		for _, field := range change.RetentionFields {
			mask.Paths = append(mask.Paths, "retention."+field)
		}
		if len(change.RetentionFields) == 0 {
			mask.Paths = append(mask.Paths, "retention")
		}
	}
	request := &pb.UpdateQueueRequest{Queue: queue, UpdateMask: mask, AllowMissing: change.AllowMissing}
	// A change that is made twice finds the etag of the first.
	answer, err := call(ctx, c, change.Etag == "", c.admin.UpdateQueue, request)
	if err != nil {
		return nil, err
	}
	return queueOf(answer.GetQueue()), nil
}

// UnblockQueueKey lets a key go on with its next job, though one that failed or was cancelled blocks it: the id of that job,
// which stays as it ended. ErrQueueNotFound: no job was ever enqueued in the queue. ErrKeyNotBlocked: no job blocks the key.
func (c *Client) UnblockQueueKey(ctx context.Context, queue, key string) (string, error) {
	request := &pb.UnblockQueueKeyRequest{Queue: queue, Key: key}
	answer, err := call(ctx, c, false, c.admin.UnblockQueueKey, request)
	if err != nil {
		return "", err
	}
	return answer.GetBlockedBy(), nil
}

func keyPolicyMessage(policy *KeyPolicy) (*pb.KeyPolicy, error) {
	message := &pb.KeyPolicy{
		MaxRunning: whole(policy.MaxRunning), MaxWaiting: whole(policy.MaxWaiting), RequireKey: policy.RequireKey,
	}
	if policy.Order != "" {
		order, ok := pb.KeyOrder_value[string(policy.Order)]
		if !ok {
			return nil, invalid("key_policy.order", "%q is no order; one is %s", policy.Order, KeyOrderStrict)
		}
		message.Order = pb.KeyOrder(order).Enum()
	}
	if policy.OnFailure != "" {
		failure, ok := pb.OnKeyFailure_value[string(policy.OnFailure)]
		if !ok {
			return nil, invalid("key_policy.on_failure", "%q is none; one is %s", policy.OnFailure, OnKeyFailureHold)
		}
		message.OnFailure = pb.OnKeyFailure(failure).Enum()
	}
	if policy.Fair {
		message.Fair = &policy.Fair
	}
	message.Rate = rateMessage(policy.Rate)
	return message, nil
}

func limitsMessage(limits *Limits) *pb.Limits {
	return &pb.Limits{MaxRunning: whole(limits.MaxRunning), Rate: rateMessage(limits.Rate)}
}

func rateMessage(rate *Rate) *pb.Rate {
	if rate == nil {
		return nil
	}
	return &pb.Rate{Count: whole(rate.Count), Period: durationMessage(rate.Period), Burst: whole(rate.Burst)}
}

func keyPolicyOf(message *pb.KeyPolicy) *KeyPolicy {
	if message == nil {
		return nil
	}
	policy := &KeyPolicy{
		MaxRunning: int(message.GetMaxRunning()),
		MaxWaiting: int(message.GetMaxWaiting()),
		RequireKey: message.GetRequireKey(),
		Fair:       message.GetFair(),
	}
	if message.Order != nil {
		policy.Order = KeyOrder(message.GetOrder().String())
	}
	if message.OnFailure != nil {
		policy.OnFailure = OnKeyFailure(message.GetOnFailure().String())
	}
	policy.Rate = rateOf(message.GetRate())
	return policy
}

func rateOf(message *pb.Rate) *Rate {
	if message == nil {
		return nil
	}
	return &Rate{
		Count: int(message.GetCount()), Period: message.GetPeriod().AsDuration(), Burst: int(message.GetBurst()),
		MostInAPeriod: int(message.GetMostInAPeriod()),
	}
}

func limitsOf(message *pb.Limits) *Limits {
	if message == nil {
		return nil
	}
	return &Limits{MaxRunning: int(message.GetMaxRunning()), Rate: rateOf(message.GetRate())}
}

func kindOf(message *pb.Kind) *Kind {
	return &Kind{
		Name:         message.GetName(),
		Schema:       message.GetSchemaJson(),
		OutputSchema: message.GetOutputSchemaJson(),
		Version:      int(message.GetVersion()),
		Annotations:  message.GetAnnotations(),
		RetryPolicy:  policyOf(message.GetRetryPolicy()),
		MaxAttempts:  int(message.GetMaxAttempts()),
		Timeout:      message.GetTimeout().AsDuration(),
		Limits:       limitsOf(message.GetLimits()),
		SlotWeight:   int(message.GetSlotWeight()),
	}
}

func queueOf(message *pb.Queue) *Queue {
	queue := &Queue{
		Name:       message.GetName(),
		Paused:     message.GetPaused(),
		Running:    int(message.GetRunning()),
		Depths:     map[Status]QueueDepth{},
		Held:       map[Hold]HoldDepth{},
		KeyPolicy:  keyPolicyOf(message.GetKeyPolicy()),
		MaxWaiting: int(message.GetMaxWaiting()),
		Limits:     limitsOf(message.GetLimits()),
		Retention:  retentionOf(message.GetRetention()),
		Etag:       message.GetEtag(),
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
