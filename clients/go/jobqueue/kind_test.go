package jobqueue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

type mail struct {
	To      string   `json:"to"`
	Subject string   `json:"subject,omitempty"`
	CC      []string `json:"cc,omitempty"`
	Extra   any      `json:"extra,omitempty"`
	Size    int      `json:"size,omitempty"`
}

type sent struct {
	MessageID string `json:"message_id"`
}

type mailV1 struct {
	Name string `json:"name"`
}

var sendMail = jobqueue.DefineKind[mail, sent](
	"send-mail",
	jobqueue.PayloadVersion(3),
	jobqueue.Upcast(1, func(old mailV1) (map[string]any, error) {
		if old.Name == "" {
			return nil, errors.New("no name: secret")
		}
		return map[string]any{"addresses": []string{old.Name + "@example.org"}}, nil
	}),
	jobqueue.Upcast(2, func(old map[string]any) (map[string]any, error) {
		return map[string]any{"to": old["addresses"].([]any)[0], "extra": old["extra"]}, nil
	}),
	jobqueue.Aliases("mail"),
	jobqueue.Defaults(jobqueue.NewJob{
		Queue: "mail", MaxAttempts: 5, Timeout: 2 * time.Minute, Headers: map[string]string{"from": "the kind"},
	}),
	jobqueue.KeyBy(func(m mail) string { return m.To }),
)

func deliver(_ context.Context, _ *jobqueue.LeasedJob, m mail) (sent, error) {
	return sent{fmt.Sprintf("%d for %s", len(m.CC)+1, m.To)}, nil
}

