package jobqueue

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"jobqueue.dev/go/internal/shape"
	"jobqueue.dev/go/internal/testhook"
)

// None is the output of a kind whose jobs have none.
type None = struct{}

// JobKind is a kind, declared once: its name, the types of its payloads (P) and outputs (O), and what its jobs say by
// default. Made by [DefineKind]. It knows no client and no worker; producers, workers and readers share it.
type JobKind[P, O any] struct {
	name     string
	settings kindSettings
	payload  *shape.Shape
	output   *shape.Shape
}

// KindHandler runs one attempt of a job of a typed kind: a [Handler] that gets the payload and returns the output as what
// they are.
type KindHandler[P, O any] func(ctx context.Context, job *LeasedJob, payload P) (O, error)

// DefineKind declares a kind, for its producers and its workers. It is registered nowhere: [Client.SyncKinds] tells the server,
// which refuses jobs of kinds that it does not know.
//
//	var SendMail = jobqueue.DefineKind[Mail, Sent]("send-mail", jobqueue.Defaults(jobqueue.NewJob{MaxAttempts: 5}))
//
// P and O are types that encoding/json reads and writes; O is [None] for a kind without outputs. A field is required
// unless its tag says omitempty or omitzero. Fields that are not known are passed over. A number in a field of type any
// becomes a json.Number, which keeps its digits.
//
// It panics where the program is wrong: a type has no form in JSON, or settings contradict each other.
func DefineKind[P, O any](name string, settings ...KindSetting) *JobKind[P, O] {
	kind := &JobKind[P, O]{name: name}
	kind.settings.version = 1
	for _, setting := range settings {
		setting(&kind.settings)
	}
	if err := kind.define(); err != nil {
		panic(fmt.Sprintf("jobqueue: kind %q: %v", name, err))
	}
	return kind
}

// define checks the settings and makes the shapes.
func (k *JobKind[P, O]) define() (err error) {
	said := &k.settings
	switch _, keyed := said.key.(func(P) string); {
	case said.key != nil && !keyed:
		return fmt.Errorf("KeyBy has a %T; it takes a payload, a %v", said.key, reflect.TypeFor[P]())
	case said.version < 1:
		return fmt.Errorf("PayloadVersion(%d): a version is a whole number from 1 on", said.version)
	case said.defaults.Kind != "" || said.defaults.Payload != nil || said.defaults.IdempotencyKey != "":
		return fmt.Errorf("Defaults has a Kind, a Payload or an IdempotencyKey: these are each job's own")
	}
	if weight := said.slotWeight; weight != nil && (*weight < 1 || *weight > 1000) {
		return fmt.Errorf("SlotWeight(%d): a job takes 1 to 1000 slots", *weight)
	}
	switch said.encodings {
	case "", EncodingsNever, EncodingsAllowed, EncodingsRequired:
	default:
		return fmt.Errorf("KindEncodings(%q): it is never, allowed or required", said.encodings)
	}
	if _, named := said.unique.(func(P) *Unique); said.unique != nil && !named {
		return fmt.Errorf("UniqueBy has a %T; it takes a payload, a %v", said.unique, reflect.TypeFor[P]())
	}
	for from, each := range said.upcasts {
		if from < 1 || from >= said.version {
			return fmt.Errorf("Upcast(%d, ...): each leads from a version below %d to the next one", from, said.version)
		}
		if each.shape, err = shape.For(each.of, said.strict); err != nil {
			return err
		}
	}
	if k.payload, err = shape.For(reflect.TypeFor[P](), said.strict); err != nil {
		return err
	}
	if said.schema != nil && !json.Valid(said.schema) {
		return fmt.Errorf("Schema is not JSON")
	}
	k.output, err = shape.For(reflect.TypeFor[O](), said.strict)
	return err
}

// Name is the kind's name.
func (k *JobKind[P, O]) Name() string { return k.name }

