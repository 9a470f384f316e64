package jobqueue

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Schedules are the calls about schedules: jobs, and the times at which they are enqueued. Made by [Client.Schedules].
//
// As every method of the client, each may return an [*Error].
type Schedules struct {
	client *Client
	calls  pb.SchedulesClient
}

// Schedules are the calls about schedules. It costs nothing: there is no need to keep it.
func (c *Client) Schedules() *Schedules {
	return &Schedules{client: c, calls: pb.NewSchedulesClient(c.connection)}
}

// NewSchedule is a schedule to make, or one that a program declares. Name, Spec and Job must be set.
type NewSchedule struct {
	// Name is its name, such as `nightly-report`.
	Name string
	// Spec is when it is due.
	Spec ScheduleSpec
	// Job is what each tick enqueues, without a time and an idempotency key.
	Job NewJob
	// Policy is what becomes of ticks that can't simply fire. nil: the defaults.
	Policy *SchedulePolicy
	// Labels are those by which schedules can be listed; those of its jobs stand in Job.
	Labels map[string]string
	// Paused: it has no ticks until [Schedules.Resume]. [Schedules.Apply] heeds it where it makes the schedule, and nowhere else.
	Paused bool
}

// ScheduleChange is what to change of a schedule. What is nil stays.
type ScheduleChange struct {
	// Spec is when it is due, as a whole.
	Spec *ScheduleSpec
	// Job is what each tick enqueues, as a whole. It must have a Payload; one of `null` is json.RawMessage("null").
	Job *NewJob
	// Policy is what becomes of ticks that can't simply fire.
	Policy *SchedulePolicy
	// PolicyFields are those of Policy that are changed, as the contract calls them, such as `overlap`. Empty: all.
	// Without a Policy they change nothing.
	PolicyFields []string
	// Labels are all its labels. An empty map: none.
	Labels map[string]string
	// Etag is [Schedule.Etag]: the schedule is changed only if it still has it. Empty: whatever was changed since.
	Etag string
	// AllowMissing: a schedule that does not exist is made, of Spec and Job.
	AllowMissing bool
}

// ScheduleFilter chooses schedules to list. What is set must all match.
type ScheduleFilter struct {
	// Kind and Queue: only those whose jobs are of this kind, and go into this queue.
	Kind, Queue string
	// Paused: only those that are paused, or those that are not. nil: both.
	Paused *bool
	// Labels: only with all of these.
	Labels map[string]string
	// PageSize is how many one call reads. 0: 50; above 1000: 1000.
	PageSize int
}

// ScheduleRunOptions say how a schedule is run by hand.
type ScheduleRunOptions struct {
	// Overlap is what becomes of it while a job of the schedule has not ended. Empty: as the policy has it.
	Overlap Overlap
	// RequestID is a text of your own: the same call again is answered the run of the first. Without one the call is not
	// tried again when the server is away.
	RequestID string
}

// Backfill is a span of the past, all ticks of which are to fire. StartAt and EndAt must be set.
type Backfill struct {
	// StartAt: ticks at this time and later. EndAt: ticks before this time, which is not in the future.
	StartAt, EndAt time.Time
	// Overlap is what becomes of a tick while a job of the schedule has not ended: OverlapAllow or OverlapSkip. Empty:
	// OverlapAllow.
	Overlap Overlap
	// MaxTicks: after so many it is done. 0: after all.
	MaxTicks int
	// ValidateOnly: nothing fires, and the answer has how many ticks there are.
	ValidateOnly bool
	// PerSecond is how many ticks a second. 0: as fast as the service takes it.
	PerSecond int
	// RequestID is a text of your own: the same call again is answered the operation of the first. Without one the call is
	// not tried again when the server is away.
	RequestID string
}

// Create makes a schedule. Its first tick is the first one after now.
//
// ErrScheduleExists: a schedule has this name. ErrInvalidRequest: a field is malformed, such as a line of cron; Violations
// says what would be right. ErrKindUnknown: the kind of the job is not declared. ErrPayloadInvalid: its payload does not
// satisfy the kind's schema. ErrSchedulesFull: the namespace has as many as it may have.
func (s *Schedules) Create(ctx context.Context, schedule NewSchedule) (*Schedule, error) {
	ctx, cancel := s.client.within(ctx)
	defer cancel()
	policy, err := schedulePolicyMessage(schedule.Policy)
	if err != nil {
		return nil, err
	}
	job, err := s.client.scheduleJobMessage(ctx, schedule.Name, &schedule.Job, false)
	if err != nil {
		return nil, err
	}
	request := &pb.CreateScheduleRequest{PayloadFormat: payloadJSON, Schedule: &pb.Schedule{
		Name:   schedule.Name,
		Spec:   scheduleSpecMessage(&schedule.Spec),
		Job:    job,
		Policy: policy,
		Labels: schedule.Labels,
		Paused: schedule.Paused,
	}}
	answer, err := call(ctx, s.client, false, s.calls.CreateSchedule, request)
	if err != nil {
		return nil, err
	}
	return s.client.scheduleOf(ctx, answer.GetSchedule()), nil
}

