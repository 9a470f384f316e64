//! Schedules that a program declares.

use std::collections::{HashMap, HashSet};
use std::future::Future;

use futures_util::TryStreamExt;
use tokio::time::sleep;
use tonic::Code;

use crate::backoff::Backoff;
use crate::errors::{Error, ErrorKind};
use crate::json::JsonText;
use crate::schedule_calls::Schedules;
use crate::schedules::{NewSchedule, Schedule, ScheduleChange, ScheduleFilter};

/// The label of schedules that `apply` has made: whose they are.
const OWNER_LABEL: &str = "jobqueue.owner";
/// How often a schedule is tried that other programs change meanwhile.
const TRIES: u32 = 10;

/// What [`Schedules::apply`] did with a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Applied {
    /// There was none of its name.
    Created,
    /// It was another than the program declares.
    Changed,
    /// It was as the program declares it.
    Unchanged,
    /// The program does not declare it any more.
    Deleted,
}

/// What [`Schedules::apply`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedSchedule {
    /// The schedule as it is now; one that was deleted, as it was listed before.
    pub schedule: Schedule,
    /// What was done with it.
    pub done: Applied,
}

impl Schedules {
    /// Makes the schedules of a program what the program declares, as it does when it starts.
    ///
    /// One that is missing is created, one that is another is changed, and one that is as declared stays untouched. One
    /// without a policy gets the defaults again, and labels are changed as a whole. A schedule that an operator has paused
    /// stays paused: `paused` counts where a schedule is created. Programs of one owner may do so at once. The calls are made
    /// one after the other: where one of them fails, what was done before stays.
    ///
    /// The owner is whose they are, such as the program's name: a label, `jobqueue.owner`. A schedule of another owner, or of
    /// none, is never changed. The answers are in the order in which the schedules are declared.
    ///
    /// # Errors
    ///
    /// `ScheduleExists`: a schedule has this name and is not of this owner; `schedule` and `owner` in [`Error::metadata`] say
    /// which, and whose it is. `InvalidRequest`: two of them have one name, or the owner is empty, and nothing was sent; or
    /// as of [`create`](Self::create), as are the others. `EtagMismatch`: other programs changed one at each of ten tries.
    pub async fn apply(
        &self,
        declared: impl IntoIterator<Item = NewSchedule>,
        owner: &str,
    ) -> Result<Vec<AppliedSchedule>, Error> {
        let declared: Vec<NewSchedule> = declared.into_iter().collect();
        if owner.is_empty() {
            return Err(Error::invalid("owner", "is empty; it is whose the schedules are, such as the program's name"));
        }
        let mut names = HashSet::new();
        if let Some(twice) = declared.iter().find(|each| !names.insert(&each.name)) {
            return Err(Error::invalid("declared", format!("two schedules have one name, {:?}", twice.name)));
        }
        let mut applied = Vec::with_capacity(declared.len());
        for new in &declared {
            applied.push(settled(Backoff::of_changes(), || Box::pin(self.apply_one(new, owner))).await?);
        }
        Ok(applied)
    }

