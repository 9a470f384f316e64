package jobqueue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// enqueueThree are the ids of three jobs, in their order.
func enqueueThree(t *testing.T, scope *jobqueuetest.TestScope) []string {
	t.Helper()
	job := jobqueue.NewJob{Kind: "work", Queue: "q"}
	results := must[[]jobqueue.EnqueueResult](t)(scope.Client.EnqueueMany(t.Context(), []jobqueue.NewJob{job, job, job}))
	ids := []string{results[0].ID, results[1].ID, results[2].ID}
	slices.Sort(ids)
	return ids
}

// over waits for the end of an operation.
func over(t *testing.T, scope *jobqueuetest.TestScope) func(*jobqueue.Operation, error) *jobqueue.Operation {
	return func(begun *jobqueue.Operation, err error) *jobqueue.Operation {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return must[*jobqueue.Operation](t)(scope.Client.WaitOperation(ctx, begun.Name))
	}
}

func TestInAScopeManyJobsAreCountedAndNothingChangesWithoutForce(t *testing.T) {
	scope := scoped(t, "work")
	ctx, client, chosen := t.Context(), scope.Client, jobqueue.JobFilter{Queue: "q"}
	ids := enqueueThree(t, scope)
	counted := must[*jobqueue.Operation](t)(client.CancelJobs(ctx, chosen, jobqueue.CancelJobsOptions{}))
	if counted.Name != "" || !counted.Done || !counted.DryRun || counted.Estimate != 3 || counted.Verb != "CancelJobs" ||
		!slices.Equal(counted.SampleIDs, ids) {
		t.Errorf("%+v", counted)
	}
	changes := jobqueue.UpdateJobsOptions{Priority: pointer(3)}
	if counted = must[*jobqueue.Operation](t)(client.UpdateJobs(ctx, chosen, changes)); !counted.DryRun || counted.Estimate != 3 {
		t.Errorf("%+v", counted)
	}
	waiting := scope.AssertEnqueued(jobqueuetest.Want{Kind: "work", Status: []jobqueue.Status{jobqueue.StatusQueued}, Count: 3})
	if waiting[0].Priority != 0 {
		t.Errorf("%+v", waiting[0])
	}
	done := over(t, scope)(client.CancelJobs(ctx, chosen, jobqueue.CancelJobsOptions{Bulk: jobqueue.Bulk{Force: true}}))
	if done.Changed != 3 {
		t.Errorf("%+v", done)
	}
	counted = must[*jobqueue.Operation](t)(client.RetryJobs(ctx, chosen, jobqueue.RetryJobsOptions{}))
	if !counted.DryRun || counted.Estimate != 3 {
		t.Errorf("%+v", counted)
	}
	if counted = must[*jobqueue.Operation](t)(client.DeleteJobs(ctx, chosen, jobqueue.Bulk{})); !counted.DryRun || counted.Estimate != 3 {
		t.Errorf("%+v", counted)
	}
	scope.AssertEnqueued(jobqueuetest.Want{Kind: "work", Status: []jobqueue.Status{jobqueue.StatusCancelled}, Count: 3})
}

