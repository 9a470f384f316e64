package jobqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	// ownerLabel is the label of schedules that [Schedules.Apply] has made: whose they are.
	ownerLabel = "jobqueue.owner"
	applyTries = 10
)

// ApplyOptions say whose schedules are declared. Owner must be set.
type ApplyOptions struct {
	// Owner is whose they are, such as the program's name: a label, `jobqueue.owner`. A schedule of another owner, or of none, is
	// never changed.
	Owner string
	// Prune: schedules of this owner that are not declared are deleted.
	Prune bool
}

// Applied is what [Schedules.Apply] did with a schedule.
type Applied string

// What it did.
const (
	AppliedCreated Applied = "CREATED"
	AppliedChanged Applied = "CHANGED"
	// AppliedUnchanged: it was as the program declares it.
	AppliedUnchanged Applied = "UNCHANGED"
	// AppliedDeleted: the program does not declare it any more.
	AppliedDeleted Applied = "DELETED"
)

// AppliedSchedule is what [Schedules.Apply] did.
type AppliedSchedule struct {
	// Schedule is the schedule as it is now; one that was deleted, as it was listed before.
	Schedule *Schedule
	// Done is what was done with it.
	Done Applied
}

// Apply makes the schedules of a program what the program declares, as it does when it starts.
//
// One that is missing is created, one that is another is changed, and one that is as declared stays untouched. What is not
// declared of it, such as a Policy, is the default again. A schedule that an operator has paused stays paused. A job without a
// Payload has one of `null`. Programs of one owner may do so at once: where another one came between, it is tried again, 10
// times in all.
//
// The answer is what was done, in the order in which they are declared, and then what was deleted. The calls are made one after
// the other, and the client's Deadline is for each of them: with an error, what was done before stays, and is the answer.
//
// ErrScheduleExists: a schedule has this name and is not of this owner; Metadata has `schedule` and `owner`. ErrInvalidRequest:
// as of Create; or two of them have one name, or Owner is empty, and no call was made. ErrKindUnknown, ErrPayloadInvalid and
// ErrSchedulesFull: as of Create.
func (s *Schedules) Apply(ctx context.Context, declared []NewSchedule, options ApplyOptions) ([]AppliedSchedule, error) {
	if options.Owner == "" {
		return nil, invalid("Owner", "is empty")
	}
	wanted := map[string]bool{}
	for _, each := range declared {
		if wanted[each.Name] {
			return nil, invalid("declared", "two schedules have the name %q", each.Name)
		}
		wanted[each.Name] = true
	}
	applied := make([]AppliedSchedule, 0, len(declared))
	for _, each := range declared {
		done, err := s.applied(ctx, each, options.Owner)
		if err != nil {
			return applied, err
		}
		applied = append(applied, done)
	}
	if !options.Prune {
		return applied, nil
	}
	var left []*Schedule
	filter := ScheduleFilter{Labels: map[string]string{ownerLabel: options.Owner}, PageSize: 1000}
	for each, err := range s.List(ctx, filter) {
		if err != nil {
			return applied, err
		}
		if !wanted[each.Name] {
			left = append(left, each)
		}
	}
	for _, each := range left {
		err := s.Delete(ctx, each.Name, each.Etag)
		if errors.Is(err, ErrScheduleNotFound) || errors.Is(err, ErrEtagMismatch) {
			// One that was changed since is another program's by now, or the same program's of another version.
			continue
		}
		if err != nil {
			return applied, err
		}
		applied = append(applied, AppliedSchedule{each, AppliedDeleted})
	}
	return applied, nil
}

// applied applies one of them, again where another program changed it meanwhile.
func (s *Schedules) applied(ctx context.Context, declared NewSchedule, owner string) (AppliedSchedule, error) {
	waits := newBackoff(20*time.Millisecond, 500*time.Millisecond)
	for try := 1; ; try++ {
		done, err := s.applyOnce(ctx, declared, owner)
		if err == nil || try == applyTries || !cameBetween(err) {
			return done, err
		}
		if ended := sleep(ctx, waits.next()); ended != nil {
			return AppliedSchedule{}, errors.Join(ended, err)
		}
	}
}

// cameBetween: another program made, changed or deleted the schedule after it was read.
func cameBetween(err error) bool {
	var failure *Error
	if !errors.As(err, &failure) {
		return false
	}
	if _, foreign := failure.Metadata["owner"]; foreign {
		return false
	}
	return failure.Is(ErrEtagMismatch) || failure.Is(ErrScheduleNotFound) || failure.Is(ErrScheduleExists)
}

// applyOnce applies it by what was read a moment before.
func (s *Schedules) applyOnce(ctx context.Context, declared NewSchedule, owner string) (AppliedSchedule, error) {
	labels := map[string]string{}
	maps.Copy(labels, declared.Labels)
	labels[ownerLabel] = owner
	declared.Labels = labels
	// What is nil would stay as it is in an update.
	if declared.Policy == nil {
		declared.Policy = &SchedulePolicy{}
	}
	if text, err := encode(declared.Job.Payload); err == nil && text == nil {
		declared.Job.Payload = json.RawMessage("null")
	}
	before, err := s.Get(ctx, declared.Name)
	if errors.Is(err, ErrScheduleNotFound) {
		made, err := s.Create(ctx, declared)
		return AppliedSchedule{made, AppliedCreated}, err
	}
	if err != nil {
		return AppliedSchedule{}, err
	}
	if of := before.Labels[ownerLabel]; of != owner {
		return AppliedSchedule{}, foreign(declared.Name, of)
	}
	after, err := s.Update(ctx, declared.Name, ScheduleChange{
		Spec: &declared.Spec, Job: &declared.Job, Policy: declared.Policy, Labels: declared.Labels, Etag: before.Etag,
	})
	switch {
	case err != nil:
		return AppliedSchedule{}, err
	case after.Etag == before.Etag:
		return AppliedSchedule{after, AppliedUnchanged}, nil
	}
	return AppliedSchedule{after, AppliedChanged}, nil
}

// foreign is the error of a schedule that is of another owner, or of none.
func foreign(name, owner string) *Error {
	words := fmt.Sprintf("the schedule %s is of %s", name, owner)
	if owner == "" {
		words = fmt.Sprintf("the schedule %s has no owner", name)
	}
	made := newError(codes.AlreadyExists, words)
	made.Reason, made.sentinels = "SCHEDULE_EXISTS", sentinelsByReason["SCHEDULE_EXISTS"]
	made.Metadata = map[string]string{"schedule": name, "owner": owner}
	return made
}
