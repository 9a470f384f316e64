package jobqueue

import (
	"context"
	"time"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// GroupBy is by what statistics are split into series.
type GroupBy string

// The ways to split them. Empty: one series of all.
const (
	GroupByQueue        GroupBy = "QUEUE"
	GroupByKind         GroupBy = "KIND"
	GroupByQueueAndKind GroupBy = "QUEUE_AND_KIND"
)

// StatsQuery says which statistics are asked for.
type StatsQuery struct {
	// Queue and Kind: only of this queue, only of this kind.
	Queue, Kind string
	// Since: from then on, at most 90 days ago. Zero: an hour before Until. Until: until then. Zero: now.
	Since, Until time.Time
	// Step is how much time a point stands for, a multiple of 10 s. 0: what makes at most 360 points. The answer has the step
	// that was taken, which is longer where what is kept of that time is coarser.
	Step    time.Duration
	GroupBy GroupBy
}

// StatTotals are how many jobs or attempts went which way, and how long half and 99 of 100 of them waited and ran at most.
type StatTotals struct {
	// Enqueued: jobs that were stored.
	Enqueued int64
	// Started: attempts that began.
	Started int64
	// Succeeded: jobs that succeeded.
	Succeeded int64
	// Retried: attempts that failed, and whose job waits for another one.
	Retried int64
	// Failed: jobs that failed for good.
	Failed int64
	// Cancelled: jobs that were cancelled.
	Cancelled int64
	// Lost: attempts that were lost with their worker.
	Lost int64
	// TimedOut: attempts that ran into their timeout.
	TimedOut int64
	// Released: attempts that were given back, or never reached a worker.
	Released int64
	// WaitP50 and the others are right within a factor of two. 0: there are none.
	WaitP50, WaitP99, RunP50, RunP99 time.Duration
}

// Point is a step: where it begins, and what happened in it.
type Point struct {
	At     time.Time
	Totals StatTotals
}

// Series are statistics of a queue, of a kind, of both, or of all. Steps in which nothing happened are left out.
type Series struct {
	Queue, Kind string
	Points      []Point
	Totals      StatTotals
}

// Stats are what happened from Since on, in steps.
type Stats struct {
	Since time.Time
	Step  time.Duration
	// Series are at most 20, those with most jobs first. SeriesLeftOut is how many more there are.
	Series        []Series
	SeriesLeftOut int
	ReadAt        time.Time
}

// JobCount is how many jobs there are.
type JobCount struct {
	Count int64
	// Exact: there are so many. Else there are at least so many.
	Exact  bool
	ReadAt time.Time
}

// Stats asks what happened to jobs in a time, in steps. ErrInvalidRequest: Since is not before Until, or the step makes more
// than 720 points.
func (c *Client) Stats(ctx context.Context, query StatsQuery) (*Stats, error) {
	request := &pb.QueryStatsRequest{
		Queue: query.Queue,
		Kind:  query.Kind,
		Since: timestampMessage(query.Since),
		Until: timestampMessage(query.Until),
		Step:  durationMessage(query.Step),
	}
	if query.GroupBy != "" {
		number, ok := pb.GroupBy_value["GROUP_BY_"+string(query.GroupBy)]
		if !ok {
			return nil, invalid("group_by", "%q is none; there are KIND, QUEUE, QUEUE_AND_KIND", query.GroupBy)
		}
		request.GroupBy = pb.GroupBy(number)
	}
	answer, err := call(ctx, c, true, c.insight.QueryStats, request)
	if err != nil {
		return nil, err
	}
	stats := &Stats{
		Since:         timeOf(answer.GetSince()),
		Step:          answer.GetStep().AsDuration(),
		SeriesLeftOut: int(answer.GetSeriesLeftOut()),
		ReadAt:        timeOf(answer.GetReadAt()),
	}
	for _, each := range answer.GetSeries() {
		series := Series{Queue: each.GetQueue(), Kind: each.GetKind(), Totals: totalsOf(each.GetTotals())}
		for _, point := range each.GetPoints() {
			series.Points = append(series.Points, Point{timeOf(point.GetAt()), totalsOf(point.GetTotals())})
		}
		stats.Series = append(stats.Series, series)
	}
	return stats, nil
}

// CountJobs counts jobs; Full and PageSize of the filter say nothing here.
//
// The server counts for 2 s at most, and keeps the answer for a minute. It reads each job, so it is for a single question;
// for what is shown all the time there are Overview and Stats.
func (c *Client) CountJobs(ctx context.Context, filter Filter) (*JobCount, error) {
	status, err := statusNumbers("status", filter.Status)
	if err != nil {
		return nil, err
	}
	request := &pb.CountJobsRequest{
		Queue:         filter.Queue,
		Kind:          filter.Kind,
		Status:        status,
		Labels:        labelFilter(filter.Labels),
		CreatedAfter:  timestampMessage(filter.CreatedAfter),
		CreatedBefore: timestampMessage(filter.CreatedBefore),
	}
	answer, err := call(ctx, c, true, c.insight.CountJobs, request)
	if err != nil {
		return nil, err
	}
	return &JobCount{Count: answer.GetCount(), Exact: answer.GetExact(), ReadAt: timeOf(answer.GetReadAt())}, nil
}

func totalsOf(message *pb.StatTotals) StatTotals {
	return StatTotals{
		Enqueued:  message.GetEnqueued(),
		Started:   message.GetStarted(),
		Succeeded: message.GetSucceeded(),
		Retried:   message.GetRetried(),
		Failed:    message.GetFailed(),
		Cancelled: message.GetCancelled(),
		Lost:      message.GetLost(),
		TimedOut:  message.GetTimedOut(),
		Released:  message.GetReleased(),
		WaitP50:   message.GetWaitP50().AsDuration(),
		WaitP99:   message.GetWaitP99().AsDuration(),
		RunP50:    message.GetRunP50().AsDuration(),
		RunP99:    message.GetRunP99().AsDuration(),
	}
}
