package jobqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// coding is what a worker's encodings do for the jobs of one handler.
type coding struct {
	encodings *Encodings
	// own: payloads, outputs and checkpoints of the kind are encoded; its follow-ups may be in any case.
	own bool
	// required: payloads of the kind must be encrypted, whatever a server was told of its names.
	required bool
}

// coded is what an attempt of a worker with encodings knows of them.
type coded struct {
	// sealer encodes what comes of it. nil: the worker has no encodings.
	sealer *sealer
	// opened: what then looks encoded is what a producer gave.
	opened bool
	// encoded, and encrypted: the payload came so.
	encoded, encrypted bool
	// rules are those of follow-ups of typed kinds.
	rules map[*pb.NewJob]EncodingRule
	// late: what follows up was encoded.
	late bool
}

// outputError is that an output can't be sent.
type outputError string

func (e outputError) Error() string { return string(e) }

// around is a handler with encodings around it, and around its middleware.
func (c *coding) around(run Handler) Handler {
	return func(ctx context.Context, job *LeasedJob) (any, error) {
		if err := c.begin(ctx, job); err != nil {
			return nil, err
		}
		output, err := run(ctx, job)
		if err != nil {
			return nil, err
		}
		return c.answer(job, output)
	}
}

// begin decodes the job of an attempt. The error is the attempt's.
func (c *coding) begin(ctx context.Context, job *LeasedJob) error {
	sealer, err := c.encodings.sealer(ctx)
	payload, checkpoint := []byte(job.Payload), job.Checkpoint
	var how openedHow
	if err == nil && c.own {
		payload, how, err = c.encodings.openedHow(ctx, payload, payloadPlace(job.Kind), c.required)
	}
	if err == nil && how.encoded && !json.Valid(payload) {
		err = undecodable(noJSON)
	}
	if err == nil && c.own {
		checkpoint, err = c.encodings.opened(ctx, checkpoint, checkpointPlace(job.Kind, job.ID), false)
	}
	var damaged *UndecodableError
	var key *KeyUnknownError
	var encoding *EncodingUnknownError
	switch {
	case errors.As(err, &damaged):
		return Discard(&PayloadUnreadableError{Message: err.Error()})
	case errors.As(err, &key), errors.As(err, &encoding):
		// It may come.
		return job.later(err)
	case err != nil:
		return err
	}
	job.mu.Lock()
	defer job.mu.Unlock()
	job.Payload, job.Checkpoint = payload, checkpoint
	job.coded = coded{
		sealer: sealer, opened: c.own, encoded: how.encoded, encrypted: how.encrypted, rules: job.coded.rules,
	}
	return nil
}

// answer is what a handler returned, encoded, as are its follow-ups. With an error the attempt has failed, and nothing of
// it is sent.
func (c *coding) answer(job *LeasedJob, output any) (any, error) {
	if err := job.sealFollowUps(); err != nil {
		return nil, err
	}
	if !c.own {
		return output, nil
	}
	text, err := encode(output)
	if err != nil {
		// Not by the output once more: what is marshalled again may be other bytes, in plain text.
		return nil, outputError(fmt.Sprintf("the handler's output can't be written as JSON: %v", err))
	}
	if text == nil {
		return nil, nil
	}
	if !json.Valid(text) {
		return nil, outputError("the handler's output is no JSON")
	}
	sealed, err := job.coded.sealer.seal(text, outputPlace(job.Kind, job.ID), "")
	if err != nil {
		return nil, err
	}
	return json.RawMessage(sealed), nil
}

// sealFollowUps encodes them; no more may come.
func (j *LeasedJob) sealFollowUps() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.coded.late = true
	j.size = 0
	for _, each := range j.followUps {
		if err := j.coded.sealer.message(each, j.coded.rules[each], "follow_up", ""); err != nil {
			return err
		}
		j.size += proto.Size(each)
	}
	if j.size > followUpsBytes {
		return tooManyBytes(j.size)
	}
	return nil
}

// later is what a handler returns where another worker may have what this one lacks: the job waits, about half an hour in
// all, and then fails with the error.
func (j *LeasedJob) later(err error) error {
	waited := j.Attempt - j.Failures
	if waited > mostSnoozes {
		return err
	}
	return snoozed(waited)
}

// mirrored is the handler for a test: the job is encoded before it, as its producer and its attempts do, and what comes of
// it is decoded.
func (c *coding) mirrored(run Handler) Handler {
	return func(ctx context.Context, job *LeasedJob) (any, error) {
		payload, checkpoint, report, before := job.Payload, job.Checkpoint, job.report, job.coded
		defer func() { job.Payload, job.Checkpoint, job.report, job.coded = payload, checkpoint, report, before }()
		if err := c.seal(ctx, job); err != nil {
			return nil, err
		}
		output, err := run(ctx, job)
		if err != nil {
			return nil, err
		}
		for _, each := range job.takeFollowUps() {
			text, err := c.encodings.opened(ctx, each.GetPayloadJson(), payloadPlace(each.GetKind()), false)
			if err != nil {
				return nil, err
			}
			each.Content = &pb.NewJob_PayloadJson{PayloadJson: text}
		}
		if text, ok := output.(json.RawMessage); ok && c.own {
			opened, err := c.encodings.opened(ctx, text, outputPlace(job.Kind, job.ID), false)
			return json.RawMessage(opened), err
		}
		return output, nil
	}
}

func (c *coding) seal(ctx context.Context, job *LeasedJob) error {
	if !c.own {
		return nil
	}
	sealer, err := c.encodings.sealer(ctx)
	if err != nil {
		return err
	}
	payload, err := sealer.seal(job.Payload, payloadPlace(job.Kind), "")
	if err != nil {
		return err
	}
	checkpoint, err := sealer.checkpoint(job.Checkpoint, job.Kind, job.ID)
	if err != nil {
		return err
	}
	report := job.report
	job.Payload, job.Checkpoint = payload, checkpoint
	job.report = func(told *pb.Progress) {
		if told.Checkpoint != nil {
			// What was sealed here is opened here.
			opened, _ := c.encodings.opened(ctx, told.Checkpoint, checkpointPlace(job.Kind, job.ID), false)
			told = &pb.Progress{Checkpoint: append([]byte{}, opened...)}
		}
		report(told)
	}
	return nil
}
