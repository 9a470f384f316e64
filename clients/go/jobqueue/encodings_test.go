package jobqueue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"jobqueue.dev/go/internal/testhook"
	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
	pb "jobqueue.dev/go/jobqueue/v1"
)

// secret must not be seen.
const secret = "the eagle has landed"

var (
	keyA = bytes.Repeat([]byte{0xa7}, 32)
	keyB = bytes.Repeat([]byte{0xb9}, 32)

	neverKind    = jobqueue.DefineKind[map[string]any, any]("never", jobqueue.KindEncodings(jobqueue.EncodingsNever))
	requiredKind = jobqueue.DefineKind[map[string]any, map[string]any]("required",
		jobqueue.KindEncodings(jobqueue.EncodingsRequired), jobqueue.Aliases("required.old"))
)

// coder is an encoding of functions.
type coder struct {
	name           string
	encode, decode func([]byte) ([]byte, error)
}

func (c coder) Name() string                                          { return c.name }
func (c coder) Encode(data []byte, _ jobqueue.Coding) ([]byte, error) { return c.encode(data) }
func (c coder) Decode(data []byte, _ jobqueue.Coding) ([]byte, error) { return c.decode(data) }

// ciphering is one that says that it encrypts.
type ciphering struct{ coder }

func (ciphering) KeyID() string                               { return "a" }
func (ciphering) Key(context.Context, string) ([]byte, error) { return keyA, nil }

func turned(data []byte) ([]byte, error) {
	made := bytes.Clone(data)
	for i, each := range data {
		made[len(data)-1-i] = each
	}
	return made, nil
}

// broken can't encode what has the secret in it, and turns the rest around.
var broken = ciphering{coder{"broken", func(data []byte) ([]byte, error) {
	if bytes.Contains(data, []byte(secret)) {
		return nil, errors.New("no key today")
	}
	return turned(data)
}, turned}}

// packing encodes what is longer than 100 bytes.
var packing = coder{"packing", func(data []byte) ([]byte, error) {
	if len(data) <= 100 {
		return nil, nil
	}
	return turned(data)
}, turned}

