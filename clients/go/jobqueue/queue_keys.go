package jobqueue

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// QueueKey is one key of a queue ([NewJob.Key]), as it was when it was read.
type QueueKey struct {
	Queue string
	Key   string
	// MaxRunning is how many of its jobs run at once, instead of what the queue allows. 0: as many as the queue allows.
	MaxRunning int
	// Paused: no more of its jobs are let in.
	Paused bool
	// PausedAt is since when. Zero: it is not paused.
	PausedAt time.Time
	// PausedBy is the principal who paused it. Empty: it is not known.
	PausedBy string
	// Limit is how many of its jobs may be in line or run at once. 0: no limit.
	Limit int
	// Taken is how many were let in: they are in line or run.
	Taken int
	// Waiting is how many wait for it.
	Waiting int
	// NextStartAt is when the rate lets the next one in. Zero: an end must come first, or none waits.
	NextStartAt time.Time
	// Holders are some of those that were let in. Empty in lists.
	Holders []KeyHolder
	// Etag stands for this version of MaxRunning and Paused, for [Client.UpdateQueueKey].
	Etag string
	// PausedUntil is until when a worker has paused it ([PauseKey]). Zero: none has.
	PausedUntil time.Time
	// BlockedBy is the job that failed or was cancelled and blocks it ([OnKeyFailureHold]). Empty: none does.
	BlockedBy string
}

// KeyHolder is a job that counts against what its queue allows of its key.
type KeyHolder struct {
	JobID string
	// Worker runs it. Empty: it is in line.
	Worker string
	Since  time.Time
}

// KeyFilter says which keys of a queue to list.
type KeyFilter string

// The filters.
const (
	KeysAll     KeyFilter = ""
	KeysAtLimit KeyFilter = "AT_LIMIT"
	KeysPaused  KeyFilter = "PAUSED"
	KeysWaiting KeyFilter = "WAITING"
	KeysBlocked KeyFilter = "BLOCKED"
)

// ListKeysOptions says which keys of a queue to list.
type ListKeysOptions struct {
	Only KeyFilter
	// MostWaitingFirst: those that most jobs wait for come first. Else they come by name.
	MostWaitingFirst bool
	// Most is how many keys at most. 0: 1000.
	Most int
}

// QueueKeyChange is what to change of a key.
type QueueKeyChange struct {
	// MaxRunning is its own limit. 0: as many as the queue allows. nil: as it is.
	MaxRunning *int
	// Paused: whether no more of its jobs are let in. nil: as it is.
	Paused *bool
	// Etag is [QueueKey.Etag]: the key is changed only if it still has it. Empty: whatever was changed since.
	Etag string
}

// ListQueueKeys reads the keys of a queue that have jobs, or of which something is said.
// ErrQueueNotFound: no job was ever enqueued in it.
func (c *Client) ListQueueKeys(ctx context.Context, queue string, options ListKeysOptions) ([]*QueueKey, error) {
	var keys []*QueueKey
	most := options.Most
	if most == 0 {
		most = 1000
	}
	request := &pb.ListQueueKeysRequest{
		Queue: queue, OrderBy: "key",
		Only: pb.ListQueueKeysRequest_Only(pb.ListQueueKeysRequest_Only_value[string(options.Only)]),
	}
	if options.MostWaitingFirst {
		request.OrderBy = "waiting desc"
	}
	for len(keys) < most {
		request.PageSize = whole(min(most-len(keys), 1000))
		answer, err := call(ctx, c, true, c.admin.ListQueueKeys, request)
		if err != nil {
			return nil, err
		}
		for _, each := range answer.GetKeys() {
			keys = append(keys, queueKeyOf(each))
		}
		if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	return keys, nil
}

// GetQueueKey reads one key of a queue, with the jobs that hold it. Every key is there, also one without jobs.
// ErrQueueNotFound: no job was ever enqueued in it.
func (c *Client) GetQueueKey(ctx context.Context, queue, key string) (*QueueKey, error) {
	request := &pb.GetQueueKeyRequest{Queue: queue, Key: key}
	answer, err := call(ctx, c, true, c.admin.GetQueueKey, request)
	if err != nil {
		return nil, err
	}
	return queueKeyOf(answer.GetQueueKey()), nil
}

// UpdateQueueKey gives one key of a queue a limit of its own, or pauses it.
// ErrQueueNotFound: no job was ever enqueued in it. ErrEtagMismatch: the key was changed since its Etag was read.
func (c *Client) UpdateQueueKey(ctx context.Context, queue, key string, change QueueKeyChange) (*QueueKey, error) {
	message, mask := &pb.QueueKey{Queue: queue, Key: key, Etag: change.Etag}, &fieldmaskpb.FieldMask{}
	if change.MaxRunning != nil {
		message.MaxRunning = whole(*change.MaxRunning)
		mask.Paths = append(mask.Paths, "max_running")
	}
	if change.Paused != nil {
		message.Paused = *change.Paused
		mask.Paths = append(mask.Paths, "paused")
	}
	request := &pb.UpdateQueueKeyRequest{QueueKey: message, UpdateMask: mask}
	// A change that is made twice finds the etag of the first.
	answer, err := call(ctx, c, change.Etag == "", c.admin.UpdateQueueKey, request)
	if err != nil {
		return nil, err
	}
	return queueKeyOf(answer.GetQueueKey()), nil
}

func queueKeyOf(message *pb.QueueKey) *QueueKey {
	key := &QueueKey{
		Queue:       message.GetQueue(),
		Key:         message.GetKey(),
		MaxRunning:  int(message.GetMaxRunning()),
		Paused:      message.GetPaused(),
		PausedAt:    timeOf(message.GetPausedAt()),
		PausedBy:    message.GetPausedBy(),
		Limit:       int(message.GetLimit()),
		Taken:       int(message.GetTaken()),
		Waiting:     int(message.GetWaiting()),
		NextStartAt: timeOf(message.GetNextStartAt()),
		Etag:        message.GetEtag(),
		PausedUntil: timeOf(message.GetPausedUntil()),
		BlockedBy:   message.GetBlockedBy(),
	}
	for _, each := range message.GetHolders() {
		holder := KeyHolder{JobID: each.GetJobId(), Worker: each.GetWorker(), Since: timeOf(each.GetSince())}
		key.Holders = append(key.Holders, holder)
	}
	return key
}