func TestInAScopeManyJobsAreCancelledRetriedAndDeletedByOperations(t *testing.T) {
	scope := scoped(t, "work")
	ctx, client, chosen := t.Context(), scope.Client, jobqueue.JobFilter{Queue: "q"}
	ids := enqueueThree(t, scope)
	cancels := jobqueue.CancelJobsOptions{Bulk: jobqueue.Bulk{Force: true, RequestID: "r"}, Reason: "enough"}
	begun := must[*jobqueue.Operation](t)(client.CancelJobs(ctx, chosen, cancels))
	if again := must[*jobqueue.Operation](t)(client.CancelJobs(ctx, chosen, cancels)); again.Name != begun.Name {
		t.Errorf("%+v", again)
	}
	cancels.Reason = "another"
	_, err := client.CancelJobs(ctx, chosen, cancels)
	refusedWith(t, err, jobqueue.ErrRequestIDReused, "")
	done := over(t, scope)(begun, nil)
	if done.Verb != "CancelJobs" || done.State != jobqueue.BulkSucceeded || done.Changed != 3 || done.Error != "" || done.DryRun ||
		done.CreatedAt.After(done.UpdatedAt) || done.CreatedAt.IsZero() || !done.UpdatedAt.Equal(done.EndedAt) {
		t.Errorf("%+v", done)
	}
	if job := must[*jobqueue.Job](t)(client.Get(ctx, ids[0])); job.Status != jobqueue.StatusCancelled {
		t.Errorf("%+v", job)
	}
	two := jobqueue.JobFilter{
		IDs: ids[:2], Status: []jobqueue.Status{jobqueue.StatusCancelled}, Reason: []string{"CANCELLED_BY_CALLER"},
	}
	retries := jobqueue.RetryJobsOptions{
		Bulk:   jobqueue.Bulk{Force: true, PerSecond: 1000, MaxJobs: 1},
		Spread: time.Hour, Delay: time.Hour, ToQueue: "q", ResetCheckpoint: true, RespectUnique: true,
	}
	if done = over(t, scope)(client.RetryJobs(ctx, two, retries)); done.Changed != 1 || done.PerSecond != 1000 || done.MaxJobs != 1 {
		t.Errorf("%+v", done)
	}
	later := scope.AssertEnqueued(jobqueuetest.Want{Queue: "q", Count: 1})[0]
	if wait := later.RunAt.Sub(later.UpdatedAt); wait < time.Hour || wait > 2*time.Hour {
		t.Error(wait)
	}
	_, err = client.RetryJobs(ctx, two, jobqueue.RetryJobsOptions{ToQueue: "never"})
	refusedWith(t, err, jobqueue.ErrQueueNotFound, "")
	all := jobqueue.JobFilter{Everything: true}
	if done = over(t, scope)(client.DeleteJobs(ctx, all, jobqueue.Bulk{Force: true})); done.Changed != 2 {
		t.Errorf("%+v", done)
	}
	var verbs []string
	for _, each := range must[[]*jobqueue.Operation](t)(client.ListOperations(ctx)) {
		verbs = append(verbs, each.Verb)
	}
	if !slices.Equal(verbs, []string{"DeleteJobs", "RetryJobs", "CancelJobs"}) {
		t.Error(verbs)
	}
	_, err = client.DeleteJobs(ctx, jobqueue.JobFilter{}, jobqueue.Bulk{})
	if refusedWith(t, err, jobqueue.ErrInvalidRequest, ""); !strings.Contains(err.Error(), "condition") {
		t.Error(err)
	}
}

