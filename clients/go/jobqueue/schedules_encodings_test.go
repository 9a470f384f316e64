package jobqueue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// scheduling is a client of a server that has one schedule, and answers it to each call: what was sent of it last.
func scheduling(t *testing.T, encodings *jobqueue.Encodings, calls *atomic.Int32, last **pb.NewJob) *jobqueue.Schedules {
	return answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		calls.Add(1)
		switch request := request.(type) {
		case *pb.CreateScheduleRequest:
			*last = request.GetSchedule().GetJob()
			return &pb.CreateScheduleResponse{Schedule: &pb.Schedule{Job: *last}}, nil
		case *pb.UpdateScheduleRequest:
			if request.GetSchedule().GetJob() != nil {
				*last = request.GetSchedule().GetJob()
			}
			return &pb.UpdateScheduleResponse{Schedule: &pb.Schedule{Job: *last}}, nil
		case *pb.GetScheduleRequest:
			return &pb.GetScheduleResponse{Schedule: &pb.Schedule{Job: *last}}, nil
		case *pb.PauseScheduleRequest:
			return &pb.PauseScheduleResponse{Schedule: &pb.Schedule{Job: *last}}, nil
		case *pb.ResumeScheduleRequest:
			return &pb.ResumeScheduleResponse{Schedule: &pb.Schedule{Job: *last}}, nil
		case *pb.ListSchedulesRequest:
			return &pb.ListSchedulesResponse{Schedules: []*pb.Schedule{{Job: &pb.NewJob{Kind: (*last).GetKind()}}}}, nil
		}
		return nil, fmt.Errorf("%T", request)
	}, func(options *jobqueue.ClientOptions) { options.Encodings = encodings }).Schedules()
}

// read is the job of a schedule as each call answers it that has its payload.
func read(t *testing.T, schedules *jobqueue.Schedules) []jobqueue.NewJob {
	t.Helper()
	got, err1 := schedules.Get(t.Context(), "s")
	changed, err2 := schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Labels: map[string]string{"a": "b"}})
	paused, err3 := schedules.Pause(t.Context(), "s", "")
	resumed, err4 := schedules.Resume(t.Context(), "s")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return []jobqueue.NewJob{got.Job, changed.Job, paused.Job, resumed.Job}
}

func TestTheJobOfAScheduleIsEncodedAndAppliedAgainItHasTheSameBytes(t *testing.T) {
	var calls atomic.Int32
	var last *pb.NewJob
	plain := `{"text":"` + strings.Repeat(secret, 20) + `"}`
	job := jobqueue.NewJob{Kind: "mail", Payload: json.RawMessage(plain)}
	schedules := scheduling(t, coded(t), &calls, &last)
	made := must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: job}))
	sent := last.GetPayloadJson()
	if bytes.Contains(sent, []byte(secret)) || opened(t, coded(t), sent, payloadOf("mail")) != plain {
		t.Errorf("%s", sent)
	}
	// By the schedule's name, so that all languages and all programs have the same bytes.
	if sealed(t, coded(t), plain, payloadOf("mail"), "schedule s") != string(sent) {
		t.Errorf("%s", sent)
	}
	for _, each := range append(read(t, schedules), made.Job) {
		if string(each.Payload.(json.RawMessage)) != plain || each.PayloadEncoded() != nil {
			t.Error(each)
		}
		// As it was read, and by another program.
		again := scheduling(t, coded(t), &calls, &last)
		changed := must[*jobqueue.Schedule](t)(again.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &each}))
		if string(changed.Job.Payload.(json.RawMessage)) != plain || !bytes.Equal(last.GetPayloadJson(), sent) {
			t.Errorf("%s", last.GetPayloadJson())
		}
	}
	must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "other", jobqueue.ScheduleChange{Job: &job}))
	if bytes.Equal(last.GetPayloadJson(), sent) {
		t.Error("another schedule has the same bytes")
	}
}

