//! The calls about schedules.

use std::time::SystemTime;

use futures_util::stream::BoxStream;

use crate::calls::call;
use crate::client::Client;
use crate::convert::{label_filter, long_bound, whole, whole_bound};
use crate::errors::Error;
use crate::operations::{Operation, operation_of};
use crate::pages::pages;
use crate::schedules::{
    Backfill, NewSchedule, Overlap, Schedule, ScheduleChange, ScheduleFilter, ScheduleRun, ScheduleSpec, ScheduleTick,
    changed_template_message, overlap_number, policy_message, run_of, schedule_of, spec_message, template_message,
    tick_of,
};
use crate::v1;

/// Schedules as [`Schedules::list`] reads them.
pub type ScheduleStream = BoxStream<'static, Result<Schedule, Error>>;

/// Runs as [`Schedules::runs`] reads them.
pub type ScheduleRunStream = BoxStream<'static, Result<ScheduleRun, Error>>;

/// Schedules: jobs, and the times at which they are enqueued. [`Client::schedules`] is one; clones share its connection.
///
/// Reads, and what changes nothing when done twice, are tried again while no server answers, as with the client.
#[derive(Debug, Clone)]
pub struct Schedules {
    client: Client,
}

impl Client {
    /// The calls about schedules.
    pub fn schedules(&self) -> Schedules {
        Schedules { client: self.clone() }
    }
}

impl Schedules {
    async fn read(&self, schedule: Option<v1::Schedule>) -> Schedule {
        schedule_of(schedule.unwrap_or_default(), self.client.encodings.as_ref()).await
    }

    /// Makes a schedule. Its first tick is the first one after now.
    ///
    /// # Errors
    ///
    /// `ScheduleExists`: a schedule has this name. `InvalidRequest`: a field is malformed, such as a line of cron;
    /// [`Error::violations`] says what would be right. `KindUnknown`, `PayloadInvalid`: the job does not fit.
    /// `SchedulesFull`: the namespace has as many as it may have. With encodings `KeyUnknown`, `Encoded` of a payload that was
    /// read and not decoded, and what an encoding fails with; without, `EncodingRequired`. Then nothing was sent.
    pub async fn create(&self, schedule: NewSchedule) -> Result<Schedule, Error> {
        let client = &self.client;
        let job = template_message(schedule.job, &schedule.name, client.encodings.as_ref()).await?;
        let made = v1::Schedule {
            name: schedule.name,
            spec: Some(spec_message(schedule.spec)),
            job: Some(job),
            policy: schedule.policy.map(policy_message),
            labels: schedule.labels,
            paused: schedule.paused,
            ..v1::Schedule::default()
        };
        let request =
            v1::CreateScheduleRequest { schedule: Some(made), payload_format: v1::PayloadFormat::Json.into() };
        let answer = call!(client.schedules.create_schedule, request, repeat: false).await?;
        Ok(self.read(answer.schedule).await)
    }

    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// `ScheduleNotFound`: no schedule has this name.
    pub async fn get(&self, name: &str) -> Result<Schedule, Error> {
        let client = &self.client;
        let request = v1::GetScheduleRequest { name: name.to_owned(), payload_format: v1::PayloadFormat::Json.into() };
        let answer = call!(client.schedules.get_schedule, request, repeat: true).await?;
        Ok(self.read(answer.schedule).await)
    }

    /// Reads all schedules that match, in order of their names, page by page as they are asked for. After an error it
    /// ends.
    pub fn list(&self, filter: ScheduleFilter) -> ScheduleStream {
        let client = self.client.clone();
        let first = v1::ListSchedulesRequest {
            page_size: whole(filter.page_size),
            page_token: String::new(),
            kind: filter.kind,
            queue: filter.queue,
            paused: filter.paused,
            labels: label_filter(&filter.labels),
        };
        pages(move |page_token| {
            let (client, request) = (client.clone(), v1::ListSchedulesRequest { page_token, ..first.clone() });
            async move {
                let answer = call!(client.schedules.list_schedules, request, repeat: true).await?;
                let mut found = Vec::with_capacity(answer.schedules.len());
                for each in answer.schedules {
                    found.push(schedule_of(each, client.encodings.as_ref()).await);
                }
                Ok((found, answer.next_page_token))
            }
        })
    }