// Version is that of its payloads.
func (k *JobKind[P, O]) Version() int { return k.settings.version }

// Aliases are older names of the kind.
func (k *JobKind[P, O]) Aliases() []string { return slices.Clone(k.settings.aliases) }

// Names are its name, and then its aliases.
func (k *JobKind[P, O]) Names() []string { return append([]string{k.name}, k.settings.aliases...) }

// New is a job of the kind, with what the kind's Defaults say. Set on it what this job says otherwise; its version goes
// with it, whatever its Headers are. A payload that can't be written as JSON, such as one with a NaN, is
// ErrPayloadInvalid when it is enqueued.
func (k *JobKind[P, O]) New(payload P) NewJob {
	job := k.settings.defaults
	job.Kind, job.typed = k.name, k
	job.Payload = payload
	if job.Payload == nil {
		// A nil of an interface's type: none is given, and the typed payload is null.
		job.Payload = json.RawMessage("null")
	}
	job.Labels, job.Headers = maps.Clone(job.Labels), maps.Clone(job.Headers)
	if by, ok := k.settings.key.(func(P) string); ok {
		job.Key = by(payload)
	}
	if by, ok := k.settings.unique.(func(P) *Unique); ok {
		job.Unique = by(payload)
	}
	return job
}

// PayloadOf reads the payload of a job. One of an older version is made one of this version first.
//
// The error is a [*PayloadUnreadableError], a [*PayloadTooNewError], or an [*EncodedError] where the client has not decoded
// it; or the job is nil, is of another kind, or was
// read without its payload, as lists are unless they ask for Full.
func (k *JobKind[P, O]) PayloadOf(job *Job) (P, error) {
	var none P
	if err := k.check(job); err != nil {
		return none, err
	}
	if len(job.Payload) == 0 {
		return none, fmt.Errorf("jobqueue: the job %s was read without its payload: use Get, or Full", job.ID)
	}
	if encoded := job.PayloadEncoded(); encoded != nil {
		return none, encoded
	}
	return k.read(job.Payload, job.Headers, true)
}

// OutputOf reads the output of a job that has succeeded.
//
// The error is a [*JobNotSucceededError] where it ended otherwise or has not ended, a [*PayloadUnreadableError] where its
// output is not of the type, and an [*EncodedError] where the client has not decoded it; or the job is nil, is of another
// kind, or was read without its output.
func (k *JobKind[P, O]) OutputOf(job *Job) (O, error) {
	var output O
	switch err := k.check(job); {
	case err != nil:
		return output, err
	case job.Status != StatusSucceeded:
		return output, &JobNotSucceededError{job}
	case k.hasNoOutput():
		return output, nil
	case len(job.Output) == 0:
		return output, fmt.Errorf("jobqueue: the job %s was read without its output: use Get, or Full", job.ID)
	}
	if encoded := job.OutputEncoded(); encoded != nil {
		return output, encoded
	}
	if wrong := k.output.Decode(job.Output, &output); wrong != nil {
		var none O
		return none, unreadable("output", wrong)
	}
	return output, nil
}

// Schema is the JSON Schema (2020-12) of its payloads, for [Kind]: of this version, or of an older one for which there is
// an Upcast. So producers of an older version are not refused while programs of both run. A payload that is encoded is one
// of its payloads too, as KindEncodings says it; of a kind that requires it, there is no other.
func (k *JobKind[P, O]) Schema() json.RawMessage { return k.schema(false) }