func cipher(t testing.TB, primary string, keys map[string][]byte) *jobqueue.AESGCM {
	t.Helper()
	made, err := jobqueue.NewAESGCM(keys, primary)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func coded(t testing.TB, list ...jobqueue.Encoding) *jobqueue.Encodings {
	t.Helper()
	if len(list) == 0 {
		list = []jobqueue.Encoding{packing, cipher(t, "a", map[string][]byte{"a": keyA})}
	}
	made, err := jobqueue.NewEncodings(list...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func payloadOf(kind string) testhook.Place {
	return testhook.Place{Purpose: "payload", Kind: kind, ContentType: "application/json"}
}

func sealed(t testing.TB, encodings *jobqueue.Encodings, text string, at testhook.Place, key string) string {
	t.Helper()
	made, err := testhook.Seal(context.Background(), encodings, []byte(text), at, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(made)
}

func opened(t testing.TB, encodings *jobqueue.Encodings, text []byte, at testhook.Place) string {
	t.Helper()
	if !bytes.HasPrefix(text, []byte(`{"$jobqueue.encoded":1,`)) {
		t.Errorf("%s is no envelope", text)
	}
	made, err := testhook.Open(context.Background(), encodings, text, at, false)
	if err != nil {
		t.Error(err)
	}
	return string(made)
}

func TestListsThatMakeNoSenseAreRefused(t *testing.T) {
	last := cipher(t, "a", map[string][]byte{"a": keyA})
	for words, list := range map[string][]jobqueue.Encoding{
		"not be empty": {}, "is there twice": {packing, packing}, "is the last one": {last, packing}, "is empty": {coder{}}, "is nil": {nil},
	} {
		if _, err := jobqueue.NewEncodings(list...); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	for words, given := range map[string]func() (*jobqueue.AESGCM, error){
		`has the key "b"`:  func() (*jobqueue.AESGCM, error) { return jobqueue.NewAESGCM(map[string][]byte{"a": keyA}, "b") },
		"primary is empty": func() (*jobqueue.AESGCM, error) { return jobqueue.NewAESGCM(map[string][]byte{"": keyA}, "") },
		"has 5 bytes": func() (*jobqueue.AESGCM, error) {
			return jobqueue.NewAESGCM(map[string][]byte{"a": []byte("12345")}, "a")
		},
		"is no text": func() (*jobqueue.AESGCM, error) {
			return jobqueue.NewAESGCM(map[string][]byte{string(keyA): keyA}, string(keyA))
		},
		"is no function":    func() (*jobqueue.AESGCM, error) { return jobqueue.NewAESGCMFunc(nil, "a") },
		"letters, digits":   func() (*jobqueue.AESGCM, error) { return jobqueue.NewAESGCMFunc(noKeys, "a b") },
		"1 to 255 letters,": func() (*jobqueue.AESGCM, error) { return jobqueue.NewAESGCMFunc(noKeys, "") },
	} {
		if _, err := given(); err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "12345") {
			t.Errorf("%s: %v", words, err)
		}
	}
	if said := panicOf(func() {
		jobqueue.DefineKind[int, int]("k", jobqueue.KindEncodings("always"))
	}); !strings.Contains(said, "never, allowed or required") {
		t.Error(said)
	}
}

func noKeys(context.Context, string) ([]byte, error) { return nil, nil }

func TestAKeyIsInNoWordsAboutWhatHoldsIt(t *testing.T) {
	byMap := cipher(t, "a", map[string][]byte{"a": keyA})
	byFunc, err := jobqueue.NewAESGCMFunc(func(context.Context, string) ([]byte, error) { return keyA, nil }, "a")
	if err != nil {
		t.Fatal(err)
	}
	var given jobqueue.Coding
	sees := ciphering{coder{name: "sees"}}
	sees.encode = turned
	keeps := keeping{sees, &given}
	for _, each := range []*jobqueue.Encodings{coded(t, byMap), coded(t, byFunc), coded(t, keeps)} {
		_ = sealed(t, each, "1", payloadOf("k"), "")
		client, err := jobqueue.NewClient("127.0.0.1:1", jobqueue.ClientOptions{Encodings: each})
		if err != nil {
			t.Fatal(err)
		}
		worker, err := jobqueue.NewWorker("127.0.0.1:1", jobqueue.WorkerOptions{Encodings: each})
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []any{byMap, byFunc, each, *each, client, worker, given, &given, jobqueue.ClientOptions{Encodings: each}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
				said := fmt.Sprintf(verb, value)
				for _, key := range []string{"\xa7\xa7\xa7", "a7a7a7", "167 167", "0xa7, 0xa7", `\xa7`} {
					if strings.Contains(said, key) {
						t.Errorf("%T by %s: %s", value, verb, said)
					}
				}
			}
		}
		_ = client.Close()
	}
	if string(given.Key()) != string(keyA) {
		t.Error("the key did not come")
	}
}

// keeping keeps what it is told.
type keeping struct {
	ciphering
	given *jobqueue.Coding
}

func (k keeping) Encode(data []byte, with jobqueue.Coding) ([]byte, error) {
	*k.given = with
	return data, nil
}

func TestTwoCallsWithoutAnIdempotencyKeyHaveOtherBytesAndWithOneTheSame(t *testing.T) {
	all, at := coded(t), payloadOf("k")
	once, keyed := sealed(t, all, "{}", at, ""), sealed(t, all, "{}", at, "k")
	if once == sealed(t, all, "{}", at, "") {
		t.Error("one nonce twice")
	}
	if keyed != sealed(t, all, "{}", at, "k") {
		t.Error("other bytes")
	}
	long := strings.Repeat("a", 200)
	for key, names := range map[string]string{"": `["packing","aes256gcm"]`, "k": `["aes256gcm"]`} {
		if made := sealed(t, all, long, at, key); !strings.Contains(made, names) {
			t.Error(made)
		}
	}
	if made := sealed(t, all.WithKeyedCompression(), long, at, "k"); !strings.Contains(made, "packing") {
		t.Error(made)
	}
	if made := sealed(t, all, long, at, "k"); strings.Contains(made, "packing") {
		t.Error("WithKeyedCompression has changed the first list")
	}
}

func TestAnEncodingThatShouldEncryptAndLeavesPlainTextIsAnError(t *testing.T) {
	forgetful := ciphering{coder{"forgetful", func([]byte) ([]byte, error) { return nil, nil }, turned}}
	if _, err := testhook.Seal(t.Context(), coded(t, forgetful), []byte("1"), payloadOf("k"), ""); err == nil ||
		!strings.Contains(err.Error(), "unencrypted") {
		t.Error(err)
	}
}

func TestWhatLooksLikeAnEnvelopeAndIsNotEncodedIsRefused(t *testing.T) {
	all := coded(t, packing)
	stranger := `{"$jobqueue.encoded":1,"content_type":"application/json","encodings":["packing"],"data":""}`
	places := []testhook.Place{payloadOf("k"), {Purpose: "output", Kind: "k", JobID: "1", ContentType: "application/json"}}
	for _, text := range []string{stranger, strings.ReplaceAll(stranger, "$", `\u0024`), `{"$jobqueue.encoded":2}`} {
		for _, at := range places {
			for _, key := range []string{"", "k"} {
				if made, err := testhook.Seal(t.Context(), all, []byte(text), at, key); err == nil ||
					!strings.Contains(err.Error(), at.Purpose+": looks like an envelope") {
					t.Errorf("%s %v", made, err)
				}
			}
		}
	}
	at := testhook.Place{Purpose: "checkpoint", Kind: "k", JobID: "1", ContentType: "application/octet-stream"}
	if _, err := testhook.Seal(t.Context(), all, []byte("{\"$jobqueue.encoded\":1,\xff"), at, ""); err == nil {
		t.Error("taken")
	}
	if made := sealed(t, all, "\xff", at, ""); made != "\xff" {
		t.Error(made)
	}
	// One that is encoded comes back as it was given.
	long := stranger + strings.Repeat(" ", 100)
	if got := opened(t, all, []byte(sealed(t, all, long, payloadOf("k"), "")), payloadOf("k")); got != long {
		t.Error(got)
	}
	// Nor are these envelopes.
	for _, text := range []string{
		`{"$JobQueue.Encoded":1}`, `{"a":"\u0024jobqueue.encoded"}`, `"\u0024jobqueue.encoded"`, `{"\u0024`, `["$jobqueue.encoded"]`,
		`{"a":{"$jobqueue.encoded":1}}`,
	} {
		if made := sealed(t, all, text, payloadOf("k"), ""); made != text {
			t.Error(made)
		}
	}
}

func TestAnEnvelopeThatWasTamperedWithIsRefusedAndNothingPanics(t *testing.T) {
	all := coded(t, packing, cipher(t, "a", map[string][]byte{"a": keyA, "b": keyB}))
	good := sealed(t, all, `{"text":"`+strings.Repeat("to be or not to be ", 30)+`"}`, payloadOf("k"), "")
	wrong := []string{
		"null", "0", "2", "true", `""`, `"packing"`, "[]", "{}", "[7]", "[null]", `["packing"]`, `["packing","packing"]`,
		`["aes256gcm"]`, `["aes256gcm","packing"]`, `"b"`, `"AA\n"`, `"AA=="`, `"+/+/"`, `"A"`, "1.5",
	}
	random := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		members := map[string]json.RawMessage{}
		_ = json.Unmarshal([]byte(good), &members)
		names := []string{"$jobqueue.encoded", "content_type", "encodings", "key_id", "data"}
		name := names[random.IntN(len(names))]
		before := string(members[name])
		switch random.IntN(3) {
		case 0:
			members[name] = json.RawMessage(wrong[random.IntN(len(wrong))])
		case 1:
			if name != names[0] {
				delete(members, name)
			}
		default:
			data := []byte(members["data"])
			data[1+random.IntN(len(data)-3)] ^= 1
			if !json.Valid(data) {
				continue
			}
			members["data"] = data
			before = ""
		}
		if string(members[name]) == before {
			continue
		}
		bad, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		_, err = testhook.Open(t.Context(), all, bad, payloadOf("k"), false)
		var damaged *jobqueue.UndecodableError
		var key *jobqueue.KeyUnknownError
		var encoding *jobqueue.EncodingUnknownError
		if !errors.As(err, &damaged) && !errors.As(err, &key) && !errors.As(err, &encoding) {
			t.Fatalf("%v: %s", err, bad)
		}
	}
}

// stored is a server that has one job, and answers it to each call.
func stored(t *testing.T, encodings *jobqueue.Encodings, calls *atomic.Int32, sent *[]*pb.NewJob, middleware ...jobqueue.Middleware,
) *jobqueue.Client {
	var last *pb.NewJob
	return answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
		calls.Add(1)
		job := func() *pb.Job {
			return &pb.Job{Id: "1", Kind: last.GetKind(), Status: pb.Job_CANCELLED, Content: &pb.Job_PayloadJson{PayloadJson: last.GetPayloadJson()}}
		}
		switch request := request.(type) {
		case *pb.EnqueueJobRequest:
			last = request.GetJob()
			*sent = append(*sent, last)
			return &pb.EnqueueJobResponse{Job: job()}, nil
		case *pb.BatchEnqueueJobsRequest:
			last = request.GetJobs()[0]
			*sent = append(*sent, request.GetJobs()...)
			results := make([]*pb.EnqueueResult, len(request.GetJobs()))
			return &pb.BatchEnqueueJobsResponse{Results: results}, nil
		case *pb.GetJobRequest:
			return &pb.GetJobResponse{Job: job()}, nil
		case *pb.ListJobsRequest:
			return &pb.ListJobsResponse{Jobs: []*pb.Job{job()}}, nil
		case *pb.CancelJobRequest:
			return &pb.CancelJobResponse{Job: job()}, nil
		case *pb.RetryJobRequest:
			return &pb.RetryJobResponse{Job: job()}, nil
		case *pb.ReleaseJobRequest:
			return &pb.ReleaseJobResponse{Job: job()}, nil
		case *pb.WaitJobRequest:
			return &pb.WaitJobResponse{Job: job()}, nil
		}
		return nil, fmt.Errorf("%T", request)
	}, func(options *jobqueue.ClientOptions) { options.Encodings, options.Middleware = encodings, middleware })
}