    /// As [`apply`](Self::apply), and then deletes the schedules of this owner that are not declared. Those stand last among
    /// the answers.
    ///
    /// # Errors
    ///
    /// As those of [`apply`](Self::apply).
    pub async fn apply_and_prune(
        &self,
        declared: impl IntoIterator<Item = NewSchedule>,
        owner: &str,
    ) -> Result<Vec<AppliedSchedule>, Error> {
        let declared: Vec<NewSchedule> = declared.into_iter().collect();
        let names: HashSet<String> = declared.iter().map(|each| each.name.clone()).collect();
        let mut applied = self.apply(declared, owner).await?;
        let labels = HashMap::from([(OWNER_LABEL.to_owned(), owner.to_owned())]);
        let filter = ScheduleFilter { labels, page_size: Some(1000), ..ScheduleFilter::default() };
        let mut left: Vec<Schedule> = self.list(filter).try_collect().await?;
        left.retain(|each| !names.contains(&each.name));
        for schedule in left {
            match self.delete(&schedule.name, &schedule.etag).await {
                Ok(()) => applied.push(AppliedSchedule { schedule, done: Applied::Deleted }),
                // One that was changed since is another program's by now, or the same program's of another version.
                Err(error) if came_between(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(applied)
    }

    async fn apply_one(&self, new: &NewSchedule, owner: &str) -> Result<AppliedSchedule, Error> {
        let mut labels = new.labels.clone();
        labels.insert(OWNER_LABEL.to_owned(), owner.to_owned());
        let before = match self.get(&new.name).await {
            Err(error) if error.is(ErrorKind::ScheduleNotFound) => {
                let schedule = self.create(NewSchedule { labels, ..new.clone() }).await?;
                return Ok(AppliedSchedule { schedule, done: Applied::Created });
            }
            read => read?,
        };
        let of = before.labels.get(OWNER_LABEL).map_or("", String::as_str);
        if of != owner {
            return Err(of_another(&new.name, of));
        }
        let mut job = new.job.clone();
        // As a schedule that is created without one has it.
        job.payload.get_or_insert_with(|| JsonText::new("null"));
        let change = ScheduleChange {
            spec: Some(new.spec.clone()),
            job: Some(job),
            policy: Some(new.policy.unwrap_or_default()),
            labels: Some(labels),
            etag: before.etag.clone(),
            ..ScheduleChange::default()
        };
        let schedule = self.update(&new.name, change).await?;
        let done = if schedule.etag == before.etag { Applied::Unchanged } else { Applied::Changed };
        Ok(AppliedSchedule { schedule, done })
    }
}

fn of_another(schedule: &str, owner: &str) -> Error {
    let whose = if owner.is_empty() { "has no owner".to_owned() } else { format!("is of {owner}") };
    Error::new(Code::AlreadyExists, format!("the schedule {schedule} {whose}"))
        .named(ErrorKind::ScheduleExists, "SCHEDULE_EXISTS")
        .fact("schedule", schedule)
        .fact("owner", owner)
}

/// Whether another program made, changed or deleted the schedule between two calls.
fn came_between(error: &Error) -> bool {
    let changed = [ErrorKind::EtagMismatch, ErrorKind::ScheduleNotFound, ErrorKind::ScheduleExists];
    changed.contains(&error.kind()) && !error.metadata().contains_key("owner")
}

/// What an attempt comes to, again where another program came between.
async fn settled<T, F: Future<Output = Result<T, Error>>>(
    mut waits: Backoff,
    attempt: impl Fn() -> F,
) -> Result<T, Error> {
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if came_between(&error) => sleep(waits.next()).await,
            done => return done,
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::{Client, NewJob, ScheduleSpec};

    fn declared(names: &[&str]) -> Vec<NewSchedule> {
        let of = |name: &&str| NewSchedule::new(*name, ScheduleSpec::cron("0 0 1 1 *"), NewJob::new("k"));
        names.iter().map(of).collect()
    }

    #[tokio::test]
    async fn what_is_declared_twice_or_without_an_owner_is_refused_before_anything_is_sent() {
        // Nothing answers there.
        let client = Client::builder("127.0.0.1:1").deadline(Duration::from_millis(50)).build().unwrap();
        let schedules = client.schedules();
        for (names, owner, field) in [(["a", "a"], "us", "declared"), (["a", "b"], "", "owner")] {
            for refused in [
                schedules.apply(declared(&names), owner).await.unwrap_err(),
                schedules.apply_and_prune(declared(&names), owner).await.unwrap_err(),
            ] {
                assert!(refused.is(ErrorKind::InvalidRequest), "{refused}");
                assert_eq!(refused.violations()[0].field, field);
            }
        }
        assert!(schedules.apply(declared(&["a"]), "us").await.unwrap_err().is(ErrorKind::Unavailable));
    }

    #[tokio::test]
    async fn where_another_program_comes_between_it_is_tried_ten_times_at_most() {
        for kind in [ErrorKind::EtagMismatch, ErrorKind::ScheduleNotFound, ErrorKind::ScheduleExists] {
            for most in [1, 3, 10, 11] {
                let tries = Cell::new(0);
                let attempt = || {
                    tries.set(tries.get() + 1);
                    let refused = Error::new(Code::Aborted, "changed").named(kind, "");
                    std::future::ready(if tries.get() < most { Err(refused) } else { Ok(()) })
                };
                let waits = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
                let done = settled(waits, attempt).await;
                assert_eq!((tries.get(), done.is_ok()), (most.min(10), most <= 10), "{kind:?}");
            }
        }
    }

    #[tokio::test]
    async fn another_owner_or_another_error_is_told_at_once() {
        for refused in [of_another("a", ""), of_another("a", "them"), Error::new(Code::Unavailable, "away")] {
            let tries = Cell::new(0);
            let attempt = || {
                tries.set(tries.get() + 1);
                std::future::ready(Err::<(), _>(refused.clone()))
            };
            let told = settled(Backoff::of_changes(), attempt).await.unwrap_err();
            assert_eq!((told.kind(), tries.get()), (refused.kind(), 1));
        }
    }

    #[test]
    fn the_waits_between_the_tries_are_20_ms_to_half_a_second() {
        let mut waits = Backoff::of_changes();
        for _ in 0..1000 {
            let wait = waits.next();
            assert!((Duration::from_millis(20)..=Duration::from_millis(500)).contains(&wait), "{wait:?}");
        }
    }
}