// attempted is the outcome of one attempt of a typed handler, and the frames before it.
func attempted[P, O any](
	t *testing.T, kind *jobqueue.JobKind[P, O], handler jobqueue.KindHandler[P, O], message *pb.LeasedJob,
) *pb.Outcome {
	t.Helper()
	server := newScripted(t)
	worker, err := jobqueue.NewWorker("passthrough:///scripted", jobqueue.WorkerOptions{
		Access: server.access(), ShutdownGrace: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	jobqueue.HandleKind(worker, kind, handler)
	ctx, drain := context.WithCancel(context.Background())
	t.Cleanup(drain)
	go func() { _ = worker.Run(ctx) }()
	stream := server.open()
	stream.deliver(1, message)
	settle := stream.settle()
	stream.settled(settle)
	if len(settle.Outcomes) == 0 {
		return &pb.Outcome{Outcome: &pb.Outcome_Success{Success: &pb.Success{}}}
	}
	return settle.Outcomes[0]
}

func leased(kind, payload string, version string) *pb.LeasedJob {
	message := &pb.LeasedJob{LeaseId: 1, Id: "1", Attempt: 1, Kind: kind, MaxAttempts: 3,
		Content: &pb.LeasedJob_PayloadJson{PayloadJson: []byte(payload)}}
	if version != "" {
		message.Headers = map[string]string{"x-payload-version": version}
	}
	return message
}

func TestATypedHandlerGetsThePayloadAndReturnsTheOutput(t *testing.T) {
	outcome := attempted(t, sendMail, deliver, leased("send-mail", `{"to":"ada","cc":["bob"],"new":1}`, "3"))
	if text := string(outcome.GetSuccess().GetOutputJson()); text != `{"message_id":"2 for ada"}` {
		t.Error(text)
	}
}

func TestAPayloadOfAnOlderVersionIsMadeOneOfThisVersion(t *testing.T) {
	for version, payload := range map[string]string{
		"": `{"name":"ada"}`, "1": `{"name":"ada"}`, "2": `{"addresses":["ada@example.org"]}`, "3": `{"to":"ada@example.org"}`,
	} {
		outcome := attempted(t, sendMail, deliver, leased("mail", payload, version))
		if text := string(outcome.GetSuccess().GetOutputJson()); text != `{"message_id":"1 for ada@example.org"}` {
			t.Errorf("version %s: %v", version, outcome)
		}
	}
}

func TestAPayloadThatIsNewerWaitsForANewerWorkerAtNoCostForHalfAnHour(t *testing.T) {
	message := leased("send-mail", `{"other":true}`, "4")
	var all time.Duration
	for snoozed := 1; snoozed <= 20; snoozed++ {
		// Failures are no waits.
		message.Attempt, message.Failures = int32(snoozed)+2, 2
		delay := attempted(t, sendMail, deliver, message).GetSnooze().GetDelay().AsDuration()
		middle := 15 * time.Second * time.Duration(min(snoozed, 8))
		if delay < middle*3/4 || delay > middle*5/4 {
			t.Errorf("the wait number %d is %v", snoozed, delay)
		}
		all += delay
	}
	if all < 25*time.Minute || all > 45*time.Minute {
		t.Errorf("%v in all", all)
	}
	message.Attempt = 23
	failure := attempted(t, sendMail, deliver, message).GetFailure()
	if failure.GetErrorType() != "PayloadTooNew" || failure.GetPermanent() ||
		failure.GetError() != "the payload has version 4; this program knows 3" {
		t.Error(failure)
	}
}

func TestAPayloadThatIsUnreadableEndsItsJobAndIsNotInTheError(t *testing.T) {
	for _, each := range []struct{ payload, version, words string }{
		{`{"to":{"secret":1}}`, "3", "payload.to: must be a string"},
		{`{"to":null}`, "3", "payload.to: must be a string"},
		{`{"subject":"secret"}`, "3", "payload.to: must be there"},
		{`{"to":"a","cc":["b",1]}`, "3", "payload.cc[1]: must be a string"},
		{`{"to":"a","size":1.5}`, "3", "payload.size: must be a whole number"},
		{`{"to":"a","size":98765432109876543210}`, "3",
			"payload.size: must be a whole number from -9223372036854775808 to 9223372036854775807"},
		{`["secret"]`, "3", "payload: must be an object"},
		{`{"to":"a"}`, "secret", "headers.x-payload-version: must be the number of a version, from 1"},
		{`{"to":"a"}`, "0", "headers.x-payload-version: must be the number of a version, from 1"},
		{`{}`, "1", "payload.name: must be there"},
		{`{"name":""}`, "1", "the payload has version 1, and its upcaster from 1 on failed with error"},
		{`{"addresses":["a"]}`, "1", "payload.name: must be there"},
		{`{"addresses":[]}`, "2", "the payload has version 2, and its upcaster from 2 on failed with runtime.boundsError"},
		{`{"addresses":7}`, "2", "the payload has version 2, and its upcaster from 2 on failed with runtime.TypeAssertionError"},
	} {
		failure := attempted(t, sendMail, deliver, leased("send-mail", each.payload, each.version)).GetFailure()
		if failure.GetError() != each.words || failure.GetErrorType() != "PayloadUnreadable" || !failure.GetPermanent() {
			t.Errorf("%s: %v", each.payload, failure)
		}
	}
	gap := jobqueue.DefineKind[mail, sent]("gap", jobqueue.PayloadVersion(2))
	failure := attempted(t, gap, deliver, leased("gap", `{}`, "")).GetFailure()
	if failure.GetError() != "the payload has version 1, and the kind has no upcaster from 1 on" {
		t.Error(failure)
	}
}

func TestUnknownFieldsAreRefusedByAStrictKindAlone(t *testing.T) {
	strict := jobqueue.DefineKind[mail, sent]("strict", jobqueue.Strict())
	failure := attempted(t, strict, deliver, leased("strict", `{"to":"a","b c":1}`, "")).GetFailure()
	if failure.GetError() != "payload['b c']: must be left out: it is not known" {
		t.Error(failure)
	}
	if !strings.Contains(string(strict.Schema()), `"additionalProperties":false`) ||
		strings.Contains(string(sendMail.Schema()), "additionalProperties\":false") {
		t.Error(string(strict.Schema()))
	}
}

func TestNoNumberLosesDigits(t *testing.T) {
	type numbers struct {
		Any   any             `json:"any"`
		Whole int64           `json:"whole"`
		Big   *big.Int        `json:"big"`
		Exact json.Number     `json:"exact"`
		Raw   json.RawMessage `json:"raw"`
	}
	text := `{"any":{"n":12345678901234567890.10},"whole":9223372036854775807,"big":123456789012345678901234567890,` +
		`"exact":0.1000000000000000055511151231257827,"raw":[ 1.00 ]}`
	kind := jobqueue.DefineKind[numbers, numbers]("numbers", jobqueue.PayloadVersion(2),
		jobqueue.Upcast(1, func(old any) (any, error) { return old, nil }))
	for _, version := range []string{"1", "2"} {
		outcome := attempted(t, kind, func(_ context.Context, _ *jobqueue.LeasedJob, n numbers) (numbers, error) {
			return n, nil
		}, leased("numbers", text, version))
		if given := strings.ReplaceAll(string(outcome.GetSuccess().GetOutputJson()), " ", ""); given !=
			strings.ReplaceAll(text, " ", "") {
			t.Errorf("%v", outcome)
		}
	}
}

func TestAJobThatIsNotThereIsAnErrorAndNoPanic(t *testing.T) {
	_, output := sendMail.OutputOf(nil)
	_, payload := sendMail.PayloadOf(nil)
	for _, err := range []error{output, payload} {
		if err == nil || !strings.Contains(err.Error(), "there is no job to read, it is nil") {
			t.Error(err)
		}
	}
}

func TestAWholeNumberIsOneHoweverItIsWritten(t *testing.T) {
	for _, text := range []string{"7.0", "0.7e1", "70e-1", "7"} {
		found, err := sendMail.PayloadOf(&jobqueue.Job{
			Kind: "mail", Headers: map[string]string{"x-payload-version": "3"},
			Payload: json.RawMessage(`{"to":"a","size":` + text + `}`),
		})
		if err != nil || found.Size != 7 {
			t.Error(found, err)
		}
	}
	_, err := sendMail.PayloadOf(&jobqueue.Job{
		Kind: "mail", Headers: map[string]string{"x-payload-version": "3"},
		Payload: json.RawMessage(`{"to":"a","size":1e999999999}`),
	})
	if err == nil {
		t.Error("it was read")
	}
}

func TestAJobOfAKindSaysWhatTheKindSaysAndThenWhatItSaysItself(t *testing.T) {
	job := sendMail.New(mail{To: "ada"})
	if job.Kind != "send-mail" || job.Queue != "mail" || job.MaxAttempts != 5 || job.Timeout != 2*time.Minute || job.Key != "ada" {
		t.Errorf("%+v", job)
	}
	job.Headers["changed"] = "here"
	if sendMail.New(mail{}).Headers["changed"] != "" {
		t.Error("a job changed the kind")
	}
	unique := jobqueue.DefineKind[mail, jobqueue.None]("unique", jobqueue.UniqueBy(
		func(m mail) *jobqueue.Unique { return &jobqueue.Unique{Key: m.To} }))
	if unique.New(mail{To: "ada"}).Unique.Key != "ada" {
		t.Error("it is not unique by its payload")
	}
}

func TestTheVersionGoesWithAJobWhateverItsHeadersAre(t *testing.T) {
	var headers map[string]string
	client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		headers = request.(*pb.EnqueueJobRequest).Job.Headers
		return &pb.EnqueueJobResponse{Job: &pb.Job{Id: "1"}}, nil
	})
	job := sendMail.New(mail{To: "ada"})
	job.Headers = map[string]string{"x-payload-version": "9", "mine": "1"}
	if _, err := client.Enqueue(context.Background(), job); err != nil {
		t.Fatal(err)
	}
	if headers["x-payload-version"] != "3" || headers["mine"] != "1" || job.Headers["x-payload-version"] != "9" {
		t.Error(headers, job.Headers)
	}
	first := jobqueue.DefineKind[mail, sent]("first")
	if _, err := client.Enqueue(context.Background(), first.New(mail{To: "ada"})); err != nil {
		t.Fatal(err)
	}
	if _, said := headers["x-payload-version"]; said {
		t.Error("version 1 is said")
	}
}

