package jobqueue_test

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

func TestInAScopeTheOverviewSaysHowTheQueuesAreDoing(t *testing.T) {
	scope := scoped(t, "work")
	client, ctx := scope.Client, t.Context()
	enqueueThree(t, scope)
	must[*jobqueue.Queue](t)(client.PauseQueue(ctx, "q", "maintenance"))
	// It is read once in 2 s for all who ask, and its flows end 3 s to 13 s ago.
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for overview, err := range client.WatchOverview(within, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if len(overview.Queues) == 1 && overview.Queues[0].Pause != nil && overview.Flow.Enqueued > 0 {
			break
		}
	}
	overview := must[*jobqueue.Overview](t)(client.Overview(ctx))
	if len(overview.Queues) != 1 || overview.Queues[0].Queue != "q" || !overview.Queues[0].Paused ||
		overview.Queues[0].Pause.Reason != "maintenance" || overview.Queues[0].Pause.By == "" || overview.Window <= 0 ||
		overview.ReadAt.IsZero() || overview.Workers.Sessions != 0 {
		t.Errorf("%+v", overview)
	}
	servers := must[[]jobqueue.ServerInfo](t)(client.ListServers(ctx))
	if len(servers) != 1 || !servers[0].Self || servers[0].Version == "" || servers[0].Level < 1 || servers[0].StartedAt.IsZero() {
		t.Errorf("%+v", servers)
	}
}

func TestInAScopeAWatchOfTheOverviewEndsWhenItsContextDoes(t *testing.T) {
	client := scoped(t).Client
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var got int
	var last error
	// With no patience for a server that is away: this one is not.
	for overview, err := range client.WatchOverview(ctx, time.Nanosecond) {
		if last = err; err == nil && overview == nil {
			t.Error("neither")
		}
		got++
		cancel(enough)
	}
	if got != 2 || !errors.Is(last, enough) {
		t.Errorf("%d, %v", got, last)
	}
}

func TestInAScopeJobsAreCountedAndStatisticsAreAsked(t *testing.T) {
	scope := scoped(t, "work", "rest")
	client, ctx := scope.Client, t.Context()
	enqueueThree(t, scope)
	must[*jobqueue.Job](t)(client.Enqueue(ctx, jobqueue.NewJob{Kind: "rest", Labels: map[string]string{"of": "us"}}))
	for _, each := range []struct {
		wanted int64
		filter jobqueue.Filter
	}{
		{4, jobqueue.Filter{Status: []jobqueue.Status{jobqueue.StatusQueued}}},
		{0, jobqueue.Filter{Status: []jobqueue.Status{jobqueue.StatusSucceeded}}},
		{3, jobqueue.Filter{Queue: "q", Kind: "work"}},
		{1, jobqueue.Filter{Labels: map[string]string{"of": "us"}, CreatedAfter: time.Now().Add(-time.Hour)}},
		{0, jobqueue.Filter{CreatedBefore: time.Now().Add(-time.Hour)}},
	} {
		if count := must[*jobqueue.JobCount](t)(client.CountJobs(ctx, each.filter)); count.Count != each.wanted ||
			!count.Exact || count.ReadAt.IsZero() {
			t.Errorf("%+v, not %d", count, each.wanted)
		}
	}
	_, err := client.CountJobs(ctx, jobqueue.Filter{Status: []jobqueue.Status{"OVER"}})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "status")
	until := time.Now().Truncate(10 * time.Second)
	query := jobqueue.StatsQuery{Since: until.Add(-time.Hour), Until: until, Step: time.Minute, GroupBy: jobqueue.GroupByQueue}
	stats := must[*jobqueue.Stats](t)(client.Stats(ctx, query))
	if stats.Step != time.Minute || stats.Since.IsZero() || stats.ReadAt.IsZero() {
		t.Errorf("%+v", stats)
	}
	query.Since = until.Add(time.Hour)
	_, err = client.Stats(ctx, query)
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "")
	_, err = client.Stats(ctx, jobqueue.StatsQuery{GroupBy: "WORKER"})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "group_by")
}

