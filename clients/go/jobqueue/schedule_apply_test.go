package jobqueue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
	pb "jobqueue.dev/go/jobqueue/v1"
)

var ours = jobqueue.ApplyOptions{Owner: "us"}

// declared are schedules that fire nothing by themselves.
func declared(names ...string) []jobqueue.NewSchedule {
	var made []jobqueue.NewSchedule
	for _, name := range names {
		made = append(made, jobqueue.NewSchedule{Name: name, Spec: seldom, Job: jobqueue.NewJob{Kind: "work", Payload: 1}})
	}
	return made
}

// done is what an Apply did, each with its name.
func done(applied []jobqueue.AppliedSchedule) string {
	var said []string
	for _, each := range applied {
		said = append(said, each.Schedule.Name+" "+string(each.Done))
	}
	return strings.Join(said, ", ")
}

// applied holds an Apply to what it did.
func applied(
	t *testing.T, scope *jobqueuetest.TestScope, wanted string, options jobqueue.ApplyOptions, schedules ...jobqueue.NewSchedule,
) {
	t.Helper()
	did := must[[]jobqueue.AppliedSchedule](t)(scope.Client.Schedules().Apply(t.Context(), schedules, options))
	if got := done(did); got != wanted {
		t.Errorf("%s, not %s", got, wanted)
	}
}

func namesOf(t *testing.T, scope *jobqueuetest.TestScope) string {
	t.Helper()
	var names []string
	for _, each := range all(t, scope.Client.Schedules().List(t.Context(), jobqueue.ScheduleFilter{})) {
		names = append(names, each.Name)
	}
	return strings.Join(names, " ")
}

func TestInAScopeWhatAProgramDeclaresIsCreatedChangedOrLeftUntouched(t *testing.T) {
	scope := scoped(t, "work")
	schedules, ctx := scope.Client.Schedules(), t.Context()
	news := declared("a", "b")
	news[0].Policy, news[0].Labels = &tickPolicy, map[string]string{"of": "team"}
	news[1].Spec, news[1].Job.Payload = nightly, nil
	applied(t, scope, "a CREATED, b CREATED", ours, news...)
	before := must[*jobqueue.Schedule](t)(schedules.Get(ctx, "a"))
	labels := map[string]string{"of": "team", "jobqueue.owner": "us"}
	if before.Spec.Cron[0] != seldom.Cron[0] || !reflect.DeepEqual(before.Policy, tickPolicy) || !reflect.DeepEqual(before.Labels, labels) {
		t.Errorf("%+v", before)
	}
	applied(t, scope, "a UNCHANGED, b UNCHANGED", ours, news...)
	news[1].Job.Payload = map[string]int{"a": 2}
	applied(t, scope, "a UNCHANGED, b CHANGED", ours, news...)
	after := must[*jobqueue.Schedule](t)(schedules.Get(ctx, "a"))
	if after.Etag != before.Etag || !after.UpdatedAt.Equal(before.UpdatedAt) || len(news[0].Labels) != 1 {
		t.Errorf("%+v, and before %+v", after, before)
	}
	if job := must[*jobqueue.Schedule](t)(schedules.Get(ctx, "b")).Job; string(job.Payload.(json.RawMessage)) != `{"a":2}` {
		t.Errorf("%+v", job)
	}
	// One without a payload says so, and does not keep the one that was there.
	news[1].Job.Payload = nil
	applied(t, scope, "a UNCHANGED, b CHANGED", ours, news...)
	if job := must[*jobqueue.Schedule](t)(schedules.Get(ctx, "b")).Job; string(job.Payload.(json.RawMessage)) != "null" {
		t.Errorf("%+v", job)
	}
}

func TestInAScopeAScheduleThatIsDeclaredWithoutAPolicyGetsTheDefaultsAgain(t *testing.T) {
	scope := scoped(t, "work")
	news := declared("a")
	news[0].Policy, news[0].Labels = &tickPolicy, map[string]string{"of": "team"}
	applied(t, scope, "a CREATED", ours, news...)
	applied(t, scope, "a CHANGED", ours, declared("a")...)
	changed := must[*jobqueue.Schedule](t)(scope.Client.Schedules().Get(t.Context(), "a"))
	if changed.Policy.KeepRuns != 100 || changed.Policy.Overlap != jobqueue.OverlapBufferOne || changed.Policy.PauseAfterFailures != 0 {
		t.Errorf("%+v", changed.Policy)
	}
	if !reflect.DeepEqual(changed.Labels, map[string]string{"jobqueue.owner": "us"}) {
		t.Errorf("%+v", changed.Labels)
	}
}

