//! Schedules are made, read, changed, fired and deleted.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use jobqueue::{
    Backfill, BulkState, CatchUp, Client, Error, ErrorKind, Job, JsonText, NewJob, NewSchedule, Overlap, RunCause,
    RunOutcome, Schedule, ScheduleChange, ScheduleFilter, SchedulePolicy, ScheduleRun, ScheduleSpec, TickRule, Unique,
    UniqueScope,
};
use serde_json::json;

use crate::line::Line;
use crate::{Done, WITHIN, client, of_queue, own, server};

const HOUR: Duration = Duration::from_secs(3600);
const YEARLY: &str = "0 0 1 1 *";

/// A schedule of the test's own, whose jobs go into the queue of its name.
fn yearly(name: &str) -> NewSchedule {
    NewSchedule::new(name, ScheduleSpec::cron(YEARLY), NewJob::new("k").queue(name).payload(json!({"n": 1})))
}

/// 2027-03-28T00:00:00Z: an hour later the clocks of Berlin go from 02:00 to 03:00.
fn night() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_806_192_000)
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_schedule_is_made_read_and_deleted_as_it_is_given() -> Done {
    let (client, name) = (client()?, own());
    let schedules = client.schedules();
    let spec = ScheduleSpec {
        every: Some(HOUR),
        phase: Some(Duration::from_secs(60)),
        ends_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)),
        jitter: Some(Duration::from_secs(5)),
        time_zone: "Etc/UTC".into(),
        ..ScheduleSpec::default()
    };
    let policy = SchedulePolicy {
        overlap: Overlap::Skip,
        catch_up_window: Some(2 * HOUR),
        catch_up: CatchUp::None,
        pause_after_failures: Some(3),
        keep_runs: Some(7),
    };
    let job = NewJob::new("k")
        .payload(JsonText::new(r#"{ "n": 12345678901234567890 }"#))
        .queue(&name)
        .priority(-3)
        .max_attempts(7)
        .timeout(Duration::from_secs(90))
        .label("team", "a")
        .header("trace", "b")
        .key("customer 42")
        .unique(Unique::key(&name).scope(UniqueScope::Queue).reject());
    let labels = HashMap::from([("of".to_owned(), "rust".to_owned())]);
    let given = NewSchedule {
        policy: Some(policy),
        labels: labels.clone(),
        paused: true,
        ..NewSchedule::new(&name, spec.clone(), job.clone())
    };
    let made = schedules.create(given.clone()).await?;
    assert_eq!((&made.name, &made.spec, made.policy), (&name, &spec, policy));
    assert_eq!((&made.job.payload, &made.job.headers), (&job.payload, &job.headers));
    assert_eq!((&made.job.labels, &made.job.unique, &made.job.key), (&job.labels, &job.unique, &job.key));
    assert_eq!((made.job.priority, made.job.timeout, made.job.max_attempts), (-3, job.timeout, Some(7)));
    assert_eq!((made.labels, made.paused, made.next_at, made.fired), (labels, true, None, 0));
    assert!(made.upcoming.len() == 5 && made.last_run.is_none() && made.created_at.is_some());
    assert_eq!(schedules.get(&name).await?.etag, made.etag);

    let again = schedules.create(given.clone()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::ScheduleExists);
    assert_eq!(schedules.delete(&name, "another").await.unwrap_err().kind(), ErrorKind::EtagMismatch);
    schedules.delete(&name, &made.etag).await?;
    let gone = schedules.get(&name).await.unwrap_err();
    assert!(gone.kind() == ErrorKind::ScheduleNotFound && gone.is(ErrorKind::NotFound));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_is_wrong_with_a_schedule_is_said_of_its_field() -> Done {
    let (client, name) = (client()?, own());
    let schedules = client.schedules();
    let broken = NewSchedule { spec: ScheduleSpec::cron("61 * * * *"), ..yearly(&name) };
    let refused = schedules.create(broken.clone()).await.unwrap_err();
    assert!(refused.is(ErrorKind::InvalidRequest));
    assert_eq!(refused.violations()[0].field, "schedule.spec.cron[0]");
    let refused = schedules.preview(broken.spec, None, None).await.unwrap_err();
    assert_eq!(refused.violations()[0].field, "spec.cron[0]");
    let zone = ScheduleSpec { time_zone: "Europe/Nowhere".into(), ..ScheduleSpec::cron(YEARLY) };
    let refused = schedules.create(NewSchedule { spec: zone, ..yearly(&name) }).await.unwrap_err();
    assert_eq!(refused.violations()[0].field, "schedule.spec.time_zone");

    let late = yearly(&name).job.delay(HOUR);
    let refused = schedules.create(NewSchedule { job: late, ..yearly(&name) }).await.unwrap_err();
    assert_eq!(refused.violations()[0].field, "job.run_at");
    let keyed = yearly(&name).job.idempotency_key("a");
    let refused = schedules.create(NewSchedule { job: keyed, ..yearly(&name) }).await.unwrap_err();
    assert_eq!(refused.violations()[0].field, "job.idempotency_key");
    assert_eq!(schedules.get(&name).await.unwrap_err().kind(), ErrorKind::ScheduleNotFound);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn schedules_are_listed_over_all_pages_and_their_payloads_are_left_out() -> Done {
    let (client, name) = (client()?, own());
    let schedules = client.schedules();
    let names: Vec<String> = (0..5).map(|n| format!("{name}.{n}")).collect();
    for (n, each) in names.iter().enumerate() {
        let labels = HashMap::from([("odd".to_owned(), (n % 2).to_string())]);
        let job = NewJob::new("k").queue(&name).payload(json!(n));
        schedules.create(NewSchedule { labels, job, paused: n == 3, ..yearly(each) }).await?;
    }
    let of = |filter: ScheduleFilter| schedules.list(filter).map_ok(|each| each.name).try_collect::<Vec<_>>();
    let mine = ScheduleFilter { queue: name.clone(), page_size: Some(2), ..ScheduleFilter::default() };
    assert_eq!(of(mine.clone()).await?, names);
    let labels = HashMap::from([("odd".to_owned(), "1".to_owned())]);
    assert_eq!(of(ScheduleFilter { labels, ..mine.clone() }).await?, [names[1].clone(), names[3].clone()]);
    assert_eq!(of(ScheduleFilter { paused: Some(true), ..mine.clone() }).await?, [names[3].clone()]);
    assert_eq!(of(ScheduleFilter { paused: Some(false), ..mine.clone() }).await?.len(), 4);
    assert!(of(ScheduleFilter { kind: "another".into(), ..mine.clone() }).await?.is_empty());
    let listed: Vec<Schedule> = schedules.list(mine).try_collect().await?;
    assert!(listed.iter().all(|each| each.job.payload.is_none() && each.upcoming.is_empty()));

    // Who writes back what was listed would lose the payload.
    let change = ScheduleChange { job: Some(listed[2].job.clone()), ..ScheduleChange::default() };
    assert!(schedules.update(&names[2], change).await.unwrap_err().is(ErrorKind::InvalidRequest));
    assert_eq!(schedules.get(&names[2]).await?.job.payload, Some(json!(2).into()));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_a_change_of_a_schedule_does_not_name_stays() -> Done {
    let (client, name) = (client()?, own());
    let schedules = client.schedules();
    let missing = ScheduleChange { spec: Some(ScheduleSpec::every(HOUR)), ..ScheduleChange::default() };
    let refused = schedules.update(&name, missing).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ScheduleNotFound);
    let NewSchedule { spec, job, .. } = yearly(&name);
    let change = ScheduleChange { spec: Some(spec), job: Some(job), allow_missing: true, ..ScheduleChange::default() };
    let made = schedules.update(&name, change).await?;

    let policy = SchedulePolicy { overlap: Overlap::Skip, keep_runs: Some(9), ..SchedulePolicy::default() };
    let change = ScheduleChange { policy: Some(policy), etag: made.etag.clone(), ..ScheduleChange::default() };
    let changed = schedules.update(&name, change.clone()).await?;
    assert_eq!((changed.policy.overlap, changed.policy.keep_runs), (Overlap::Skip, Some(9)));
    assert_eq!((changed.spec.cron, &changed.job), (vec![YEARLY.to_owned()], &made.job));
    let again = schedules.update(&name, change).await.unwrap_err();
    assert_eq!((again.kind(), again.metadata().get("etag")), (ErrorKind::EtagMismatch, Some(&changed.etag)));

    let part = SchedulePolicy { overlap: Overlap::Allow, ..SchedulePolicy::default() };
    let policy_fields = vec!["overlap".to_owned()];
    let change = ScheduleChange { policy: Some(part), policy_fields, ..ScheduleChange::default() };
    let changed = schedules.update(&name, change).await?;
    assert_eq!((changed.policy.overlap, changed.policy.keep_runs), (Overlap::Allow, Some(9)));

    let policy_fields = vec!["keep_runs".to_owned()];
    let of_nothing = ScheduleChange { policy_fields, labels: Some(HashMap::new()), ..ScheduleChange::default() };
    assert_eq!(schedules.update(&name, of_nothing).await?.policy.keep_runs, Some(9));

    let labels = HashMap::from([("a".to_owned(), "b".to_owned())]);
    let job = made.job.clone().payload(json!({"n": 2}));
    let change = ScheduleChange {
        spec: Some(ScheduleSpec::every(HOUR)),
        job: Some(job.clone()),
        labels: Some(labels.clone()),
        ..ScheduleChange::default()
    };
    let changed = schedules.update(&name, change).await?;
    assert_eq!((changed.spec.every, changed.spec.cron.len(), changed.job.payload), (Some(HOUR), 0, job.payload));
    assert_eq!((changed.labels, changed.policy.keep_runs), (labels, Some(9)));
    let cleared = ScheduleChange { labels: Some(HashMap::new()), ..ScheduleChange::default() };
    assert!(schedules.update(&name, cleared).await?.labels.is_empty());
    let nothing = schedules.update(&name, ScheduleChange::default()).await.unwrap_err();
    assert_eq!(nothing.violations()[0].field, "update_mask");
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_schedule_is_paused_with_a_note_and_resumed() -> Done {
    let (client, name) = (client()?, own());
    let schedules = client.schedules();
    assert_eq!(schedules.pause(&name, "").await.unwrap_err().kind(), ErrorKind::ScheduleNotFound);
    assert_eq!(schedules.resume(&name).await.unwrap_err().kind(), ErrorKind::ScheduleNotFound);
    let made = schedules.create(yearly(&name)).await?;
    assert!(made.next_at.is_some() && made.next_at == made.upcoming[0].tick_at);
    let paused = schedules.pause(&name, "no reports in August").await?;
    assert_eq!((paused.paused, paused.pause_note.as_str(), paused.next_at), (true, "no reports in August", None));
    let resumed = schedules.resume(&name).await?;
    assert_eq!((resumed.paused, resumed.pause_note.as_str(), resumed.next_at), (false, "", made.next_at));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_run_by_hand_says_what_became_of_it_and_runs_are_read_over_all_pages() -> Done {
    let (client, name) = (client()?, own());
    let schedules = client.schedules();
    assert_eq!(schedules.run(&name).await.unwrap_err().kind(), ErrorKind::ScheduleNotFound);
    schedules.create(yearly(&name)).await?;
    let first = schedules.run(&name).await?;
    assert_eq!((first.outcome, first.cause, first.ticks), (RunOutcome::Fired, RunCause::ByHand, 1));
    let job = client.get(&first.job_id).await?;
    assert_eq!(
        (&job.queue, job.payload, job.headers["x-schedule"].as_str()),
        (&name, Some(json!({"n": 1}).into()), &*name)
    );
    assert_eq!(schedules.run_with(&name, Overlap::Skip, "").await?.outcome, RunOutcome::SkippedOverlap);
    assert_eq!(schedules.run(&name).await?.outcome, RunOutcome::Buffered);
    let beside = schedules.run_with(&name, Overlap::Allow, "once").await?;
    assert_eq!(beside.outcome, RunOutcome::Fired);
    assert_eq!(schedules.run_with(&name, Overlap::Allow, "once").await?.job_id, beside.job_id);

    let runs: Vec<ScheduleRun> = schedules.runs(&name, 1).try_collect().await?;
    let outcomes: Vec<_> = runs.iter().map(|run| run.outcome).collect();
    let wanted = [RunOutcome::Fired, RunOutcome::Buffered, RunOutcome::SkippedOverlap, RunOutcome::Fired];
    assert_eq!(outcomes, wanted);
    let read = schedules.get(&name).await?;
    assert_eq!((read.last_run.as_ref(), read.fired), (Some(&runs[0]), 2));
    let unknown: Result<Vec<ScheduleRun>, Error> = schedules.runs(&own(), None).try_collect().await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::ScheduleNotFound);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_backfill_is_counted_first_and_fires_each_tick_of_its_span_once() -> Done {
    let (client, name) = (client()?, own());
    let schedules = client.schedules();
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let which = Backfill::between(start, start + 3 * HOUR);
    let refused = schedules.backfill(&name, which.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ScheduleNotFound);
    schedules.create(NewSchedule { spec: ScheduleSpec::every(HOUR), paused: true, ..yearly(&name) }).await?;

    let counted = schedules.backfill(&name, Backfill { validate_only: true, ..which.clone() }).await?;
    assert_eq!((counted.estimate, counted.dry_run, counted.done, counted.changed), (3, true, true, 0));
    assert!(client.list(of_queue(&name)).try_collect::<Vec<Job>>().await?.is_empty());

    let named = Backfill { request_id: own(), ..which };
    let begun = schedules.backfill(&name, named.clone()).await?;
    assert_eq!(schedules.backfill(&name, named.clone()).await?.name, begun.name);
    let other = Backfill { max_ticks: Some(1), ..named };
    assert_eq!(schedules.backfill(&name, other).await.unwrap_err().kind(), ErrorKind::RequestIdReused);
    let done = client.wait_operation(&begun.name, WITHIN).await?;
    assert_eq!((done.state, done.done, done.changed, done.skipped), (BulkState::Succeeded, true, 3, 0));
    assert_eq!((done.verb.as_str(), done.schedule.as_ref()), ("BackfillSchedule", Some(&name)));
    assert_eq!((done.end_at, done.last_at), (Some(start + 3 * HOUR), Some(start + 2 * HOUR)));
    assert_eq!(client.list(of_queue(&name)).try_collect::<Vec<Job>>().await?.len(), 3);
    let runs: Vec<ScheduleRun> = schedules.runs(&name, None).try_collect().await?;
    assert!(runs.iter().all(|run| run.cause == RunCause::ByBackfill));

    let future = Backfill::between(start, SystemTime::now() + HOUR);
    assert_eq!(schedules.backfill(&name, future).await.unwrap_err().violations()[0].field, "end_at");
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_preview_says_what_a_change_of_clocks_means() -> Done {
    let client = client()?;
    let spec = ScheduleSpec { time_zone: "Europe/Berlin".into(), ..ScheduleSpec::cron("30 2 * * *") };
    let ticks = client.schedules().preview(spec, 2, night()).await?;
    assert_eq!(ticks.iter().map(|tick| tick.rule).collect::<Vec<_>>(), [TickRule::AfterGap, TickRule::Unspecified]);
    assert_eq!(ticks[0].local_time, "2027-03-28T03:00:00+02:00");
    assert_eq!(ticks[0].tick_at, Some(night() + HOUR));
    assert_eq!(client.schedules().preview(ScheduleSpec::every(HOUR), None, None).await?.len(), 10);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_fires_or_makes_is_not_tried_again_and_reads_are() -> Done {
    let name = own();
    client()?.schedules().create(yearly(&name)).await?;
    let line = Line::to(&server()).await?;
    let far = Client::builder(&line.address).deadline(Duration::from_millis(300)).build()?.schedules();
    line.close();
    let again = |error: Error| error.to_string().contains("tried again until the deadline");
    assert!(again(far.get(&name).await.unwrap_err()));
    assert!(again(far.list(ScheduleFilter::default()).try_collect::<Vec<_>>().await.unwrap_err()));
    assert!(again(far.pause(&name, "").await.unwrap_err()));
    assert!(again(far.run_with(&name, Overlap::Allow, "once").await.unwrap_err()));
    let labels = ScheduleChange { labels: Some(HashMap::new()), ..ScheduleChange::default() };
    assert!(again(far.update(&name, labels.clone()).await.unwrap_err()));
    assert!(!again(far.update(&name, ScheduleChange { etag: "a".into(), ..labels }).await.unwrap_err()));
    assert!(!again(far.run(&name).await.unwrap_err()));
    assert!(!again(far.create(yearly(&name)).await.unwrap_err()));
    assert!(!again(far.delete(&name, "").await.unwrap_err()));
    let which = Backfill::between(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + HOUR);
    assert!(!again(far.backfill(&name, which.clone()).await.unwrap_err()));
    assert!(again(far.backfill(&name, Backfill { validate_only: true, ..which }).await.unwrap_err()));
    Ok(())
}
