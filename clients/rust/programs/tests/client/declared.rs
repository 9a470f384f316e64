//! Schedules that a program declares.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use jobqueue::{
    AesGcm, Applied, AppliedSchedule, CatchUp, Client, Encoding, Encodings, Error, ErrorKind, NewJob, NewSchedule,
    Overlap, ScheduleChange, ScheduleFilter, SchedulePolicy, ScheduleSpec, Schedules, Undecodable,
};
use serde_json::json;

use crate::{Done, client, own, server};

const POLICY: SchedulePolicy = SchedulePolicy {
    overlap: Overlap::Skip,
    catch_up_window: Some(Duration::from_secs(7200)),
    catch_up: CatchUp::None,
    pause_after_failures: Some(3),
    keep_runs: Some(7),
};

/// A schedule whose jobs go into the test's own queue.
fn yearly(queue: &str, name: &str) -> NewSchedule {
    let job = NewJob::new("k").queue(queue).payload(json!({"n": 1}));
    NewSchedule::new(format!("{queue}.{name}"), ScheduleSpec::cron("0 0 1 1 *"), job)
}

fn of_team() -> HashMap<String, String> {
    HashMap::from([("of".to_owned(), "team".to_owned())])
}

/// What was done with which, without the name of the queue.
fn done(applied: &[AppliedSchedule]) -> Vec<(&str, Applied)> {
    let name = |each: &'_ AppliedSchedule| each.schedule.name.rfind('.').map_or(0, |dot| dot + 1);
    applied.iter().map(|each| (&each.schedule.name[name(each)..], each.done)).collect()
}