    /// Changes a schedule. A change fires nothing by itself, and catches nothing up.
    ///
    /// `spec` and `job` are changed as a whole: take those of [`get`](Self::get), and give its etag, so that no other
    /// change is lost.
    ///
    /// # Errors
    ///
    /// `ScheduleNotFound`: no schedule has this name, and `allow_missing` is not set. `EtagMismatch`: it was changed since
    /// its etag was read. `InvalidRequest`: a field is malformed, or nothing is to be changed. `KindUnknown`,
    /// `PayloadInvalid`: the job does not fit. Of a job that can't be encoded, as of [`create`](Self::create).
    pub async fn update(&self, name: &str, change: ScheduleChange) -> Result<Schedule, Error> {
        let client = &self.client;
        let mut paths = Vec::new();
        if change.policy.is_some() {
            paths.extend(change.policy_fields.iter().map(|each| format!("policy.{each}")));
        }
        let whole = [
            ("spec", change.spec.is_some()),
            ("job", change.job.is_some()),
            ("policy", change.policy.is_some() && paths.is_empty()),
            ("labels", change.labels.is_some()),
        ];
        paths.extend(whole.iter().filter(|(_, given)| *given).map(|(path, _)| (*path).to_owned()));
        // A change that is made twice finds the etag of the first.
        let repeat = change.etag.is_empty();
        let job = match change.job {
            None => None,
            Some(job) => Some(changed_template_message(job, name, client.encodings.as_ref()).await?),
        };
        let changed = v1::Schedule {
            name: name.to_owned(),
            spec: change.spec.map(spec_message),
            job,
            policy: change.policy.map(policy_message),
            labels: change.labels.unwrap_or_default(),
            etag: change.etag,
            ..v1::Schedule::default()
        };
        let request = v1::UpdateScheduleRequest {
            schedule: Some(changed),
            update_mask: Some(prost_types::FieldMask { paths }),
            allow_missing: change.allow_missing,
            payload_format: v1::PayloadFormat::Json.into(),
        };
        let answer = call!(client.schedules.update_schedule, request, repeat: repeat).await?;
        Ok(self.read(answer.schedule).await)
    }

    /// Deletes a schedule with its runs. Its jobs stay. With an etag, that of [`Schedule`], it is deleted only if it still
    /// has it; empty: whatever was changed since.
    ///
    /// # Errors
    ///
    /// `ScheduleNotFound`: no schedule has this name. `EtagMismatch`: it was changed since its etag was read.
    pub async fn delete(&self, name: &str, etag: &str) -> Result<(), Error> {
        let client = &self.client;
        let request = v1::DeleteScheduleRequest { name: name.to_owned(), etag: etag.to_owned() };
        call!(client.schedules.delete_schedule, request, repeat: false).await?;
        Ok(())
    }

    /// Stops a schedule until it is resumed: it has no ticks meanwhile. Its jobs go on. The note, at most 255 characters,
    /// is for people, and may be empty.
    ///
    /// # Errors
    ///
    /// `ScheduleNotFound`: no schedule has this name.
    pub async fn pause(&self, name: &str, note: &str) -> Result<Schedule, Error> {
        let client = &self.client;
        let request = v1::PauseScheduleRequest {
            name: name.to_owned(),
            note: note.to_owned(),
            payload_format: v1::PayloadFormat::Json.into(),
        };
        let answer = call!(client.schedules.pause_schedule, request, repeat: true).await?;
        Ok(self.read(answer.schedule).await)
    }

    /// Lets a paused schedule go on with the first tick after now. What it missed is for [`backfill`](Self::backfill).
    ///
    /// # Errors
    ///
    /// `ScheduleNotFound`: no schedule has this name.
    pub async fn resume(&self, name: &str) -> Result<Schedule, Error> {
        let client = &self.client;
        let request =
            v1::ResumeScheduleRequest { name: name.to_owned(), payload_format: v1::PayloadFormat::Json.into() };
        let answer = call!(client.schedules.resume_schedule, request, repeat: true).await?;
        Ok(self.read(answer.schedule).await)
    }

