package jobqueue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// refusal is an error as a server of ours makes it.
func refusal(code codes.Code, reason string, details ...protoadapt.MessageV1) error {
	made, err := status.New(code, "words").WithDetails(
		append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: "jobqueue"}}, details...)...)
	if err != nil {
		panic(err)
	}
	return made.Err()
}

// answering is a client whose calls a function answers.
func answering(
	t *testing.T, answer func(method string, request any, md metadata.MD) (any, error), change ...func(*jobqueue.ClientOptions),
) *jobqueue.Client {
	server := newScripted(t, grpc.UnaryInterceptor(
		func(ctx context.Context, request any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			_ = grpc.SetHeader(ctx, metadata.Pairs("x-request-id", "r-7"))
			return answer(info.FullMethod, request, md)
		}))
	access := server.access()
	access.Token = "t0ken"
	options := jobqueue.ClientOptions{Access: access, Deadline: 5 * time.Second}
	for _, each := range change {
		each(&options)
	}
	client, err := jobqueue.NewClient("passthrough:///scripted", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestAnErrorSaysEverything(t *testing.T) {
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		return nil, refusal(codes.InvalidArgument, "PAYLOAD_INVALID", &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "job.payload.to", Description: "is missing"}},
		})
	})

	_, err := client.Enqueue(context.Background(), jobqueue.NewJob{Kind: "mail"})

	var failure *jobqueue.Error
	if !errors.As(err, &failure) {
		t.Fatalf("%T", err)
	}
	if failure.Reason != "PAYLOAD_INVALID" || failure.Message != "words" || failure.RequestID != "r-7" ||
		len(failure.Violations) != 1 || failure.Violations[0].Field != "job.payload.to" || status.Code(err) != codes.InvalidArgument {
		t.Errorf("%+v", failure)
	}
	if !errors.Is(err, jobqueue.ErrPayloadInvalid) || !errors.Is(err, jobqueue.ErrInvalidRequest) || errors.Is(err, jobqueue.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if err.Error() != "PAYLOAD_INVALID: words (job.payload.to: is missing)" {
		t.Errorf("%v", err)
	}
}

func TestWhatSchedulesAndKeysAreRefusedForHasItsSentinel(t *testing.T) {
	for _, each := range []struct {
		code   codes.Code
		reason string
		wanted []error
	}{
		{codes.NotFound, "SCHEDULE_NOT_FOUND", []error{jobqueue.ErrScheduleNotFound, jobqueue.ErrNotFound}},
		{codes.AlreadyExists, "SCHEDULE_EXISTS", []error{jobqueue.ErrScheduleExists}},
		{codes.FailedPrecondition, "SCHEDULES_FULL", []error{jobqueue.ErrSchedulesFull}},
		{codes.FailedPrecondition, "QUEUE_KEYS_FULL", []error{jobqueue.ErrQueueKeysFull}},
	} {
		client := answering(t, func(string, any, metadata.MD) (any, error) { return nil, refusal(each.code, each.reason) })
		_, err := client.Get(context.Background(), "1")
		for _, wanted := range each.wanted {
			if !errors.Is(err, wanted) {
				t.Errorf("%s: %v is not %v", each.reason, err, wanted)
			}
		}
	}
}

func TestWhatWorkersAndOperationsAreRefusedForHasItsSentinel(t *testing.T) {
	refusals := []error{refusal(codes.NotFound, "WORKER_NOT_FOUND"), refusal(codes.FailedPrecondition, "FILTER_CHANGED")}
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		next := refusals[0]
		refusals = refusals[1:]
		return nil, next
	})
	_, err := client.Get(context.Background(), "1")
	if !errors.Is(err, jobqueue.ErrWorkerNotFound) || !errors.Is(err, jobqueue.ErrNotFound) {
		t.Error(err)
	}
	if _, err = client.Get(context.Background(), "1"); !errors.Is(err, jobqueue.ErrFilterChanged) {
		t.Error(err)
	}
}

func TestAFullBacklogHasItsSentinelIsOverloadedTooAndIsTriedAgainAsTheServerSays(t *testing.T) {
	for reason, wanted := range map[string]error{
		"QUEUE_BACKLOG_FULL": jobqueue.ErrQueueBacklogFull, "KEY_BACKLOG_FULL": jobqueue.ErrKeyBacklogFull,
	} {
		var tries atomic.Int32
		client := answering(t, func(string, any, metadata.MD) (any, error) {
			if tries.Add(1) > 2 {
				return &pb.EnqueueJobResponse{Job: &pb.Job{Id: "1"}}, nil
			}
			return nil, refusal(codes.ResourceExhausted, reason,
				&errdetails.RetryInfo{RetryDelay: durationpb.New(20 * time.Millisecond)},
				&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "job.key", Description: "is full"}}})
		})
		_, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k"})
		refusedWith(t, err, wanted, "job.key")
		var failure *jobqueue.Error
		if !errors.Is(err, jobqueue.ErrOverloaded) || !errors.As(err, &failure) || failure.RetryAfter != 20*time.Millisecond {
			t.Errorf("%s: %v", reason, err)
		}
		for _, other := range []error{jobqueue.ErrQueueBacklogFull, jobqueue.ErrKeyBacklogFull} {
			if other != wanted && errors.Is(err, other) {
				t.Errorf("%s is %v", reason, other)
			}
		}
		if job, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k", IdempotencyKey: "i"}); err != nil || job.ID != "1" ||
			tries.Load() != 3 {
			t.Errorf("%s: %v after %d tries", reason, err, tries.Load())
		}
	}
}