func TestAPayloadIsReadByEveryCallAndOnlyWhereItsKeyIs(t *testing.T) {
	var calls atomic.Int32
	var sent []*pb.NewJob
	client := stored(t, coded(t), &calls, &sent)
	made, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "mail", Payload: map[string]string{"text": secret}})
	if err != nil {
		t.Fatal(err)
	}
	cancelled, err1 := client.Cancel(t.Context(), "1")
	got, err2 := client.Get(t.Context(), "1")
	page, _, err3 := client.ListPage(t.Context(), jobqueue.Filter{}, "")
	retried, err4 := client.Retry(t.Context(), "1")
	released, err5 := client.Release(t.Context(), "1")
	waited, err6 := client.Wait(t.Context(), "1")
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	for _, job := range []*jobqueue.Job{made, cancelled.Job, got, page[0], retried, released, waited} {
		if string(job.Payload) != `{"text":"`+secret+`"}` || job.PayloadEncoded() != nil {
			t.Error(string(job.Payload))
		}
	}
	text := sent[0].GetPayloadJson()
	if bytes.Contains(text, []byte(secret)) || opened(t, coded(t), text, payloadOf("mail")) != `{"text":"`+secret+`"}` {
		t.Errorf("%s", text)
	}
	// Without encodings, and without the key.
	other := coded(t, cipher(t, "b", map[string][]byte{"b": keyB}))
	for words, encodings := range map[string]*jobqueue.Encodings{
		"encoded, aes256gcm, key a: this program has no encodings":              nil,
		"encoded, aes256gcm, key a: KeyUnknown: nothing here has the key \"a\"": other,
	} {
		reader := stored(t, encodings, &calls, &sent)
		if _, err := reader.Enqueue(t.Context(), jobqueue.NewJob{Kind: "mail"}); err != nil {
			t.Fatal(err)
		}
		sent[len(sent)-1].Content = &pb.NewJob_PayloadJson{PayloadJson: text}
		job, err := reader.Get(t.Context(), "1")
		if err != nil || !bytes.Equal(job.Payload, text) {
			t.Fatal(err)
		}
		var value any
		var encoded *jobqueue.EncodedError
		if err := job.Decode(&value); !errors.As(err, &encoded) || !strings.HasPrefix(err.Error(), words) || value != nil {
			t.Error(err)
		}
		if said := job.PayloadEncoded(); said == nil || said.KeyID != "a" || said.Encodings[0] != "aes256gcm" {
			t.Error(said)
		}
		typed := jobqueue.DefineKind[map[string]any, map[string]any]("mail")
		if _, err := typed.PayloadOf(job); !errors.As(err, &encoded) {
			t.Error(err)
		}
		job.Output, job.Status = job.Payload, jobqueue.StatusSucceeded
		if encodings == nil {
			if _, err := typed.OutputOf(job); !errors.As(err, &encoded) {
				t.Error(err)
			}
			if err := job.DecodeOutput(&value); !errors.As(err, &encoded) {
				t.Error(err)
			}
		}
	}
}

func TestAnOutputIsReadAsThatOfItsJobAlone(t *testing.T) {
	all := coded(t)
	text := sealed(t, all, `{"a":1}`, testhook.Place{Purpose: "output", Kind: "k", JobID: "1", ContentType: "application/json"}, "")
	for id, readable := range map[string]bool{"1": true, "2": false} {
		client := answering(t, func(string, any, metadata.MD) (any, error) {
			return &pb.GetJobResponse{Job: &pb.Job{Id: id, Kind: "k", Status: pb.Job_SUCCEEDED, Result: &pb.Job_OutputJson{OutputJson: []byte(text)}}}, nil
		}, func(options *jobqueue.ClientOptions) { options.Encodings = all })
		job, err := client.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		kind := jobqueue.DefineKind[int, map[string]int]("k")
		output, err := kind.OutputOf(job)
		var encoded *jobqueue.EncodedError
		if readable && (err != nil || output["a"] != 1) || !readable && !errors.As(err, &encoded) {
			t.Error(id, output, err)
		}
		if !readable && !strings.Contains(err.Error(), "Undecodable") {
			t.Error(err)
		}
	}
}

func TestWhatAnEncodingReturnsAsAnErrorFailsTheCallBeforeAByteIsSent(t *testing.T) {
	away, err := jobqueue.NewAESGCMFunc(noKeys, "a")
	if err != nil {
		t.Fatal(err)
	}
	mail := jobqueue.NewJob{Kind: "mail", Payload: secret}
	var many []jobqueue.NewJob
	for range 2500 {
		many = append(many, jobqueue.NewJob{Kind: "mail"})
	}
	many = append(many, mail)
	passing := jobqueue.Middleware{Enqueue: func(
		ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
	) ([]jobqueue.EnqueueResult, error) {
		return next(ctx, jobs)
	}}
	for words, encodings := range map[string]*jobqueue.Encodings{
		"no key today": coded(t, broken), `nothing here has the key "a"`: coded(t, away),
	} {
		for _, middleware := range [][]jobqueue.Middleware{nil, {passing}} {
			var calls atomic.Int32
			var sent []*pb.NewJob
			client := stored(t, encodings, &calls, &sent, middleware...)
			keyed := mail
			keyed.IdempotencyKey = "k"
			for _, job := range []jobqueue.NewJob{mail, keyed} {
				if _, err := client.Enqueue(t.Context(), job); err == nil || !strings.Contains(err.Error(), words) {
					t.Error(err)
				}
			}
			if results, err := client.EnqueueMany(t.Context(), many); err == nil || !strings.Contains(err.Error(), words) || len(results) > 0 {
				t.Error(results, err)
			}
			if calls.Load() != 0 {
				t.Error(calls.Load(), "calls")
			}
		}
	}
}

