package jobqueue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// EncodingRule says whether payloads, outputs and checkpoints of a kind are encoded. Empty: as EncodingsAllowed, and the
// server is told of it by programs that have [Encodings].
type EncodingRule string

// The rules.
const (
	// EncodingsNever: they are in plain text.
	EncodingsNever EncodingRule = "never"
	// EncodingsAllowed: they are encoded where a program has [Encodings].
	EncodingsAllowed EncodingRule = "allowed"
	// EncodingsRequired: payloads are encrypted, and a server that knows the kind refuses plain text.
	EncodingsRequired EncodingRule = "required"
)

// Encoding makes bytes of bytes, and back. It is used by many goroutines at once.
type Encoding interface {
	// Name is what envelopes call it. Another form of its bytes is another name.
	Name() string
	// Encode encodes. nil without an error: it leaves these bytes as they are. An error fails the enqueue or the attempt,
	// and nothing is sent.
	Encode(data []byte, with Coding) ([]byte, error)
	// Decode answers the bytes that were encoded. The error is an [*UndecodableError] where they are damaged, or bound to
	// something else.
	Decode(data []byte, with Coding) ([]byte, error)
}

// Encrypting is an [Encoding] that encrypts.
type Encrypting interface {
	Encoding
	// KeyID is the name of the key with which it encrypts.
	KeyID() string
	// Key is a key by its name. The error is a [*KeyUnknownError] where there is none.
	Key(ctx context.Context, name string) ([]byte, error)
}

// Coding is what an [Encoding] is told beside the bytes.
type Coding struct {
	// Key answers the key of what encrypts; it is a function, so that nothing prints it. Empty: nothing encrypts.
	Key func() []byte
	// Authenticated is all that the envelope is bound to.
	Authenticated []byte
	// IdempotencyKey: with it the same bytes must become the same bytes. Empty: they need not.
	IdempotencyKey string
}

// Encodings are what payloads, outputs and checkpoints go through before they are sent, and back when they are read. Made
// by [NewEncodings], for [ClientOptions] and [WorkerOptions].
type Encodings struct {
	steps            []encodingStep
	keyedCompression bool
}

type encodingStep struct {
	Encoding
	name string
	// by is the same where it encrypts, and keyID its key then.
	by    Encrypting
	keyID string
}

// NewEncodings takes encodings, which are applied from left to right; one that encrypts is the last.
//
//	cipher, err := jobqueue.NewAESGCM(map[string][]byte{"2026-10": key}, "2026-10")
//	encodings, err := jobqueue.NewEncodings(cipher)
//
// Clients and workers may share them. What is there in plain text is read as it is. The error is that there is none, that
// one has no name or that of another, or that something comes after one that encrypts.
func NewEncodings(encodings ...Encoding) (*Encodings, error) {
	if len(encodings) == 0 {
		return nil, errors.New("encodings must not be empty")
	}
	made := &Encodings{}
	for i, each := range encodings {
		if each == nil {
			return nil, errors.New("one of the encodings is nil")
		}
		step := encodingStep{Encoding: each, name: each.Name()}
		if by, ok := each.(Encrypting); ok && by.KeyID() != "" {
			step.by, step.keyID = by, by.KeyID()
		}
		switch {
		case step.name == "":
			return nil, fmt.Errorf("the name of an encoding, a %T, is empty", each)
		case made.named(step.name) != nil:
			return nil, fmt.Errorf("encodings must be different ones; %s is there twice", step.name)
		case step.by != nil && i < len(encodings)-1:
			return nil, errors.New("of encodings, what encrypts is the last one, since nothing compresses its output")
		}
		made.steps = append(made.steps, step)
	}
	return made, nil
}

// WithKeyedCompression are the same ones, which compress jobs with an idempotency key too. The same call again is then
// another request ([ErrIdempotencyKeyReused]) as soon as another version of the library makes other bytes.
func (e *Encodings) WithKeyedCompression() *Encodings {
	made := *e
	made.keyedCompression = true
	return &made
}

func (e *Encodings) named(name string) *encodingStep {
	at := slices.IndexFunc(e.steps, func(step encodingStep) bool { return step.name == name })
	if at < 0 {
		return nil
	}
	return &e.steps[at]
}

func (e *Encodings) last() *encodingStep { return &e.steps[len(e.steps)-1] }

// encrypts says whether one of them does. Of nil: no.
func (e *Encodings) encrypts() bool { return e != nil && e.last().by != nil }

// sealer encodes, with the key that was the primary one when it was made. It waits for nothing more.
type sealer struct {
	of  *Encodings
	key func() []byte
}