func TestAPayloadThatIsNoJSONIsRefusedAsTheServersDo(t *testing.T) {
	client := answering(t, func(string, any, metadata.MD) (any, error) { return nil, errors.New("it was sent") })
	kind := jobqueue.DefineKind[float64, jobqueue.None]("floats")
	_, err := client.Enqueue(context.Background(), kind.New(math.NaN()))
	var failure *jobqueue.Error
	if !errors.Is(err, jobqueue.ErrPayloadInvalid) || !errors.As(err, &failure) || failure.Violations[0].Field != "job.payload" {
		t.Error(err)
	}
}

func TestAFollowUpOfAKindHasItsVersion(t *testing.T) {
	next := jobqueue.DefineKind[mail, jobqueue.None]("first")
	outcome := attempted(t, next, func(_ context.Context, job *jobqueue.LeasedJob, m mail) (jobqueue.None, error) {
		return jobqueue.None{}, job.FollowUp(sendMail.New(m))
	}, leased("first", `{"to":"ada"}`, ""))
	following := outcome.GetSuccess().GetFollowUps()
	if len(following) != 1 || following[0].Headers["x-payload-version"] != "3" || following[0].Key != "ada" {
		t.Error(following)
	}
	if outcome.GetSuccess().GetOutputJson() != nil {
		t.Error("a kind without output has one")
	}
}