func TestAKindSaysWhetherItsPayloadsAreEncoded(t *testing.T) {
	var calls atomic.Int32
	var sent []*pb.NewJob
	mail := map[string]any{"text": secret}
	var needs *jobqueue.EncodingRequiredError
	for _, encodings := range []*jobqueue.Encodings{nil, coded(t, packing)} {
		client := stored(t, encodings, &calls, &sent)
		if _, err := client.Enqueue(t.Context(), requiredKind.New(mail)); !errors.As(err, &needs) || needs.Kind != "required" {
			t.Error(err)
		}
		if _, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "k"}, requiredKind.New(mail)}); !errors.As(err, &needs) {
			t.Error(err)
		}
	}
	if calls.Load() != 0 {
		t.Error("sent")
	}
	var saw []string
	sees := jobqueue.Middleware{Enqueue: func(
		ctx context.Context, jobs []jobqueue.NewJob, next jobqueue.NextEnqueue,
	) ([]jobqueue.EnqueueResult, error) {
		for _, each := range jobs {
			text, _ := each.Payload.(json.RawMessage)
			saw = append(saw, string(text))
		}
		return next(ctx, jobs)
	}}
	client := stored(t, coded(t), &calls, &sent, sees)
	if job, err := client.Enqueue(t.Context(), requiredKind.New(mail)); err != nil || string(job.Payload) != `{"text":"`+secret+`"}` {
		t.Error(job, err)
	}
	if _, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{requiredKind.New(mail), neverKind.New(mail), {Kind: "k"}}); err != nil {
		t.Error(err)
	}
	plain := `{"text":"` + secret + `"}`
	for i, want := range []string{plain, plain, "", "null"} {
		got := string(sent[i].GetPayloadJson())
		if i == 2 {
			if got != plain {
				t.Error(got)
			}
			continue
		}
		if strings.Contains(got, secret) || opened(t, coded(t), []byte(got), payloadOf(sent[i].GetKind())) != want {
			t.Error(i, got)
		}
	}
	// Middleware sees what is not encoded.
	if len(saw) != 4 || saw[0] != plain || saw[1] != plain || saw[2] != plain {
		t.Error(saw)
	}
}

func TestTheSameKeyedCallHasTheSameBytesAlsoInAnotherForm(t *testing.T) {
	var calls atomic.Int32
	var sent []*pb.NewJob
	job := jobqueue.NewJob{Kind: "mail", Payload: strings.Repeat(secret, 20), IdempotencyKey: "order-7"}
	for range 2 {
		client := stored(t, coded(t), &calls, &sent)
		if _, err := client.Enqueue(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		if _, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{job}); err != nil {
			t.Fatal(err)
		}
	}
	for _, each := range sent {
		if !proto.Equal(each, sent[0]) {
			t.Error(each)
		}
	}
}

func TestAJobThatItsPayloadMakesUniqueIsRefused(t *testing.T) {
	var calls atomic.Int32
	var sent []*pb.NewJob
	client := stored(t, coded(t), &calls, &sent)
	for _, unique := range []*jobqueue.Unique{{}, {PayloadFields: []string{"/to"}}} {
		if _, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k", Unique: unique}); !errors.Is(err, jobqueue.ErrInvalidRequest) ||
			!strings.Contains(err.Error(), "job.unique") || !strings.Contains(err.Error(), "Unique.Key") {
			t.Error(err)
		}
		_, err := client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "k"}, {Kind: "k", Unique: unique}})
		if err == nil || !strings.Contains(err.Error(), "jobs[1].unique") {
			t.Error(err)
		}
	}
	if calls.Load() != 0 {
		t.Error("sent")
	}
	byText := jobqueue.DefineKind[string, int]("k", jobqueue.UniqueBy(func(text string) *jobqueue.Unique { return &jobqueue.Unique{Key: text} }))
	if _, err := client.Enqueue(t.Context(), byText.New("x")); err != nil || sent[0].GetUnique().GetKey() != "x" {
		t.Error(err)
	}
}

// workerOf is a worker of a scripted server with encodings.
func workerOf(t *testing.T, encodings *jobqueue.Encodings, handlers map[string]jobqueue.Handler) *jobqueue.Worker {
	t.Helper()
	worker, err := jobqueue.NewWorker("127.0.0.1:1", jobqueue.WorkerOptions{Encodings: encodings})
	if err != nil {
		t.Fatal(err)
	}
	for kind, handler := range handlers {
		worker.Handle(kind, handler)
	}
	return worker
}

// attemptOf is what a worker with a handler of the kind `k` sends of an attempt: its reports, and its outcome.
func attemptOf(
	t *testing.T, encodings *jobqueue.Encodings, message *pb.LeasedJob, handler jobqueue.Handler, middleware ...jobqueue.Middleware,
) ([]*pb.Progress, *pb.Outcome) {
	t.Helper()
	server := newScripted(t)
	work(server, handler, func(options *jobqueue.WorkerOptions) { options.Encodings, options.Middleware = encodings, middleware })
	stream := server.open()
	stream.deliver(1, message)
	var reports []*pb.Progress
	settle := stream.await("Settle", func(frame *pb.LeaseRequest) bool {
		if report := frame.GetProgress(); report != nil {
			reports = append(reports, report)
		}
		return frame.GetSettle() != nil
	}).GetSettle()
	stream.settled(settle)
	if len(settle.Outcomes) == 0 {
		return reports, nil
	}
	return reports, settle.Outcomes[0]
}

func leasedWith(text, checkpoint string) *pb.LeasedJob {
	message := job(1, "k")
	message.Content = &pb.LeasedJob_PayloadJson{PayloadJson: []byte(text)}
	message.Checkpoint = []byte(checkpoint)
	return message
}

func TestAHandlerSeesAllAndTheWireNothing(t *testing.T) {
	all := coded(t)
	id := job(1, "k").Id
	checkpointPlace := testhook.Place{Purpose: "checkpoint", Kind: "k", JobID: id, ContentType: "application/octet-stream"}
	message := leasedWith(sealed(t, all, `{"text":"`+secret+`"}`, payloadOf("k"), ""), sealed(t, all, "half of it", checkpointPlace, ""))
	type seen struct{ payload, checkpoint string }
	var saw, before seen
	watching := jobqueue.Middleware{Handle: func(next jobqueue.Handler) jobqueue.Handler {
		return func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
			before = seen{string(job.Payload), string(job.Checkpoint)}
			return next(ctx, job)
		}
	}}
	for _, middleware := range [][]jobqueue.Middleware{nil, {watching}} {
		reports, outcome := attemptOf(t, all, proto.Clone(message).(*pb.LeasedJob), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			saw = seen{string(job.Payload), string(job.Checkpoint)}
			var value map[string]string
			if err := job.Decode(&value); err != nil {
				return nil, err
			}
			return value, errors.Join(
				job.SaveCheckpoint([]byte("more of "+secret)),
				job.FollowUp(jobqueue.NewJob{Kind: "next", Payload: secret}),
				job.FollowUp(requiredKind.New(map[string]any{"text": secret})),
				job.FollowUp(neverKind.New(map[string]any{"in": "plain text"})),
			)
		}, middleware...)
		want := seen{`{"text":"` + secret + `"}`, "half of it"}
		if saw != want || len(middleware) > 0 && before != want {
			t.Error(saw, before)
		}
		success := outcome.GetSuccess()
		wire, _ := proto.Marshal(outcome)
		for _, each := range reports {
			text, _ := proto.Marshal(each)
			wire = append(wire, text...)
		}
		if bytes.Contains(wire, []byte(secret)) || len(success.GetFollowUps()) != 3 || len(reports) == 0 {
			t.Fatal(outcome)
		}
		if got := opened(t, all, success.GetOutputJson(), testhook.Place{Purpose: "output", Kind: "k", JobID: id, ContentType: "application/json"}); got != want.payload {
			t.Error(got)
		}
		if got := opened(t, all, reports[0].GetCheckpoint(), checkpointPlace); got != "more of "+secret {
			t.Error(got)
		}
		next := success.GetFollowUps()
		if got := opened(t, all, next[0].GetPayloadJson(), payloadOf("next")); got != `"`+secret+`"` {
			t.Error(got)
		}
		if got := opened(t, all, next[1].GetPayloadJson(), payloadOf("required")); got != want.payload {
			t.Error(got)
		}
		if got := string(next[2].GetPayloadJson()); got != `{"in":"plain text"}` {
			t.Error(got)
		}
	}
}