    /// Fires a schedule now, also a paused one, by its own policy. Its ticks stay as they are. It may not have fired: look
    /// at the run's `outcome`.
    ///
    /// # Errors
    ///
    /// `ScheduleNotFound`: no schedule has this name.
    pub async fn run(&self, name: &str) -> Result<ScheduleRun, Error> {
        self.run_with(name, Overlap::Unspecified, "").await
    }

    /// Fires a schedule now as [`run`](Self::run) does, by another policy: what becomes of it while a job of the schedule
    /// has not ended. The same call with the same `request_id` is answered the run of the first. Empty: the call is not
    /// tried again when the server is away.
    ///
    /// # Errors
    ///
    /// `ScheduleNotFound`: no schedule has this name.
    pub async fn run_with(&self, name: &str, overlap: Overlap, request_id: &str) -> Result<ScheduleRun, Error> {
        let client = &self.client;
        let repeat = !request_id.is_empty();
        let request = v1::RunScheduleRequest {
            name: name.to_owned(),
            overlap: overlap_number(overlap),
            request_id: request_id.to_owned(),
        };
        let answer = call!(client.schedules.run_schedule, request, repeat: repeat).await?;
        Ok(run_of(answer.run.unwrap_or_default()))
    }

    /// Fires all ticks of a span of the past, by an operation that goes on without this program
    /// ([`Client::wait_operation`]). Those that have fired before fire again.
    ///
    /// # Errors
    ///
    /// `ScheduleNotFound`: no schedule has this name. `InvalidRequest`: a field is malformed, such as an end in the future.
    /// `RequestIdReused`: another request was made with this `request_id`. `ServersDiffer`: an older server runs, which
    /// does not know this operation.
    pub async fn backfill(&self, name: &str, which: Backfill) -> Result<Operation, Error> {
        let client = &self.client;
        let repeat = which.validate_only || !which.request_id.is_empty();
        let request = v1::BackfillScheduleRequest {
            name: name.to_owned(),
            start_at: Some(which.start_at.into()),
            end_at: Some(which.end_at.into()),
            overlap: overlap_number(which.overlap),
            max_ticks: long_bound("max_ticks", which.max_ticks)?,
            validate_only: which.validate_only,
            per_second: whole_bound("per_second", which.per_second)?,
            request_id: which.request_id,
        };
        let answer = call!(client.schedules.backfill_schedule, request, repeat: repeat).await?;
        Ok(operation_of(answer.operation.unwrap_or_default()))
    }

    /// Reads what became of the ticks of a schedule and of its runs by hand, those that were decided last first, page by
    /// page as they are asked for: `page_size` a call; `None`: 50; above 1000: 1000. After an error, such as
    /// `ScheduleNotFound`, it ends.
    pub fn runs(&self, name: &str, page_size: impl Into<Option<u32>>) -> ScheduleRunStream {
        let (client, name, page_size) = (self.client.clone(), name.to_owned(), whole(page_size.into()));
        pages(move |page_token| {
            let client = client.clone();
            let request = v1::ListScheduleRunsRequest { name: name.clone(), page_size, page_token };
            async move {
                let answer = call!(client.schedules.list_schedule_runs, request, repeat: true).await?;
                Ok((answer.runs.into_iter().map(run_of).collect(), answer.next_page_token))
            }
        })
    }

    /// Asks which ticks a spec has, without making a schedule: how many, 1..100 (`None`: 10), after which time (`None`:
    /// now). Fewer than were asked for: the spec has no more of them within 10 years.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: a field is malformed, such as a line of cron.
    pub async fn preview(
        &self,
        spec: ScheduleSpec,
        count: impl Into<Option<u32>>,
        since: impl Into<Option<SystemTime>>,
    ) -> Result<Vec<ScheduleTick>, Error> {
        let client = &self.client;
        let request = v1::PreviewScheduleRequest {
            spec: Some(spec_message(spec)),
            count: whole(count.into()),
            since: since.into().map(Into::into),
        };
        let answer = call!(client.schedules.preview_schedule, request, repeat: true).await?;
        Ok(answer.ticks.into_iter().map(tick_of).collect())
    }
}