// schema is the same of a program that has encodings, which a kind that says nothing of them allows.
func (k *JobKind[P, O]) schema(encodes bool) json.RawMessage {
	rule := k.settings.encodings
	if rule == EncodingsRequired {
		return versioned(encryptedSchema, k.settings.version)
	}
	said := k.settings.schema
	if said == nil {
		said = schemaText(k.payload.Schema())
	}
	branches := []json.RawMessage{versioned(said, k.settings.version)}
	for _, from := range slices.Backward(slices.Sorted(maps.Keys(k.settings.upcasts))) {
		older := k.settings.upcasts[from].shape
		text := json.RawMessage(`{"type":"object"}`)
		if !older.IsOpen() {
			text = schemaText(older.Schema())
		}
		branches = append(branches, versioned(text, from))
	}
	if rule == EncodingsAllowed || (encodes && rule == "") {
		// Behind the others: the first of a version is the one by which a server says what is wrong.
		branches = append(branches, versioned(envelopeSchema, k.settings.version))
	}
	return oneOf(branches)
}

// OutputSchema is the JSON Schema of its outputs. nil: it has none.
func (k *JobKind[P, O]) OutputSchema() json.RawMessage {
	if k.hasNoOutput() {
		return nil
	}
	return schemaText(k.output.Schema())
}

// Handler is a handler of the kind as one of any kind, for what takes a [Handler]. Of a kind that requires encryption it
// refuses a payload that has come in plain text, and a worker, or a test, that has no Encodings that encrypt.
func (k *JobKind[P, O]) Handler(handler KindHandler[P, O]) Handler {
	return func(ctx context.Context, job *LeasedJob) (any, error) {
		if job.ofTest && job.Kind != testhook.Performed && !slices.Contains(k.Names(), job.Kind) {
			return nil, fmt.Errorf("jobqueue: the job is of the kind %q, and the handler is of the kind %q", job.Kind, k.name)
		}
		if err := k.encrypted(job); err != nil {
			return nil, err
		}
		payload, err := k.leased(job)
		if err != nil {
			return nil, err
		}
		output, err := handler(ctx, job, payload)
		if err != nil || k.hasNoOutput() {
			return nil, err
		}
		if text, err := encode(any(output)); err == nil && text == nil {
			// A nil is this kind's output, and not the lack of one.
			return json.RawMessage("null"), nil
		}
		return output, nil
	}
}

// HandleKind makes a function the handler of a typed kind, and of its aliases. It panics as [Worker.Handle] does.
//
// A payload that is not of its type ends its job as FAILED_PERMANENT, since another attempt would read the same; one of a
// version that this program does not know waits for a worker that does, for about half an hour, at no cost.
func HandleKind[P, O any](w *Worker, kind *JobKind[P, O], handler KindHandler[P, O], options ...KindOption) {
	if handler == nil {
		panic(fmt.Sprintf("jobqueue: the handler of kind %q is nil", kind.name))
	}
	for _, name := range kind.Names() {
		w.add(name, kind.Names(), kindHandler{
			run: kind.Handler(handler), name: nameOf(handler), rule: kind.settings.encodings,
		}, options)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.typed = append(w.typed, kind)
}

// encrypted is what an attempt fails by whose payload was not encrypted, or whose output would not be, where they must be.
// [HandleKind] sees it before the first job; a handler as one of any kind does not say of which one it is.
func (k *JobKind[P, O]) encrypted(job *LeasedJob) error {
	switch said := &job.coded; {
	case k.settings.encodings != EncodingsRequired:
		return nil
	case said.sealer == nil || !said.sealer.of.encrypts():
		return &EncodingRequiredError{Kind: job.Kind, to: theWorker}
	case !said.encrypted:
		return Discard(&PayloadUnreadableError{Message: "payload: " + encryptedAlone})
	}
	return nil
}

func (k *JobKind[P, O]) hasNoOutput() bool { return reflect.TypeFor[O]() == reflect.TypeFor[None]() }

func (k *JobKind[P, O]) check(job *Job) error {
	if job == nil {
		return fmt.Errorf("jobqueue: there is no job to read, it is nil: look at the error of the call that was to return it")
	}
	if job.Kind != k.name && !slices.Contains(k.settings.aliases, job.Kind) {
		return fmt.Errorf("jobqueue: the job %s is of the kind %s, not %s", job.ID, job.Kind, k.name)
	}
	return nil
}
