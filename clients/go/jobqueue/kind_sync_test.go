package jobqueue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

type letterV1 struct {
	Name string `json:"name"`
}

type letter struct {
	First string `json:"first"`
	Last  string `json:"last"`
}

type receipt struct {
	ID string `json:"id"`
}

var (
	firstMail  = jobqueue.DefineKind[letterV1, jobqueue.None]("go.mail", jobqueue.Defaults(jobqueue.NewJob{MaxAttempts: 4}))
	secondMail = jobqueue.DefineKind[letter, receipt]("go.mail", jobqueue.PayloadVersion(2),
		jobqueue.Defaults(jobqueue.NewJob{Timeout: time.Minute, Queue: "post"}), jobqueue.Aliases("go.post"),
		jobqueue.Upcast(1, func(old letterV1) (letter, error) { return letter{old.Name, ""}, nil }))
)

func TestASyncSaysWhatADeclarationNamesAndNothingElse(t *testing.T) {
	policy := &jobqueue.RetryPolicy{MinBackoff: time.Second}
	third := jobqueue.DefineKind[int, int]("third", jobqueue.Defaults(jobqueue.NewJob{RetryPolicy: policy}))
	heavy := jobqueue.DefineKind[int, int]("heavy", jobqueue.SlotWeight(4))
	for _, row := range []struct {
		kind   jobqueue.DeclaredKind
		fields string
	}{
		{firstMail, "schema output_schema version max_attempts"},
		{secondMail, "schema output_schema version timeout"},
		{third, "schema output_schema version retry_policy"},
		{heavy, "schema output_schema version slot_weight"},
	} {
		client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
			asked := request.(*pb.PutKindRequest)
			if got := strings.Join(asked.GetUpdateMask().GetPaths(), " "); got != row.fields || !asked.GetOnlyNewer() {
				t.Error(got, asked)
			}
			return &pb.PutKindResponse{Kind: asked.GetKind()}, nil
		})
		synced, err := client.SyncKinds(t.Context(), row.kind)
		if err != nil || len(synced) != 1 || !synced[0].Changed || synced[0].Newer || synced[0].Kind.Name != row.kind.Name() {
			t.Error(synced, err)
		}
	}
}

func TestASyncWithAServerThatIsTooOldFailsByTheServersErrorOrSaysWhatItHasDone(t *testing.T) {
	calls := 0
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		if calls++; calls == 1 {
			return &pb.PutKindResponse{Kind: request.(*pb.PutKindRequest).GetKind()}, nil
		}
		return nil, refusal(codes.FailedPrecondition, "SERVERS_DIFFER")
	})
	synced, err := client.SyncKinds(t.Context(), firstMail, jobqueue.DefineKind[int, int]("other"))
	if !errors.Is(err, jobqueue.ErrServersDiffer) || len(synced) != 1 {
		t.Error(synced, err)
	}
	client = answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		return &pb.PutKindResponse{Kind: &pb.Kind{Name: "go.mail"}}, nil
	})
	if _, err = client.SyncKinds(t.Context(), firstMail); !errors.Is(err, jobqueue.ErrNotSupported) ||
		!strings.Contains(err.Error(), "it replaced all that was declared of the kind go.mail") {
		t.Error(err)
	}
}

func TestTwoTypesUnderOneNameAreNotSynced(t *testing.T) {
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		t.Error("something was sent")
		return nil, refusal(codes.Internal, "INTERNAL")
	})
	synced, err := client.SyncKinds(t.Context(), firstMail, secondMail)
	if len(synced) != 0 || !errors.Is(err, jobqueue.ErrInvalidRequest) ||
		!strings.Contains(err.Error(), `kinds: two types are declared as "go.mail": *jobqueue.JobKind[`) {
		t.Error(synced, err)
	}
}

