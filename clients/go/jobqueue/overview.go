package jobqueue

import (
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// WarningCode is what is wrong, or may be: the contract's name of it, such as WORKERS_MISSING.
type WarningCode string

// The codes. One that this version does not know is read as WarningUnspecified.
const (
	WarningUnspecified    WarningCode = "WARNING_CODE_UNSPECIFIED"
	WarningPausedWithJobs WarningCode = "PAUSED_WITH_JOBS"
	WarningWorkersMissing WarningCode = "WORKERS_MISSING"
	WarningSlotsTaken     WarningCode = "SLOTS_TAKEN"
	WarningWorkersLost    WarningCode = "WORKERS_LOST"
	WarningServerSilent   WarningCode = "SERVER_SILENT"
	WarningServersDiffer  WarningCode = "SERVERS_DIFFER"
	WarningLongSnapshot   WarningCode = "LONG_SNAPSHOT"
	WarningKeysBlocked    WarningCode = "KEYS_BLOCKED"
	WarningStatsBehind    WarningCode = "STATS_BEHIND"
	WarningStandingStill  WarningCode = "STANDING_STILL"
)

// Flow is what happens to jobs, each as a number per second; the names are those of [StatTotals].
type Flow struct {
	Enqueued, Started, Succeeded, Retried, Failed, Cancelled, Lost, TimedOut, Released float64
}

// Depth is how many jobs have not ended.
type Depth struct {
	// Queued wait and did not fail yet, Retrying wait for another attempt, Running run.
	Queued, Retrying, Running int
	// Held are those that wait and are held back.
	Held int
	// Capped: the server stopped counting somewhere, so that there may be more.
	Capped bool
	// OldestDueAge is for how long the first of the waiting jobs has been due. 0: none is due.
	OldestDueAge time.Duration
}

// QueuePause is who paused a queue, when, and why.
type QueuePause struct {
	Since      time.Time
	By, Reason string
}

// QueueOverview is how a queue is doing.
type QueueOverview struct {
	Queue  string
	Paused bool
	// Pause is nil where it is not paused.
	Pause *QueuePause
	Depth Depth
	Flow  Flow
	// Workers are the sessions that take jobs of it, Slots theirs, FreeSlots the free ones of these.
	Workers, Slots, FreeSlots int
}

// WorkersOverview are the sessions of workers of all servers.
type WorkersOverview struct {
	Sessions int
	// Silent ones are not connected, and may come back.
	Silent           int
	Draining         int
	Slots, FreeSlots int
}

// ServerInfo is a server that runs on the database.
type ServerInfo struct {
	ID, Name, Version string
	// Level is what it can do beside older servers.
	Level              int
	StartedAt, HeardAt time.Time
	HeartbeatAge       time.Duration
	Self               bool // it is the one that answered
	Sessions           int
	Slots, FreeSlots   int
}

// OverviewWarning is something that is wrong, or may be, and what would end it.
type OverviewWarning struct {
	Code    WarningCode
	Message string
	// Queue is the one that it is about. Empty: it is about none.
	Queue  string
	Since  time.Time
	Remedy string
}

// Overview is how the queues are doing, at most 2 s ago.
type Overview struct {
	// ReadAt is when it was so, by the database's clock.
	ReadAt time.Time
	// Window is over how much time flows are counted.
	Window time.Duration
	// Flow and Depth are of all queues together.
	Flow  Flow
	Depth Depth
	// Queues are at most 200, the one whose job has been due for longest first. QueuesLeftOut is how many more there are.
	Queues        []QueueOverview
	QueuesLeftOut int
	Workers       WorkersOverview
	// Servers are all that have not signed off.
	Servers []ServerInfo
	// Warnings are what is wrong, the worst first.
	Warnings []OverviewWarning
}

func overviewOf(message *pb.Overview) *Overview {
	overview := &Overview{
		ReadAt:        timeOf(message.GetReadAt()),
		Window:        message.GetWindow().AsDuration(),
		Flow:          flowOf(message.GetFlow()),
		Depth:         depthOf(message.GetDepth()),
		QueuesLeftOut: int(message.GetQueuesLeftOut()),
		Workers: WorkersOverview{
			Sessions:  int(message.GetWorkers().GetSessions()),
			Silent:    int(message.GetWorkers().GetSilent()),
			Draining:  int(message.GetWorkers().GetDraining()),
			Slots:     int(message.GetWorkers().GetSlots()),
			FreeSlots: int(message.GetWorkers().GetFreeSlots()),
		},
		Servers: serversOf(message.GetServers()),
	}
	for _, each := range message.GetQueues() {
		queue := QueueOverview{
			Queue:     each.GetQueue(),
			Paused:    each.GetPaused(),
			Depth:     depthOf(each.GetDepth()),
			Flow:      flowOf(each.GetFlow()),
			Workers:   int(each.GetWorkers()),
			Slots:     int(each.GetSlots()),
			FreeSlots: int(each.GetFreeSlots()),
		}
		if pause := each.GetPause(); pause != nil {
			queue.Pause = &QueuePause{timeOf(pause.GetSince()), pause.GetBy(), pause.GetReason()}
		}
		overview.Queues = append(overview.Queues, queue)
	}
	for _, each := range message.GetWarnings() {
		overview.Warnings = append(overview.Warnings, OverviewWarning{
			Code:    named[WarningCode](pb.Warning_WarningCode_name, int32(each.GetCode())),
			Message: each.GetMessage(),
			Queue:   each.GetQueue(),
			Since:   timeOf(each.GetSince()),
			Remedy:  each.GetRemedy(),
		})
	}
	return overview
}

func flowOf(message *pb.Flow) Flow {
	return Flow{
		Enqueued:  message.GetEnqueued(),
		Started:   message.GetStarted(),
		Succeeded: message.GetSucceeded(),
		Retried:   message.GetRetried(),
		Failed:    message.GetFailed(),
		Cancelled: message.GetCancelled(),
		Lost:      message.GetLost(),
		TimedOut:  message.GetTimedOut(),
		Released:  message.GetReleased(),
	}
}

func depthOf(message *pb.Depth) Depth {
	return Depth{
		Queued:       int(message.GetQueued()),
		Retrying:     int(message.GetRetrying()),
		Running:      int(message.GetRunning()),
		Held:         int(message.GetHeld()),
		Capped:       message.GetCapped(),
		OldestDueAge: message.GetOldestDueAge().AsDuration(),
	}
}

func serversOf(messages []*pb.Server) []ServerInfo {
	var servers []ServerInfo
	for _, each := range messages {
		servers = append(servers, ServerInfo{
			ID:           each.GetId(),
			Name:         each.GetName(),
			Version:      each.GetVersion(),
			Level:        int(each.GetLevel()),
			StartedAt:    timeOf(each.GetStartedAt()),
			HeardAt:      timeOf(each.GetHeardAt()),
			HeartbeatAge: each.GetHeartbeatAge().AsDuration(),
			Self:         each.GetSelf(),
			Sessions:     int(each.GetSessions()),
			Slots:        int(each.GetSlots()),
			FreeSlots:    int(each.GetFreeSlots()),
		})
	}
	return servers
}