func TestOnlyWhatDoesNoHarmTwiceIsTriedAgain(t *testing.T) {
	var tries atomic.Int32
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		if tries.Add(1) < 3 {
			return nil, refusal(codes.Unavailable, "DRAINING")
		}
		return &pb.EnqueueJobResponse{Job: &pb.Job{Id: "1", Status: pb.Job_QUEUED}}, nil
	})

	_, err := client.Enqueue(context.Background(), jobqueue.NewJob{Kind: "k"})
	if !errors.Is(err, jobqueue.ErrUnavailable) || tries.Load() != 1 {
		t.Errorf("without a key: %v after %d tries", err, tries.Load())
	}
	tries.Store(0)
	job, err := client.Enqueue(context.Background(), jobqueue.NewJob{Kind: "k", IdempotencyKey: jobqueue.NewIdempotencyKey()})
	if err != nil || job.Status != jobqueue.StatusQueued || tries.Load() != 3 {
		t.Errorf("with a key: %v, %v after %d tries", job, err, tries.Load())
	}
}

func TestTheContextsDeadlineBoundsAllTriesAndTheCauseIsTold(t *testing.T) {
	var tries atomic.Int32
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		if tries.Add(1) > 1 {
			<-over // no answer in time
		}
		return nil, refusal(codes.Unavailable, "DATABASE_AWAY")
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	_, err := client.Get(ctx, "1")

	if !errors.Is(err, jobqueue.ErrUnavailable) || tries.Load() != 2 {
		t.Errorf("%v after %d tries", err, tries.Load())
	}
}

func TestAUniqueJobGoesOutWithItsNameAndTheOneThatWasKeptComesBack(t *testing.T) {
	var got *pb.Unique
	kept, replaced := pb.Unique_KEPT, pb.Unique_REPLACED
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		if batch, ok := request.(*pb.BatchEnqueueJobsRequest); ok {
			return &pb.BatchEnqueueJobsResponse{Results: []*pb.EnqueueResult{
				{Id: "1"}, {Id: "1", UniqueAction: &kept},
			}[:len(batch.Jobs)]}, nil
		}
		got = request.(*pb.EnqueueJobRequest).Job.Unique
		if got.OnConflict == pb.Unique_REJECT {
			return nil, refusal(codes.AlreadyExists, "DUPLICATE")
		}
		return &pb.EnqueueJobResponse{Job: &pb.Job{Id: "1"}, UniqueAction: &replaced}, nil
	})
	unique := &jobqueue.Unique{
		Key: "user-7", Scope: jobqueue.ScopeQueue, Until: jobqueue.UntilPeriod, Period: time.Minute,
		OnConflict: jobqueue.ConflictReplace, Replace: []jobqueue.UniqueField{jobqueue.ReplacePayload, jobqueue.ReplaceRunAt},
		MaxDelay: time.Second,
	}

	job, err := client.Enqueue(context.Background(), jobqueue.NewJob{Kind: "k", Unique: unique})
	if err != nil || job.UniqueAction != jobqueue.ActionReplaced || job.Replayed {
		t.Fatalf("%+v %v", job, err)
	}
	if got.Key != "user-7" || got.Scope != pb.Unique_QUEUE || got.Until != pb.Unique_PERIOD || got.Period.AsDuration() != time.Minute {
		t.Errorf("%v", got)
	}
	if got.OnConflict != pb.Unique_REPLACE || len(got.Replace) != 2 || got.Replace[1] != pb.Unique_RUN_AT || got.MaxDelay.AsDuration() != time.Second {
		t.Errorf("%v", got)
	}
	results, err := client.EnqueueMany(context.Background(), []jobqueue.NewJob{{Kind: "k"}, {Kind: "k"}})
	if err != nil || results[0].UniqueAction != 0 || results[1].UniqueAction != jobqueue.ActionKept {
		t.Errorf("%v %v", results, err)
	}
	unique.OnConflict = jobqueue.ConflictReject
	if _, err = client.Enqueue(context.Background(), jobqueue.NewJob{Kind: "k", Unique: unique}); !errors.Is(err, jobqueue.ErrDuplicate) {
		t.Errorf("%v", err)
	}
}

func TestTheUsualNamesOfWorkSayWhatTheyAreCalled(t *testing.T) {
	for name, each := range map[string][2]*jobqueue.Unique{
		"WhileWaiting": {jobqueue.WhileWaiting("w"), {Key: "w"}},
		"WhileLive":    {jobqueue.WhileLive("l"), {Key: "l", Until: jobqueue.UntilEnds}},
		"Throttle":     {jobqueue.Throttle(time.Hour, "t"), {Key: "t", Until: jobqueue.UntilPeriod, Period: time.Hour}},
		"Debounce": {jobqueue.Debounce(time.Minute, "d"), {
			Key: "d", OnConflict: jobqueue.ConflictDebounce, Replace: []jobqueue.UniqueField{jobqueue.ReplacePayload}, MaxDelay: time.Minute,
		}},
		"of the payload": {jobqueue.WhileWaiting(""), {}},
	} {
		if !reflect.DeepEqual(each[0], each[1]) {
			t.Errorf("%s: %+v", name, each[0])
		}
	}
}

func TestInAScopeTheFirstJobOfAUsualNameIsKeptOrPutOff(t *testing.T) {
	scope := scoped(t, "a")
	enqueued := func(unique *jobqueue.Unique, delay time.Duration) []jobqueue.EnqueueResult {
		t.Helper()
		jobs := make([]jobqueue.NewJob, 2)
		for i := range jobs {
			jobs[i] = jobqueue.NewJob{Kind: "a", Payload: i + 1, Unique: unique, Delay: delay}
		}
		return must[[]jobqueue.EnqueueResult](t)(scope.Client.EnqueueMany(t.Context(), jobs))
	}
	for _, unique := range []*jobqueue.Unique{
		jobqueue.WhileWaiting("w"), jobqueue.WhileLive("l"), jobqueue.Throttle(time.Hour, "t"),
	} {
		if got := enqueued(unique, 0); got[0].UniqueAction != 0 || got[1].UniqueAction != jobqueue.ActionKept {
			t.Errorf("%s: %+v", unique.Key, got)
		}
	}
	got := enqueued(jobqueue.Debounce(90*time.Second, "d"), time.Minute)
	if got[1].ID != got[0].ID || got[1].UniqueAction != jobqueue.ActionDebounced {
		t.Errorf("%+v", got)
	}
	if job := must[*jobqueue.Job](t)(scope.Client.Get(t.Context(), got[0].ID)); string(job.Payload) != "2" {
		t.Errorf("%+v", job)
	}
	for _, each := range enqueued(jobqueue.WhileWaiting(""), 0) {
		if each.UniqueAction != 0 {
			t.Errorf("two payloads are two names: %+v", each)
		}
	}
}

