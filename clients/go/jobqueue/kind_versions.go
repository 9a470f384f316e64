package jobqueue

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"time"

	"jobqueue.dev/go/internal/shape"
)

const (
	// By this header a payload says of which version it is. Without it: 1.
	versionHeader = "x-payload-version"
	// A payload that is newer than the worker waits so often, for about half an hour in all.
	mostSnoozes = 20
	snoozeUnit  = 15 * time.Second
	mostUnits   = 8
)

// PayloadUnreadableError: a payload is of a version that is known here, and is not what that version says. As a job's
// error its type is PayloadUnreadable.
type PayloadUnreadableError struct {
	// Message names the place and what would be right, and never the value.
	Message string
	cause   error
}

func (e *PayloadUnreadableError) Error() string { return e.Message }

// Unwrap is the error of an upcaster. nil: it was none.
func (e *PayloadUnreadableError) Unwrap() error { return e.cause }

// PayloadTooNewError: a payload is of a version that this program does not know. As a job's error its type is
// PayloadTooNew.
type PayloadTooNewError struct {
	// Version is that of the payload, and Known the newest one here.
	Version, Known int
}

func (e *PayloadTooNewError) Error() string {
	return fmt.Sprintf("the payload has version %d; this program knows %d", e.Version, e.Known)
}

// JobNotSucceededError: a job has no output, since it has not ended as SUCCEEDED.
type JobNotSucceededError struct {
	// Job is as it was read.
	Job *Job
}

func (e *JobNotSucceededError) Error() string {
	why := strings.Join(given(e.Job.Reason, e.Job.LastError), ": ")
	if why != "" {
		why = " (" + why + ")"
	}
	return fmt.Sprintf("the job %s is %s%s", e.Job.ID, e.Job.Status, why)
}

func given(words ...string) []string {
	var found []string
	for _, each := range words {
		if each != "" {
			found = append(found, each)
		}
	}
	return found
}

// typedJob is what a job knows of the typed kind that made it.
type typedJob interface {
	// Version is that of its payload.
	Version() int
	// encodings says whether it is encoded.
	encodings() EncodingRule
	// accepts says whether a worker of the kind could read a payload of this version.
	accepts(payload json.RawMessage) error
}

func (k *JobKind[P, O]) encodings() EncodingRule { return k.settings.encodings }

func (k *JobKind[P, O]) accepts(payload json.RawMessage) error {
	_, err := k.decode(payload)
	return err
}

// leased is the payload of an attempt, or the error that its handler returns for it.
func (k *JobKind[P, O]) leased(job *LeasedJob) (P, error) {
	payload, err := k.read(job.Payload, job.Headers, job.coded.opened)
	if err == nil {
		return payload, nil
	}
	var none P
	var newer *PayloadTooNewError
	if !errors.As(err, &newer) {
		return none, Discard(err)
	}
	return none, job.later(err)
}

// snoozed puts off a job that has waited so often.
func snoozed(waited int) error {
	spread := 0.75 + rand.Float64()/2 // not all workers at the same moment
	wait := snoozeUnit * time.Duration(max(1, min(waited, mostUnits)))
	return Snooze(time.Duration(float64(wait) * spread))
}

// read is the payload of a text of any version. opened: what looks like an envelope in there is a producer's own.
func (k *JobKind[P, O]) read(text json.RawMessage, headers map[string]string, opened bool) (P, error) {
	var none P
	version := versionIn(headers)
	switch {
	case version < 1:
		return none, &PayloadUnreadableError{Message: "headers." + versionHeader +
			": must be the number of a version, from 1"}
	case version > k.settings.version:
		return none, &PayloadTooNewError{version, k.settings.version}
	}
	if !opened {
		if members := envelopeIn(text); members != nil {
			// A type that takes any object, or has no field that must be there, would take it for a payload.
			return none, &PayloadUnreadableError{
				Message: "payload: " + encodedOf(members, "the worker does not decode this kind").Error()}
		}
	}
	for older := version; older < k.settings.version; older++ {
		step, ok := k.settings.upcasts[older]
		if !ok {
			return none, &PayloadUnreadableError{Message: fmt.Sprintf(
				"the payload has version %d, and the kind has no upcaster from %d on", version, older)}
		}
		next, err := step.apply(text)
		var wrong *shape.Mismatch
		switch {
		case errors.As(err, &wrong):
			return none, unreadable("payload", wrong)
		case err != nil:
			return none, &PayloadUnreadableError{fmt.Sprintf(
				"the payload has version %d, and its upcaster from %d on failed with %s", version, older, typeOf(err)), err}
		}
		text = next
	}
	return k.decode(text)
}

// versionIn is what the headers say. 0: no version.
func versionIn(headers map[string]string) int {
	said, ok := headers[versionHeader]
	if !ok {
		return 1
	}
	if len(said) >= 10 || strings.Trim(said, "0123456789") != "" {
		return 0
	}
	version, err := strconv.Atoi(said)
	if err != nil {
		return 0
	}
	return version
}

func (k *JobKind[P, O]) decode(text json.RawMessage) (P, error) {
	var payload P
	if wrong := k.payload.Decode(text, &payload); wrong != nil {
		var none P
		return none, unreadable("payload", wrong)
	}
	return payload, nil
}

func unreadable(what string, wrong *shape.Mismatch) *PayloadUnreadableError {
	return &PayloadUnreadableError{Message: what + wrong.Error()}
}

// apply makes the text one of the next version. What a function stumbles over, such as an index that is not there, is the
// payload's fault as an error of it is.
func (u *upcast) apply(text json.RawMessage) (next json.RawMessage, err error) {
	defer func() {
		switch value := recover().(type) {
		case nil:
		case runtime.Error:
			err = value
		default:
			panic(value)
		}
	}()
	return u.run(u.shape, text)
}
