//! Schedules, their ticks and their runs, and their messages.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::convert::{count, duration_message, duration_of, time_of, total, whole};
use crate::encodings::Encodings;
use crate::errors::Error;
use crate::job::{NewJob, new_job_message};
use crate::jobs::OwnRule;
use crate::json::JsonText;
use crate::new_jobs::new_job_of;
use crate::v1;

/// What becomes of a tick while a job of the schedule has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overlap {
    /// `BufferOne`, or of a run what the schedule's policy has; or something that this version does not know.
    #[default]
    Unspecified,
    /// It fires, beside the other.
    Allow,
    /// It is skipped.
    Skip,
    /// It waits for the end of the job. A later one takes its place.
    BufferOne,
}

/// What becomes of ticks that were missed, since no server or no database was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CatchUp {
    /// `Latest`; or something that this version does not know.
    #[default]
    Unspecified,
    /// The newest of them fires.
    Latest,
    /// All of them fire, one after the other. Not together with [`Overlap::Skip`].
    All,
    /// None of them fires.
    None,
}

/// What clocks that are changed mean for a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TickRule {
    /// Nothing; or something that this version does not know.
    Unspecified,
    /// It is due at a time of day that is left out, and so right after it.
    AfterGap,
    /// Its time of day comes twice, and this is the first one.
    FirstOfTwo,
    /// Its time of day comes twice, and this is the second one.
    SecondOfTwo,
}

/// What became of a tick, or of a run by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunOutcome {
    /// Something that this version does not know.
    Unspecified,
    /// The job was enqueued, or found by its `unique`.
    Fired,
    /// A job of the schedule had not ended.
    SkippedOverlap,
    /// It was missed, and is not caught up.
    SkippedCatchUp,
    /// The schedule has been paused by its failures before it came to it.
    SkippedPausedByFailures,
    /// It waits for the end of a job.
    Buffered,
    /// It waited, and a later one took its place.
    ReplacedInBuffer,
    /// The job does not fit any more, for example the schema of its kind: `note` says why.
    Refused,
}

/// What a run came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunCause {
    /// It is by hand or of a backfill, and the server did not tell them apart yet.
    Unspecified,
    /// The time of the schedule itself.
    ByTime,
    /// [`Schedules::run`](crate::Schedules::run).
    ByHand,
    /// [`Schedules::backfill`](crate::Schedules::backfill).
    ByBackfill,
}

/// When a schedule is due: by `cron` or by `every`, one of them.
///
/// ```
/// use jobqueue::ScheduleSpec;
///
/// let nightly = ScheduleSpec { time_zone: "Europe/Berlin".into(), ..ScheduleSpec::cron("30 2 * * *") };
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleSpec {
    /// Lines of cron such as `30 2 * * *`, 20 at most; their union is meant.
    pub cron: Vec<String>,
    /// A tick each time this span is over, 1 s to 400 days, counted from 1970-01-01T00:00:00Z.
    pub every: Option<Duration>,
    /// Shifts the ticks of `every`, by less than it.
    pub phase: Option<Duration>,
    /// The time zone of `cron`, such as `Europe/Berlin`. Empty: `Etc/UTC`.
    pub time_zone: String,
    /// It has no tick before. `None`: from now on.
    pub starts_at: Option<SystemTime>,
    /// It has no tick at this time or later. `None`: for ever.
    pub ends_at: Option<SystemTime>,
    /// Each job may start so long after its tick, at most 1 h. `None`: at once.
    pub jitter: Option<Duration>,
}

impl ScheduleSpec {
    /// Due as a line of cron says.
    pub fn cron(line: impl Into<String>) -> Self {
        Self { cron: vec![line.into()], ..Self::default() }
    }

    /// Due each time a span is over, 1 s to 400 days, counted from 1970-01-01T00:00:00Z.
    pub fn every(span: Duration) -> Self {
        Self { every: Some(span), ..Self::default() }
    }
}

/// What becomes of ticks that can't simply fire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedulePolicy {
    /// What becomes of a tick while a job of the schedule has not ended. Default `BufferOne`.
    pub overlap: Overlap,
    /// How old a tick may be that is caught up, up to 400 days. `None`: 1 h.
    pub catch_up_window: Option<Duration>,
    /// What becomes of ticks that were missed. Default `Latest`.
    pub catch_up: CatchUp,
    /// After so many failed jobs in a row the schedule is paused, 1..1000. `None`: it never is.
    pub pause_after_failures: Option<u32>,
    /// How many of its runs are kept, 1..10000. `None`: 100.
    pub keep_runs: Option<u32>,
}

