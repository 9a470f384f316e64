package jobqueue_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

func TestInAScopeWorkersAreListedReadAndDrained(t *testing.T) {
	scope := scoped(t, "work", "other")
	client, ctx := scope.Client, t.Context()
	got := make(chan struct{})
	finish := make(chan struct{})
	worker := scope.Worker(jobqueue.WorkerOptions{
		Name: "seen", Queues: []string{"seen"}, Concurrency: 2, Labels: map[string]string{"zone": "a"},
	})
	worker.Handle("work", func(context.Context, *jobqueue.LeasedJob) (any, error) {
		close(got)
		<-finish
		return nil, nil
	})
	worker.Handle("other", func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil })
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(running) }()
	job := must[*jobqueue.Job](t)(client.Enqueue(ctx, jobqueue.NewJob{Kind: "work", Queue: "seen", Timeout: time.Hour}))
	<-got
	chosen := jobqueue.SessionFilter{
		Queue: "seen", Kind: "other", Name: "se", State: []jobqueue.SessionState{jobqueue.SessionConnected},
	}
	found := must[[]*jobqueue.WorkerSession](t)(client.ListWorkers(ctx, chosen))
	if len(found) != 1 || found[0].Name != "seen" || found[0].Slots != 2 || found[0].Labels["zone"] != "a" || found[0].Drain != nil ||
		!reflect.DeepEqual(found[0].Takes, map[string][]string{"seen": {"other", "work"}}) || found[0].Jobs != nil ||
		found[0].State != jobqueue.SessionConnected || found[0].OpenedAt.IsZero() || !found[0].SilentSince.IsZero() {
		t.Fatalf("%+v", found)
	}
	chosen.State = []jobqueue.SessionState{jobqueue.SessionDraining, jobqueue.SessionIsSilent}
	if none := must[[]*jobqueue.WorkerSession](t)(client.ListWorkers(ctx, chosen)); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	id := found[0].SessionID
	shown := must[*jobqueue.WorkerSession](t)(client.GetWorker(ctx, id))
	if len(shown.Jobs) != 1 || shown.Jobs[0].JobID != job.ID || shown.Jobs[0].Kind != "work" || shown.Jobs[0].Attempt != 1 ||
		shown.Jobs[0].DeadlineAt.Sub(shown.Jobs[0].Since).Round(time.Minute) != time.Hour || shown.Jobs[0].CancelRequested {
		t.Errorf("%+v", shown)
	}
	drained := must[*jobqueue.WorkerSession](t)(client.DrainWorker(ctx, id, "enough"))
	if drained.State != jobqueue.SessionDraining || drained.FreeSlots != 0 || drained.Drain == nil || drained.Drain.By == "" ||
		drained.Drain.Reason != "enough" || drained.Drain.Since.IsZero() || len(drained.Jobs) != 1 {
		t.Errorf("%+v", drained)
	}
	for name, do := range map[string]func() error{
		"get":   func() error { _, err := client.GetWorker(ctx, "987654321"); return err },
		"drain": func() error { _, err := client.DrainWorker(ctx, "987654321", ""); return err },
	} {
		if err := do(); !errors.Is(err, jobqueue.ErrWorkerNotFound) || !errors.Is(err, jobqueue.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(finish)
	must[*jobqueue.Job](t)(client.Wait(ctx, job.ID))
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWorkersAreListedOverAllPagesAndAStateThatIsNoneIsRefused(t *testing.T) {
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		asked := request.(*pb.ListWorkersRequest)
		answer := &pb.ListWorkersResponse{Workers: []*pb.Worker{{Name: "b", State: 99}}}
		if asked.GetPageToken() == "" {
			answer = &pb.ListWorkersResponse{Workers: []*pb.Worker{{Name: "a"}}, NextPageToken: "more"}
		}
		if !slices.Equal(asked.GetState(), []pb.Worker_State{pb.Worker_SILENT}) || asked.GetPageSize() != 1000 {
			t.Error(asked)
		}
		return answer, nil
	})
	filter := jobqueue.SessionFilter{State: []jobqueue.SessionState{jobqueue.SessionIsSilent}}
	workers := must[[]*jobqueue.WorkerSession](t)(client.ListWorkers(t.Context(), filter))
	if len(workers) != 2 || workers[0].Name != "a" || workers[1].Name != "b" || workers[1].State != jobqueue.SessionUnspecified {
		t.Errorf("%+v", workers)
	}
	filter.State = []jobqueue.SessionState{"ASLEEP"}
	_, err := client.ListWorkers(t.Context(), filter)
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "state")
}

func TestAllCallsAboutWorkersAreTriedAgain(t *testing.T) {
	var tries atomic.Int32
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		if tries.Add(1) == 1 {
			return nil, refusal(codes.Unavailable, "DRAINING")
		}
		return nil, refusal(codes.NotFound, "WORKER_NOT_FOUND")
	})
	for name, do := range map[string]func() error{
		"list":  func() error { _, err := client.ListWorkers(t.Context(), jobqueue.SessionFilter{}); return err },
		"get":   func() error { _, err := client.GetWorker(t.Context(), "1"); return err },
		"drain": func() error { _, err := client.DrainWorker(t.Context(), "1", ""); return err },
	} {
		tries.Store(0)
		if err := do(); !errors.Is(err, jobqueue.ErrWorkerNotFound) || tries.Load() != 2 {
			t.Errorf("%s: %v after %d tries", name, err, tries.Load())
		}
	}
}
