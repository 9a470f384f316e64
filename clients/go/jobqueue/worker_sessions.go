package jobqueue

import (
	"context"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// SessionState is what a worker does, as the servers see it.
type SessionState string

// The states. One that this version does not know is read as SessionUnspecified.
const (
	SessionUnspecified SessionState = "STATE_UNSPECIFIED"
	// SessionConnected: it is heard, and takes jobs if it has free slots.
	SessionConnected SessionState = "CONNECTED"
	// SessionDraining: it is heard, and takes no more jobs.
	SessionDraining SessionState = "DRAINING"
	// SessionIsSilent: it is not heard.
	SessionIsSilent SessionState = "SILENT"
)

// HeldJob is a job that a worker holds.
type HeldJob struct {
	JobID   string
	Queue   string
	Kind    string
	Attempt int
	// Since is when it got the job.
	Since time.Time
	// DeadlineAt is when the attempt times out. Zero: it may run as long as it likes.
	DeadlineAt      time.Time
	CancelRequested bool
}

// WorkerDrain is since when and why a worker takes no more jobs.
type WorkerDrain struct {
	Since time.Time
	// By is who asked for it. Empty: it is shutting down by itself.
	By     string
	Reason string
}

// WorkerSession is a worker of a service, as far as the caller may read what it takes. Times that are not set are zero.
type WorkerSession struct {
	// SessionID is the number of its session.
	SessionID string
	// Name need not be unique. Labels are its own.
	Name   string
	Labels map[string]string
	// Client is its client library.
	Client string
	// Address is the IP address from which it connected last.
	Address string
	// Principal is on whose behalf it works.
	Principal string
	// Server is the one that has its stream.
	Server string
	// Takes are the kinds, by queue.
	Takes map[string][]string
	// Slots is how many slots it has; 0: none, or it makes calls and bounds nothing. FreeSlots are the free ones of these.
	Slots, FreeSlots int
	// Held is how many jobs it holds.
	Held  int
	State SessionState
	// OpenedAt is when its session was opened.
	OpenedAt time.Time
	// SilentSince is when it was heard last, EndsAt when its session ends if it is not heard before. Zero: it is heard.
	SilentSince, EndsAt time.Time
	// Drain is why it takes no more jobs. nil: it takes some.
	Drain *WorkerDrain
	// Jobs is what it holds, of [Client.GetWorker] and [Client.DrainWorker] alone.
	Jobs []HeldJob
}

// SessionFilter chooses workers to list. What is set must all match.
type SessionFilter struct {
	// Queue and Kind: those that take jobs of it.
	Queue, Kind string
	// Name: those whose name begins so.
	Name string
	// State: those in one of these.
	State []SessionState
}

// ListWorkers reads the workers of all servers, those first that came last.
func (c *Client) ListWorkers(ctx context.Context, filter SessionFilter) ([]*WorkerSession, error) {
	request := &pb.ListWorkersRequest{PageSize: 1000, Queue: filter.Queue, Kind: filter.Kind, Name: filter.Name}
	for _, each := range filter.State {
		number, err := numbered("state", pb.Worker_State_value, each)
		if err != nil {
			return nil, err
		}
		request.State = append(request.State, pb.Worker_State(number))
	}
	var workers []*WorkerSession
	for {
		answer, err := call(ctx, c, true, c.insight.ListWorkers, request)
		if err != nil {
			return nil, err
		}
		for _, each := range answer.GetWorkers() {
			workers = append(workers, workerSessionOf(each))
		}
		if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
			return workers, nil
		}
	}
}

// GetWorker reads a worker, with the jobs that it holds. ErrWorkerNotFound: no open session has this number.
func (c *Client) GetWorker(ctx context.Context, sessionID string) (*WorkerSession, error) {
	answer, err := call(ctx, c, true, c.insight.GetWorker, &pb.GetWorkerRequest{SessionId: sessionID})
	if err != nil {
		return nil, err
	}
	return workerSessionOf(answer.GetWorker()), nil
}

// DrainWorker gives a worker no more jobs, for good. It finishes what it holds; then its operator stops it. The reason is for
// people, and may be empty.
//
// ErrWorkerNotFound: no open session has this number. ErrNotAllowed: it takes something on which these credentials permit no
// OPERATE. ErrServersDiffer: an older server runs, which would give it jobs all the same.
func (c *Client) DrainWorker(ctx context.Context, sessionID, reason string) (*WorkerSession, error) {
	request := &pb.DrainWorkerRequest{SessionId: sessionID, Reason: reason}
	answer, err := call(ctx, c, true, c.insight.DrainWorker, request)
	if err != nil {
		return nil, err
	}
	return workerSessionOf(answer.GetWorker()), nil
}

func workerSessionOf(message *pb.Worker) *WorkerSession {
	session := &WorkerSession{
		SessionID:   message.GetSessionId(),
		Name:        message.GetName(),
		Labels:      message.GetLabels(),
		Client:      message.GetClient(),
		Address:     message.GetAddress(),
		Principal:   message.GetPrincipal(),
		Server:      message.GetServer(),
		Takes:       map[string][]string{},
		Slots:       int(message.GetSlots()),
		FreeSlots:   int(message.GetFreeSlots()),
		Held:        int(message.GetHeld()),
		State:       named[SessionState](pb.Worker_State_name, int32(message.GetState())),
		OpenedAt:    timeOf(message.GetOpenedAt()),
		SilentSince: timeOf(message.GetSilentSince()),
		EndsAt:      timeOf(message.GetEndsAt()),
	}
	for _, each := range message.GetTakes() {
		session.Takes[each.GetQueue()] = each.GetKinds()
	}
	if drain := message.GetDrain(); drain != nil {
		session.Drain = &WorkerDrain{timeOf(drain.GetSince()), drain.GetBy(), drain.GetReason()}
	}
	for _, each := range message.GetJobs() {
		session.Jobs = append(session.Jobs, HeldJob{
			JobID:           each.GetJobId(),
			Queue:           each.GetQueue(),
			Kind:            each.GetKind(),
			Attempt:         int(each.GetAttempt()),
			Since:           timeOf(each.GetSince()),
			DeadlineAt:      timeOf(each.GetDeadlineAt()),
			CancelRequested: each.GetCancelRequested(),
		})
	}
	return session
}