func TestStatisticsComeBackByTheirNames(t *testing.T) {
	var asked *pb.QueryStatsRequest
	totals := &pb.StatTotals{
		Enqueued: 1, Started: 2, Succeeded: 3, Retried: 4, Failed: 5, Cancelled: 6, Lost: 7, TimedOut: 8, Released: 9,
		WaitP50: durationpb.New(time.Second), WaitP99: durationpb.New(2 * time.Second), RunP50: durationpb.New(3 * time.Second),
	}
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		asked = request.(*pb.QueryStatsRequest)
		return &pb.QueryStatsResponse{SeriesLeftOut: 2, Series: []*pb.Series{{
			Queue: "q", Kind: "k", Totals: totals, Points: []*pb.Point{{At: timestamppb.New(newYear), Totals: totals}},
		}}}, nil
	})
	query := jobqueue.StatsQuery{
		Queue: "q", Kind: "k", Since: newYear, Until: newYear.Add(day), Step: time.Hour, GroupBy: jobqueue.GroupByQueueAndKind,
	}
	stats := must[*jobqueue.Stats](t)(client.Stats(t.Context(), query))
	wanted := jobqueue.StatTotals{
		Enqueued: 1, Started: 2, Succeeded: 3, Retried: 4, Failed: 5, Cancelled: 6, Lost: 7, TimedOut: 8, Released: 9,
		WaitP50: time.Second, WaitP99: 2 * time.Second, RunP50: 3 * time.Second,
	}
	series := jobqueue.Series{Queue: "q", Kind: "k", Totals: wanted, Points: []jobqueue.Point{{At: newYear, Totals: wanted}}}
	if stats.SeriesLeftOut != 2 || !reflect.DeepEqual(stats.Series, []jobqueue.Series{series}) {
		t.Errorf("%+v", stats)
	}
	if asked.Queue != "q" || asked.Kind != "k" || !asked.Since.AsTime().Equal(newYear) || asked.Until.AsTime().Sub(newYear) != day ||
		asked.Step.AsDuration() != time.Hour || asked.GroupBy != pb.GroupBy_GROUP_BY_QUEUE_AND_KIND {
		t.Error(asked)
	}
}

func TestWhatANewerServerWarnsOfIsUnspecified(t *testing.T) {
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		flow := &pb.Flow{Enqueued: 1, Started: 2, Succeeded: 3, Retried: 4, Failed: 5, Cancelled: 6, Lost: 7, TimedOut: 8, Released: 9}
		return &pb.GetOverviewResponse{Overview: &pb.Overview{
			Flow: flow, QueuesLeftOut: 3, Warnings: []*pb.Warning{{Code: 99, Message: "odd", Since: timestamppb.New(newYear)}},
			Workers: &pb.WorkersOverview{Sessions: 1, Silent: 2, Draining: 3, Slots: 4, FreeSlots: 5},
			Queues:  []*pb.QueueOverview{{Queue: "q", Workers: 1, Slots: 2, FreeSlots: 3, Flow: flow}},
			Depth: &pb.Depth{
				Queued: 1, Retrying: 2, Running: 3, Held: 4, Capped: true, OldestDueAge: durationpb.New(time.Second),
			},
		}}, nil
	})
	overview := must[*jobqueue.Overview](t)(client.Overview(t.Context()))
	if !reflect.DeepEqual(overview.Warnings, []jobqueue.OverviewWarning{
		{Code: jobqueue.WarningUnspecified, Message: "odd", Since: newYear},
	}) {
		t.Errorf("%+v", overview)
	}
	flow := jobqueue.Flow{Enqueued: 1, Started: 2, Succeeded: 3, Retried: 4, Failed: 5, Cancelled: 6, Lost: 7, TimedOut: 8, Released: 9}
	depth := jobqueue.Depth{Queued: 1, Retrying: 2, Running: 3, Held: 4, Capped: true, OldestDueAge: time.Second}
	if overview.Depth != depth || overview.Flow != flow || overview.QueuesLeftOut != 3 || overview.Workers != (jobqueue.WorkersOverview{
		Sessions: 1, Silent: 2, Draining: 3, Slots: 4, FreeSlots: 5,
	}) || !reflect.DeepEqual(overview.Queues, []jobqueue.QueueOverview{
		{Queue: "q", Workers: 1, Slots: 2, FreeSlots: 3, Flow: flow},
	}) {
		t.Errorf("%+v", overview)
	}
}