func TestTheJobOfAScheduleWithoutAPayloadIsEncodedAtFirstAndNotInAChange(t *testing.T) {
	var calls atomic.Int32
	var last *pb.NewJob
	schedules := scheduling(t, coded(t), &calls, &last)
	job := jobqueue.NewJob{Kind: "mail"}
	must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: job}))
	if opened(t, coded(t), last.GetPayloadJson(), payloadOf("mail")) != "null" {
		t.Error(last)
	}
	for listed, err := range schedules.List(t.Context(), jobqueue.ScheduleFilter{}) {
		if err != nil || listed.Job.Payload != nil || listed.Job.PayloadEncoded() != nil {
			t.Fatal(listed, err)
		}
		must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &listed.Job}))
		if last.Content != nil {
			t.Error(last)
		}
	}
}

func TestTheJobOfAScheduleThatWasNotDecodedIsNotEncodedOnceMore(t *testing.T) {
	var calls atomic.Int32
	var last *pb.NewJob
	schedules := scheduling(t, coded(t), &calls, &last)
	job := jobqueue.NewJob{Kind: "mail", Payload: secret}
	must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: job}))
	envelope := last.GetPayloadJson()
	other := coded(t, cipher(t, "b", map[string][]byte{"b": keyB}))
	for words, encodings := range map[string]*jobqueue.Encodings{
		"encoded, aes256gcm, key a: this program has no encodings":              nil,
		"encoded, aes256gcm, key a: KeyUnknown: nothing here has the key \"a\"": other,
	} {
		for _, each := range read(t, scheduling(t, encodings, &calls, &last)) {
			encoded := each.PayloadEncoded()
			if encoded == nil || !strings.HasPrefix(encoded.Error(), words) || encoded.KeyID != "a" ||
				!bytes.Equal(each.Payload.(json.RawMessage), envelope) {
				t.Fatal(encoded)
			}
			before := calls.Load()
			_, err1 := schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &each})
			_, err2 := schedules.Create(t.Context(), jobqueue.NewSchedule{Name: "t", Spec: seldom, Job: each})
			writer := stored(t, coded(t), &calls, new([]*pb.NewJob))
			_, err3 := writer.Enqueue(t.Context(), each)
			_, err4 := writer.EnqueueMany(t.Context(), []jobqueue.NewJob{each})
			for _, err := range []error{err1, err2, err3, err4} {
				if said := (*jobqueue.EncodedError)(nil); !errors.As(err, &said) || said != encoded {
					t.Error(err)
				}
			}
			if calls.Load() != before {
				t.Error("sent")
			}
			// Without encodings it goes as it is; with another payload it is another job.
			none := scheduling(t, nil, &calls, &last)
			must[*jobqueue.Schedule](t)(none.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &each}))
			if !bytes.Equal(last.GetPayloadJson(), envelope) {
				t.Error(last)
			}
			each.Payload = json.RawMessage(`"` + secret + `"`)
			must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &each}))
			if !bytes.Equal(last.GetPayloadJson(), envelope) || each.PayloadEncoded() != nil {
				t.Error(last)
			}
		}
	}
}

func TestAFollowUpIsNotMadeOfTheJobOfAScheduleThatWasNotDecoded(t *testing.T) {
	var calls atomic.Int32
	var last *pb.NewJob
	schedules := scheduling(t, coded(t), &calls, &last)
	job := jobqueue.NewJob{Kind: "mail", Payload: secret}
	must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: job}))
	unread := must[*jobqueue.Schedule](t)(scheduling(t, nil, &calls, &last).Get(t.Context(), "s"))
	_, outcome := attemptOf(t, coded(t), leasedWith("null", ""), func(_ context.Context, leased *jobqueue.LeasedJob) (any, error) {
		return nil, leased.FollowUp(unread.Job)
	})
	if failure := outcome.GetFailure(); failure.GetErrorType() != "Encoded" {
		t.Error(outcome)
	}
}