func TestInAScopeWhatIsPausedIsForOperatorsOnceAScheduleIsThere(t *testing.T) {
	scope := scoped(t, "work")
	schedules := scope.Client.Schedules()
	news := declared("a", "b")
	news[1].Paused = true
	applied(t, scope, "a CREATED, b CREATED", ours, news...)
	must[*jobqueue.Schedule](t)(schedules.Pause(t.Context(), "a", "flood"))
	if b := must[*jobqueue.Schedule](t)(schedules.Get(t.Context(), "b")); !b.Paused {
		t.Errorf("%+v", b)
	}
	if resumed := must[*jobqueue.Schedule](t)(schedules.Resume(t.Context(), "b")); resumed.Paused {
		t.Errorf("%+v", resumed)
	}
	news[0].Labels = map[string]string{"of": "team"}
	applied(t, scope, "a CHANGED, b UNCHANGED", ours, news...)
	if a := must[*jobqueue.Schedule](t)(schedules.Get(t.Context(), "a")); !a.Paused || a.PauseNote != "flood" {
		t.Errorf("%+v", a)
	}
	if b := must[*jobqueue.Schedule](t)(schedules.Get(t.Context(), "b")); b.Paused {
		t.Errorf("%+v", b)
	}
}

func TestInAScopeOnlySchedulesOfTheOwnerThatAreNotDeclaredAreDeletedAndOnlyIfAsked(t *testing.T) {
	scope := scoped(t, "work")
	create(t, scope, "by-hand", jobqueue.NewJob{Kind: "work"})
	applied(t, scope, "theirs CREATED", jobqueue.ApplyOptions{Owner: "them"}, declared("theirs")...)
	applied(t, scope, "a CREATED, b CREATED, c CREATED", ours, declared("a", "b", "c")...)
	applied(t, scope, "b UNCHANGED", ours, declared("b")...)
	if got := namesOf(t, scope); got != "a b by-hand c theirs" {
		t.Error(got)
	}
	prune := jobqueue.ApplyOptions{Owner: "us", Prune: true}
	applied(t, scope, "b UNCHANGED, a DELETED, c DELETED", prune, declared("b")...)
	if got := namesOf(t, scope); got != "b by-hand theirs" {
		t.Error(got)
	}
}

func TestInAScopeAScheduleOfAnotherOwnerOrOfNoneIsNeverChanged(t *testing.T) {
	scope := scoped(t, "work")
	schedules := scope.Client.Schedules()
	made := create(t, scope, "by-hand", jobqueue.NewJob{Kind: "work"})
	applied(t, scope, "theirs CREATED", jobqueue.ApplyOptions{Owner: "them"}, declared("theirs")...)
	for name, owner := range map[string]string{"by-hand": "", "theirs": "them"} {
		did, err := schedules.Apply(t.Context(), declared("a", name, "z"), ours)
		refusedWith(t, err, jobqueue.ErrScheduleExists, "")
		var failure *jobqueue.Error
		if !errors.As(err, &failure) || failure.Metadata["schedule"] != name || failure.Metadata["owner"] != owner ||
			failure.Reason != "SCHEDULE_EXISTS" || len(did) != 1 || did[0].Schedule.Name != "a" {
			t.Errorf("%v after %s", err, done(did))
		}
		words := "the schedule theirs is of them"
		if owner == "" {
			words = "the schedule by-hand has no owner"
		}
		if !strings.Contains(err.Error(), words) {
			t.Error(err)
		}
	}
	if read := must[*jobqueue.Schedule](t)(schedules.Get(t.Context(), "by-hand")); read.Etag != made.Etag {
		t.Errorf("%+v", read)
	}
	if got := namesOf(t, scope); got != "a by-hand theirs" {
		t.Error(got)
	}
}