func TestAJobGoesOutAsItIsGiven(t *testing.T) {
	payload := json.RawMessage(`{ "n": 12345678901234567890 }`)
	var got *pb.NewJob
	var token []string
	client := answering(t, func(_ string, request any, md metadata.MD) (any, error) {
		got, token = request.(*pb.EnqueueJobRequest).Job, md.Get("authorization")
		return &pb.EnqueueJobResponse{Job: &pb.Job{
			Id: "1", Status: 77, Key: got.Key, Content: &pb.Job_PayloadJson{PayloadJson: got.GetPayloadJson()},
		}, Replayed: true}, nil
	})

	job, err := client.Enqueue(context.Background(), jobqueue.NewJob{
		Kind: "k", Payload: payload, Delay: time.Minute, RetryPolicy: &jobqueue.RetryPolicy{MinBackoff: time.Second},
		Labels: map[string]string{"a": "b"}, Priority: 3, Key: "customer 42",
	})
	if err != nil {
		t.Fatal(err)
	}

	if string(got.GetPayloadJson()) != string(payload) || got.GetDelay().AsDuration() != time.Minute || got.Priority != 3 ||
		got.RetryPolicy.MinBackoff.AsDuration() != time.Second || got.RetryPolicy.MaxBackoff != nil || got.Labels["a"] != "b" {
		t.Errorf("%v", got)
	}
	if string(job.Payload) != string(payload) || job.Status != jobqueue.StatusUnspecified || !job.Replayed || job.Key != "customer 42" {
		t.Errorf("%+v", job)
	}
	if len(token) != 1 || token[0] != "Bearer t0ken" {
		t.Errorf("%v", token)
	}
}

func TestABatchIsCutAndItsErrorCountsFromTheFirstJob(t *testing.T) {
	var sizes []int
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		jobs := request.(*pb.BatchEnqueueJobsRequest).Jobs
		sizes = append(sizes, len(jobs))
		if len(sizes) == 2 {
			return nil, refusal(codes.InvalidArgument, "FIELD_INVALID", &errdetails.BadRequest{
				FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "jobs[5].priority", Description: "is 99"}},
			})
		}
		answer := &pb.BatchEnqueueJobsResponse{}
		for i := range jobs {
			answer.Results = append(answer.Results, &pb.EnqueueResult{Id: fmt.Sprint(i)})
		}
		return answer, nil
	})
	jobs := make([]jobqueue.NewJob, 1500)
	for i := range jobs {
		jobs[i].Kind = "k"
	}

	results, err := client.EnqueueMany(context.Background(), jobs)

	var failure *jobqueue.Error
	if !errors.As(err, &failure) || failure.Violations[0].Field != "jobs[1005].priority" {
		t.Errorf("%v", err)
	}
	if len(results) != 1000 || fmt.Sprint(sizes) != "[1000 500]" {
		t.Errorf("%d results, batches of %v", len(results), sizes)
	}
}

func TestAListReadsAllPages(t *testing.T) {
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		switch request.(*pb.ListJobsRequest).PageToken {
		case "":
			return &pb.ListJobsResponse{Jobs: []*pb.Job{{Id: "3"}, {Id: "2"}}, NextPageToken: "more"}, nil
		case "more":
			return &pb.ListJobsResponse{NextPageToken: "last"}, nil // short, and not the end
		}
		return &pb.ListJobsResponse{Jobs: []*pb.Job{{Id: "1"}}}, nil
	})

	ids := ""
	for job, err := range client.List(context.Background(), jobqueue.Filter{Status: []jobqueue.Status{jobqueue.StatusQueued}}) {
		if err != nil {
			t.Fatal(err)
		}
		ids += job.ID
	}

	if ids != "321" {
		t.Error(ids)
	}
}

func TestAWaitEndsWithItsContextAndTellsTheJob(t *testing.T) {
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		time.Sleep(request.(*pb.WaitJobRequest).Timeout.AsDuration())
		return &pb.WaitJobResponse{Job: &pb.Job{Id: "1", Status: pb.Job_RUNNING}}, nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()

	job, err := client.Wait(ctx, "1")

	if !errors.Is(err, context.DeadlineExceeded) || job == nil || job.Status != jobqueue.StatusRunning {
		t.Errorf("%v, %v", job, err)
	}
	gone, leave := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, leave)
	if _, err := client.Wait(gone, "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// waitedFor is a wait of so long for a job that does not end, and how often the server was asked why.
func waitedFor(t *testing.T, limit time.Duration, why func() (any, error)) (*jobqueue.WaitTimeoutError, int32) {
	t.Helper()
	var asked atomic.Int32
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		if _, ok := request.(*pb.ExplainJobRequest); ok {
			asked.Add(1)
			return why()
		}
		time.Sleep(request.(*pb.WaitJobRequest).Timeout.AsDuration())
		return &pb.WaitJobResponse{Job: &pb.Job{Id: "1", Status: pb.Job_QUEUED}}, nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	job, err := client.Wait(ctx, "1")
	var late *jobqueue.WaitTimeoutError
	if !errors.As(err, &late) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, jobqueue.ErrDeadlineExceeded) {
		t.Fatalf("%T %v", err, err)
	}
	var failure *jobqueue.Error
	if late.Job != job || job.Status != jobqueue.StatusQueued || !errors.As(err, &failure) || failure.Metadata["job_id"] != "1" ||
		status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%+v of %+v", late, job)
	}
	return late, asked.Load()
}