/// A schedule to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSchedule {
    /// Its name, such as `nightly-report`.
    pub name: String,
    /// When it is due.
    pub spec: ScheduleSpec,
    /// What each tick enqueues, without a start and an idempotency key.
    pub job: NewJob,
    /// What becomes of ticks that can't simply fire. `None`: the defaults.
    pub policy: Option<SchedulePolicy>,
    /// By which schedules can be listed; those of its jobs stand in `job`.
    pub labels: HashMap<String, String>,
    /// Whether it has no ticks until it is resumed.
    pub paused: bool,
}

impl NewSchedule {
    /// A schedule with every default.
    pub fn new(name: impl Into<String>, spec: ScheduleSpec, job: NewJob) -> Self {
        Self { name: name.into(), spec, job, ..Self::default() }
    }
}

/// Which schedules to list. What is set must all match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleFilter {
    /// Only those whose jobs are of this kind. Empty: of any.
    pub kind: String,
    /// Only those whose jobs go into this queue. Empty: into any.
    pub queue: String,
    /// Only those that are paused, or those that are not. `None`: both.
    pub paused: Option<bool>,
    /// Only those with all of these labels.
    pub labels: HashMap<String, String>,
    /// How many one call reads. `None`: 50; above 1000: 1000.
    pub page_size: Option<u32>,
}

/// What to change of a schedule. What is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleChange {
    /// When it is due, as a whole.
    pub spec: Option<ScheduleSpec>,
    /// What each tick enqueues, as a whole. It must have a payload; one of `null` is `JsonText::new("null")`.
    pub job: Option<NewJob>,
    /// What becomes of ticks that can't simply fire. `None`: it stays.
    pub policy: Option<SchedulePolicy>,
    /// The fields of `policy` that are changed, such as `overlap`. Empty: all. Without `policy` they change nothing.
    pub policy_fields: Vec<String>,
    /// All its labels.
    pub labels: Option<HashMap<String, String>>,
    /// [`Schedule::etag`]: it is changed only if it still has it. Empty: whatever was changed since.
    pub etag: String,
    /// A schedule that does not exist is made, of `spec` and `job`.
    pub allow_missing: bool,
}

/// The ticks that a backfill fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// Ticks at this time and later.
    pub start_at: SystemTime,
    /// Ticks before this time, which is not in the future.
    pub end_at: SystemTime,
    /// What becomes of a tick while a job of the schedule has not ended: `Allow` or `Skip`. Default `Allow`.
    pub overlap: Overlap,
    /// After so many it is done, 1 at least. `None`: after all.
    pub max_ticks: Option<u64>,
    /// Fire nothing: the answer has how many ticks there are.
    pub validate_only: bool,
    /// How many ticks a second, 1 at least. `None`: as fast as the service takes it.
    pub per_second: Option<u32>,
    /// A text of your own: the same call again is answered the operation of the first. Empty: the call is not tried again
    /// when the server is away.
    pub request_id: String,
}

impl Backfill {
    /// All ticks from one time until before another.
    pub fn between(start_at: SystemTime, end_at: SystemTime) -> Self {
        Self {
            start_at,
            end_at,
            overlap: Overlap::Unspecified,
            max_ticks: None,
            validate_only: false,
            per_second: None,
            request_id: String::new(),
        }
    }
}

/// A time at which a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleTick {
    /// The tick.
    pub tick_at: Option<SystemTime>,
    /// The same in the schedule's time zone with its offset, such as `2026-10-25T02:30:00+02:00`.
    pub local_time: String,
    /// Whether a change of clocks decided it.
    pub rule: TickRule,
}

/// What became of a tick, or of several that were skipped together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleRun {
    /// The tick. Of a run by hand: when it was asked for. Of several: the last of them.
    pub tick_at: Option<SystemTime>,
    /// 0: it is of the schedule itself. 1 and more: by hand or of a backfill.
    pub nth: u32,
    /// When it was decided.
    pub decided_at: Option<SystemTime>,
    /// What became of it.
    pub outcome: RunOutcome,
    /// The job that it enqueued. Empty: none.
    pub job_id: String,
    /// Why, for people. Empty: the outcome says it all.
    pub note: String,
    /// How many ticks it stands for.
    pub ticks: u32,
    /// What it came from.
    pub cause: RunCause,
}