func TestWhatIsInPlainTextIsReadAsItIs(t *testing.T) {
	_, outcome := attemptOf(t, coded(t), leasedWith(`{"a":1}`, "plain"), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		if string(job.Payload) != `{"a":1}` || string(job.Checkpoint) != "plain" {
			return nil, errors.New("another")
		}
		return nil, job.SaveCheckpoint(nil)
	})
	if outcome != nil {
		t.Error(outcome)
	}
}

// shy is an output that can be written the second time alone.
type shy struct{ asked *int }

func (s shy) MarshalJSON() ([]byte, error) {
	if *s.asked++; *s.asked == 1 {
		return nil, errors.New("not yet")
	}
	return []byte(`"` + secret + `"`), nil
}

func TestWhatCanNotBeEncodedFailsTheAttemptAndIsNotSent(t *testing.T) {
	asked := 0
	long := bytes.Repeat([]byte{7}, 64*1024)
	for name, row := range map[string]struct {
		handler   jobqueue.Handler
		errorType string
		words     string
	}{
		"an output": {func(context.Context, *jobqueue.LeasedJob) (any, error) { return secret, nil }, "error", "no key today"},
		"a checkpoint": {func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			return nil, job.SaveCheckpoint([]byte(secret))
		}, "error", "no key today"},
		"a follow-up": {func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			return nil, errors.Join(job.FollowUp(jobqueue.NewJob{Kind: "a"}), job.FollowUp(jobqueue.NewJob{Kind: "b", Payload: secret}))
		}, "error", "no key today"},
		"a follow-up that its payload makes unique": {func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			return nil, job.FollowUp(jobqueue.NewJob{Kind: "a", Unique: &jobqueue.Unique{}})
		}, "jobqueue.Error", "follow_up.unique"},
		"an output that is no JSON at first": {func(context.Context, *jobqueue.LeasedJob) (any, error) { return shy{&asked}, nil },
			"OutputError", "not yet"},
		"a checkpoint that is too long once it is encoded": {func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
			return nil, job.SaveCheckpoint(long)
		}, "jobqueue.Error", "once it is encoded; at most 65536"},
	} {
		reports, outcome := attemptOf(t, coded(t, broken), leasedWith("1", ""), row.handler)
		failure := outcome.GetFailure()
		if failure.GetErrorType() != row.errorType || !strings.Contains(failure.GetError(), row.words) || len(reports) > 0 {
			t.Errorf("%s: %v %v", name, reports, outcome)
		}
	}
}

func TestAnOutputThatIsTooLongOnceItIsEncodedIsRefused(t *testing.T) {
	_, outcome := attemptOf(t, coded(t), leasedWith("1", ""), func(context.Context, *jobqueue.LeasedJob) (any, error) {
		return strings.Repeat("a", 900*1024), nil
	})
	if outcome.GetFailure().GetErrorType() != "OutputError" {
		t.Error(outcome.GetFailure())
	}
}

func TestAFollowUpAfterTheHandlerIsRefusedAndNotSentInPlainText(t *testing.T) {
	var kept *jobqueue.LeasedJob
	_, outcome := attemptOf(t, coded(t), leasedWith("1", ""), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		kept = job
		return late{job}, nil
	})
	if outcome.GetFailure() != nil || len(outcome.GetSuccess().GetFollowUps()) != 0 {
		t.Error(outcome)
	}
	if err := kept.FollowUp(jobqueue.NewJob{Kind: "a", Payload: secret}); err == nil {
		t.Error("taken")
	}
}

// late follows up while it is written, after the handler.
type late struct{ job *jobqueue.LeasedJob }

func (l late) MarshalJSON() ([]byte, error) {
	err := l.job.FollowUp(jobqueue.NewJob{Kind: "a", Payload: secret})
	return json.Marshal(err != nil)
}

func TestWhatCanNotBeDecodedEndsItsJob(t *testing.T) {
	all := coded(t)
	good := sealed(t, all, `{"a":1}`, payloadOf("k"), "")
	for name, text := range map[string]string{
		"of another kind": sealed(t, all, `{"a":1}`, payloadOf("elsewhere"), ""),
		"cut":             good[:len(good)-6] + `"}`,
		"a later form":    strings.Replace(good, ":1,", ":2,", 1),
		"an end of line":  strings.Replace(good, `"data":"`, `"data":"\n`, 1),
	} {
		_, outcome := attemptOf(t, all, leasedWith(text, ""), func(context.Context, *jobqueue.LeasedJob) (any, error) { return "handled", nil })
		failure := outcome.GetFailure()
		if failure.GetErrorType() != "PayloadUnreadable" || !failure.GetPermanent() {
			t.Errorf("%s: %v", name, outcome)
		}
	}
	for name, checkpoint := range map[string]string{
		"of another job": sealed(t, all, "x", testhook.Place{Purpose: "checkpoint", Kind: "k", JobID: "2", ContentType: "application/octet-stream"}, ""),
		"cut off":        `{"$jobqueue.encoded":1,"con`,
	} {
		_, outcome := attemptOf(t, all, leasedWith(good, checkpoint), func(context.Context, *jobqueue.LeasedJob) (any, error) { return "handled", nil })
		if outcome.GetFailure().GetErrorType() != "PayloadUnreadable" {
			t.Errorf("%s: %v", name, outcome)
		}
	}
}

func TestAJobWhoseKeyOrEncodingIsMissingWaitsForItAndThenFailsByItsName(t *testing.T) {
	all := coded(t)
	away, err := jobqueue.NewAESGCMFunc(noKeys, "a")
	if err != nil {
		t.Fatal(err)
	}
	renamed := packing
	renamed.name = "renamed"
	for errorType, row := range map[string]struct{ by, here *jobqueue.Encodings }{
		"KeyUnknown":      {coded(t, cipher(t, "b", map[string][]byte{"b": keyB})), all},
		"EncodingUnknown": {coded(t, renamed), all},
	} {
		text := sealed(t, row.by, `"`+strings.Repeat("x", 200)+`"`, payloadOf("k"), "")
		for _, waited := range []int32{1, 20, 21} {
			message := leasedWith(text, "")
			message.Attempt, message.Failures = waited+2, 2
			_, outcome := attemptOf(t, row.here, message, func(context.Context, *jobqueue.LeasedJob) (any, error) { return "handled", nil })
			snoozed, failure := outcome.GetSnooze() != nil, outcome.GetFailure()
			if snoozed != (waited <= 20) || !snoozed && (failure.GetErrorType() != errorType || failure.GetPermanent()) {
				t.Error(errorType, waited, outcome)
			}
		}
	}
	// Nor is an attempt begun whose output could not be encoded.
	_, outcome := attemptOf(t, coded(t, away), leasedWith("1", ""), func(context.Context, *jobqueue.LeasedJob) (any, error) { return "handled", nil })
	if outcome.GetSnooze() == nil {
		t.Error(outcome)
	}
}