func TestTheOutputOfAKindWithOneIsThereThoughItIsNil(t *testing.T) {
	kind := jobqueue.DefineKind[any, any]("any")
	outcome := attempted(t, kind, func(context.Context, *jobqueue.LeasedJob, any) (any, error) { return nil, nil },
		leased("any", `1`, ""))
	if string(outcome.GetSuccess().GetOutputJson()) != "null" {
		t.Error(outcome)
	}
}

func TestAnOutputIsReadOfAJobThatHasSucceeded(t *testing.T) {
	job := &jobqueue.Job{ID: "7", Kind: "mail", Status: jobqueue.StatusSucceeded, Output: json.RawMessage(`{"message_id":"m"}`)}
	output, err := sendMail.OutputOf(job)
	if err != nil || output.MessageID != "m" {
		t.Error(output, err)
	}
	job.Output = json.RawMessage(`{"message_id":7}`)
	var unreadable *jobqueue.PayloadUnreadableError
	if _, err = sendMail.OutputOf(job); !errors.As(err, &unreadable) || err.Error() != "output.message_id: must be a string" {
		t.Error(err)
	}
	job.Output = nil
	if _, err = sendMail.OutputOf(job); err == nil || !strings.Contains(err.Error(), "without its output") {
		t.Error(err)
	}
	job.Status, job.Reason, job.LastError = jobqueue.StatusFailedPermanent, "ATTEMPTS_EXHAUSTED", "no such user"
	var failed *jobqueue.JobNotSucceededError
	if _, err = sendMail.OutputOf(job); !errors.As(err, &failed) || failed.Job != job ||
		err.Error() != "the job 7 is FAILED_PERMANENT (ATTEMPTS_EXHAUSTED: no such user)" {
		t.Error(err)
	}
	job.Kind = "other"
	if _, err = sendMail.OutputOf(job); err == nil || !strings.Contains(err.Error(), "is of the kind other, not send-mail") {
		t.Error(err)
	}
}

func TestThePayloadOfAJobThatWasReadIsOfThisVersion(t *testing.T) {
	job := &jobqueue.Job{ID: "7", Kind: "send-mail", Payload: json.RawMessage(`{"name":"ada"}`)}
	payload, err := sendMail.PayloadOf(job)
	if err != nil || payload.To != "ada@example.org" {
		t.Error(payload, err)
	}
	job.Headers = map[string]string{"x-payload-version": "4"}
	var newer *jobqueue.PayloadTooNewError
	if _, err = sendMail.PayloadOf(job); !errors.As(err, &newer) || newer.Version != 4 || newer.Known != 3 {
		t.Error(err)
	}
	job.Payload = nil
	if _, err = sendMail.PayloadOf(job); err == nil || !strings.Contains(err.Error(), "without its payload") {
		t.Error(err)
	}
}