func TestAWaitOfASecondThatEndsInVainSaysWhy(t *testing.T) {
	const summary = "The job waits, since no worker takes its queue."
	late, asked := waitedFor(t, time.Second, func() (any, error) {
		return &pb.ExplainJobResponse{JobId: "1", Summary: summary}, nil
	})
	if late.Summary != summary || asked != 1 || !strings.HasSuffix(late.Error(), "job 1 is QUEUED and not over in time; "+summary) {
		t.Errorf("%v, asked %d times", late, asked)
	}
}

func TestAShortWaitThatEndsInVainAsksNothing(t *testing.T) {
	late, asked := waitedFor(t, 500*time.Millisecond, func() (any, error) {
		return &pb.ExplainJobResponse{JobId: "1", Summary: "It waits."}, nil
	})
	if late.Summary != "" || asked != 0 || !strings.HasSuffix(late.Error(), "job 1 is QUEUED and not over in time") {
		t.Errorf("%v, asked %d times", late, asked)
	}
}

func TestAServerThatDoesNotSayWhyLeavesItOpenAndCostsASecondAtMost(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	for name, why := range map[string]func() (any, error){
		"refused": func() (any, error) { return nil, refusal(codes.Unimplemented, "") },
		"silent":  func() (any, error) { <-over; return nil, refusal(codes.Internal, "INTERNAL") },
	} {
		began := time.Now()
		late, asked := waitedFor(t, time.Second, why)
		if took := time.Since(began); late.Summary != "" || asked != 1 || took > 4*time.Second {
			t.Errorf("%s: %v after %v, asked %d times", name, late, took, asked)
		}
	}
}

func TestAWaitThatNoServerAnsweredHasNoJobAndOneThatWasCancelledIsNoTimeout(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		<-over
		return nil, refusal(codes.Internal, "INTERNAL")
	}, func(options *jobqueue.ClientOptions) { options.Deadline = 100 * time.Millisecond })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	job, err := client.Wait(ctx, "1")
	var late *jobqueue.WaitTimeoutError
	if !errors.As(err, &late) || late.Job != nil || job != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", job, err)
	}

	gone, leave := context.WithTimeout(context.Background(), time.Minute)
	leaving := func(
		ctx context.Context, method string, request, answer any, to *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		defer leave() // once the answer is there
		return invoke(ctx, method, request, answer, to, options...)
	}
	client = answering(t, func(string, any, metadata.MD) (any, error) {
		return &pb.WaitJobResponse{Job: &pb.Job{Id: "1", Status: pb.Job_RUNNING}}, nil
	}, func(options *jobqueue.ClientOptions) {
		options.DialOptions = append(options.DialOptions, grpc.WithUnaryInterceptor(leaving))
	})
	if _, err = client.Wait(gone, "1"); !errors.Is(err, context.Canceled) || errors.As(err, &late) {
		t.Errorf("%T %v", err, err)
	}
}

func TestATimeoutOfAWaitThatAUnitTestMakesIsOneOfADeadline(t *testing.T) {
	var err error = &jobqueue.WaitTimeoutError{Summary: "It waits."}
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, jobqueue.ErrDeadlineExceeded) || errors.Is(err, context.Canceled) ||
		err.Error() != "jobqueue: the job had not ended in time; It waits." {
		t.Error(err)
	}
}

func TestInAScopeAWaitThatEndsInVainSaysWhatExplainSays(t *testing.T) {
	scope := scoped(t, "hello")
	job := must[*jobqueue.Job](t)(scope.Client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "hello"}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := scope.Client.Wait(ctx, job.ID)
	why := must[*jobqueue.Explanation](t)(scope.Client.Explain(t.Context(), job.ID))
	var late *jobqueue.WaitTimeoutError
	if !errors.As(err, &late) || late.Summary != why.Summary || !strings.Contains(err.Error(), "; The job waits, since no worker") {
		t.Errorf("%v, and not %s", err, why.Summary)
	}
}

func TestAWatchGoesOnWhereItsStreamBroke(t *testing.T) {
	var tokens []string
	server := newScripted(t, grpc.StreamInterceptor(
		func(_ any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
			request := &pb.WatchJobsRequest{}
			if err := stream.RecvMsg(request); err != nil {
				return err
			}
			tokens = append(tokens, request.ResumeToken)
			if len(tokens) == 1 {
				_ = stream.SendMsg(&pb.WatchJobsResponse{ResumeToken: "t1", Job: &pb.Job{Id: "1", Kind: "k", Status: pb.Job_RUNNING}})
				return refusal(codes.Unavailable, "DRAINING")
			}
			_ = stream.SendMsg(&pb.WatchJobsResponse{ResumeToken: "t2"})
			_ = stream.SendMsg(&pb.WatchJobsResponse{ResumeToken: "t3", Job: &pb.Job{Id: "2"}})
			return stream.SendMsg(&pb.WatchJobsResponse{ResumeToken: "t4", Job: &pb.Job{Id: "1", Kind: "k", Status: pb.Job_SUCCEEDED}})
		}))
	client, err := jobqueue.NewClient("passthrough:///scripted", jobqueue.ClientOptions{Access: server.access()})
	if err != nil {
		t.Fatal(err)
	}
	watch := client.Watch(jobqueue.WatchFilter{IDs: []string{"1", "2"}})

	var statuses []jobqueue.Status
	for job, err := range watch.Jobs(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, job.Status)
	}

	if fmt.Sprint(statuses) != "[RUNNING SUCCEEDED]" || fmt.Sprint(tokens) != "[ t1]" {
		t.Errorf("%v by %q", statuses, tokens)
	}
	if watch.ResumeToken() != "t4" || fmt.Sprint(watch.Deleted()) != "[2]" {
		t.Errorf("%q, %v", watch.ResumeToken(), watch.Deleted())
	}
	if _, err := watch.Next(context.Background()); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