func TestAHandlerWithoutEncodingsIsToldByAnErrorThatItsPayloadIsEncoded(t *testing.T) {
	text := sealed(t, coded(t), `{"a":1}`, payloadOf("k"), "")
	_, outcome := attemptOf(t, nil, leasedWith(text, ""), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		var value map[string]any
		return value, job.Decode(&value)
	})
	failure := outcome.GetFailure()
	if failure.GetErrorType() != "Encoded" || failure.GetPermanent() || !strings.Contains(failure.GetError(), "key a") {
		t.Error(outcome)
	}
}

// typedAttempt is the outcome of an attempt of a typed kind that answers its payload.
func typedAttempt(t *testing.T, encodings *jobqueue.Encodings, kind *jobqueue.JobKind[map[string]any, map[string]any], message *pb.LeasedJob) *pb.Outcome {
	t.Helper()
	server := newScripted(t)
	worker, err := jobqueue.NewWorker("passthrough:///scripted", jobqueue.WorkerOptions{
		Access: server.access(), ShutdownGrace: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Encodings: encodings,
	})
	if err != nil {
		t.Fatal(err)
	}
	jobqueue.HandleKind(worker, kind, func(_ context.Context, _ *jobqueue.LeasedJob, payload map[string]any) (map[string]any, error) {
		return payload, nil
	})
	ctx, drain := context.WithCancel(context.Background())
	t.Cleanup(drain)
	go func() { _ = worker.Run(ctx) }()
	stream := server.open()
	stream.deliver(1, message)
	return stream.outcome()
}

func TestAKindThatRequiresEncryptionIsNotHandledInPlainTextByAnyOfItsNames(t *testing.T) {
	all := coded(t)
	for _, name := range requiredKind.Names() {
		packed := sealed(t, coded(t, packing), `{"text":"`+strings.Repeat("x", 200)+`"}`, payloadOf(name), "")
		for _, text := range []string{
			`{"text":"evil"}`, "null", packed, strings.Replace(packed, "}", `,"key_id":"a"}`, 1),
			`{"\u0024jobqueue.encoded":1,"content_type":"application/json","encodings":["aes256gcm"],"key_id":"a","data":"","text":"evil"}`,
		} {
			failure := typedAttempt(t, all, requiredKind, leased(name, text, "")).GetFailure()
			if failure.GetErrorType() != "PayloadUnreadable" || !failure.GetPermanent() {
				t.Error(name, text, failure)
			}
			if (text == "null" || text == packed) && failure.GetError() != "the kind takes encrypted payloads alone" {
				t.Error(failure)
			}
		}
		good := sealed(t, all, `{"text":"x"}`, payloadOf(name), "")
		success := typedAttempt(t, all, requiredKind, leased(name, good, "")).GetSuccess()
		at := testhook.Place{Purpose: "output", Kind: name, JobID: "1", ContentType: "application/json"}
		if got := opened(t, all, success.GetOutputJson(), at); got != `{"text":"x"}` {
			t.Error(got)
		}
	}
}

func TestATypedKindDoesNotTakeAnEnvelopeForItsPayload(t *testing.T) {
	all := coded(t)
	untold := jobqueue.DefineKind[map[string]any, map[string]any]("k")
	never := jobqueue.DefineKind[map[string]any, map[string]any]("k", jobqueue.KindEncodings(jobqueue.EncodingsNever))
	text := sealed(t, all, `{"text":"x"}`, payloadOf("k"), "")
	for _, row := range []struct {
		encodings *jobqueue.Encodings
		kind      *jobqueue.JobKind[map[string]any, map[string]any]
	}{{nil, untold}, {all, never}} {
		for _, text := range []string{text, strings.ReplaceAll(text, "$", `\u0024`)} {
			failure := typedAttempt(t, row.encodings, row.kind, leased("k", text, "")).GetFailure()
			if failure.GetErrorType() != "PayloadUnreadable" || !failure.GetPermanent() || !strings.Contains(failure.GetError(), "encoded, aes256gcm, key a") {
				t.Error(failure)
			}
		}
	}
	// What a producer put into an envelope is not decoded twice.
	inner := `{"$jobqueue.encoded":1,"encodings":["packing"],"text":"x"}`
	success := typedAttempt(t, all, untold, leased("k", sealed(t, all, inner, payloadOf("k"), ""), "")).GetSuccess()
	at := testhook.Place{Purpose: "output", Kind: "k", JobID: "1", ContentType: "application/json"}
	if got := opened(t, all, success.GetOutputJson(), at); got != inner {
		t.Error(got)
	}
}

func TestAWorkerThatDoesNotEncryptTakesNoKindThatRequiresIt(t *testing.T) {
	handler := func(context.Context, *jobqueue.LeasedJob, map[string]any) (map[string]any, error) { return nil, nil }
	for _, encodings := range []*jobqueue.Encodings{nil, coded(t, packing)} {
		worker := workerOf(t, encodings, nil)
		if said := panicOf(func() { jobqueue.HandleKind(worker, requiredKind, handler) }); !strings.Contains(said, "give the worker Encodings that encrypt") {
			t.Error(said)
		}
	}
	jobqueue.HandleKind(workerOf(t, coded(t), nil), requiredKind, handler)
}

func TestAFollowUpOfAKindThatRequiresEncryptionNeedsIt(t *testing.T) {
	follows := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		return nil, job.FollowUp(requiredKind.New(map[string]any{"text": secret}))
	}
	done, err := jobqueuetest.Perform(t.Context(), follows, jobqueue.NewJob{Kind: "k"})
	if err == nil || done.ErrorType != "EncodingRequired" || len(done.FollowUps) != 0 {
		t.Error(done, err)
	}
	for ending, encodings := range map[jobqueuetest.Ending]*jobqueue.Encodings{
		jobqueuetest.Failed: coded(t, packing), jobqueuetest.Succeeded: coded(t),
	} {
		worker := workerOf(t, encodings, map[string]jobqueue.Handler{"k": follows})
		if done, _ := jobqueuetest.Perform(t.Context(), worker.HandlerOf("k"), jobqueue.NewJob{Kind: "k"}); done.Ending != ending {
			t.Error(done)
		}
	}
}