/// A job, and the times at which it is enqueued, as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schedule {
    /// The schedule's name.
    pub name: String,
    /// When it is due.
    pub spec: ScheduleSpec,
    /// What each tick enqueues. Without a payload: the caller may not see it, or it was read by `list`. Its headers are
    /// left out then as well, and `update` refuses it. A payload that is encoded and was not decoded says so
    /// ([`JsonText::encoded`](crate::JsonText::encoded)), and a client with encodings refuses to put it back.
    pub job: NewJob,
    /// What becomes of ticks that can't simply fire.
    pub policy: SchedulePolicy,
    /// By which schedules can be listed.
    pub labels: HashMap<String, String>,
    /// Whether it has no ticks.
    pub paused: bool,
    /// Why, for people.
    pub pause_note: String,
    /// Its next tick. `None`: it is paused, or has none any more.
    pub next_at: Option<SystemTime>,
    /// The last tick that was decided. `None`: there was none yet.
    pub last_at: Option<SystemTime>,
    /// The next 5 ticks, as if it were not paused. Empty in lists.
    pub upcoming: Vec<ScheduleTick>,
    /// What was decided last. `None`: nothing, or it is not kept any more.
    pub last_run: Option<ScheduleRun>,
    /// How many jobs it has enqueued.
    pub fired: u64,
    /// How many ticks in a row did not fire, up to now.
    pub skipped_in_a_row: u32,
    /// How many of its jobs in a row failed for good, where `policy.pause_after_failures` is set.
    pub failures_in_a_row: u32,
    /// Its newest jobs, 100 at most, that had not ended at its last tick.
    pub open_job_ids: Vec<String>,
    /// The tick that waits for the end of a job. `None`: none does.
    pub buffered_at: Option<SystemTime>,
    /// Stands for this version of what callers set. A tick does not change it.
    pub etag: String,
    /// When it was made.
    pub created_at: Option<SystemTime>,
    /// When a caller changed it last.
    pub updated_at: Option<SystemTime>,
}

/// The job of a schedule, as a message. The one place where its payload is made, and encoded.
pub(crate) async fn template_message(
    job: NewJob,
    schedule: &str,
    encodings: Option<&Encodings>,
) -> Result<v1::NewJob, Error> {
    if job.start.is_some() {
        let words = "it can't be given, nor can job.delay: a tick is the time of its job";
        return Err(Error::invalid("job.run_at", words));
    }
    if !job.idempotency_key.is_empty() {
        let words = "it can't be given: a tick enqueues one job in any case";
        return Err(Error::invalid("job.idempotency_key", words));
    }
    match encodings {
        None => new_job_message(job),
        Some(encodings) => new_job_message(encodings.template(job, schedule).await?),
    }
}

/// The job of a schedule that is changed, as a message.
///
/// One without a payload has none in the message, also with encodings: so are jobs that were listed. The server refuses it,
/// and the schedule keeps the payload that it has.
pub(crate) async fn changed_template_message(
    mut job: NewJob,
    schedule: &str,
    encodings: Option<&Encodings>,
) -> Result<v1::NewJob, Error> {
    if job.payload.is_none() {
        job.encodings = OwnRule::default();
        return template_message(job, schedule, None).await;
    }
    template_message(job, schedule, encodings).await
}

pub(crate) fn spec_message(spec: ScheduleSpec) -> v1::ScheduleSpec {
    v1::ScheduleSpec {
        cron: spec.cron,
        every: spec.every.map(duration_message),
        phase: spec.phase.map(duration_message),
        time_zone: spec.time_zone,
        starts_at: spec.starts_at.map(Into::into),
        ends_at: spec.ends_at.map(Into::into),
        jitter: spec.jitter.map(duration_message),
    }
}

pub(crate) fn policy_message(policy: SchedulePolicy) -> v1::SchedulePolicy {
    let catch_up = match policy.catch_up {
        CatchUp::Unspecified => v1::schedule_policy::CatchUp::Unspecified,
        CatchUp::Latest => v1::schedule_policy::CatchUp::Latest,
        CatchUp::All => v1::schedule_policy::CatchUp::All,
        CatchUp::None => v1::schedule_policy::CatchUp::None,
    };
    v1::SchedulePolicy {
        overlap: overlap_number(policy.overlap),
        catch_up_window: policy.catch_up_window.map(duration_message),
        catch_up: catch_up.into(),
        pause_after_failures: whole(policy.pause_after_failures),
        keep_runs: whole(policy.keep_runs),
    }
}

pub(crate) fn overlap_number(overlap: Overlap) -> i32 {
    match overlap {
        Overlap::Unspecified => v1::schedule_policy::Overlap::Unspecified,
        Overlap::Allow => v1::schedule_policy::Overlap::Allow,
        Overlap::Skip => v1::schedule_policy::Overlap::Skip,
        Overlap::BufferOne => v1::schedule_policy::Overlap::BufferOne,
    }
    .into()
}