// Get reads a schedule. ErrScheduleNotFound: no schedule has this name.
func (s *Schedules) Get(ctx context.Context, name string) (*Schedule, error) {
	ctx, cancel := s.client.within(ctx)
	defer cancel()
	request := &pb.GetScheduleRequest{Name: name, PayloadFormat: payloadJSON}
	answer, err := call(ctx, s.client, true, s.calls.GetSchedule, request)
	if err != nil {
		return nil, err
	}
	return s.client.scheduleOf(ctx, answer.GetSchedule()), nil
}

// List reads all schedules that match, in order of their names, page by page as the loop asks for them. Their jobs have no
// payloads. An error is the last pair.
//
//	for schedule, err := range client.Schedules().List(ctx, jobqueue.ScheduleFilter{Queue: "reports"}) {
func (s *Schedules) List(ctx context.Context, filter ScheduleFilter) iter.Seq2[*Schedule, error] {
	return func(yield func(*Schedule, error) bool) {
		request := &pb.ListSchedulesRequest{
			Kind:     filter.Kind,
			Queue:    filter.Queue,
			Paused:   filter.Paused,
			Labels:   labelFilter(filter.Labels),
			PageSize: whole(filter.PageSize),
		}
		for {
			answer, err := call(ctx, s.client, true, s.calls.ListSchedules, request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, each := range answer.GetSchedules() {
				if !yield(s.client.scheduleOf(ctx, each), nil) {
					return
				}
			}
			if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// Update changes a schedule. A change fires nothing by itself, and catches nothing up.
//
// ErrScheduleNotFound: no schedule has this name, and AllowMissing is not set. ErrEtagMismatch: it was changed since its Etag
// was read. ErrInvalidRequest: a field is malformed, or nothing is to be changed. ErrKindUnknown and ErrPayloadInvalid: as of
// Create.
func (s *Schedules) Update(ctx context.Context, name string, change ScheduleChange) (*Schedule, error) {
	ctx, cancel := s.client.within(ctx)
	defer cancel()
	schedule, mask := &pb.Schedule{Name: name, Etag: change.Etag, Labels: change.Labels}, &fieldmaskpb.FieldMask{}
	if change.Spec != nil {
		schedule.Spec = scheduleSpecMessage(change.Spec)
		mask.Paths = append(mask.Paths, "spec")
	}
	var err error
	if change.Job != nil {
		if schedule.Job, err = s.client.scheduleJobMessage(ctx, name, change.Job, true); err != nil {
			return nil, err
		}
		mask.Paths = append(mask.Paths, "job")
	}
	if schedule.Policy, err = schedulePolicyMessage(change.Policy); err != nil {
		return nil, err
	}
	if change.Policy != nil {
		for _, field := range change.PolicyFields {
			mask.Paths = append(mask.Paths, "policy."+field)
		}
	}
	if change.Policy != nil && len(change.PolicyFields) == 0 {
		mask.Paths = append(mask.Paths, "policy")
	}
	if change.Labels != nil {
		mask.Paths = append(mask.Paths, "labels")
	}
	request := &pb.UpdateScheduleRequest{
		Schedule: schedule, UpdateMask: mask, AllowMissing: change.AllowMissing, PayloadFormat: payloadJSON,
	}
	// A change that is made twice finds the etag of the first.
	answer, err := call(ctx, s.client, change.Etag == "", s.calls.UpdateSchedule, request)
	if err != nil {
		return nil, err
	}
	return s.client.scheduleOf(ctx, answer.GetSchedule()), nil
}

// Delete deletes a schedule with its runs. Its jobs stay. With an etag ([Schedule.Etag]) it is deleted only if it still has
// it; with an empty one whatever was changed since. ErrScheduleNotFound: no schedule has this name. ErrEtagMismatch: it was
// changed since.
func (s *Schedules) Delete(ctx context.Context, name, etag string) error {
	request := &pb.DeleteScheduleRequest{Name: name, Etag: etag}
	_, err := call(ctx, s.client, false, s.calls.DeleteSchedule, request)
	return err
}

// Pause stops a schedule until Resume: it has no ticks meanwhile. Its jobs go on. The note says why, for people, at most
// 255 characters; it may be empty. ErrScheduleNotFound: no schedule has this name.
func (s *Schedules) Pause(ctx context.Context, name, note string) (*Schedule, error) {
	ctx, cancel := s.client.within(ctx)
	defer cancel()
	request := &pb.PauseScheduleRequest{Name: name, Note: note, PayloadFormat: payloadJSON}
	answer, err := call(ctx, s.client, true, s.calls.PauseSchedule, request)
	if err != nil {
		return nil, err
	}
	return s.client.scheduleOf(ctx, answer.GetSchedule()), nil
}

// Resume lets a paused schedule go on with the first tick after now. What it missed is for Backfill. ErrScheduleNotFound:
// no schedule has this name.
func (s *Schedules) Resume(ctx context.Context, name string) (*Schedule, error) {
	ctx, cancel := s.client.within(ctx)
	defer cancel()
	request := &pb.ResumeScheduleRequest{Name: name, PayloadFormat: payloadJSON}
	answer, err := call(ctx, s.client, true, s.calls.ResumeSchedule, request)
	if err != nil {
		return nil, err
	}
	return s.client.scheduleOf(ctx, answer.GetSchedule()), nil
}

// Run fires a schedule now, also if it is paused, and returns what became of it. It may not have fired: look at Outcome.
// ErrScheduleNotFound: no schedule has this name.
func (s *Schedules) Run(ctx context.Context, name string, options ScheduleRunOptions) (*ScheduleRun, error) {
	overlap, err := overlapNumber("overlap", options.Overlap)
	if err != nil {
		return nil, err
	}
	request := &pb.RunScheduleRequest{Name: name, Overlap: overlap, RequestId: options.RequestID}
	answer, err := call(ctx, s.client, options.RequestID != "", s.calls.RunSchedule, request)
	if err != nil {
		return nil, err
	}
	return scheduleRunOf(answer.GetRun()), nil
}

// Backfill fires all ticks of a span of the past, by an operation that goes on without this program. Those that have fired
// before fire again.
//
// ErrScheduleNotFound: no schedule has this name. ErrInvalidRequest: a field is malformed, such as an EndAt in the future.
// ErrRequestIDReused: another request was made with this RequestID. ErrServersDiffer: an older server runs, which does not
// know this operation.
func (s *Schedules) Backfill(ctx context.Context, name string, span Backfill) (*Operation, error) {
	overlap, err := overlapNumber("overlap", span.Overlap)
	if err != nil {
		return nil, err
	}
	request := &pb.BackfillScheduleRequest{
		Name:         name,
		StartAt:      timestampMessage(span.StartAt),
		EndAt:        timestampMessage(span.EndAt),
		Overlap:      overlap,
		MaxTicks:     int64(span.MaxTicks),
		ValidateOnly: span.ValidateOnly,
		PerSecond:    whole(span.PerSecond),
		RequestId:    span.RequestID,
	}
	again := span.ValidateOnly || span.RequestID != ""
	answer, err := call(ctx, s.client, again, s.calls.BackfillSchedule, request)
	if err != nil {
		return nil, err
	}
	return operationOf(answer.GetOperation()), nil
}

// Runs reads what became of the ticks of a schedule and of its runs by hand, those that were decided last first, page by page
// as the loop asks for them. The page size is the most runs that one call reads; 0: 50; above 1000: 1000. An error is the
// last pair. ErrScheduleNotFound: no schedule has this name.
func (s *Schedules) Runs(ctx context.Context, name string, pageSize int) iter.Seq2[*ScheduleRun, error] {
	return func(yield func(*ScheduleRun, error) bool) {
		request := &pb.ListScheduleRunsRequest{Name: name, PageSize: whole(pageSize)}
		for {
			answer, err := call(ctx, s.client, true, s.calls.ListScheduleRuns, request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, each := range answer.GetRuns() {
				if !yield(scheduleRunOf(each), nil) {
					return
				}
			}
			if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// Preview asks which ticks a spec has after a time, without making a schedule. A count of 0: 10; at most 100. A zero time: now.
// Fewer than were asked for: the spec has no more of them within 10 years. ErrInvalidRequest: a field is malformed, such as a
// line of cron.
func (s *Schedules) Preview(ctx context.Context, spec ScheduleSpec, count int, since time.Time) ([]ScheduleTick, error) {
	request := &pb.PreviewScheduleRequest{
		Spec: scheduleSpecMessage(&spec), Count: whole(count), Since: timestampMessage(since),
	}
	answer, err := call(ctx, s.client, true, s.calls.PreviewSchedule, request)
	if err != nil {
		return nil, err
	}
	return ticksOf(answer.GetTicks()), nil
}
