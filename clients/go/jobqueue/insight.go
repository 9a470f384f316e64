package jobqueue

import (
	"context"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Explanation is why a job waits, or how it runs or ended.
type Explanation struct {
	JobID  string
	Status Status
	// Summary is one sentence: why it waits, and what would start it.
	Summary string
	// Reasons are what holds it now, and then what would hold it next. At least one.
	Reasons []Reason
	// CouldStartAt is when it can start, if nothing but time is awaited. Zero: not known.
	CouldStartAt time.Time
	// ReadAt is when this was so, by the database's clock.
	ReadAt time.Time
	// Unknown are the servers that were not heard. Their workers are left out.
	Unknown []string
	// Estimate is when it may start, where it waits for its turn alone. nil: it waits for something else, or no job of the
	// queue ended in the last minute.
	Estimate *Estimate
}

// Estimate is when a job may start, if the jobs of its queue go on ending as they did in the last minute.
type Estimate struct {
	// Ahead are the jobs that go first. Capped: there may be more.
	Ahead  int
	Capped bool
	// EndsPerSecond is how many jobs ended in each second of the last minute.
	EndsPerSecond float64
	// EarliestAt: it hardly starts before this. LatestAt: it hardly starts after this; zero: too few jobs ended to say so,
	// or Capped.
	EarliestAt, LatestAt time.Time
}

// Reason is one reason why a job waits.
type Reason struct {
	// Code is the contract's name of it, such as "QUEUE_PAUSED"; "CODE_UNSPECIFIED" is one that this version does not know.
	Code string
	// Message is the same for people.
	Message string
	// UnblockedBy is what would end it, each enough by itself, such as "ResumeQueue reports".
	UnblockedBy []string
	// Detail is what is known of it, by the methods of its code: GetPause of QUEUE_PAUSED, GetWorkers of NO_WORKER.
	Detail *pb.Reason
}

// QueueDemand is how many slots of workers a queue wants.
type QueueDemand struct {
	// Runnable are the jobs that could start now if there were slots.
	Runnable int
	// Capped: the server stopped counting Runnable at its bound, so that there may be more.
	Capped bool
	// Running are the jobs that run.
	Running int
	// Held are held back, Later are due later, Paused are due while the queue is paused.
	Held, Later, Paused int
	// HeldByKey are those of Held that wait for their key.
	HeldByKey int
	// BeyondLimit are due, and more than the queue lets run.
	BeyondLimit int
	// Workers are the sessions that take jobs of the queue. Slots are theirs, and FreeSlots the free ones of these.
	Workers, Slots, FreeSlots int
	// OldestRunnableAge is for how long the first runnable job has been due. 0: there is none.
	OldestRunnableAge time.Duration
	// WantedSlots is Running and Runnable together.
	WantedSlots int
	// MoreWorkersWouldHelp: jobs could run now, and no slot is free for them. Why says it for people.
	MoreWorkersWouldHelp bool
	Why                  string
	// ReadAt is when this was so, by the database's clock.
	ReadAt time.Time
	// Unknown are the servers that were not heard. Their workers are left out.
	Unknown []string
	// ArrivalsPerSecond is how many jobs were enqueued in each second of the last minute, EndsPerSecond how many ended.
	ArrivalsPerSecond, EndsPerSecond float64
}

// Explain asks why a job waits, and what would start it. ErrJobNotFound: no job has this id.
func (c *Client) Explain(ctx context.Context, id string) (*Explanation, error) {
	request := &pb.ExplainJobRequest{Id: id}
	answer, err := call(ctx, c, true, c.insight.ExplainJob, request)
	if err != nil {
		return nil, err
	}
	explanation := &Explanation{
		JobID:        answer.GetJobId(),
		Status:       statusOf(answer.GetStatus()),
		Summary:      answer.GetSummary(),
		CouldStartAt: timeOf(answer.GetCouldStartAt()),
		ReadAt:       timeOf(answer.GetReadAt()),
		Unknown:      answer.GetUnknown(),
	}
	if estimate := answer.GetEstimate(); estimate != nil {
		explanation.Estimate = &Estimate{
			Ahead: int(estimate.GetAhead()), Capped: estimate.GetCapped(), EndsPerSecond: estimate.GetEndsPerSecond(),
			EarliestAt: timeOf(estimate.GetEarliestAt()), LatestAt: timeOf(estimate.GetLatestAt()),
		}
	}
	for _, each := range answer.GetReasons() {
		code := each.GetCode()
		if _, known := pb.Reason_Code_name[int32(code)]; !known {
			code = pb.Reason_CODE_UNSPECIFIED
		}
		explanation.Reasons = append(explanation.Reasons, Reason{
			Code: code.String(), Message: each.GetMessage(), UnblockedBy: each.GetUnblockedBy(), Detail: each,
		})
	}
	return explanation, nil
}

// GetQueueDemand asks how many slots of workers a queue wants. The answer may be a second old. ErrQueueNotFound: no job
// was ever enqueued in it.
func (c *Client) GetQueueDemand(ctx context.Context, name string) (*QueueDemand, error) {
	request := &pb.GetQueueDemandRequest{Queue: name}
	answer, err := call(ctx, c, true, c.insight.GetQueueDemand, request)
	if err != nil {
		return nil, err
	}
	return &QueueDemand{
		Runnable:             int(answer.GetRunnable()),
		Capped:               answer.GetCapped(),
		Running:              int(answer.GetRunning()),
		Held:                 int(answer.GetHeld()),
		Later:                int(answer.GetLater()),
		Paused:               int(answer.GetPaused()),
		HeldByKey:            int(answer.GetHeldByKey()),
		BeyondLimit:          int(answer.GetBeyondLimit()),
		Workers:              int(answer.GetWorkers()),
		Slots:                int(answer.GetSlots()),
		FreeSlots:            int(answer.GetFreeSlots()),
		OldestRunnableAge:    answer.GetOldestRunnableAge().AsDuration(),
		WantedSlots:          int(answer.GetWantedSlots()),
		MoreWorkersWouldHelp: answer.GetMoreWorkersWouldHelp(),
		Why:                  answer.GetWhy(),
		ReadAt:               timeOf(answer.GetReadAt()),
		Unknown:              answer.GetUnknown(),
		ArrivalsPerSecond:    answer.GetArrivalsPerSecond(),
		EndsPerSecond:        answer.GetEndsPerSecond(),
	}, nil
}