func TestInAScopeProgramsOfOneOwnerThatStartAtOnceAgree(t *testing.T) {
	scope := scoped(t, "work")
	var group sync.WaitGroup
	found := make([][]jobqueue.AppliedSchedule, 8)
	for number := range found {
		group.Go(func() {
			news := declared("a", "b")
			for i := range news {
				news[i].Labels = map[string]string{"number": fmt.Sprint(number % 2)}
			}
			var err error
			if found[number], err = scope.Client.Schedules().Apply(t.Context(), news, ours); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	var created []string
	for _, each := range slices.Concat(found...) {
		if each.Done == jobqueue.AppliedCreated {
			created = append(created, each.Schedule.Name)
		}
	}
	if slices.Sort(created); fmt.Sprint(created) != "[a b]" || namesOf(t, scope) != "a b" {
		t.Error(created, namesOf(t, scope))
	}
}

func TestWhatIsDeclaredTwiceOrWithoutAnOwnerIsRefusedBeforeTheCall(t *testing.T) {
	client := answering(t, func(method string, _ any, _ metadata.MD) (any, error) {
		t.Error(method, "was called")
		return nil, refusal(codes.Internal, "INTERNAL")
	})
	_, err := client.Schedules().Apply(t.Context(), declared("a", "b", "a"), ours)
	if refusedWith(t, err, jobqueue.ErrInvalidRequest, "declared"); !strings.Contains(err.Error(), `two schedules have the name "a"`) {
		t.Error(err)
	}
	_, err = client.Schedules().Apply(t.Context(), declared("a"), jobqueue.ApplyOptions{Prune: true})
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "Owner")
}

// etagged is a schedule of an owner, as a server tells it.
func etagged(name, owner, etag string) *pb.Schedule {
	return &pb.Schedule{Name: name, Etag: etag, Labels: map[string]string{"jobqueue.owner": owner}}
}

// acting is a client of which each call has its turn: what is answered, by the names of the methods.
func acting(t *testing.T, turns ...any) (*jobqueue.Client, *[]string) {
	var calls []string
	client := answering(t, func(method string, _ any, _ metadata.MD) (any, error) {
		calls = append(calls, method[strings.LastIndex(method, "/")+1:])
		if len(calls) > len(turns) {
			return nil, refusal(codes.Internal, "INTERNAL")
		}
		if err, ok := turns[len(calls)-1].(error); ok {
			return nil, err
		}
		return turns[len(calls)-1], nil
	})
	return client, &calls
}

func TestAScheduleThatAnotherProgramMakesChangesOrDeletesMeanwhileIsAppliedAgain(t *testing.T) {
	missing := refusal(codes.NotFound, "SCHEDULE_NOT_FOUND")
	found := &pb.GetScheduleResponse{Schedule: etagged("a", "us", "1")}
	client, calls := acting(t,
		missing, refusal(codes.AlreadyExists, "SCHEDULE_EXISTS"), // made
		found, refusal(codes.Aborted, "ETAG_MISMATCH"), // changed
		found, missing, // deleted
		missing, &pb.CreateScheduleResponse{Schedule: etagged("a", "us", "2")},
	)
	did, err := client.Schedules().Apply(t.Context(), declared("a"), ours)
	if err != nil || done(did) != "a CREATED" {
		t.Errorf("%s %v", done(did), err)
	}
	if got := strings.Join(*calls, " "); got != "GetSchedule CreateSchedule GetSchedule UpdateSchedule GetSchedule UpdateSchedule "+
		"GetSchedule CreateSchedule" {
		t.Error(got)
	}
}

func TestAScheduleThatOthersChangeForEverIsTriedTenTimesAndLessIfTheContextEnds(t *testing.T) {
	var updates atomic.Int32
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		asked, ok := request.(*pb.UpdateScheduleRequest)
		if !ok {
			return &pb.GetScheduleResponse{Schedule: etagged("a", "us", "1")}, nil
		}
		if updates.Add(1); asked.Schedule.Etag != "1" {
			t.Error(asked)
		}
		return nil, refusal(codes.Aborted, "ETAG_MISMATCH")
	})
	began := time.Now()
	_, err := client.Schedules().Apply(t.Context(), declared("a"), ours)
	if took := time.Since(began); !errors.Is(err, jobqueue.ErrEtagMismatch) || updates.Load() != 10 || took < 9*20*time.Millisecond {
		t.Errorf("%v after %d tries and %v", err, updates.Load(), took)
	}
	updates.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = client.Schedules().Apply(ctx, declared("a"), ours)
	if !errors.Is(err, context.Canceled) || updates.Load() == 10 {
		t.Errorf("%v after %d tries", err, updates.Load())
	}
}