func TestInAScopeJobsThatWaitAreChangedByAnOperationAndAChangedFilterIsSaid(t *testing.T) {
	scope := scoped(t, "work")
	ctx, client, chosen := t.Context(), scope.Client, jobqueue.JobFilter{Queue: "q"}
	ids := enqueueThree(t, scope)
	nine := jobqueue.Bulk{Force: true, Expected: pointer(9)}
	updates := jobqueue.UpdateJobsOptions{Bulk: nine, Priority: pointer(3)}
	_, err := client.UpdateJobs(ctx, chosen, updates)
	var failure *jobqueue.Error
	if !errors.Is(err, jobqueue.ErrFilterChanged) || !errors.As(err, &failure) || failure.Metadata["estimate"] != "3" {
		t.Error(err)
	}
	for name, do := range map[string]func() error{
		"cancel": func() error {
			_, err := client.CancelJobs(ctx, chosen, jobqueue.CancelJobsOptions{Bulk: nine})
			return err
		},
		"retry": func() error {
			_, err := client.RetryJobs(ctx, chosen, jobqueue.RetryJobsOptions{Bulk: nine})
			return err
		},
		"delete": func() error { _, err := client.DeleteJobs(ctx, chosen, nine); return err },
	} {
		if err := do(); !errors.Is(err, jobqueue.ErrFilterChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	updates.Expected, updates.MaxAttempts, updates.Delay = pointer(3), 7, pointer(time.Hour)
	if done := over(t, scope)(client.UpdateJobs(ctx, chosen, updates)); done.Changed != 3 {
		t.Errorf("%+v", done)
	}
	job := must[*jobqueue.Job](t)(client.Get(ctx, ids[0]))
	if job.Priority != 3 || job.MaxAttempts != 7 || job.RunAt.Sub(job.UpdatedAt) < 59*time.Minute {
		t.Errorf("%+v", job)
	}
	now := jobqueue.UpdateJobsOptions{Bulk: jobqueue.Bulk{Force: true}, Delay: new(time.Duration), Priority: new(int)}
	over(t, scope)(client.UpdateJobs(ctx, chosen, now))
	if job = must[*jobqueue.Job](t)(client.Get(ctx, ids[0])); job.Priority != 0 || job.RunAt.After(job.UpdatedAt) {
		t.Errorf("%+v", job)
	}
}

func TestInAScopeAnOperationIsWaitedForCancelledAndDeleted(t *testing.T) {
	scope := scoped(t, "work")
	ctx, client := t.Context(), scope.Client
	enqueueThree(t, scope)
	// One a second, so that it goes on for long enough.
	slow := jobqueue.CancelJobsOptions{Bulk: jobqueue.Bulk{Force: true, PerSecond: 1}}
	job := jobqueue.NewJob{Kind: "work", Queue: "q"}
	must[[]jobqueue.EnqueueResult](t)(client.EnqueueMany(ctx, slices.Repeat([]jobqueue.NewJob{job}, 200)))
	begun := must[*jobqueue.Operation](t)(client.CancelJobs(ctx, jobqueue.JobFilter{Queue: "q"}, slow))
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	seen, err := client.WaitOperation(short, begun.Name)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, jobqueue.ErrDeadlineExceeded) || seen == nil || seen.Done {
		t.Errorf("%+v %v", seen, err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err = client.WaitOperation(ended, begun.Name); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err = client.DeleteOperation(ctx, begun.Name); !errors.Is(err, jobqueue.ErrOperationNotDone) {
		t.Error(err)
	}
	if err = client.CancelOperation(ctx, begun.Name); err != nil {
		t.Error(err)
	}
	done := over(t, scope)(begun, nil)
	if done.State != jobqueue.BulkCancelled || done.Changed >= 203 || done.Error == "" {
		t.Errorf("%+v", done)
	}
	if read := must[*jobqueue.Operation](t)(client.GetOperation(ctx, begun.Name)); read.State != done.State || !read.Done {
		t.Errorf("%+v", read)
	}
	if err = client.DeleteOperation(ctx, begun.Name); err != nil {
		t.Error(err)
	}
	for name, do := range operationCalls(client, ctx, begun.Name) {
		if err := do(); name != "list" && (!errors.Is(err, jobqueue.ErrOperationNotFound) || !errors.Is(err, jobqueue.ErrNotFound)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInAScopeABackfillIsWaitedForAsAnOperation(t *testing.T) {
	scope := scoped(t, "work")
	ctx, schedules := t.Context(), scope.Client.Schedules()
	must[*jobqueue.Schedule](t)(schedules.Create(ctx, jobqueue.NewSchedule{
		Name: "s", Spec: jobqueue.ScheduleSpec{Every: day}, Job: jobqueue.NewJob{Kind: "work"}, Paused: true,
	}))
	span := jobqueue.Backfill{StartAt: newYear, EndAt: newYear.Add(10 * day), MaxTicks: 4}
	done := over(t, scope)(schedules.Backfill(ctx, "s", span))
	if done.State != jobqueue.BulkSucceeded || done.Changed != 4 || done.Skipped != 0 || !done.LastAt.Equal(newYear.Add(3*day)) {
		t.Errorf("%+v", done)
	}
	span.MaxTicks, span.Overlap = 0, jobqueue.OverlapSkip
	if done = over(t, scope)(schedules.Backfill(ctx, "s", span)); done.Changed != 0 || done.Skipped != 10 {
		t.Errorf("%+v", done)
	}
}

// operationCalls are all calls about an operation.
func operationCalls(client *jobqueue.Client, ctx context.Context, name string) map[string]func() error {
	return map[string]func() error{
		"get":    func() error { _, err := client.GetOperation(ctx, name); return err },
		"list":   func() error { _, err := client.ListOperations(ctx); return err },
		"wait":   func() error { _, err := client.WaitOperation(ctx, name); return err },
		"cancel": func() error { return client.CancelOperation(ctx, name) },
		"delete": func() error { return client.DeleteOperation(ctx, name) },
	}
}

func TestOfTheCallsAboutManyJobsThoseAreTriedAgainThatDoNoHarmTwice(t *testing.T) {
	var tries atomic.Int32
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		if tries.Add(1) == 1 {
			return nil, refusal(codes.Unavailable, "DRAINING")
		}
		return nil, refusal(codes.NotFound, "OPERATION_NOT_FOUND")
	})
	ctx, filter := t.Context(), jobqueue.JobFilter{Queue: "q"}
	calls := operationCalls(client, ctx, "operations/1")
	for name, bulk := range map[string]jobqueue.Bulk{
		"dry": {}, "forced": {Force: true}, "forced of an id": {Force: true, RequestID: "r"},
	} {
		calls[name+" retry"] = func() error {
			_, err := client.RetryJobs(ctx, filter, jobqueue.RetryJobsOptions{Bulk: bulk})
			return err
		}
		calls[name+" cancel"] = func() error {
			_, err := client.CancelJobs(ctx, filter, jobqueue.CancelJobsOptions{Bulk: bulk})
			return err
		}
		calls[name+" delete"] = func() error { _, err := client.DeleteJobs(ctx, filter, bulk); return err }
		calls[name+" update"] = func() error {
			_, err := client.UpdateJobs(ctx, filter, jobqueue.UpdateJobsOptions{Bulk: bulk})
			return err
		}
	}
	once := []string{"delete", "forced retry", "forced cancel", "forced delete", "forced update"}
	for name, do := range calls {
		tries.Store(0)
		wanted, count := jobqueue.ErrOperationNotFound, int32(2)
		if slices.Contains(once, name) {
			wanted, count = jobqueue.ErrUnavailable, 1
		}
		if err := do(); !errors.Is(err, wanted) || tries.Load() != count {
			t.Errorf("%s: %v after %d tries", name, err, tries.Load())
		}
	}
}

func TestAFilterOfManyJobsGoesOutAsItIsAndWhatCanOnlyBeWrongDoesNot(t *testing.T) {
	var got *pb.JobFilter
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		got = request.(*pb.DeleteJobsRequest).GetFilter()
		return &pb.DeleteJobsResponse{}, nil
	})
	ctx, moment := t.Context(), func(n int) time.Time { return newYear.Add(time.Duration(n) * day) }
	filter := jobqueue.JobFilter{
		IDs: []string{"1"}, Queue: "q", Kind: "k", Status: []jobqueue.Status{jobqueue.StatusCancelled, jobqueue.StatusSucceeded},
		Labels: map[string]string{"a": "b"}, CreatedAfter: moment(1), CreatedBefore: moment(2), EndedAfter: moment(3),
		EndedBefore: moment(4), Reason: []string{"r"}, ErrorType: "e", Everything: true,
	}
	if _, err := client.DeleteJobs(ctx, filter, jobqueue.Bulk{}); err != nil {
		t.Fatal(err)
	}
	wanted := "1 q k [CANCELLED SUCCEEDED] [a=b] 2 3 4 5 [r] e true"
	said := func(at *timestamppb.Timestamp) string { return at.AsTime().Format("2") }
	var status []string
	for _, each := range got.Status {
		status = append(status, each.String())
	}
	if text := strings.Join([]string{
		got.Ids[0], got.Queue, got.Kind, "[" + strings.Join(status, " ") + "]", "[" + strings.Join(got.Labels, " ") + "]",
		said(got.CreatedAfter), said(got.CreatedBefore), said(got.EndedAfter), said(got.EndedBefore),
		"[" + strings.Join(got.Reason, " ") + "]", got.ErrorType, map[bool]string{true: "true"}[got.Everything],
	}, " "); text != wanted {
		t.Error(text)
	}
	_, err := client.DeleteJobs(ctx, jobqueue.JobFilter{Status: []jobqueue.Status{"OVER"}}, jobqueue.Bulk{})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "filter.status")
	_, err = client.RetryJobs(ctx, filter, jobqueue.RetryJobsOptions{RunAt: newYear, Delay: time.Hour})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "run_at")
	_, err = client.UpdateJobs(ctx, filter, jobqueue.UpdateJobsOptions{RunAt: newYear, Delay: new(time.Duration)})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "run_at")
}

func TestWhatANewerServerSaysOfAnOperationIsUnspecified(t *testing.T) {
	told, err := anypb.New(&pb.BulkMetadata{State: 99, Verb: "RetryJobs"})
	if err != nil {
		t.Fatal(err)
	}
	unheard, err := anypb.New(&emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	unheard.TypeUrl = "type.googleapis.com/jobqueue.v9.Unheard"
	for _, metadata := range []*anypb.Any{told, unheard, nil} {
		operation := answeredOperation(t, &longrunningpb.Operation{Name: "operations/1", Done: true, Metadata: metadata})
		if operation.State != jobqueue.BulkUnspecified || operation.Name != "operations/1" || !operation.Done {
			t.Errorf("%+v", operation)
		}
	}
}

func answeredOperation(t *testing.T, message *longrunningpb.Operation) *jobqueue.Operation {
	t.Helper()
	client := answering(t, func(string, any, metadata.MD) (any, error) { return message, nil })
	return must[*jobqueue.Operation](t)(client.GetOperation(t.Context(), message.GetName()))
}