// watched is a client whose watches of the overview a function plays, one call a stream.
func watched(t *testing.T, play func(stream int32, send func() error) error) *jobqueue.Client {
	var streams atomic.Int32
	server := newScripted(t, grpc.StreamInterceptor(
		func(_ any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
			if err := stream.RecvMsg(&pb.WatchOverviewRequest{}); err != nil {
				return err
			}
			return play(streams.Add(1), func() error { return stream.SendMsg(&pb.WatchOverviewResponse{Overview: &pb.Overview{}}) })
		}))
	client, err := jobqueue.NewClient("passthrough:///scripted", jobqueue.ClientOptions{Access: server.access()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestAWatchOfTheOverviewGoesOnOnAnotherStreamAndEndsWithItsLoop(t *testing.T) {
	ended := make(chan struct{})
	client := watched(t, func(stream int32, send func() error) error {
		switch stream {
		case 1:
			return refusal(codes.Unavailable, "DRAINING")
		case 2:
			return send() // and the stream ends
		}
		for send() == nil {
			time.Sleep(time.Millisecond)
		}
		close(ended)
		return nil
	})
	got := 0
	for _, err := range client.WatchOverview(t.Context(), patience) {
		if err != nil {
			t.Fatal(err)
		}
		if got++; got == 3 {
			break
		}
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the stream goes on")
	}
}

func TestAWatchOfTheOverviewThatIsRefusedOrFindsNoServerForTooLongFails(t *testing.T) {
	client := watched(t, func(int32, func() error) error { return refusal(codes.PermissionDenied, "PERMISSION_DENIED") })
	for _, err := range client.WatchOverview(t.Context(), 0) {
		if !errors.Is(err, jobqueue.ErrNotAllowed) {
			t.Error(err)
		}
	}
	var streams atomic.Int32
	client = watched(t, func(stream int32, _ func() error) error {
		streams.Store(stream)
		return refusal(codes.Unavailable, "DRAINING")
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	for _, err := range client.WatchOverview(ctx, 300*time.Millisecond) {
		last = err
	}
	if !errors.Is(last, jobqueue.ErrUnavailable) || streams.Load() < 2 {
		t.Errorf("%v after %d streams", last, streams.Load())
	}
}

func TestAllCallsAboutHowItGoesAreTriedAgain(t *testing.T) {
	var tries atomic.Int32
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		if tries.Add(1) == 1 {
			return nil, refusal(codes.Unavailable, "DRAINING")
		}
		return nil, refusal(codes.PermissionDenied, "PERMISSION_DENIED")
	})
	for name, do := range map[string]func() error{
		"overview": func() error { _, err := client.Overview(t.Context()); return err },
		"servers":  func() error { _, err := client.ListServers(t.Context()); return err },
		"stats":    func() error { _, err := client.Stats(t.Context(), jobqueue.StatsQuery{}); return err },
		"count":    func() error { _, err := client.CountJobs(t.Context(), jobqueue.Filter{}); return err },
	} {
		tries.Store(0)
		if err := do(); !errors.Is(err, jobqueue.ErrNotAllowed) || tries.Load() != 2 {
			t.Errorf("%s: %v after %d tries", name, err, tries.Load())
		}
	}
}