func TestWhatASyncHasDoneIsReadAsWords(t *testing.T) {
	kind := &jobqueue.Kind{Name: "mail", Version: 3}
	said := fmt.Sprint([]jobqueue.SyncedKind{{Kind: kind, Changed: true}, {Kind: kind}, {Kind: kind, Newer: true}})
	if said != "[mail (version 3): changed mail (version 3): unchanged "+
		"mail (version 3): left as it is, since the server has a higher version]" {
		t.Error(said)
	}
}

// syncing is a worker that syncs its kinds with a scripted server, of which a function answers the calls.
func syncing(
	t *testing.T, log *bytes.Buffer, answer func(request *pb.PutKindRequest) (any, error),
) (*scripted, *jobqueue.Worker, context.CancelFunc, chan error) {
	server := newScripted(t, grpc.UnaryInterceptor(
		func(_ context.Context, request any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			return answer(request.(*pb.PutKindRequest))
		}))
	worker, err := jobqueue.NewWorker("passthrough:///scripted", jobqueue.WorkerOptions{
		Access: server.access(), SyncKinds: true, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	jobqueue.HandleKind(worker, secondMail, func(context.Context, *jobqueue.LeasedJob, letter) (receipt, error) { return receipt{}, nil })
	worker.Handle("untyped", func(context.Context, *jobqueue.LeasedJob) (any, error) { return nil, nil })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(cancel)
	return server, worker, cancel, ended
}

func TestAWorkerSyncsItsTypedKindsOnceAServerAnswersAndThenTakesJobs(t *testing.T) {
	var calls atomic.Int32
	var log bytes.Buffer
	server, _, cancel, ended := syncing(t, &log, func(request *pb.PutKindRequest) (any, error) {
		switch calls.Add(1) {
		case 1:
			return nil, refusal(codes.FailedPrecondition, "SERVERS_DIFFER")
		case 2:
			return &pb.PutKindResponse{Kind: request.GetKind()}, nil
		}
		t.Error("a kind was synced twice:", request)
		return nil, refusal(codes.Internal, "INTERNAL")
	})
	peer := server.open()
	if got := calls.Load(); got != 2 {
		t.Error(got, "calls before the worker took jobs")
	}
	if kinds := peer.hello.GetSubscriptions()[0].GetKinds(); !slices.Equal(kinds, []string{"go.mail", "go.post", "untyped"}) {
		t.Error(kinds)
	}
	cancel()
	peer.await("Drain", func(frame *pb.LeaseRequest) bool { return frame.GetDrain() != nil })
	peer.goodbye()
	if err := receive(t, "the end of Run", ended); err != nil {
		t.Error(err)
	}
	if said := log.String(); strings.Count(said, "the kinds are not synced yet") != 1 ||
		!strings.Contains(said, `msg="the kind is synced" kind=go.mail`) {
		t.Error(said)
	}
}

func TestAServerHasAFewSecondsToTakeKindsHoweverLongTheWorkerRuns(t *testing.T) {
	left := make(chan time.Duration, 100)
	server := newScripted(t, grpc.UnaryInterceptor(
		func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			ends, _ := ctx.Deadline()
			left <- time.Until(ends)
			return nil, refusal(codes.PermissionDenied, "PERMISSION_DENIED")
		}))
	worker, err := jobqueue.NewWorker("passthrough:///scripted", jobqueue.WorkerOptions{
		Access: server.access(), SyncKinds: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	jobqueue.HandleKind(worker, secondMail, func(context.Context, *jobqueue.LeasedJob, letter) (receipt, error) { return receipt{}, nil })
	ctx, late := context.WithTimeout(t.Context(), time.Hour)
	defer late()
	if err := worker.Run(ctx); !errors.Is(err, jobqueue.ErrNotAllowed) {
		t.Error(err)
	}
	if got := <-left; got > 10*time.Second {
		t.Error("another server would be asked after", got)
	}
}

func TestAWorkerThatMayNotDeclareItsKindsIsRefused(t *testing.T) {
	var log bytes.Buffer
	_, worker, _, ended := syncing(t, &log, func(*pb.PutKindRequest) (any, error) {
		return nil, refusal(codes.PermissionDenied, "PERMISSION_DENIED")
	})
	if err := receive(t, "the end of Run", ended); !errors.Is(err, jobqueue.ErrNotAllowed) {
		t.Error(err)
	}
	if status := worker.Status(); status.State != jobqueue.WorkerRefused || status.LastError == "" {
		t.Errorf("%+v", status)
	}
}

func TestAWorkerThatWaitsForAServerToSyncWithEndsWhenItIsTold(t *testing.T) {
	var log bytes.Buffer
	asked := make(chan bool, 100)
	_, worker, cancel, ended := syncing(t, &log, func(*pb.PutKindRequest) (any, error) {
		asked <- true
		return nil, refusal(codes.FailedPrecondition, "SERVERS_DIFFER")
	})
	receive(t, "a call", asked)
	if status := worker.Status(); status.State != jobqueue.WorkerStarting {
		t.Errorf("%+v", status)
	}
	cancel()
	if err := receive(t, "the end of Run", ended); err != nil || worker.Status().State != jobqueue.WorkerEnded {
		t.Error(err, worker.Status().State)
	}
}

// A test of the repository runs it, with the address of a server.
func TestARealServerHasWhatKindsAreDeclaredAndKeepsWhatAnOperatorSet(t *testing.T) {
	address := os.Getenv("JOBQUEUE_TEST_SERVER")
	if address == "" {
		t.Skip("JOBQUEUE_TEST_SERVER is not set")
	}
	client, err := jobqueue.NewClient(address, jobqueue.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	set := jobqueue.Kind{
		Name: "go.mail", MaxAttempts: 9, SlotWeight: 2, Annotations: map[string]string{"owner": "post"},
		Limits: &jobqueue.Limits{MaxRunning: 20}, RetryPolicy: &jobqueue.RetryPolicy{MinBackoff: 3 * time.Second},
	}
	if _, err = client.PutKind(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	sync := func(kind jobqueue.DeclaredKind, changed, newer bool) *jobqueue.Kind {
		t.Helper()
		synced, err := client.SyncKinds(t.Context(), kind)
		if err != nil || len(synced) != 1 || synced[0].Changed != changed || synced[0].Newer != newer {
			t.Fatalf("%+v %v", synced, err)
		}
		return synced[0].Kind
	}
	kind := sync(secondMail, true, false)
	if kind.MaxAttempts != 9 || kind.SlotWeight != 2 || kind.Annotations["owner"] != "post" || kind.Limits.MaxRunning != 20 ||
		kind.RetryPolicy.MinBackoff != 3*time.Second {
		t.Errorf("what an operator set is other: %+v", kind)
	}
	if kind.Version != 2 || kind.Timeout != time.Minute || !bytes.Equal(kind.Schema, secondMail.Schema()) ||
		!bytes.Equal(kind.OutputSchema, secondMail.OutputSchema()) {
		t.Errorf("what was declared is not there: %+v", kind)
	}
	sync(secondMail, false, false)
	heavy := jobqueue.DefineKind[int, jobqueue.None]("go.heavy", jobqueue.SlotWeight(4))
	if kind = sync(heavy, true, false); kind.SlotWeight != 4 {
		t.Errorf("what a job takes is not there: %+v", kind)
	}
	sync(heavy, false, false)
	if kind = sync(firstMail, false, true); kind.Version != 2 || kind.MaxAttempts != 9 {
		t.Errorf("an older program has undone something: %+v", kind)
	}
	for text, fits := range map[string]bool{`{"first":7}`: false, `{"name":"Ada"}`: true} {
		_, err = client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "go.mail", Payload: json.RawMessage(text)})
		if fits != (err == nil) || (!fits && !errors.Is(err, jobqueue.ErrPayloadInvalid)) {
			t.Error(text, err)
		}
	}
}