func (e *Encodings) sealer(ctx context.Context) (*sealer, error) {
	key, err := keyOf(ctx, e.last(), e.last().keyID)
	if err != nil {
		return nil, err
	}
	return &sealer{e, key}, nil
}

// keyOf is a key of a step; an empty one where it does not encrypt, or none is named.
func keyOf(ctx context.Context, step *encodingStep, name string) (func() []byte, error) {
	var key []byte
	if step.by != nil && name != "" {
		var err error
		if key, err = step.by.Key(ctx, name); err != nil {
			return nil, err
		}
	}
	return func() []byte { return key }, nil
}

// seal is the envelope of some data; the data itself, where no encoding has anything to do with it. With an error nothing
// may be sent.
func (s *sealer) seal(data []byte, at codingPlace, idempotencyKey string) ([]byte, error) {
	var names []string
	keyID := ""
	for i := range s.of.steps {
		step := &s.of.steps[i]
		if idempotencyKey != "" && step.by == nil && !s.of.keyedCompression {
			continue
		}
		with := Coding{Key: s.key, IdempotencyKey: idempotencyKey}
		if step.by != nil {
			// The one that encrypts is the last, so these are all the names of the envelope.
			with.Authenticated = at.authenticated(append(slices.Clone(names), step.name), step.keyID)
		}
		done, err := step.Encode(data, with)
		if err != nil {
			return nil, err
		}
		if done == nil {
			if step.by != nil {
				return nil, fmt.Errorf("the encoding %s has left something unencrypted", step.name)
			}
			continue
		}
		data, keyID = done, step.keyID
		names = append(names, step.name)
	}
	if len(names) > 0 {
		return (&envelope{names, keyID, data, at.contentType}).text(), nil
	}
	if at.purpose == "checkpoint" && bytes.HasPrefix(data, envelopePrefix) ||
		at.purpose != "checkpoint" && envelopeIn(data) != nil {
		// It may be a stranger's, who has put into it what was never checked.
		return nil, invalid(at.purpose, "looks like an envelope, and nothing here encodes it")
	}
	return data, nil
}

// checkpoint is one, encoded. An empty one stays so: it takes away what is stored.
func (s *sealer) checkpoint(data []byte, kind, id string) ([]byte, error) {
	if len(data) == 0 {
		return data, nil
	}
	return s.seal(data, checkpointPlace(kind, id), "")
}

// message encodes the payload in a message; keyedBy stands for the idempotency key where it has none.
func (s *sealer) message(message *pb.NewJob, rule EncodingRule, path, keyedBy string) error {
	switch {
	case rule == EncodingsNever:
		return nil
	case rule == EncodingsRequired && !s.of.encrypts():
		return &EncodingRequiredError{Kind: message.GetKind()}
	case message.Unique != nil && message.Unique.GetKey() == "":
		return invalid(path+".unique", "of the kind %s, is made by the payload, and the server can't look into one that is "+
			"encoded: give Unique.Key, which the kind may compute", message.GetKind())
	}
	key := message.GetIdempotencyKey()
	if key == "" {
		key = keyedBy
	}
	text := message.GetPayloadJson()
	if text == nil {
		text = []byte("null")
	}
	if !json.Valid(text) {
		// Once it is encoded a server can't see it.
		return invalid(path+".payload", "is no JSON")
	}
	sealed, err := s.seal(text, payloadPlace(message.GetKind()), key)
	if err != nil {
		return err
	}
	message.Content = &pb.NewJob_PayloadJson{PayloadJson: sealed}
	return nil
}

// rule is what the job's kind says.
func (j *NewJob) rule() EncodingRule {
	if j.typed == nil {
		return ""
	}
	return j.typed.encodings()
}

// sealed encodes the payloads in the messages of jobs, all or none; keyedBy is as of sealer.message. It is the only way of
// a kind that must be encrypted to a server. Of nil encodings nothing is encoded.
func (e *Encodings) sealed(
	ctx context.Context, jobs []NewJob, messages []*pb.NewJob, path func(int) string, keyedBy string,
) error {
	if e == nil {
		for i := range jobs {
			if jobs[i].rule() == EncodingsRequired {
				return &EncodingRequiredError{Kind: jobs[i].Kind}
			}
		}
		return nil
	}
	sealer, err := e.sealer(ctx)
	if err != nil {
		return err
	}
	for i := range jobs {
		if unread := jobs[i].PayloadEncoded(); unread != nil {
			return unread
		}
		if err := sealer.message(messages[i], jobs[i].rule(), path(i), keyedBy); err != nil {
			return err
		}
	}
	return nil
}

// opened is what was encoded; a text that is no envelope, as it is. encrypted: it must be.
func (e *Encodings) opened(ctx context.Context, text []byte, at codingPlace, encrypted bool) ([]byte, error) {
	data, _, err := e.openedHow(ctx, text, at, encrypted)
	return data, err
}

