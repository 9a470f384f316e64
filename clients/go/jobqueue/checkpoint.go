package jobqueue

import (
	"reflect"
	"sync"

	"jobqueue.dev/go/internal/shape"
	pb "jobqueue.dev/go/jobqueue/v1"
)

const checkpointBytes = 64 * 1024

// shapes are those of the types that checkpoints are read as: reflect.Type to *shape.Shape.
var shapes sync.Map

// CheckpointUnreadableError: a checkpoint is not of the type that a handler reads it as. As a job's error its type is
// CheckpointUnreadable; it is a failure like any other.
type CheckpointUnreadableError struct {
	// Message names the place and what would be right, and never the value.
	Message string
}

func (e *CheckpointUnreadableError) Error() string { return e.Message }

// SaveCheckpoint leaves something for the job's next attempt: bytes in any form, which that one reads as Checkpoint, or a
// value, stored as JSON, which it reads by [LeasedJob.CheckpointAs]. At most 64 KiB; nil and no bytes take back what was
// left. Returns at once. The newest one counts. It is there for sure once the attempt ends by an outcome of this worker;
// where the worker is lost, the last tenths of a second may be lost with it.
func (j *LeasedJob) SaveCheckpoint(value any) error {
	data, isBytes := value.([]byte)
	if !isBytes {
		var err error
		if data, err = encode(value); err != nil {
			return invalid("checkpoint", "is no JSON: %v", err)
		}
	}
	if len(data) > checkpointBytes {
		return invalid("checkpoint", "has %d bytes; at most %d are taken: store it elsewhere and leave its address",
			len(data), checkpointBytes)
	}
	if j.coded.opened {
		var err error
		if data, err = j.coded.sealer.checkpoint(data, j.Kind, j.ID); err != nil {
			return err
		}
		if len(data) > checkpointBytes {
			return invalid("checkpoint", "has %d bytes once it is encoded; at most %d are taken", len(data), checkpointBytes)
		}
	}
	// A copy, and never nil: an empty one takes back what was left.
	j.report(&pb.Progress{Checkpoint: append([]byte{}, data...)})
	return nil
}

// CheckpointAs reads the checkpoint into what a pointer points at, as the value that SaveCheckpoint was given. false: the
// attempts before have left nothing. A number in a value of any type becomes a json.Number.
//
// The error is a [*CheckpointUnreadableError] where it is not of the type, an [*EncodedError] where it is encoded and the
// worker has no encodings, and [ErrInvalidRequest] where this is no pointer or its type has no form in JSON. Then what the
// pointer points at is as it was.
func (j *LeasedJob) CheckpointAs(value any) (bool, error) {
	into := reflect.ValueOf(value)
	if into.Kind() != reflect.Pointer || into.IsNil() {
		return false, invalid("checkpoint", "is read into a %T; it takes a pointer to a value", value)
	}
	of, err := shapeOf(into.Type().Elem())
	if err != nil {
		return false, invalid("checkpoint", "is read into a %T: %v", value, err)
	}
	if len(j.Checkpoint) == 0 {
		return false, nil
	}
	if !j.coded.opened {
		if members := envelopeIn(j.Checkpoint); members != nil {
			return false, encodedOf(members, noEncodings)
		}
	}
	// Not into what is there, of which JSON would leave what it does not name.
	found := reflect.New(into.Type().Elem())
	if wrong := of.Decode(j.Checkpoint, found.Interface()); wrong != nil {
		return false, &CheckpointUnreadableError{"checkpoint" + wrong.Error()}
	}
	into.Elem().Set(found.Elem())
	return true, nil
}

func shapeOf(of reflect.Type) (*shape.Shape, error) {
	if known, ok := shapes.Load(of); ok {
		return known.(*shape.Shape), nil
	}
	made, err := shape.For(of, false)
	if err == nil {
		shapes.Store(of, made)
	}
	return made, err
}