func TestTheSchemaTakesEachVersionThatHasAnUpcaster(t *testing.T) {
	var schema struct {
		AnyOf []map[string]any          `json:"anyOf"`
		Defs  map[string]map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(sendMail.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	versions := fmt.Sprint(schema.AnyOf[0]["x-payload-version"], schema.AnyOf[1]["x-payload-version"], schema.AnyOf[2]["x-payload-version"])
	if versions != "3 2 1" || schema.AnyOf[0]["$ref"] != "#/$defs/mail.0" || schema.AnyOf[2]["$ref"] != "#/$defs/mailV1.2" {
		t.Errorf("%s", sendMail.Schema())
	}
	if required := fmt.Sprint(schema.Defs["mail.0"]["required"], schema.Defs["mailV1.2"]["required"]); required != "[to] [name]" {
		t.Error(required)
	}
	own := jobqueue.DefineKind[mail, jobqueue.None]("own", jobqueue.Schema(json.RawMessage(`{"minProperties":1e2}`)))
	if string(own.Schema()) != `{"minProperties":1e2,"x-payload-version":1}` || own.OutputSchema() != nil {
		t.Errorf("%s, %s", own.Schema(), own.OutputSchema())
	}
	if !strings.Contains(string(sendMail.OutputSchema()), `"required":["message_id"]`) {
		t.Errorf("%s", sendMail.OutputSchema())
	}
}

func TestAWrongDeclarationPanicsWhereItIsMade(t *testing.T) {
	type hasAChannel struct{ C chan int }
	for words, define := range map[string]func(){
		"a version is a whole number from 1 on":      func() { jobqueue.DefineKind[mail, sent]("k", jobqueue.PayloadVersion(0)) },
		"SlotWeight(0): a job takes 1 to 1000 slots": func() { jobqueue.DefineKind[mail, sent]("k", jobqueue.SlotWeight(0)) },
		"SlotWeight(1001): a job takes":              func() { jobqueue.DefineKind[mail, sent]("k", jobqueue.SlotWeight(1001)) },
		"each leads from a version below 2": func() {
			jobqueue.DefineKind[mail, sent]("k", jobqueue.PayloadVersion(2), jobqueue.Upcast(2, func(m mail) (mail, error) { return m, nil }))
		},
		"the field C of jobqueue_test.hasAChannel: chan int has no form in JSON": func() {
			jobqueue.DefineKind[hasAChannel, sent]("k")
		},
		"KeyBy has a func(string) string": func() {
			jobqueue.DefineKind[mail, sent]("k", jobqueue.KeyBy(func(s string) string { return s }))
		},
		"UniqueBy has a func(string) *jobqueue.Unique": func() {
			jobqueue.DefineKind[mail, sent]("k", jobqueue.UniqueBy(func(string) *jobqueue.Unique { return nil }))
		},
		"each job's own":     func() { jobqueue.DefineKind[mail, sent]("k", jobqueue.Defaults(jobqueue.NewJob{Kind: "other"})) },
		"Schema is not JSON": func() { jobqueue.DefineKind[mail, sent]("k", jobqueue.Schema(json.RawMessage(`{`))) },
	} {
		if said := panicOf(define); !strings.Contains(said, words) {
			t.Errorf("%q, not %q", said, words)
		}
	}
}

func TestASecondHandlerOfATypedKindOrItsAliasNamesTheFirst(t *testing.T) {
	worker, err := jobqueue.NewWorker("x:1", jobqueue.WorkerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	jobqueue.HandleKind(worker, sendMail, deliver, jobqueue.Slots(4))
	said := panicOf(func() { worker.Handle("mail", nothing) })
	if !strings.Contains(said, "deliver") || !strings.Contains(said, "nothing would be its second") {
		t.Error(said)
	}
	if kinds := fmt.Sprint(worker.Status().Kinds); kinds != "[mail send-mail]" {
		t.Error(kinds)
	}
}

func panicOf(do func()) (said string) {
	defer func() { said = fmt.Sprint(recover()) }()
	do()
	return ""
}