func TestATestOfAHandlerGoesThroughTheEncodingsOfItsWorker(t *testing.T) {
	handler := func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
		var value map[string]string
		if err := job.Decode(&value); err != nil {
			return nil, err
		}
		if job.Attempt == 1 {
			if err := job.SaveCheckpoint([]byte("half of " + value["text"])); err != nil {
				return nil, err
			}
			return nil, errors.New("again")
		}
		err := errors.Join(job.FollowUp(jobqueue.NewJob{Kind: "next", Payload: value}), job.FollowUp(neverKind.New(map[string]any{"a": 1})))
		return map[string]string{"checkpoint": string(job.Checkpoint)}, err
	}
	job := jobqueue.NewJob{Kind: "k", Payload: map[string]string{"text": "x"}}
	worker := workerOf(t, coded(t), map[string]jobqueue.Handler{"k": handler})
	first, _ := jobqueuetest.Perform(t.Context(), worker.HandlerOf("k"), job)
	if len(first.Checkpoints) != 1 || string(first.Checkpoints[0]) != "half of x" {
		t.Fatal(first)
	}
	done, err := first.Again(t.Context())
	if err != nil || string(done.Output) != `{"checkpoint":"half of x"}` || len(done.FollowUps) != 2 {
		t.Fatal(done, err)
	}
	for i, want := range []string{`{"text":"x"}`, `{"a":1}`} {
		if got := done.FollowUps[i].Payload.(json.RawMessage); string(got) != want {
			t.Errorf("%s", got)
		}
	}
	secrets := map[string]string{"text": secret}
	for _, each := range []jobqueue.NewJob{{Kind: "k", Payload: secrets}, {Kind: "k", Payload: map[string]string{"text": "the eagle has "}}} {
		worker := workerOf(t, coded(t, broken), map[string]jobqueue.Handler{"k": func(context.Context, *jobqueue.LeasedJob) (any, error) { return secret, nil }})
		if done, err := jobqueuetest.Perform(t.Context(), worker.HandlerOf("k"), each); err == nil || err.Error() != "no key today" || done.Output != nil {
			t.Error(done, err)
		}
	}
}

func TestAUnitTestOfWhatEnqueuesNeedsNoEncodings(t *testing.T) {
	var client jobqueuetest.RecordingClient
	if _, err := client.Enqueue(t.Context(), requiredKind.New(map[string]any{"text": "x"})); err != nil || len(client.Jobs()) != 1 {
		t.Error(err)
	}
}

func TestTheSchemaSaysWhatAKindSaysOfEncodings(t *testing.T) {
	for _, row := range []struct {
		rule            jobqueue.EncodingRule
		encodes         bool
		envelope, keyed bool
	}{
		{"", false, false, false}, {"", true, true, false}, {jobqueue.EncodingsNever, true, false, false},
		{jobqueue.EncodingsAllowed, false, true, false}, {jobqueue.EncodingsAllowed, true, true, false},
		{jobqueue.EncodingsRequired, false, true, true}, {jobqueue.EncodingsRequired, true, true, true},
	} {
		var told json.RawMessage
		client := answering(t, func(_ string, request any, _ metadata.MD) (any, error) {
			told = request.(*pb.PutKindRequest).GetKind().GetSchemaJson()
			return &pb.PutKindResponse{Kind: request.(*pb.PutKindRequest).GetKind()}, nil
		}, func(options *jobqueue.ClientOptions) {
			if row.encodes {
				options.Encodings = coded(t)
			}
		})
		kind := jobqueue.DefineKind[mail, sent]("k", jobqueue.PayloadVersion(2), jobqueue.KindEncodings(row.rule),
			jobqueue.Upcast(1, func(old mailV1) (mail, error) { return mail{}, nil }))
		if _, err := client.SyncKinds(t.Context(), kind); err != nil {
			t.Fatal(err)
		}
		var schema struct {
			Required []string
			AnyOf    []struct {
				Title    string
				Required []string
				Version  int `json:"x-payload-version"`
			}
			Title                string
			Version              int   `json:"x-payload-version"`
			AdditionalProperties *bool `json:"additionalProperties"`
		}
		if err := json.Unmarshal(told, &schema); err != nil {
			t.Fatal(err)
		}
		switch {
		case row.keyed:
			if schema.Title != "encoded payload" || schema.Version != 2 || len(schema.AnyOf) != 0 || schema.AdditionalProperties == nil ||
				*schema.AdditionalProperties || strings.Join(schema.Required, " ") != "$jobqueue.encoded content_type encodings data key_id" {
				t.Errorf("%+v %s", row, told)
			}
		case row.envelope:
			// Behind the others: the first of a version is the one by which a server says what is wrong.
			if len(schema.AnyOf) != 3 || schema.AnyOf[2].Title != "encoded payload" || schema.AnyOf[2].Version != 2 || len(schema.AnyOf[2].Required) != 4 {
				t.Errorf("%+v %s", row, told)
			}
		default:
			if len(schema.AnyOf) != 2 || strings.Contains(string(told), "$jobqueue.encoded") {
				t.Errorf("%+v %s", row, told)
			}
		}
	}
}

func TestAHandlerOfAKindThatRequiresEncryptionIsAsStrictAsOneOfAnyKind(t *testing.T) {
	ran := false
	handler := requiredKind.Handler(func(_ context.Context, _ *jobqueue.LeasedJob, payload map[string]any) (map[string]any, error) {
		ran = true
		return payload, nil
	})
	all := coded(t)
	good := sealed(t, all, `{"text":"x"}`, payloadOf("k"), "")
	packed := sealed(t, coded(t, packing), `{"text":"`+strings.Repeat("x", 200)+`"}`, payloadOf("k"), "")
	for _, row := range []struct {
		encodings       *jobqueue.Encodings
		text, errorType string
		permanent       bool
	}{
		{nil, `{"text":"x"}`, "EncodingRequired", false}, {coded(t, packing), `{"text":"x"}`, "EncodingRequired", false},
		{all, `{"text":"x"}`, "PayloadUnreadable", true}, {all, packed, "PayloadUnreadable", true},
	} {
		_, outcome := attemptOf(t, row.encodings, leasedWith(row.text, ""), handler)
		failure := outcome.GetFailure()
		if failure.GetErrorType() != row.errorType || failure.GetPermanent() != row.permanent || ran {
			t.Error(row.text, outcome)
		}
	}
	if _, outcome := attemptOf(t, all, leasedWith(good, ""), handler); outcome.GetSuccess() == nil || !ran {
		t.Error(outcome)
	}
	job := requiredKind.New(map[string]any{"text": "x"})
	worker := workerOf(t, all, map[string]jobqueue.Handler{"required": handler})
	if done, err := jobqueuetest.Perform(t.Context(), worker.HandlerOf("required"), job); err != nil || string(done.Output) != `{"text":"x"}` {
		t.Error(done, err)
	}
}

func TestAHandlerOfAKindThatRequiresEncryptionIsNotPerformedWithoutAWorker(t *testing.T) {
	handler := func(context.Context, *jobqueue.LeasedJob, map[string]any) (map[string]any, error) {
		t.Error("it is performed")
		return nil, nil
	}
	done, err := jobqueuetest.Perform(t.Context(), requiredKind.Handler(handler), requiredKind.New(map[string]any{"text": "x"}))
	var needs *jobqueue.EncodingRequiredError
	words := "the kind required takes encrypted payloads alone: give the worker Encodings that encrypt"
	if !errors.As(err, &needs) || needs.Kind != "required" || err.Error() != words || done.ErrorType != "EncodingRequired" {
		t.Error(done, err)
	}
	if said := panicOf(func() { jobqueue.HandleKind(workerOf(t, nil, nil), requiredKind, handler) }); said != "jobqueue: "+words {
		t.Error(said)
	}
	worker := workerOf(t, coded(t, packing), map[string]jobqueue.Handler{"required": requiredKind.Handler(handler)})
	done, err = jobqueuetest.Perform(t.Context(), worker.HandlerOf("required"), jobqueue.NewJob{Kind: "required", Payload: 7})
	if !errors.As(err, &needs) || err.Error() != words {
		t.Error(done, err)
	}
}