func TestTheJobOfAScheduleThatCanNotBeEncodedIsNotSent(t *testing.T) {
	var calls atomic.Int32
	var last *pb.NewJob
	apply := func(encodings *jobqueue.Encodings, job jobqueue.NewJob) []error {
		schedules := scheduling(t, encodings, &calls, &last)
		_, err1 := schedules.Create(t.Context(), jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: job})
		_, err2 := schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &job})
		return []error{err1, err2}
	}
	mail := map[string]any{"text": secret}
	for _, encodings := range []*jobqueue.Encodings{nil, coded(t, packing)} {
		for _, err := range apply(encodings, requiredKind.New(mail)) {
			if needs := (*jobqueue.EncodingRequiredError)(nil); !errors.As(err, &needs) || needs.Kind != "required" {
				t.Error(err)
			}
		}
	}
	for _, err := range apply(coded(t, broken), jobqueue.NewJob{Kind: "mail", Payload: secret}) {
		if err == nil || !strings.Contains(err.Error(), "no key today") {
			t.Error(err)
		}
	}
	for _, err := range apply(coded(t), jobqueue.NewJob{Kind: "mail", Payload: secret, Unique: &jobqueue.Unique{}}) {
		refusedWith(t, err, jobqueue.ErrInvalidRequest, "schedule.job.unique")
	}
	if calls.Load() != 0 {
		t.Error("sent")
	}
	for _, err := range apply(coded(t), requiredKind.New(mail)) {
		if err != nil || opened(t, coded(t), last.GetPayloadJson(), payloadOf("required")) != `{"text":"`+secret+`"}` {
			t.Error(err, last)
		}
	}
	for _, err := range apply(coded(t), neverKind.New(mail)) {
		if err != nil || string(last.GetPayloadJson()) != `{"text":"`+secret+`"}` {
			t.Error(err, last)
		}
	}
}

func TestFieldsOfAPolicyThatIsNotGivenAreNotReset(t *testing.T) {
	var paths [][]string
	schedules := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		paths = append(paths, request.(*pb.UpdateScheduleRequest).GetUpdateMask().GetPaths())
		return &pb.UpdateScheduleResponse{Schedule: &pb.Schedule{}}, nil
	}).Schedules()
	fields := []string{"overlap"}
	for _, policy := range []*jobqueue.SchedulePolicy{nil, {Overlap: jobqueue.OverlapAllow}} {
		must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Policy: policy, PolicyFields: fields}))
	}
	if len(paths[0]) != 0 || len(paths[1]) != 1 || paths[1][0] != "policy.overlap" {
		t.Error(paths)
	}
}

func TestAnEncodedScheduleThatIsDeclaredAgainHasTheSameBytesAlsoWithoutAPayload(t *testing.T) {
	for _, payload := range []any{secret, nil} {
		var last *pb.NewJob
		client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
			switch request := request.(type) {
			case *pb.CreateScheduleRequest:
				last = request.GetSchedule().GetJob()
				return &pb.CreateScheduleResponse{Schedule: etagged("s", "us", "1")}, nil
			case *pb.UpdateScheduleRequest:
				if got := request.GetSchedule().GetJob(); got.GetPayloadJson() == nil || !proto.Equal(got, last) {
					t.Errorf("%v, not %v", got, last)
				}
				return &pb.UpdateScheduleResponse{Schedule: etagged("s", "us", "1")}, nil
			}
			if last == nil {
				return nil, refusal(codes.NotFound, "SCHEDULE_NOT_FOUND")
			}
			return &pb.GetScheduleResponse{Schedule: etagged("s", "us", "1")}, nil
		}, func(options *jobqueue.ClientOptions) { options.Encodings = coded(t) })
		news := declared("s")
		news[0].Job.Payload = payload
		for _, wanted := range []string{"s CREATED", "s UNCHANGED"} {
			if did := must[[]jobqueue.AppliedSchedule](t)(client.Schedules().Apply(t.Context(), news, ours)); done(did) != wanted {
				t.Errorf("%s, not %s", done(did), wanted)
			}
		}
		if text := last.GetPayloadJson(); bytes.Contains(text, []byte(secret)) || string(text) == "null" {
			t.Errorf("%s", last.GetPayloadJson())
		}
	}
}