func TestAHeldJobIsReleased(t *testing.T) {
	hand, later := pb.Job_HAND, pb.Job_Hold(99)
	releases := 0
	client := answering(t, func(method string, request any, _ metadata.MD) (any, error) {
		switch asked := request.(type) {
		case *pb.EnqueueJobRequest:
			if !asked.Job.Hold {
				return nil, fmt.Errorf("it is not to be held")
			}
			return &pb.EnqueueJobResponse{Job: &pb.Job{Id: "1", Hold: &hand}}, nil
		case *pb.GetJobRequest:
			return &pb.GetJobResponse{Job: &pb.Job{Id: "1", Hold: &later}}, nil
		case *pb.ReleaseJobRequest:
			if releases++; releases > 1 {
				return nil, refusal(codes.FailedPrecondition, "JOB_NOT_HELD")
			}
			return &pb.ReleaseJobResponse{Job: &pb.Job{Id: asked.Id}}, nil
		case *pb.GetQueueRequest:
			held := []*pb.HoldDepth{{Hold: hand, Jobs: 3, Capped: true}}
			return &pb.GetQueueResponse{Queue: &pb.Queue{Name: asked.Name, Held: held}}, nil
		}
		return nil, fmt.Errorf("%s was not to be called", method)
	})
	ctx := context.Background()

	job, err := client.Enqueue(ctx, jobqueue.NewJob{Kind: "k", Hold: true})
	if err != nil || job.Hold != jobqueue.HoldHand {
		t.Errorf("%+v %v", job, err)
	}
	if job, err = client.Get(ctx, "1"); err != nil || job.Hold != jobqueue.HoldUnspecified {
		t.Errorf("%+v %v", job, err)
	}
	if job, err = client.Release(ctx, "1"); err != nil || job.ID != "1" || job.Hold != "" {
		t.Errorf("%+v %v", job, err)
	}
	if _, err = client.Release(ctx, "1"); !errors.Is(err, jobqueue.ErrJobNotHeld) {
		t.Error(err)
	}
	queue, err := client.GetQueue(ctx, "q")
	if err != nil || queue.Held[jobqueue.HoldHand] != (jobqueue.HoldDepth{Jobs: 3, Capped: true}) {
		t.Errorf("%+v %v", queue, err)
	}
}

func TestAQueueIsChangedWithItsEtag(t *testing.T) {
	var masks [][]string
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		asked := request.(*pb.UpdateQueueRequest)
		masks = append(masks, asked.UpdateMask.GetPaths())
		if asked.Queue.Etag == "old" {
			return nil, refusal(codes.Aborted, "ETAG_MISMATCH")
		}
		queue := &pb.Queue{
			Name: asked.Queue.Name, KeyPolicy: asked.Queue.KeyPolicy, MaxWaiting: 70, Limits: &pb.Limits{MaxRunning: 40, Rate: &pb.Rate{Count: 7}}, Etag: "new",
		}
		if rate := queue.GetKeyPolicy().GetRate(); rate != nil {
			rate.MostInAPeriod = 15
		}
		return &pb.UpdateQueueResponse{Queue: queue}, nil
	})
	ctx := context.Background()

	rate := jobqueue.Rate{Count: 10, Period: time.Minute, Burst: 3}
	policy := jobqueue.KeyPolicy{
		MaxRunning: 1, Rate: &rate, MaxWaiting: 9, RequireKey: true,
		Order: jobqueue.KeyOrderStrict, OnFailure: jobqueue.OnKeyFailureHold, Fair: true,
	}
	queue, err := client.UpdateQueue(ctx, "q", jobqueue.QueueChange{KeyPolicy: &policy})
	if err != nil || queue.Etag != "new" || queue.MaxWaiting != 70 || queue.Limits.MaxRunning != 40 || queue.Limits.Rate.Count != 7 ||
		queue.KeyPolicy.MaxRunning != 1 || queue.KeyPolicy.MaxWaiting != 9 ||
		queue.KeyPolicy.Order != policy.Order || queue.KeyPolicy.OnFailure != policy.OnFailure || !queue.KeyPolicy.Fair ||
		!queue.KeyPolicy.RequireKey || *queue.KeyPolicy.Rate != (jobqueue.Rate{Count: 10, Period: time.Minute, Burst: 3, MostInAPeriod: 15}) {
		t.Errorf("%+v %v", queue, err)
	}
	part := []string{"rate", "max_running"}
	if _, err = client.UpdateQueue(ctx, "q", jobqueue.QueueChange{KeyPolicy: &jobqueue.KeyPolicy{}, Fields: part}); err != nil {
		t.Error(err)
	}
	// Fields of nothing change nothing.
	queue, err = client.UpdateQueue(ctx, "q", jobqueue.QueueChange{Fields: part})
	if err != nil || queue.KeyPolicy != nil {
		t.Errorf("%+v %v", queue, err)
	}
	if want := [][]string{{"key_policy"}, {"key_policy.rate", "key_policy.max_running"}, nil}; !reflect.DeepEqual(masks, want) {
		t.Error(masks)
	}
	if _, err = client.UpdateQueue(ctx, "q", jobqueue.QueueChange{Etag: "old"}); !errors.Is(err, jobqueue.ErrEtagMismatch) {
		t.Error(err)
	}
}

func TestAnOrderThatIsNoneIsNotSentAsNone(t *testing.T) {
	client := answering(t, func(method string, _ any, _ metadata.MD) (any, error) {
		return nil, fmt.Errorf("%s was not to be called", method)
	})
	for _, policy := range []jobqueue.KeyPolicy{{Order: "STRICT"}, {OnFailure: "HOLD"}} {
		_, err := client.UpdateQueue(context.Background(), "q", jobqueue.QueueChange{KeyPolicy: &policy})
		if !errors.Is(err, jobqueue.ErrInvalidRequest) {
			t.Error(err)
		}
	}
}