// picky can't be read, and says what it saw.
type picky struct{}

func (*picky) UnmarshalJSON(text []byte) error { return fmt.Errorf("what is %s", text) }

func TestWhyAPayloadThatWasEncodedDoesNotFitHasNothingOfIt(t *testing.T) {
	all := coded(t)
	var number struct {
		Inner struct {
			Text int8 `json:"text"`
		} `json:"inner"`
	}
	var custom picky
	for _, row := range []struct {
		text, words string
		into        any
	}{
		{`{"inner":{"text":918273}}`, `field "inner.text", which is a int8 in Go, at byte 23`, &number},
		{`{"inner":918273}`, `does not fit: *errors.errorString`, &custom},
	} {
		for _, encoded := range []bool{true, false} {
			text := row.text
			if encoded {
				text = sealed(t, all, text, payloadOf("k"), "")
			}
			var unwrapped error
			_, outcome := attemptOf(t, all, leasedWith(text, ""), func(_ context.Context, job *jobqueue.LeasedJob) (any, error) {
				err := job.Decode(row.into)
				unwrapped = errors.Unwrap(err)
				return nil, err
			})
			said := outcome.GetFailure().GetError()
			if strings.Contains(said, "918273") == encoded || (unwrapped == nil) != encoded {
				t.Error(said, unwrapped)
			}
			if encoded && !strings.Contains(said, row.words) {
				t.Error(said)
			}
		}
	}
}

func TestWhatIsNoJSONIsNotEncodedAndNotHandled(t *testing.T) {
	var calls atomic.Int32
	var sent []*pb.NewJob
	client := stored(t, coded(t), &calls, &sent)
	for _, text := range []string{"", "{", "{} {}", "\xff"} {
		payload := json.RawMessage(text)
		_, err := client.Enqueue(t.Context(), jobqueue.NewJob{Kind: "k", Payload: payload})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, "job.payload")
		_, err = client.EnqueueMany(t.Context(), []jobqueue.NewJob{{Kind: "k"}, {Kind: "k", Payload: payload}})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, "jobs[1].payload")
		_, outcome := attemptOf(t, coded(t), leasedWith("1", ""), func(context.Context, *jobqueue.LeasedJob) (any, error) { return payload, nil })
		if outcome.GetFailure().GetErrorType() != "OutputError" {
			t.Errorf("%q: %v", text, outcome)
		}
		_, outcome = attemptOf(t, coded(t), leasedWith(sealed(t, coded(t), text, payloadOf("k"), ""), ""),
			func(context.Context, *jobqueue.LeasedJob) (any, error) { return "handled", nil })
		if failure := outcome.GetFailure(); failure.GetErrorType() != "PayloadUnreadable" || !failure.GetPermanent() {
			t.Errorf("%q: %v", text, outcome)
		}
	}
	if calls.Load() != 0 {
		t.Error("sent")
	}
}

func TestEncodingsThatNothingMadeAreRefused(t *testing.T) {
	for _, none := range []*jobqueue.Encodings{{}, new(jobqueue.Encodings).WithKeyedCompression()} {
		_, err := jobqueue.NewClient("127.0.0.1:1", jobqueue.ClientOptions{Encodings: none})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, "Encodings")
		_, err = jobqueue.NewWorker("127.0.0.1:1", jobqueue.WorkerOptions{Encodings: none})
		refusedWith(t, err, jobqueue.ErrInvalidRequest, "Encodings")
	}
}

// asking is a cipher whose keys a function sees first.
type asking struct {
	jobqueue.Encrypting
	sees func(ctx context.Context, name string) error
}

func (w asking) Key(ctx context.Context, name string) ([]byte, error) {
	if err := w.sees(ctx, name); err != nil {
		return nil, err
	}
	return w.Encrypting.Key(ctx, name)
}

func TestOneDeadlineIsForEncodingTheCallAndDecoding(t *testing.T) {
	var ends []time.Time
	all := coded(t, asking{cipher(t, "a", map[string][]byte{"a": keyA}), func(ctx context.Context, _ string) error {
		until, _ := ctx.Deadline()
		ends = append(ends, until)
		return nil
	}})
	var calls atomic.Int32
	var sent []*pb.NewJob
	var last *pb.NewJob
	if _, err := stored(t, all, &calls, &sent).Enqueue(t.Context(), jobqueue.NewJob{Kind: "k"}); err != nil {
		t.Fatal(err)
	}
	job := jobqueue.NewJob{Kind: "k", Payload: 1}
	schedules := scheduling(t, all, &calls, &last)
	must[*jobqueue.Schedule](t)(schedules.Create(t.Context(), jobqueue.NewSchedule{Name: "s", Spec: seldom, Job: job}))
	must[*jobqueue.Schedule](t)(schedules.Update(t.Context(), "s", jobqueue.ScheduleChange{Job: &job}))
	if len(ends) != 6 {
		t.Fatal(ends)
	}
	for i := 0; i < len(ends); i += 2 {
		if ends[i].IsZero() || !ends[i].Equal(ends[i+1]) {
			t.Error(i, ends)
		}
	}
}

func TestAKeyThatIsSlowDoesNotTakeTheTimeOfTheOthersOfItsPage(t *testing.T) {
	keys := map[string][]byte{"a": keyA, "b": keyB}
	var page []*pb.Job
	for _, key := range []string{"b", "a", "b", "a"} {
		text := sealed(t, coded(t, cipher(t, key, keys)), `"x"`, payloadOf("k"), "")
		page = append(page, &pb.Job{Id: key, Kind: "k", Content: &pb.Job_PayloadJson{PayloadJson: []byte(text)}})
	}
	page = append(page, &pb.Job{Id: "plain", Kind: "k", Content: &pb.Job_PayloadJson{PayloadJson: []byte("1")}})
	var asked atomic.Int32
	slow := coded(t, asking{cipher(t, "a", keys), func(ctx context.Context, name string) error {
		asked.Add(1)
		if name == "a" {
			return ctx.Err()
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	client := answering(t, func(string, any, metadata.MD) (any, error) {
		return &pb.ListJobsResponse{Jobs: page}, nil
	}, func(options *jobqueue.ClientOptions) { options.Encodings, options.Deadline = slow, 2*time.Second })
	jobs, _, err := client.ListPage(t.Context(), jobqueue.Filter{}, "")
	if err != nil || len(jobs) != 5 || asked.Load() != 2 {
		t.Fatal(jobs, err, asked.Load())
	}
	for _, job := range jobs {
		unread := job.PayloadEncoded()
		if (unread != nil) != (job.ID == "b") || unread != nil && !strings.Contains(unread.Error(), "deadline exceeded") {
			t.Error(job.ID, unread)
		}
	}
}