// openedHow is how something was before it was opened.
type openedHow struct{ encoded, encrypted bool }

// openedHow is the same, and how it was.
func (e *Encodings) openedHow(
	ctx context.Context, text []byte, at codingPlace, encrypted bool,
) ([]byte, openedHow, error) {
	members, err := at.envelopeIn(text)
	if err != nil {
		return nil, openedHow{}, err
	}
	key, _ := stringIn(members["key_id"])
	if encrypted && key == "" {
		// That what has a key's name is encrypted is looked at below.
		return nil, openedHow{}, undecodable(encryptedAlone)
	}
	if members == nil {
		return text, openedHow{}, nil
	}
	data, err := e.open(ctx, members, at)
	return data, openedHow{true, key != ""}, err
}

func (e *Encodings) open(ctx context.Context, members map[string]json.RawMessage, at codingPlace) ([]byte, error) {
	found, err := readEnvelope(members)
	if err != nil {
		return nil, err
	}
	if found.contentType != at.contentType {
		return nil, undecodable("the envelope's content_type must be %s", at.contentType)
	}
	steps := make([]*encodingStep, len(found.encodings))
	for i, name := range found.encodings {
		if steps[i] = e.named(name); steps[i] == nil {
			return nil, &EncodingUnknownError{name}
		}
	}
	last := steps[len(steps)-1]
	for _, step := range steps[:len(steps)-1] {
		if step.by != nil {
			return nil, undecodable("what encrypts must be the last of the envelope's encodings")
		}
	}
	if (found.keyID != "") != (last.by != nil) {
		return nil, undecodable("the envelope must have a key_id if it is encrypted, and none else")
	}
	key, err := keyOf(ctx, last, found.keyID)
	if err != nil {
		return nil, err
	}
	data, with := found.data, Coding{Key: key, Authenticated: at.authenticated(found.encodings, found.keyID)}
	for _, step := range slices.Backward(steps) {
		if data, err = step.Decode(data, with); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// read is the job in an answer, decoded. What can't be decoded stays the envelope that it is, and the job says why.
func (e *Encodings) read(ctx context.Context, message *pb.Job) *Job {
	job := jobOf(message)
	job.opened = true
	job.Payload, job.unreadPayload = e.readText(ctx, job.Payload, payloadPlace(job.Kind))
	job.Output, job.unreadOutput = e.readText(ctx, job.Output, outputPlace(job.Kind, job.ID))
	return job
}

// readText is what a text holds, and why it could not be decoded; nil: it was, or is in plain text.
func (e *Encodings) readText(ctx context.Context, text json.RawMessage, at codingPlace) (json.RawMessage, *EncodedError) {
	members := envelopeIn(text)
	if members == nil {
		return text, nil
	}
	opened, err := e.open(ctx, members, at)
	if err == nil && !json.Valid(opened) {
		err = undecodable(noJSON)
	}
	if err != nil {
		return text, encodedOf(members, typeOf(err)+": "+err.Error())
	}
	return opened, nil
}

// encode encodes the payloads in the messages of jobs, before a byte of a call is sent; keyedBy is as of sealer.message.
func (c *Client) encode(
	ctx context.Context, jobs []NewJob, messages []*pb.NewJob, path func(int) string, keyedBy string,
) error {
	if c.options.Encodings == nil {
		return c.options.Encodings.sealed(ctx, jobs, messages, path, keyedBy)
	}
	return c.bounded(ctx, func(ctx context.Context) error {
		return c.options.Encodings.sealed(ctx, jobs, messages, path, keyedBy)
	})
}

// jobOf is a job as it was answered, decoded.
func (c *Client) jobOf(ctx context.Context, message *pb.Job) *Job {
	return c.jobsOf(ctx, []*pb.Job{message})[0]
}

// jobsOf are those of a page.
func (c *Client) jobsOf(ctx context.Context, messages []*pb.Job) []*Job {
	jobs := make([]*Job, len(messages))
	if c.options.Encodings == nil {
		for i, each := range messages {
			jobs[i] = jobOf(each)
		}
		return jobs
	}
	_ = c.bounded(ctx, func(ctx context.Context) error {
		encodings := c.options.Encodings.withKeysOf(ctx, messages)
		for i, each := range messages {
			jobs[i] = encodings.read(ctx, each)
		}
		return nil
	})
	return jobs
}

// within is the context of a method, with the Deadline where it has none: for encoding, the call and decoding together.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.options.Deadline)
}

// bounded bounds how long keys are waited for, as a call is.
func (c *Client) bounded(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := c.within(ctx)
	defer cancel()
	return do(ctx)
}