func TestHowManyJobsOfAQueueMayWaitIsChangedAndItsKeyPolicyStays(t *testing.T) {
	var asked []*pb.UpdateQueueRequest
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		asked = append(asked, request.(*pb.UpdateQueueRequest))
		return &pb.UpdateQueueResponse{Queue: asked[len(asked)-1].Queue}, nil
	})
	ctx := context.Background()

	some, none := 5000, 0
	both := &jobqueue.KeyPolicy{MaxWaiting: 9}
	for i, each := range []struct {
		change       jobqueue.QueueChange
		most, ofAKey int
		mask         []string
	}{
		{jobqueue.QueueChange{MaxWaiting: &some}, 5000, 0, []string{"max_waiting"}},
		{jobqueue.QueueChange{MaxWaiting: &none}, 0, 0, []string{"max_waiting"}},
		{jobqueue.QueueChange{MaxWaiting: &some, KeyPolicy: both}, 5000, 9, []string{"key_policy", "max_waiting"}},
		{jobqueue.QueueChange{KeyPolicy: &jobqueue.KeyPolicy{}}, 0, 0, []string{"key_policy"}},
	} {
		queue, err := client.UpdateQueue(ctx, "q", each.change)
		if err != nil || queue.MaxWaiting != each.most {
			t.Errorf("%+v %v", queue, err)
		}
		sent := asked[i].Queue
		if int(sent.MaxWaiting) != each.most || int(sent.GetKeyPolicy().GetMaxWaiting()) != each.ofAKey {
			t.Error(sent)
		}
		if mask := asked[i].UpdateMask.GetPaths(); !reflect.DeepEqual(mask, each.mask) {
			t.Error(mask)
		}
	}
}

func TestWhatAQueueAllowsOfAllItsJobsIsChangedAsAWholeOrInPart(t *testing.T) {
	var masks [][]string
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		asked := request.(*pb.UpdateQueueRequest)
		masks = append(masks, asked.UpdateMask.GetPaths())
		if asked.Queue.KeyPolicy != nil {
			return nil, fmt.Errorf("the policy was to stay")
		}
		return &pb.UpdateQueueResponse{Queue: asked.Queue}, nil
	})
	ctx := context.Background()

	rate := jobqueue.Rate{Count: 7, Period: time.Second, Burst: 3}
	limits := jobqueue.Limits{MaxRunning: 40, Rate: &rate}
	queue, err := client.UpdateQueue(ctx, "q", jobqueue.QueueChange{Limits: &limits})
	if err != nil || !reflect.DeepEqual(queue.Limits, &limits) {
		t.Errorf("%+v %v", queue, err)
	}
	some := 1
	for _, change := range []jobqueue.QueueChange{
		{Limits: &limits, LimitFields: []string{"max_running"}},
		{Limits: &jobqueue.Limits{}},
		{Limits: &jobqueue.Limits{}, LimitFields: []string{"rate"}, MaxWaiting: &some},
		{LimitFields: []string{"rate"}, RetentionFields: []string{"succeeded"}, MaxWaiting: &some},
	} {
		if _, err := client.UpdateQueue(ctx, "q", change); err != nil {
			t.Error(err)
		}
	}
	want := [][]string{{"limits"}, {"limits.max_running"}, {"limits"}, {"max_waiting", "limits.rate"}, {"max_waiting"}}
	if !reflect.DeepEqual(masks, want) {
		t.Error(masks)
	}
}

func TestAKeyOfAQueueIsListedAndChangedWithItsEtag(t *testing.T) {
	var masks [][]string
	var asked []*pb.ListQueueKeysRequest
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		switch request := request.(type) {
		case *pb.ListQueueKeysRequest:
			asked = append(asked, request)
			if request.PageToken == "" {
				return &pb.ListQueueKeysResponse{Keys: []*pb.QueueKey{{Key: "a", Waiting: 3}}, NextPageToken: "t"}, nil
			}
			return &pb.ListQueueKeysResponse{Keys: []*pb.QueueKey{{Key: "b"}}}, nil
		case *pb.UpdateQueueKeyRequest:
			masks = append(masks, request.UpdateMask.GetPaths())
			if request.QueueKey.Etag == "old" {
				return nil, refusal(codes.Aborted, "ETAG_MISMATCH")
			}
			request.QueueKey.Etag = "new"
			return &pb.UpdateQueueKeyResponse{QueueKey: request.QueueKey}, nil
		}
		asked := request.(*pb.GetQueueKeyRequest)
		seven := timestamppb.New(time.Unix(7, 0))
		holders := []*pb.KeyHolder{{JobId: "j", Worker: "w", Since: seven}}
		key := &pb.QueueKey{Key: asked.Key, Limit: 2, Taken: 1, Holders: holders, PausedUntil: seven, BlockedBy: "f"}
		return &pb.GetQueueKeyResponse{QueueKey: key}, nil
	})
	ctx := context.Background()

	options := jobqueue.ListKeysOptions{Only: jobqueue.KeysWaiting, MostWaitingFirst: true}
	keys, err := client.ListQueueKeys(ctx, "q", options)
	if err != nil || len(keys) != 2 || keys[0].Waiting != 3 || keys[1].Key != "b" {
		t.Errorf("%+v %v", keys, err)
	}
	if first := asked[0]; first.OrderBy != "waiting desc" || first.Only != pb.ListQueueKeysRequest_WAITING {
		t.Error(first)
	}
	if keys, err = client.ListQueueKeys(ctx, "q", jobqueue.ListKeysOptions{Most: 1}); err != nil || len(keys) != 1 {
		t.Errorf("%+v %v", keys, err)
	}
	key, err := client.GetQueueKey(ctx, "q", "a/b")
	holder := jobqueue.KeyHolder{JobID: "j", Worker: "w", Since: time.Unix(7, 0).UTC()}
	if err != nil || key.Key != "a/b" || key.Limit != 2 || !reflect.DeepEqual(key.Holders, []jobqueue.KeyHolder{holder}) {
		t.Errorf("%+v %v", key, err)
	}
	if !key.PausedUntil.Equal(time.Unix(7, 0)) || key.BlockedBy != "f" {
		t.Error(key.PausedUntil, key.BlockedBy)
	}
	most, paused := 5, true
	key, err = client.UpdateQueueKey(ctx, "q", "a", jobqueue.QueueKeyChange{MaxRunning: &most, Paused: &paused})
	if err != nil || key.MaxRunning != 5 || !key.Paused || key.Etag != "new" {
		t.Errorf("%+v %v", key, err)
	}
	paused = false
	if key, err = client.UpdateQueueKey(ctx, "q", "a", jobqueue.QueueKeyChange{Paused: &paused}); err != nil || key.Paused {
		t.Errorf("%+v %v", key, err)
	}
	if want := [][]string{{"max_running", "paused"}, {"paused"}}; !reflect.DeepEqual(masks, want) {
		t.Error(masks)
	}
	change := jobqueue.QueueKeyChange{Paused: &paused, Etag: "old"}
	if _, err = client.UpdateQueueKey(ctx, "q", "a", change); !errors.Is(err, jobqueue.ErrEtagMismatch) {
		t.Error(err)
	}
}

