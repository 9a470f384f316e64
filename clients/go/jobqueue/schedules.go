package jobqueue

import (
	"context"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// Overlap is what becomes of a tick while a job of the schedule has not ended.
type Overlap string

// What becomes of it.
const (
	// OverlapUnspecified, read back: something that this version does not know.
	OverlapUnspecified Overlap = "OVERLAP_UNSPECIFIED"
	// OverlapAllow: it fires, beside the other.
	OverlapAllow Overlap = "ALLOW"
	OverlapSkip  Overlap = "SKIP"
	// OverlapBufferOne: it waits for the end of the job. A later one takes its place.
	OverlapBufferOne Overlap = "BUFFER_ONE"
)

// CatchUp is what becomes of ticks that were missed, since no server or no database was there.
type CatchUp string

// What becomes of them.
const (
	// CatchUpUnspecified, read back: something that this version does not know.
	CatchUpUnspecified CatchUp = "CATCH_UP_UNSPECIFIED"
	// CatchUpLatest: the newest of them fires.
	CatchUpLatest CatchUp = "LATEST"
	// CatchUpAll: all of them fire, one after the other. Not together with OverlapSkip.
	CatchUpAll  CatchUp = "ALL"
	CatchUpNone CatchUp = "NONE"
)

// TickRule is what clocks that are changed mean for a tick.
type TickRule string

// What they mean.
const (
	// RuleUnspecified: nothing; or something that this version does not know.
	RuleUnspecified TickRule = "RULE_UNSPECIFIED"
	// RuleAfterGap: it is due at a time of day that is left out, and so right after it.
	RuleAfterGap TickRule = "AFTER_GAP"
	// RuleFirstOfTwo: its time of day comes twice, and this is the first one.
	RuleFirstOfTwo TickRule = "FIRST_OF_TWO"
	// RuleSecondOfTwo: its time of day comes twice, and this is the second one.
	RuleSecondOfTwo TickRule = "SECOND_OF_TWO"
)

// RunOutcome is what became of a tick, or of a run by hand.
type RunOutcome string

// What became of it.
const (
	// RunUnspecified: something that this version does not know.
	RunUnspecified RunOutcome = "RUN_OUTCOME_UNSPECIFIED"
	// RunFired: the job was enqueued, or found by its Unique.
	RunFired RunOutcome = "FIRED"
	// RunSkippedOverlap: a job of the schedule had not ended.
	RunSkippedOverlap RunOutcome = "SKIPPED_OVERLAP"
	// RunSkippedCatchUp: it was missed, and is not caught up.
	RunSkippedCatchUp RunOutcome = "SKIPPED_CATCH_UP"
	// RunSkippedPausedByFailures: the schedule has been paused by its failures before it came to it.
	RunSkippedPausedByFailures RunOutcome = "SKIPPED_PAUSED_BY_FAILURES"
	// RunBuffered: it waits for the end of a job.
	RunBuffered RunOutcome = "BUFFERED"
	// RunReplacedInBuffer: it waited, and a later one took its place.
	RunReplacedInBuffer RunOutcome = "REPLACED_IN_BUFFER"
	// RunRefused: the job does not fit any more, for example the schema of its kind: Note says why.
	RunRefused RunOutcome = "REFUSED"
)

// RunCause is what a run came from.
type RunCause string

// What it came from.
const (
	// CauseUnspecified: it is by hand or of a backfill, and the server did not tell them apart yet.
	CauseUnspecified RunCause = "CAUSE_UNSPECIFIED"
	// CauseByTime: the time of the schedule itself.
	CauseByTime RunCause = "BY_TIME"
	// CauseByHand: [Schedules.Run].
	CauseByHand RunCause = "BY_HAND"
	// CauseByBackfill: [Schedules.Backfill].
	CauseByBackfill RunCause = "BY_BACKFILL"
)

// ScheduleSpec is when a schedule is due: by Cron or by Every, one of them.
type ScheduleSpec struct {
	// Cron are lines of cron such as `30 2 * * *`, 20 at most; their union is meant.
	Cron []string
	// Every: a tick each time this span is over, 1 s to 400 days, counted from 1970-01-01T00:00:00Z. 0: none.
	Every time.Duration
	// Phase shifts the ticks of Every, by less than it.
	Phase time.Duration
	// TimeZone is that of Cron, such as `Europe/Berlin`. Empty: `Etc/UTC`.
	TimeZone string
	// StartsAt: it has no tick before. Zero: from now on. EndsAt: it has no tick at this time or later. Zero: for ever.
	StartsAt, EndsAt time.Time
	// Jitter: each job may start so long after its tick, at most 1 h. 0: at once.
	Jitter time.Duration
}

// SchedulePolicy is what becomes of ticks that can't simply fire. What is empty, 0 or nil is the default.
type SchedulePolicy struct {
	// Overlap is what becomes of a tick while a job of the schedule has not ended. Default: OverlapBufferOne.
	Overlap Overlap
	// CatchUpWindow is how old a tick may be that is caught up, up to 400 days. nil: 1 h.
	CatchUpWindow *time.Duration
	// CatchUp is what becomes of ticks that were missed. Default: CatchUpLatest.
	CatchUp CatchUp
	// PauseAfterFailures: after so many failed jobs in a row the schedule is paused, 1..1000. 0: it never is.
	PauseAfterFailures int
	// KeepRuns is how many of its runs are kept, 1..10000. 0: 100.
	KeepRuns int
}

// ScheduleTick is a time at which a schedule is due.
type ScheduleTick struct {
	TickAt time.Time
	// LocalTime is the same in the schedule's time zone with its offset, such as `2026-10-25T02:30:00+02:00`.
	LocalTime string
	// Rule says whether a change of clocks decided it.
	Rule TickRule
}

// ScheduleRun is what became of a tick, or of several that were skipped together.
type ScheduleRun struct {
	// TickAt is the tick. Of a run by hand: when it was asked for. Of several: the last of them.
	TickAt time.Time
	// Nth: 0: it is of the schedule itself. 1 and more: by hand or of a backfill.
	Nth int
	// DecidedAt is when it was decided.
	DecidedAt time.Time
	Outcome   RunOutcome
	// JobID is the job that it enqueued. Empty: none.
	JobID string
	// Note says why, for people. Empty: the outcome says it all.
	Note string
	// Ticks is how many ticks it stands for.
	Ticks int
	Cause RunCause
}

// Schedule is a job, and the times at which it is enqueued, as it was when it was read. Times that are not set are zero.
type Schedule struct {
	Name string
	// Spec is when it is due.
	Spec ScheduleSpec
	// Job is what each tick enqueues. Its Payload is a json.RawMessage; nil: the caller may not see it, or it was read by
	// [Schedules.List]. Its Headers are left out then as well, and [Schedules.Update] refuses it. What could not be decoded is
	// the envelope, and [NewJob.PayloadEncoded] says why; a client with [Encodings] refuses it.
	Job    NewJob
	Policy SchedulePolicy
	// Labels are those by which schedules can be listed.
	Labels map[string]string
	// Paused: it has no ticks. PauseNote says why, for people.
	Paused    bool
	PauseNote string
	// NextAt is its next tick. Zero: it is paused, or has none any more.
	NextAt time.Time
	// LastAt is the last tick that was decided. Zero: there was none yet.
	LastAt time.Time
	// Upcoming are the next 5 ticks, as if it were not paused. Empty in lists.
	Upcoming []ScheduleTick
	// LastRun is what was decided last. nil: nothing, or it is not kept any more.
	LastRun *ScheduleRun
	// Fired is how many jobs it has enqueued.
	Fired int64
	// SkippedInARow is how many ticks in a row did not fire, up to now.
	SkippedInARow int
	// FailuresInARow is how many of its jobs in a row failed for good, where Policy.PauseAfterFailures is set.
	FailuresInARow int
	// OpenJobIDs are its newest jobs, 100 at most, that had not ended at its last tick.
	OpenJobIDs []string
	// BufferedAt is the tick that waits for the end of a job. Zero: none does.
	BufferedAt time.Time
	// Etag stands for this version of what callers set. A tick does not change it.
	Etag string
	// CreatedAt is when it was made, UpdatedAt when a caller changed it last.
	CreatedAt, UpdatedAt time.Time
}

// scheduleSpecMessage is always there, also of an empty one: the server says what it lacks.
func scheduleSpecMessage(spec *ScheduleSpec) *pb.ScheduleSpec {
	return &pb.ScheduleSpec{
		Cron:     spec.Cron,
		Every:    durationMessage(spec.Every),
		Phase:    durationMessage(spec.Phase),
		TimeZone: spec.TimeZone,
		StartsAt: timestampMessage(spec.StartsAt),
		EndsAt:   timestampMessage(spec.EndsAt),
		Jitter:   durationMessage(spec.Jitter),
	}
}

// schedulePolicyMessage is unset for nil.
func schedulePolicyMessage(policy *SchedulePolicy) (*pb.SchedulePolicy, error) {
	if policy == nil {
		return nil, nil
	}
	overlap, err := overlapNumber("schedule.policy.overlap", policy.Overlap)
	if err != nil {
		return nil, err
	}
	catchUp, err := numbered("schedule.policy.catch_up", pb.SchedulePolicy_CatchUp_value, policy.CatchUp)
	if err != nil {
		return nil, err
	}
	message := &pb.SchedulePolicy{
		Overlap:            overlap,
		CatchUp:            pb.SchedulePolicy_CatchUp(catchUp),
		PauseAfterFailures: whole(policy.PauseAfterFailures),
		KeepRuns:           whole(policy.KeepRuns),
	}
	if policy.CatchUpWindow != nil {
		message.CatchUpWindow = durationpb.New(*policy.CatchUpWindow)
	}
	return message, nil
}

func overlapNumber(field string, overlap Overlap) (pb.SchedulePolicy_Overlap, error) {
	number, err := numbered(field, pb.SchedulePolicy_Overlap_value, overlap)
	return pb.SchedulePolicy_Overlap(number), err
}

// scheduleJobMessage is what each tick of a schedule enqueues, as a message: all payloads of schedules are made and encoded
// here. The same job of the same name has the same bytes, so that it is no change.
//
// changed: it is that of an update. Without a payload it then has none in the message: the server refuses it, and the
// schedule keeps the one that it has.
func (c *Client) scheduleJobMessage(ctx context.Context, name string, job *NewJob, changed bool) (*pb.NewJob, error) {
	if !job.RunAt.IsZero() || job.Delay != 0 {
		return nil, invalid("schedule.job.run_at", "RunAt and Delay can't be given: a tick is the time of its job")
	}
	if job.IdempotencyKey != "" {
		return nil, invalid("schedule.job.idempotency_key", "it can't be given: a tick enqueues one job in any case")
	}
	message, err := plainMessage(job, "schedule.job")
	if err != nil || (changed && message.Content == nil) {
		return message, err
	}
	at := func(int) string { return "schedule.job" }
	if err := c.encode(ctx, []NewJob{*job}, []*pb.NewJob{message}, at, "schedule "+name); err != nil {
		return nil, err
	}
	return message, nil
}

// scheduleOf is a schedule as it was answered, decoded. The server has done what it was asked for: a key that is missing
// does not say otherwise.
func (c *Client) scheduleOf(ctx context.Context, message *pb.Schedule) *Schedule {
	schedule := scheduleOf(message)
	job := &schedule.Job
	text, _ := job.Payload.(json.RawMessage)
	if c.options.Encodings == nil {
		if members := envelopeIn(text); members != nil {
			job.unread = encodedOf(members, noEncodings)
		}
		return schedule
	}
	if text != nil {
		_ = c.bounded(ctx, func(ctx context.Context) error {
			job.Payload, job.unread = c.options.Encodings.readText(ctx, text, payloadPlace(job.Kind))
			return nil
		})
	}
	return schedule
}

// scheduleOf is the same, as it was stored.
func scheduleOf(message *pb.Schedule) *Schedule {
	schedule := &Schedule{
		Name: message.GetName(),
		Spec: ScheduleSpec{
			Cron:     message.GetSpec().GetCron(),
			Every:    message.GetSpec().GetEvery().AsDuration(),
			Phase:    message.GetSpec().GetPhase().AsDuration(),
			TimeZone: message.GetSpec().GetTimeZone(),
			StartsAt: timeOf(message.GetSpec().GetStartsAt()),
			EndsAt:   timeOf(message.GetSpec().GetEndsAt()),
			Jitter:   message.GetSpec().GetJitter().AsDuration(),
		},
		Job:            newJobOf(message.GetJob()),
		Policy:         schedulePolicyOf(message.GetPolicy()),
		Labels:         message.GetLabels(),
		Paused:         message.GetPaused(),
		PauseNote:      message.GetPauseNote(),
		NextAt:         timeOf(message.GetNextAt()),
		LastAt:         timeOf(message.GetLastAt()),
		Upcoming:       ticksOf(message.GetUpcoming()),
		Fired:          message.GetFired(),
		SkippedInARow:  int(message.GetSkippedInARow()),
		FailuresInARow: int(message.GetFailuresInARow()),
		OpenJobIDs:     message.GetOpenJobIds(),
		BufferedAt:     timeOf(message.GetBufferedAt()),
		Etag:           message.GetEtag(),
		CreatedAt:      timeOf(message.GetCreatedAt()),
		UpdatedAt:      timeOf(message.GetUpdatedAt()),
	}
	if message.GetLastRun() != nil {
		schedule.LastRun = scheduleRunOf(message.GetLastRun())
	}
	return schedule
}

func schedulePolicyOf(message *pb.SchedulePolicy) SchedulePolicy {
	policy := SchedulePolicy{
		Overlap:            named[Overlap](pb.SchedulePolicy_Overlap_name, int32(message.GetOverlap())),
		CatchUp:            named[CatchUp](pb.SchedulePolicy_CatchUp_name, int32(message.GetCatchUp())),
		PauseAfterFailures: int(message.GetPauseAfterFailures()),
		KeepRuns:           int(message.GetKeepRuns()),
	}
	if message.GetCatchUpWindow() != nil {
		window := message.GetCatchUpWindow().AsDuration()
		policy.CatchUpWindow = &window
	}
	return policy
}

func ticksOf(messages []*pb.ScheduleTick) []ScheduleTick {
	var ticks []ScheduleTick
	for _, each := range messages {
		rule := named[TickRule](pb.ScheduleTick_Rule_name, int32(each.GetRule()))
		ticks = append(ticks, ScheduleTick{timeOf(each.GetTickAt()), each.GetLocalTime(), rule})
	}
	return ticks
}

func scheduleRunOf(message *pb.ScheduleRun) *ScheduleRun {
	return &ScheduleRun{
		TickAt:    timeOf(message.GetTickAt()),
		Nth:       int(message.GetNth()),
		DecidedAt: timeOf(message.GetDecidedAt()),
		Outcome:   named[RunOutcome](pb.ScheduleRun_RunOutcome_name, int32(message.GetOutcome())),
		JobID:     message.GetJobId(),
		Note:      message.GetNote(),
		Ticks:     int(message.GetTicks()),
		Cause:     named[RunCause](pb.ScheduleRun_Cause_name, int32(message.GetCause())),
	}
}