/// A schedule as it was answered, with its payload decoded. One that can't be decoded stays as it is, and says why: the
/// server has done what it was asked for.
pub(crate) async fn schedule_of(message: v1::Schedule, encodings: Option<&Encodings>) -> Schedule {
    let mut job = new_job_of(message.job.unwrap_or_default());
    job.payload = job.payload.map(|text| JsonText::read(text.into_bytes()));
    if let Some(encodings) = encodings {
        job.payload = encodings.read_payload(job.payload, &job.kind).await;
    }
    Schedule {
        name: message.name,
        spec: spec_of(message.spec.unwrap_or_default()),
        job,
        policy: policy_of(&message.policy.unwrap_or_default()),
        labels: message.labels,
        paused: message.paused,
        pause_note: message.pause_note,
        next_at: time_of(message.next_at.as_ref()),
        last_at: time_of(message.last_at.as_ref()),
        upcoming: message.upcoming.into_iter().map(tick_of).collect(),
        last_run: message.last_run.map(run_of),
        fired: total(message.fired),
        skipped_in_a_row: count(message.skipped_in_a_row),
        failures_in_a_row: count(message.failures_in_a_row),
        open_job_ids: message.open_job_ids,
        buffered_at: time_of(message.buffered_at.as_ref()),
        etag: message.etag,
        created_at: time_of(message.created_at.as_ref()),
        updated_at: time_of(message.updated_at.as_ref()),
    }
}

/// A tick as it was answered.
pub(crate) fn tick_of(message: v1::ScheduleTick) -> ScheduleTick {
    let rule = match message.rule() {
        v1::schedule_tick::Rule::Unspecified => TickRule::Unspecified,
        v1::schedule_tick::Rule::AfterGap => TickRule::AfterGap,
        v1::schedule_tick::Rule::FirstOfTwo => TickRule::FirstOfTwo,
        v1::schedule_tick::Rule::SecondOfTwo => TickRule::SecondOfTwo,
    };
    ScheduleTick { tick_at: time_of(message.tick_at.as_ref()), local_time: message.local_time, rule }
}

/// A run as it was answered.
pub(crate) fn run_of(message: v1::ScheduleRun) -> ScheduleRun {
    use v1::schedule_run::{Cause, RunOutcome as Outcome};
    ScheduleRun {
        outcome: match message.outcome() {
            Outcome::Unspecified => RunOutcome::Unspecified,
            Outcome::Fired => RunOutcome::Fired,
            Outcome::SkippedOverlap => RunOutcome::SkippedOverlap,
            Outcome::SkippedCatchUp => RunOutcome::SkippedCatchUp,
            Outcome::SkippedPausedByFailures => RunOutcome::SkippedPausedByFailures,
            Outcome::Buffered => RunOutcome::Buffered,
            Outcome::ReplacedInBuffer => RunOutcome::ReplacedInBuffer,
            Outcome::Refused => RunOutcome::Refused,
        },
        cause: match message.cause() {
            Cause::Unspecified => RunCause::Unspecified,
            Cause::ByTime => RunCause::ByTime,
            Cause::ByHand => RunCause::ByHand,
            Cause::ByBackfill => RunCause::ByBackfill,
        },
        tick_at: time_of(message.tick_at.as_ref()),
        nth: count(message.nth),
        decided_at: time_of(message.decided_at.as_ref()),
        job_id: message.job_id,
        note: message.note,
        ticks: count(message.ticks),
    }
}

fn spec_of(message: v1::ScheduleSpec) -> ScheduleSpec {
    ScheduleSpec {
        cron: message.cron,
        every: duration_of(message.every.as_ref()),
        phase: duration_of(message.phase.as_ref()),
        time_zone: message.time_zone,
        starts_at: time_of(message.starts_at.as_ref()),
        ends_at: time_of(message.ends_at.as_ref()),
        jitter: duration_of(message.jitter.as_ref()),
    }
}

fn policy_of(message: &v1::SchedulePolicy) -> SchedulePolicy {
    let some = |number| Some(count(number)).filter(|most| *most > 0);
    SchedulePolicy {
        overlap: match message.overlap() {
            v1::schedule_policy::Overlap::Allow => Overlap::Allow,
            v1::schedule_policy::Overlap::Skip => Overlap::Skip,
            v1::schedule_policy::Overlap::BufferOne => Overlap::BufferOne,
            _ => Overlap::Unspecified,
        },
        catch_up_window: duration_of(message.catch_up_window.as_ref()),
        catch_up: match message.catch_up() {
            v1::schedule_policy::CatchUp::Unspecified => CatchUp::Unspecified,
            v1::schedule_policy::CatchUp::Latest => CatchUp::Latest,
            v1::schedule_policy::CatchUp::All => CatchUp::All,
            v1::schedule_policy::CatchUp::None => CatchUp::None,
        },
        pause_after_failures: some(message.pause_after_failures),
        keep_runs: some(message.keep_runs),
    }
}