func TestKindsAndQueuesAreReadPageByPage(t *testing.T) {
	client := answering(t, func(method string, request any, _ metadata.MD) (any, error) {
		switch asked := request.(type) {
		case *pb.PutKindRequest:
			return &pb.PutKindResponse{Kind: asked.Kind}, nil
		case *pb.ListKindsRequest:
			if asked.PageToken == "" {
				return &pb.ListKindsResponse{Kinds: []*pb.Kind{{Name: "a"}}, NextPageToken: "more"}, nil
			}
			return &pb.ListKindsResponse{Kinds: []*pb.Kind{{Name: "b", MaxAttempts: 7}}}, nil
		case *pb.ListQueuesRequest:
			return &pb.ListQueuesResponse{Queues: []*pb.Queue{{Name: "q"}}}, nil
		case *pb.GetQueueRequest:
			depths := []*pb.QueueDepth{{Status: pb.Job_QUEUED, Jobs: 3, OldestAge: durationpb.New(time.Minute)}}
			return &pb.GetQueueResponse{Queue: &pb.Queue{Name: asked.Name, Running: 2, Depths: depths}}, nil
		case *pb.PauseQueueRequest:
			if asked.Reason != "the printer burns" {
				return nil, fmt.Errorf("the reason is %q", asked.Reason)
			}
			return &pb.PauseQueueResponse{Queue: &pb.Queue{Name: asked.Name, Paused: true}}, nil
		case *pb.ResumeQueueRequest:
			return nil, refusal(codes.NotFound, "QUEUE_NOT_FOUND")
		}
		return nil, fmt.Errorf("%s was not to be called", method)
	})
	ctx := context.Background()

	kind, err := client.PutKind(ctx, jobqueue.Kind{
		Name: "k", Schema: json.RawMessage("{}"), Timeout: time.Hour,
		Limits: &jobqueue.Limits{MaxRunning: 7, Rate: &jobqueue.Rate{Count: 10, Period: time.Minute}}, SlotWeight: 4,
	})
	if err != nil || kind.Name != "k" || string(kind.Schema) != "{}" || kind.Timeout != time.Hour ||
		kind.SlotWeight != 4 || kind.Limits.MaxRunning != 7 || *kind.Limits.Rate != (jobqueue.Rate{Count: 10, Period: time.Minute}) {
		t.Errorf("%+v %v", kind, err)
	}
	kinds, err := client.ListKinds(ctx)
	if err != nil || len(kinds) != 2 || kinds[1].Name != "b" || kinds[1].MaxAttempts != 7 {
		t.Errorf("%v %v", kinds, err)
	}
	queues, err := client.ListQueues(ctx)
	if err != nil || len(queues) != 1 || queues[0].Name != "q" {
		t.Errorf("%v %v", queues, err)
	}
	queue, err := client.GetQueue(ctx, "q")
	depth := queue.Depths[jobqueue.StatusQueued]
	if err != nil || queue.Running != 2 || depth != (jobqueue.QueueDepth{Jobs: 3, OldestAge: time.Minute}) {
		t.Errorf("%+v %v", queue, err)
	}
	if queue, err = client.PauseQueue(ctx, "q", "the printer burns"); err != nil || !queue.Paused {
		t.Errorf("%+v %v", queue, err)
	}
	if _, err = client.ResumeQueue(ctx, "q"); !errors.Is(err, jobqueue.ErrQueueNotFound) {
		t.Error(err)
	}
}

func TestAJobIsExplainedAndAQueuesDemandIsTold(t *testing.T) {
	client := answering(t, func(method string, request any, _ metadata.MD) (any, error) {
		switch asked := request.(type) {
		case *pb.ExplainJobRequest:
			paused := &pb.Reason{
				Code: pb.Reason_QUEUE_PAUSED, Message: "the queue q is paused", UnblockedBy: []string{"ResumeQueue q"},
				Detail: &pb.Reason_Pause{Pause: &pb.PauseDetail{By: "ada"}},
			}
			return &pb.ExplainJobResponse{
				JobId: asked.Id, Status: pb.Job_QUEUED, Reasons: []*pb.Reason{paused, {Code: 99}}, Unknown: []string{"s"},
				Estimate: &pb.Estimate{Ahead: 7, EndsPerSecond: 1.5},
			}, nil
		case *pb.GetQueueDemandRequest:
			if asked.Queue != "q" {
				return nil, refusal(codes.NotFound, "QUEUE_NOT_FOUND")
			}
			return &pb.GetQueueDemandResponse{
				Runnable: 3, Running: 2, Held: 4, HeldByKey: 3, BeyondLimit: 6, WantedSlots: 5, OldestRunnableAge: durationpb.New(time.Minute),
				ArrivalsPerSecond: 2.5, EndsPerSecond: 1.5,
			}, nil
		}
		return nil, fmt.Errorf("%s was not to be called", method)
	})
	ctx := context.Background()

	found, err := client.Explain(ctx, "1")
	if err != nil || found.JobID != "1" || found.Status != jobqueue.StatusQueued || len(found.Reasons) != 2 {
		t.Fatalf("%+v %v", found, err)
	}
	first := found.Reasons[0]
	if first.Code != "QUEUE_PAUSED" || first.UnblockedBy[0] != "ResumeQueue q" || first.Detail.GetPause().GetBy() != "ada" {
		t.Errorf("%+v", first)
	}
	if found.Reasons[1].Code != "CODE_UNSPECIFIED" || !found.CouldStartAt.IsZero() || found.Unknown[0] != "s" {
		t.Errorf("%+v", found)
	}
	if turn := found.Estimate; turn == nil || turn.Ahead != 7 || turn.EndsPerSecond != 1.5 || !turn.LatestAt.IsZero() {
		t.Errorf("%+v", turn)
	}
	demand, err := client.GetQueueDemand(ctx, "q")
	if err != nil || demand.WantedSlots != 5 || demand.OldestRunnableAge != time.Minute || demand.HeldByKey != 3 ||
		demand.BeyondLimit != 6 || demand.ArrivalsPerSecond != 2.5 || demand.EndsPerSecond != 1.5 {
		t.Errorf("%+v %v", demand, err)
	}
	if _, err = client.GetQueueDemand(ctx, "other"); !errors.Is(err, jobqueue.ErrQueueNotFound) {
		t.Error(err)
	}
}