func TestAScheduleOfAnotherOwnerIsReadOnceAndWhatWasDoneBeforeIsTold(t *testing.T) {
	client, calls := acting(t,
		refusal(codes.NotFound, "SCHEDULE_NOT_FOUND"), &pb.CreateScheduleResponse{Schedule: etagged("a", "us", "1")},
		&pb.GetScheduleResponse{Schedule: etagged("b", "them", "1")},
	)
	did, err := client.Schedules().Apply(t.Context(), declared("a", "b", "c"), jobqueue.ApplyOptions{Owner: "us", Prune: true})
	if refusedWith(t, err, jobqueue.ErrScheduleExists, ""); done(did) != "a CREATED" || len(*calls) != 3 {
		t.Errorf("%s by %v", done(did), *calls)
	}
}

func TestWhatIsToBeDeletedAndWasChangedSinceIsLeftToTheProgramThatDidSo(t *testing.T) {
	var asked *pb.ListSchedulesRequest
	var deleted []string
	client := answering(t, func(method string, request any, _ metadata.MD) (any, error) {
		switch request := request.(type) {
		case *pb.ListSchedulesRequest:
			asked = request
			return &pb.ListSchedulesResponse{Schedules: []*pb.Schedule{
				etagged("changed", "us", "1"), etagged("gone", "us", "2"), etagged("old", "us", "3"),
			}}, nil
		case *pb.DeleteScheduleRequest:
			deleted = append(deleted, request.Name+" "+request.Etag)
			switch request.Name {
			case "changed":
				return nil, refusal(codes.Aborted, "ETAG_MISMATCH")
			case "gone":
				return nil, refusal(codes.NotFound, "SCHEDULE_NOT_FOUND")
			}
			return &pb.DeleteScheduleResponse{}, nil
		}
		return nil, fmt.Errorf("%s was not to be called", method)
	})
	did, err := client.Schedules().Apply(t.Context(), nil, jobqueue.ApplyOptions{Owner: "us", Prune: true})
	if err != nil || done(did) != "old DELETED" || did[0].Schedule.Etag != "3" {
		t.Errorf("%s %v", done(did), err)
	}
	if fmt.Sprint(deleted) != "[changed 1 gone 2 old 3]" || !slices.Equal(asked.Labels, []string{"jobqueue.owner=us"}) {
		t.Error(deleted, asked)
	}
}

func TestAScheduleIsUnchangedWhereItsEtagIsAndIsDeclaredAsAWhole(t *testing.T) {
	var sent *pb.UpdateScheduleRequest
	etag := "1"
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		if asked, ok := request.(*pb.UpdateScheduleRequest); ok {
			sent = asked
			return &pb.UpdateScheduleResponse{Schedule: etagged("a", "us", etag)}, nil
		}
		return &pb.GetScheduleResponse{Schedule: etagged("a", "us", "1")}, nil
	})
	news := declared("a")
	news[0].Job.Payload = json.RawMessage(nil)
	for wanted, after := range map[string]string{"a UNCHANGED": "1", "a CHANGED": "2"} {
		etag = after
		if did := must[[]jobqueue.AppliedSchedule](t)(client.Schedules().Apply(t.Context(), news, ours)); done(did) != wanted {
			t.Errorf("%s, not %s", done(did), wanted)
		}
	}
	if paths := sent.UpdateMask.GetPaths(); fmt.Sprint(paths) != "[spec job policy labels]" || sent.AllowMissing ||
		sent.Schedule.Policy == nil || string(sent.Schedule.Job.GetPayloadJson()) != "null" || sent.Schedule.Paused {
		t.Error(sent)
	}
}
