package jobqueue

import (
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Unique is the name of work that is to be done once: while a job holds it, others of the name are not stored.
type Unique struct {
	// Key is the name, 1..255 characters. Empty: the payload makes it.
	Key string
	// PayloadFields are JSON pointers to the parts of the payload that make it, such as /user/id; at most 16. None: all
	// of it, which may then have at most 64 KiB.
	PayloadFields []string
	// Scope says among which jobs the name stands once. 0: ScopeKind.
	Scope UniqueScope
	// Until says until when the job holds it. 0: UntilStarts.
	Until UniqueUntil
	// Period: at least so long, 1 s to 400 days. UntilPeriod wants one. 0: none.
	Period time.Duration
	// OnConflict says what becomes of the job if another one holds the name. 0: ConflictKeep.
	OnConflict OnConflict
	// Replace says what of that one is changed, with ConflictReplace and ConflictDebounce. None: payload, labels and headers
	// with ConflictReplace, its start alone with ConflictDebounce.
	Replace []UniqueField
	// MaxDelay: with ConflictDebounce, that one starts at most so long after its own enqueue. 0: no such bound.
	MaxDelay time.Duration
}

// WhileWaiting is for [NewJob.Unique]: at most one waits. While it does, another one of the name is not stored; once it starts,
// the next may wait. An empty key: the payload makes the name.
func WhileWaiting(key string) *Unique { return &Unique{Key: key} }

// WhileLive is for [NewJob.Unique]: at most one waits or runs. Until it has ended, another one of the name is not stored. An
// empty key: the payload makes the name.
func WhileLive(key string) *Unique { return &Unique{Key: key, Until: UntilEnds} }

// Throttle is for [NewJob.Unique]: at most one in each period, 1 s to 400 days from its enqueue. What comes meanwhile is not
// stored. An empty key: the payload makes the name.
func Throttle(period time.Duration, key string) *Unique {
	return &Unique{Key: key, Until: UntilPeriod, Period: period}
}

// Debounce is for [NewJob.Unique]: each enqueue puts off the one that waits to its own Delay, and gives it its payload. It starts
// at most maxDelay after the first enqueue; 0: it can be put off for ever. An empty key: the payload makes the name, and then
// there is one for each payload.
func Debounce(maxDelay time.Duration, key string) *Unique {
	return &Unique{Key: key, OnConflict: ConflictDebounce, Replace: []UniqueField{ReplacePayload}, MaxDelay: maxDelay}
}

// OnConflict says what becomes of a unique job whose name another one holds.
type OnConflict int

// What becomes of it.
const (
	// ConflictKeep: it is not stored, and the other one is the answer.
	ConflictKeep OnConflict = 1
	// ConflictReject: the call fails with ErrDuplicate.
	ConflictReject OnConflict = 2
	// ConflictReplace: the other one, if it waits, gets what this one brings, and is the answer.
	ConflictReplace OnConflict = 3
	// ConflictDebounce: as ConflictReplace, and it starts Delay from now.
	ConflictDebounce OnConflict = 4
)

// UniqueField is a field that ConflictReplace and ConflictDebounce change.
type UniqueField int

// The fields.
const (
	ReplacePayload UniqueField = 1
	// ReplaceRunAt: RunAt or Delay; now if neither is set.
	ReplaceRunAt       UniqueField = 2
	ReplacePriority    UniqueField = 3
	ReplaceLabels      UniqueField = 4
	ReplaceHeaders     UniqueField = 5
	ReplaceMaxAttempts UniqueField = 6
	ReplaceTimeout     UniqueField = 7
)

// UniqueAction is what was done with the job that holds the name of one that was to be enqueued. 0: that one was stored.
type UniqueAction int

// What was done.
const (
	// ActionKept: it is as it was.
	ActionKept UniqueAction = 1
	// ActionReplaced: it got what the other one brought.
	ActionReplaced UniqueAction = 2
	// ActionDebounced: it starts later now.
	ActionDebounced UniqueAction = 3
)

// UniqueScope says among which jobs of the namespace a name stands once.
type UniqueScope int

// The scopes.
const (
	// ScopeKind: those of the same kind, in all queues.
	ScopeKind UniqueScope = 1
	// ScopeQueueAndKind: those of the same kind in the same queue.
	ScopeQueueAndKind UniqueScope = 2
	// ScopeQueue: those of the same queue, of all kinds.
	ScopeQueue UniqueScope = 3
	// ScopeNamespace: all.
	ScopeNamespace UniqueScope = 4
)

// UniqueUntil says until when a unique job holds its name.
type UniqueUntil int

// What lets go of a name.
const (
	// UntilStarts: until a worker gets the job. One may wait beside one that runs.
	UntilStarts UniqueUntil = 1
	// UntilEnds: until it has ended.
	UntilEnds UniqueUntil = 2
	// UntilPeriod: for Period, whatever becomes of it.
	UntilPeriod UniqueUntil = 3
)

// uniqueMessage is unset for nil.
func uniqueMessage(unique *Unique) *pb.Unique {
	if unique == nil {
		return nil
	}
	message := &pb.Unique{
		Key:           unique.Key,
		PayloadFields: unique.PayloadFields,
		Scope:         pb.Unique_Scope(unique.Scope),
		Until:         pb.Unique_Until(unique.Until),
		Period:        durationMessage(unique.Period),
		OnConflict:    pb.Unique_OnConflict(unique.OnConflict),
		MaxDelay:      durationMessage(unique.MaxDelay),
	}
	for _, field := range unique.Replace {
		message.Replace = append(message.Replace, pb.Unique_Field(field))
	}
	return message
}

// uniqueOf is nil for one that is unset.
func uniqueOf(message *pb.Unique) *Unique {
	if message == nil {
		return nil
	}
	unique := &Unique{
		Key:           message.GetKey(),
		PayloadFields: message.GetPayloadFields(),
		Scope:         UniqueScope(message.GetScope()),
		Until:         UniqueUntil(message.GetUntil()),
		Period:        message.GetPeriod().AsDuration(),
		OnConflict:    OnConflict(message.GetOnConflict()),
		MaxDelay:      message.GetMaxDelay().AsDuration(),
	}
	for _, field := range message.GetReplace() {
		unique.Replace = append(unique.Replace, UniqueField(field))
	}
	return unique
}