func TestACancelHasAReasonWhereOneIsGiven(t *testing.T) {
	reasons := make(chan string, 2)
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		reasons <- request.(*pb.CancelJobRequest).Reason
		return &pb.CancelJobResponse{Job: &pb.Job{Id: "1"}}, nil
	})

	_, err := client.Cancel(context.Background(), "1")
	if got := receive(t, "the request", reasons); err != nil || got != "" {
		t.Error(got, err)
	}
	_, err = client.Cancel(context.Background(), "1", jobqueue.CancelReason("a typing error"))
	if got := receive(t, "the request", reasons); err != nil || got != "a typing error" {
		t.Error(got, err)
	}
}

func TestPayloadAndOutputOfAJobAreDecoded(t *testing.T) {
	job := &jobqueue.Job{ID: "1", Kind: "k", Status: jobqueue.StatusRunning, Payload: json.RawMessage(`{"to":"ada"}`)}
	var payload struct{ To string }
	if err := job.Decode(&payload); err != nil || payload.To != "ada" {
		t.Error(payload, err)
	}
	var output int
	if err := job.DecodeOutput(&output); err == nil || err.Error() != "jobqueue: the k job 1 has no output here; its status is RUNNING" {
		t.Error(err)
	}
	job.Output = json.RawMessage(`7`)
	if err := job.DecodeOutput(&output); err != nil || output != 7 {
		t.Error(output, err)
	}
	job.Output = json.RawMessage(`"x"`)
	if err := job.DecodeOutput(&output); err == nil {
		t.Error("a text became a number")
	}
}

func TestWhereNothingListensTheFirstErrorSaysWhatToDoAndNoLaterOne(t *testing.T) {
	address := unused(t)
	client, err := jobqueue.NewClient(address, jobqueue.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	_, first := client.Retry(context.Background(), "1")
	_, second := client.Retry(context.Background(), "1")

	hint := "nothing answers at " + address + `; start a server by "make run" or "jobqueue-server"`
	if !errors.Is(first, jobqueue.ErrUnavailable) || !strings.HasSuffix(first.Error(), hint) {
		t.Error(first)
	}
	if !errors.Is(second, jobqueue.ErrUnavailable) || strings.Contains(second.Error(), "nothing answers") {
		t.Error(second)
	}
}

func TestTheVariableOfTheServerIsNamedOnlyWhereTheClientIsOfTheEnvironment(t *testing.T) {
	for _, name := range []string{"JOBQUEUE_TOKEN", "JOBQUEUE_TLS_ROOTS", "JOBQUEUE_TLS_CLIENT_CERT", "JOBQUEUE_TLS_CLIENT_KEY"} {
		t.Setenv(name, "")
	}
	address := unused(t)
	t.Setenv("JOBQUEUE_SERVER", address)
	for name, make := range map[string]func() (*jobqueue.Client, error){
		", or set JOBQUEUE_SERVER": func() (*jobqueue.Client, error) { return jobqueue.NewClientFromEnv(jobqueue.ClientOptions{}) },
		"":                         func() (*jobqueue.Client, error) { return jobqueue.NewClient(address, jobqueue.ClientOptions{}) },
	} {
		client, err := make()
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Retry(context.Background(), "1")
		if err == nil || !strings.HasSuffix(err.Error(), `start a server by "make run" or "jobqueue-server"`+name) {
			t.Error(err)
		}
		_ = client.Close()
	}
}

func TestAClientOfThePortOfHTTPIsToldThatGRPCHasAnotherOne(t *testing.T) {
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	client, err := jobqueue.NewClient(page.Listener.Addr().String(), jobqueue.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	_, err = client.Retry(context.Background(), "1")
	if err == nil || !strings.HasSuffix(err.Error(), "; this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS") {
		t.Error(err)
	}
}

func TestACallWithoutCredentialsSaysHowToGiveThem(t *testing.T) {
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		return nil, refusal(codes.Unauthenticated, "CREDENTIALS_MISSING")
	})
	_, err := client.Get(context.Background(), "1")
	if !errors.Is(err, jobqueue.ErrUnauthenticated) || !strings.HasSuffix(err.Error(), "; give them by Access.Token or Access.TokenSource") {
		t.Error(err)
	}
}

func TestAServerThatHasAnsweredNeedsNoHint(t *testing.T) {
	failures := []error{
		refusal(codes.NotFound, "JOB_NOT_FOUND"), status.Error(codes.Unavailable, "transport: Error while dialing: refused"),
	}
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		next := failures[0]
		failures = failures[1:]
		return nil, next
	})
	for range 2 {
		if _, err := client.Retry(context.Background(), "1"); err == nil || strings.Contains(err.Error(), "nothing answers") {
			t.Error(err)
		}
	}
}

// unused is an address of loopback at which nothing listens.
func unused(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