async fn names(schedules: &Schedules, queue: &str) -> Result<Vec<String>, Error> {
    let mine = ScheduleFilter { queue: queue.to_owned(), ..ScheduleFilter::default() };
    let found: Vec<_> = schedules.list(mine).try_collect().await?;
    Ok(found.into_iter().filter_map(|each| each.name.rsplit('.').next().map(str::to_owned)).collect())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_a_program_declares_is_created_changed_or_left_untouched() -> Done {
    let (schedules, us) = (client()?.schedules(), own());
    let new = |name: &str| NewSchedule { policy: Some(POLICY), labels: of_team(), ..yearly(&us, name) };
    let bare = NewSchedule { job: NewJob::new("k").queue(&us), ..yearly(&us, "c") };
    let first = schedules.apply([new("a"), new("b"), bare.clone()], &us).await?;
    assert_eq!(done(&first), [("a", Applied::Created), ("b", Applied::Created), ("c", Applied::Created)]);
    let before = schedules.get(&first[0].schedule.name).await?;
    assert_eq!((&before.spec.cron, before.policy), (&new("a").spec.cron, POLICY));
    assert_eq!(before.job.payload, new("a").job.payload);
    let labels = HashMap::from([("jobqueue.owner".to_owned(), us.clone())]).into_iter().chain(of_team()).collect();
    assert_eq!(before.labels, labels);

    let other = NewSchedule { job: new("b").job.payload(json!({"n": 2})), ..new("b") };
    let again = schedules.apply([new("a"), other, bare], &us).await?;
    assert_eq!(done(&again), [("a", Applied::Unchanged), ("b", Applied::Changed), ("c", Applied::Unchanged)]);
    let after = schedules.get(&before.name).await?;
    assert_eq!((&after.etag, after.updated_at), (&before.etag, before.updated_at));
    assert_eq!(schedules.get(&again[1].schedule.name).await?.job.payload, Some(json!({"n": 2}).into()));
    let bare = NewSchedule { job: NewJob::new("k").queue(&us), ..new("b") };
    let emptied = schedules.apply([bare], &us).await?;
    assert_eq!((emptied[0].done, &emptied[0].schedule.job.payload), (Applied::Changed, &Some(json!(null).into())));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_schedule_that_is_declared_without_a_policy_gets_the_defaults_again() -> Done {
    let (schedules, us) = (client()?.schedules(), own());
    let first = NewSchedule { policy: Some(POLICY), labels: of_team(), ..yearly(&us, "a") };
    schedules.apply([first], &us).await?;
    let changed = schedules.apply([yearly(&us, "a")], &us).await?;
    assert_eq!(done(&changed), [("a", Applied::Changed)]);
    let plain = schedules.apply([yearly(&us, "plain")], &us).await?;
    assert_eq!(changed[0].schedule.policy, plain[0].schedule.policy);
    assert_eq!(changed[0].schedule.labels, HashMap::from([("jobqueue.owner".to_owned(), us.clone())]));
    assert_eq!(done(&schedules.apply([yearly(&us, "a")], &us).await?), [("a", Applied::Unchanged)]);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_pause_by_an_operator_stays_and_one_that_is_declared_counts_for_a_new_schedule_alone() -> Done {
    let (schedules, us) = (client()?.schedules(), own());
    let made = schedules.apply([yearly(&us, "a"), NewSchedule { paused: true, ..yearly(&us, "b") }], &us).await?;
    let [a, b] = [&made[0].schedule, &made[1].schedule];
    assert!(!a.paused && b.paused);
    schedules.pause(&a.name, "flood").await?;
    schedules.resume(&b.name).await?;
    let new = [
        NewSchedule { labels: of_team(), ..yearly(&us, "a") },
        NewSchedule { labels: of_team(), paused: true, ..yearly(&us, "b") },
    ];
    assert_eq!(done(&schedules.apply(new, &us).await?), [("a", Applied::Changed), ("b", Applied::Changed)]);
    let paused = schedules.get(&a.name).await?;
    assert_eq!((paused.paused, paused.pause_note.as_str()), (true, "flood"));
    assert!(!schedules.get(&b.name).await?.paused);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn only_schedules_of_its_owner_that_are_not_declared_are_deleted_and_only_if_asked() -> Done {
    let (schedules, us, them) = (client()?.schedules(), own(), own());
    schedules.create(yearly(&us, "by-hand")).await?;
    schedules.apply([yearly(&us, "theirs")], &them).await?;
    schedules.apply(["a", "b", "c"].map(|name| yearly(&us, name)), &us).await?;
    assert_eq!(done(&schedules.apply([yearly(&us, "b")], &us).await?), [("b", Applied::Unchanged)]);
    let pruned = schedules.apply_and_prune([yearly(&us, "b")], &us).await?;
    assert_eq!(done(&pruned), [("b", Applied::Unchanged), ("a", Applied::Deleted), ("c", Applied::Deleted)]);
    assert_eq!(names(&schedules, &us).await?, ["b", "by-hand", "theirs"]);
    assert_eq!(done(&schedules.apply_and_prune([], &us).await?), [("b", Applied::Deleted)]);
    assert_eq!(names(&schedules, &us).await?, ["by-hand", "theirs"]);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_schedule_of_another_owner_or_of_none_is_never_changed() -> Done {
    let (schedules, us, them) = (client()?.schedules(), own(), own());
    let made = schedules.create(yearly(&us, "by-hand")).await?;
    let theirs = schedules.apply([yearly(&us, "theirs")], &them).await?.remove(0).schedule;
    for (before, owner, words) in [(&made, "", "has no owner".to_owned()), (&theirs, &*them, format!("is of {them}"))] {
        let name = &before.name[us.len() + 1..];
        let new = ["a", name, "z"].map(|name| NewSchedule { labels: of_team(), ..yearly(&us, name) });
        let refused = schedules.apply_and_prune(new, &us).await.unwrap_err();
        assert_eq!((refused.kind(), refused.reason()), (ErrorKind::ScheduleExists, "SCHEDULE_EXISTS"));
        assert_eq!(refused.message(), format!("the schedule {} {words}", before.name));
        let facts = ["schedule", "owner"].map(|fact| refused.metadata()[fact].as_str());
        assert_eq!(facts, [before.name.as_str(), owner]);
        assert_eq!(schedules.get(&before.name).await?.etag, before.etag);
    }
    assert_eq!(names(&schedules, &us).await?, ["a", "by-hand", "theirs"]);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn programs_of_one_owner_that_start_at_once_agree() -> Done {
    let us = own();
    let mut starts = Vec::new();
    for number in 0..8 {
        let (schedules, us) = (client()?.schedules(), us.clone());
        let labels = HashMap::from([("number".to_owned(), (number % 2).to_string())]);
        let new = ["a", "b"].map(|name| NewSchedule { labels: labels.clone(), ..yearly(&us, name) });
        starts.push(tokio::spawn(async move { schedules.apply(new, &us).await }));
    }
    let mut applied = Vec::new();
    for start in starts {
        applied.extend(start.await??);
    }
    assert_eq!(applied.len(), 16);
    applied.retain(|each| each.done == Applied::Created);
    applied.sort_by(|one, next| one.schedule.name.cmp(&next.schedule.name));
    assert_eq!(done(&applied), [("a", Applied::Created), ("b", Applied::Created)]);
    assert_eq!(names(&client()?.schedules(), &us).await?, ["a", "b"]);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn an_encoded_job_that_is_declared_again_is_no_change() -> Done {
    let us = own();
    let encodings = Encodings::builder().add(AesGcm::new([("a", [7; 32])], "a")?).build()?;
    let schedules = Client::builder(server()).encodings(encodings).build()?.schedules();
    assert_eq!(done(&schedules.apply([yearly(&us, "a")], &us).await?), [("a", Applied::Created)]);
    assert_eq!(done(&schedules.apply([yearly(&us, "a")], &us).await?), [("a", Applied::Unchanged)]);
    Ok(())
}

/// Lets something happen when its key is first asked for: after a schedule was read, and before it is made or changed.
struct Between(Mutex<Option<BoxFuture<'static, Result<(), Error>>>>);

impl Encoding for Between {
    fn name(&self) -> &'static str {
        "between"
    }

    fn key_id(&self) -> &'static str {
        "k"
    }

    fn key<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Bytes, Error>> {
        let happens = self.0.lock().expect("it panics nowhere").take();
        async move {
            if let Some(happens) = happens {
                happens.await?;
            }
            Ok(Bytes::new())
        }
        .boxed()
    }

    fn encode(
        &self,
        data: &[u8],
        _: &[u8],
        _: &[u8],
        _: Option<&str>,
    ) -> Result<Option<Vec<u8>>, Box<dyn StdError + Send + Sync>> {
        Ok(Some(data.to_vec()))
    }

    fn decode(&self, data: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Undecodable> {
        Ok(data.to_vec())
    }
}

/// What is applied while something else happens.
async fn applied_around(
    new: NewSchedule,
    owner: &str,
    happens: BoxFuture<'static, Result<(), Error>>,
) -> Result<Vec<AppliedSchedule>, Error> {
    let encodings = Encodings::builder().add(Between(Mutex::new(Some(happens)))).build()?;
    let schedules = Client::builder(server()).encodings(encodings).build()?.schedules();
    Box::pin(schedules.apply([new], owner)).await
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_another_program_does_between_the_read_and_the_change_is_not_lost() -> Done {
    let (schedules, us, them) = (client()?.schedules(), own(), own());
    let new = yearly(&us, "a");
    let (name, by) = (new.name.clone(), schedules.clone());

    let (other, owner) = (new.clone(), us.clone());
    let makes = async move { by.apply([other], &owner).await.map(drop) };
    assert_eq!(done(&applied_around(new.clone(), &us, makes.boxed()).await?), [("a", Applied::Changed)]);

    let (gone, by) = (name.clone(), schedules.clone());
    let deletes = async move { by.delete(&gone, "").await };
    assert_eq!(done(&applied_around(new.clone(), &us, deletes.boxed()).await?), [("a", Applied::Created)]);

    let labels = HashMap::from([("jobqueue.owner".to_owned(), them.clone())]);
    let (seized, by) = (name.clone(), schedules.clone());
    let change = ScheduleChange { labels: Some(labels.clone()), ..ScheduleChange::default() };
    let takes = async move { by.update(&seized, change).await.map(drop) };
    let refused = applied_around(new, &us, takes.boxed()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.metadata().get("owner")), (ErrorKind::ScheduleExists, Some(&them)));
    assert_eq!(schedules.get(&name).await?.labels, labels);
    Ok(())
}
