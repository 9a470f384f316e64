//! Jobs are enqueued, read, listed, cancelled, retried, deleted and waited for.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt};
use jobqueue::{
    Client, Error, ErrorKind, Filter, HandlerResult, Hold, Job, JsonText, KeyFilter, KeyOrder, KeyPolicy, LeasedJob,
    Limits, NewJob, OnKeyFailure, QueueChange, QueueKey, QueueKeyChange, QueueKeys, Rate, RetryPolicy, Status, Unique,
    UniqueAction, UniqueField, UniqueScope, Until, WatchFilter, Worker, failed, new_idempotency_key, retry,
};
use serde_json::json;
use tokio::sync::watch::{Receiver, channel};
use tokio::time::timeout;

use crate::{Done, WITHIN, beside, client, echoes, of_queue, own, server, told};

#[tokio::test]
#[ignore = "wants a server"]
async fn a_job_whose_name_is_held_is_answered_by_the_one_that_holds_it() -> Done {
    let (client, queue) = (client()?, own());
    let unique = Unique::key("user-7").scope(UniqueScope::Queue).until(Until::Ends).period(Duration::from_secs(60));
    let first = client.enqueue(NewJob::new("k").queue(&queue).unique(unique.clone())).await?;
    let kept = client.enqueue(NewJob::new("k").queue(&queue).unique(unique.clone())).await?;
    assert_eq!((kept.id, kept.unique_action, first.unique_action), (first.id.clone(), Some(UniqueAction::Kept), None));
    let refused = client.enqueue(NewJob::new("k").queue(&queue).unique(unique.reject())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Duplicate);
    assert_eq!(refused.metadata().get("job_id"), Some(&first.id));
    let pointed = Unique::payload_fields(["/user"]).scope(UniqueScope::Queue);
    let jobs =
        [7, 8, 7].map(|user| NewJob::new("k").queue(&queue).payload(json!({ "user": user })).unique(pointed.clone()));
    let results = client.enqueue_many(jobs).await?;
    assert_eq!(
        results.iter().map(|each| each.unique_action).collect::<Vec<_>>(),
        [None, None, Some(UniqueAction::Kept)]
    );
    let latest = Unique::key("user-8").scope(UniqueScope::QueueAndKind).replace([UniqueField::Payload]);
    let first = client.enqueue(NewJob::new("k").queue(&queue).payload(json!(1)).unique(latest.clone())).await?;
    let replaced = client.enqueue(NewJob::new("k").queue(&queue).payload(json!(2)).unique(latest)).await?;
    assert_eq!((replaced.id, replaced.unique_action), (first.id, Some(UniqueAction::Replaced)));
    let later = Unique::key("user-8").scope(UniqueScope::QueueAndKind).or_debounce(Duration::from_secs(60), []);
    let moved = client.enqueue(NewJob::new("k").queue(&queue).delay(Duration::from_secs(60)).unique(later)).await?;
    assert_eq!(moved.unique_action, Some(UniqueAction::Debounced));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn the_usual_names_of_work_keep_the_first_job_or_put_it_off() -> Done {
    let (client, queue) = (client()?, own());
    let hour = Duration::from_secs(3600);
    for unique in [Unique::while_waiting("w"), Unique::while_live("l"), Unique::throttle(hour, "t")] {
        let unique = unique.scope(UniqueScope::Queue);
        let jobs = [1, 2].map(|n| NewJob::new("k").queue(&queue).payload(json!(n)).unique(unique.clone()));
        let results = client.enqueue_many(jobs).await?;
        assert_eq!((results[0].unique_action, results[1].unique_action), (None, Some(UniqueAction::Kept)));
    }
    let unique = Unique::debounce(Duration::from_secs(90), "d").scope(UniqueScope::QueueAndKind);
    let job = |n: i32| NewJob::new("k").queue(&queue).payload(json!(n)).unique(unique.clone());
    let delay = Duration::from_secs(60);
    let first = client.enqueue(job(1).delay(delay)).await?;
    let second = client.enqueue(job(2).delay(delay)).await?;
    assert_eq!((&second.id, second.unique_action), (&first.id, Some(UniqueAction::Debounced)));
    assert_eq!(client.get(&first.id).await?.payload, Some(json!(2).into()));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_job_more_than_may_wait_is_refused_for_its_queue_or_for_its_key() -> Done {
    let client = Client::builder(server()).deadline(Duration::from_secs(1)).build()?;
    let (queue, keyed) = (own(), own());
    let change = QueueChange { max_waiting: Some(2), allow_missing: true, ..QueueChange::default() };
    client.update_queue(&queue, change).await?;
    client.enqueue_many([1, 2].map(|_| NewJob::new("a").queue(&queue))).await?;
    let refused = client.enqueue(NewJob::new("a").queue(&queue)).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::QueueBacklogFull && refused.is(ErrorKind::Overloaded), "{refused}");
    assert_eq!((&refused.metadata()["queue"], refused.metadata()["limit"].as_str()), (&queue, "2"));
    assert!(refused.retry_after().is_some());

    let policy = KeyPolicy { max_running: Some(1), max_waiting: Some(1), ..KeyPolicy::default() };
    let change = QueueChange { key_policy: Some(policy), allow_missing: true, ..QueueChange::default() };
    client.update_queue(&keyed, change).await?;
    let job = || NewJob::new("a").queue(&keyed).key("ada");
    client.enqueue_many([job(), job()]).await?;
    let refused = client.enqueue(job()).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::KeyBacklogFull && refused.is(ErrorKind::Overloaded), "{refused}");
    assert_eq!(refused.violations()[0].field, "job.key");
    assert!(refused.retry_after().is_some());
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_job_goes_out_as_it_is_given_and_is_read_as_it_was() -> Done {
    let (client, queue) = (client()?, own());
    let payload = JsonText::new(r#"{ "n": 12345678901234567890, "text": "\u00e9 é" }"#);
    let policy = RetryPolicy { min_backoff: Some(Duration::from_millis(1500)), max_backoff: None };
    let key = new_idempotency_key();
    let job = NewJob::new("k")
        .payload(payload.clone())
        .queue(&queue)
        .priority(-3)
        .delay(Duration::from_secs(60))
        .max_attempts(7)
        .timeout(Duration::from_secs(90))
        .retry_policy(policy)
        .idempotency_key(&key)
        .label("team", "a")
        .header("trace", "b")
        .key("customer 42");

    let enqueued = client.enqueue(job.clone()).await?;
    let read = client.get(&enqueued.id).await?;

    assert_eq!(read, enqueued);
    assert_eq!((read.kind.as_str(), &read.queue, read.status, read.priority), ("k", &queue, Status::Queued, -3));
    assert_eq!((read.payload, read.output, read.max_attempts), (Some(payload), None, 7));
    assert_eq!((read.timeout, read.idempotency_key), (Some(Duration::from_secs(90)), key));
    assert_eq!(read.retry_policy.and_then(|policy| policy.min_backoff), policy.min_backoff);
    assert_eq!(read.labels, HashMap::from([("team".into(), "a".into())]));
    assert_eq!(read.headers.get("trace").map(String::as_str), Some("b"));
    assert_eq!(read.key, "customer 42");
    assert!(read.run_at > Some(SystemTime::now() + Duration::from_secs(30)));
    let again = client.enqueue(job.clone()).await?;
    assert_eq!((again.id, again.replayed), (enqueued.id.clone(), true));
    let other = client.enqueue(job.priority(3)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::IdempotencyKeyReused);
    assert_eq!(other.metadata().get("job_id"), Some(&enqueued.id));
    assert!(!other.request_id().is_empty());
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_list_reads_all_pages_newest_first() -> Done {
    let (client, queue) = (client()?, own());
    let jobs = (0..7).map(|n| NewJob::new("k").queue(&queue).payload(json!(n)).label("odd", (n % 2).to_string()));
    let mut ids: Vec<String> = client.enqueue_many(jobs).await?.into_iter().map(|each| each.id).collect();
    ids.reverse();

    let two = Filter { page_size: Some(2), ..of_queue(&queue) };
    let listed: Vec<Job> = client.list(two.clone()).try_collect().await?;
    assert_eq!(listed.iter().map(|job| &job.id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
    assert!(listed.iter().all(|job| job.payload.is_none()));

    let page = client.list_page(&two, "").await?;
    assert_eq!(page.jobs.len(), 2);
    let next = client.list_page(&two, &page.next.ok_or("there is more")?).await?;
    assert_eq!(next.jobs[0].id, ids[2]);

    client.cancel(&ids[0]).await?;
    let chosen = Filter {
        status: vec![Status::Queued, Status::Running],
        labels: HashMap::from([("odd".into(), "0".into())]),
        full: true,
        ..of_queue(&queue)
    };
    let listed: Vec<Job> = client.list(chosen).try_collect().await?;
    let payloads: Vec<_> = listed.into_iter().filter_map(|job| job.payload).map(|text| text.to_string()).collect();
    assert_eq!(payloads, ["4", "2", "0"]);

    let wrong = client.list(Filter { page_size: Some(2), queue: "No Queue".into(), ..Filter::default() });
    let answers: Vec<Result<Job, Error>> = wrong.collect().await;
    assert_eq!(answers.len(), 1);
    assert!(answers[0].as_ref().is_err_and(|error| error.is(ErrorKind::InvalidRequest)));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn cancel_retry_and_delete_do_what_they_say_and_say_why_they_do_not() -> Done {
    let (client, queue) = (client()?, own());
    let id = client.enqueue(NewJob::new("k").queue(&queue)).await?.id;

    assert_eq!(client.delete(&id).await.unwrap_err().kind(), ErrorKind::JobNotTerminal);
    let cancelled = client.cancel_with(&id, "a test").await?;
    assert_eq!((cancelled.job.status, cancelled.pending), (Status::Cancelled, false));
    let over = client.cancel(&id).await.unwrap_err();
    assert_eq!((over.kind(), over.reason()), (ErrorKind::JobTerminal, "JOB_TERMINAL"));
    assert_eq!(over.metadata().get("status").map(String::as_str), Some("CANCELLED"));

    assert_eq!(client.retry(&id).await?.status, Status::Queued);
    assert_eq!(client.retry(&id).await.unwrap_err().kind(), ErrorKind::JobNotTerminal);
    client.cancel(&id).await?;
    client.delete(&id).await?;
    for gone in [client.get(&id).await.err(), client.delete(&id).await.err(), client.wait(&id, None).await.err()] {
        let gone = gone.ok_or("it is still there")?;
        assert!(gone.kind() == ErrorKind::JobNotFound && gone.is(ErrorKind::NotFound));
    }
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_held_job_says_so_until_it_is_released() -> Done {
    let (client, queue) = (client()?, own());
    let held = client.enqueue(NewJob::new("k").queue(&queue).hold()).await?;
    assert_eq!((held.status, held.hold), (Status::Queued, Some(Hold::Hand)));
    let depth = client.get_queue(&queue).await?.held[&Hold::Hand];
    assert_eq!((depth.jobs, depth.capped), (1, false));
    assert_eq!(client.release(&held.id).await?.hold, None);
    let again = client.release(&held.id).await.unwrap_err();
    assert_eq!((again.kind(), again.reason()), (ErrorKind::JobNotHeld, "JOB_NOT_HELD"));
    client.cancel(&held.id).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_queue_is_changed_with_its_etag() -> Done {
    let (client, queue) = (client()?, own());
    let rate = Rate { count: 10, period: Duration::from_secs(60), burst: Some(3), most_in_a_period: 15 };
    let policy = KeyPolicy {
        max_running: Some(1),
        rate: Some(rate),
        max_waiting: Some(9),
        require_key: true,
        order: Some(KeyOrder::Strict),
        on_failure: Some(OnKeyFailure::Hold),
        fair: false,
    };
    let change = QueueChange { key_policy: Some(policy), ..QueueChange::default() };
    let missing = client.update_queue(&queue, change.clone()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::QueueNotFound);
    let made = client.update_queue(&queue, QueueChange { allow_missing: true, ..change.clone() }).await?;
    assert_eq!(made.key_policy, Some(policy));
    let fields = vec!["rate".into(), "require_key".into()];
    let key_policy = Some(KeyPolicy::default());
    let less = QueueChange { key_policy, fields, etag: made.etag.clone(), ..QueueChange::default() };
    let changed = client.update_queue(&queue, less.clone()).await?;
    assert_eq!(changed.key_policy, Some(KeyPolicy { rate: None, require_key: false, ..policy }));
    let again = client.update_queue(&queue, less).await.unwrap_err();
    assert_eq!((again.kind(), again.metadata().get("etag")), (ErrorKind::EtagMismatch, Some(&changed.etag)));
    let nothing = client.update_queue(&queue, QueueChange::default()).await.unwrap_err();
    assert_eq!(nothing.violations()[0].field, "update_mask");
    let none = QueueChange { key_policy: Some(KeyPolicy::default()), ..QueueChange::default() };
    assert_eq!(client.update_queue(&queue, none).await?.key_policy, None);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn how_many_jobs_of_a_queue_may_wait_is_changed_and_its_key_policy_stays() -> Done {
    let (client, queue) = (client()?, own());
    let policy = KeyPolicy { max_running: Some(1), max_waiting: Some(9), ..KeyPolicy::default() };
    let made = QueueChange { key_policy: Some(policy), allow_missing: true, ..QueueChange::default() };
    assert_eq!(client.update_queue(&queue, made).await?.max_waiting, None);
    let waiting = |most| QueueChange { max_waiting: Some(most), ..QueueChange::default() };
    let changed = client.update_queue(&queue, waiting(1)).await?;
    assert_eq!((changed.max_waiting, changed.key_policy), (Some(1), Some(policy)));
    let key = QueueChange { key_policy: Some(policy), fields: vec!["max_waiting".into()], ..waiting(5000) };
    let both = client.update_queue(&queue, key).await?;
    assert_eq!((both.max_waiting, both.key_policy), (Some(5000), Some(policy)));
    assert_eq!(client.update_queue(&queue, waiting(0)).await?.max_waiting, None);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_a_queue_allows_of_all_its_jobs_is_changed_as_a_whole_or_in_part() -> Done {
    let (client, queue) = (client()?, own());
    let rate = Rate { count: 7, period: Duration::from_secs(1), burst: Some(3), most_in_a_period: 9 };
    let limits = Limits { max_running: Some(40), rate: Some(rate) };
    let change = |limits| QueueChange { limits: Some(limits), allow_missing: true, ..QueueChange::default() };
    assert_eq!(client.update_queue(&queue, change(limits)).await?.limits, Some(limits));
    let few = Limits { max_running: Some(4), rate: None };
    let part = QueueChange { limit_fields: vec!["max_running".into()], ..change(few) };
    assert_eq!(client.update_queue(&queue, part).await?.limits, Some(Limits { rate: Some(rate), ..few }));
    let without = QueueChange { limit_fields: vec!["rate".into()], ..QueueChange::default() };
    let of_nothing = QueueChange { max_waiting: Some(9), ..without.clone() };
    let same = client.update_queue(&queue, of_nothing).await?;
    assert_eq!(same.limits, Some(Limits { rate: Some(rate), ..few }));
    let without = QueueChange { limits: Some(Limits::default()), ..without };
    assert_eq!(client.update_queue(&queue, without).await?.limits, Some(few));
    assert_eq!(client.update_queue(&queue, change(Limits::default())).await?.limits, None);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_key_of_a_queue_is_read_listed_and_changed_with_its_etag() -> Done {
    let (client, queue) = (client()?, own());
    let missing = client.get_queue_key(&queue, "a/b").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::QueueNotFound);
    let policy = KeyPolicy { max_running: Some(1), ..KeyPolicy::default() };
    client
        .update_queue(&queue, QueueChange { key_policy: Some(policy), allow_missing: true, ..QueueChange::default() })
        .await?;
    let mut ids = Vec::new();
    for key in ["a/b", "a/b", "c"] {
        ids.push(client.enqueue(NewJob::new("a").queue(&queue).key(key)).await?.id);
    }
    let key = client.get_queue_key(&queue, "a/b").await?;
    assert_eq!((key.limit, key.taken, key.waiting, key.max_running), (Some(1), 1, 1, None));
    assert_eq!((key.holders[0].job_id.as_str(), key.holders[0].worker.as_str()), (ids[0].as_str(), ""));
    let change = QueueKeyChange { max_running: Some(5), paused: Some(true), ..QueueKeyChange::default() };
    let paused = client.update_queue_key(&queue, "c", change).await?;
    assert_eq!((paused.max_running, paused.paused, paused.paused_at.is_some()), (Some(5), true, true));
    let names = |keys: Vec<QueueKey>| keys.into_iter().map(|each| each.key).collect::<Vec<_>>();
    assert_eq!(names(client.list_queue_keys(&queue, QueueKeys::default()).await?), ["a/b", "c"]);
    let demand = client.get_queue_demand(&queue).await?;
    assert_eq!((demand.held, demand.held_by_key), (1, 1));
    let read = client.get_queue(&queue).await?;
    assert_eq!((read.max_waiting, read.limits), (None, None));
    let only = QueueKeys { only: KeyFilter::Paused, ..QueueKeys::default() };
    assert_eq!(names(client.list_queue_keys(&queue, only).await?), ["c"]);
    let first = QueueKeys { most_waiting_first: true, most: 1, ..QueueKeys::default() };
    assert_eq!(names(client.list_queue_keys(&queue, first).await?), ["a/b"]);
    let resume = QueueKeyChange { paused: Some(false), etag: paused.etag.clone(), ..QueueKeyChange::default() };
    let resumed = client.update_queue_key(&queue, "c", resume.clone()).await?;
    assert_eq!((resumed.paused, resumed.max_running), (false, Some(5)));
    assert_eq!(client.update_queue_key(&queue, "c", resume).await.unwrap_err().kind(), ErrorKind::EtagMismatch);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_cancel_of_a_running_job_is_pending_and_its_handler_answers_it() -> Done {
    let (client, queue) = (client()?, own());
    let (release, released) = channel(false);
    let holds = move |job: LeasedJob| {
        let mut released = released.clone();
        async move {
            let stop = job.stopped().await;
            released.wait_for(|released| *released).await?;
            HandlerResult::<()>::Err(stop.into())
        }
    };
    let worker = Worker::builder(server()).queue(&queue).name("holds").handle("hold", holds).build()?;
    let job = beside(worker, async {
        let job = client.enqueue(NewJob::new("hold").queue(&queue)).await?;
        let mut watch = client.watch(WatchFilter { ids: vec![job.id.clone()], ..WatchFilter::default() });
        while told(&mut watch).await?.status != Status::Running {}
        let cancelled = client.cancel_with(&job.id, "a test").await?;
        assert_eq!((cancelled.job.status, cancelled.pending), (Status::Running, true));
        assert_eq!(cancelled.job.locked_by, "holds");
        release.send_replace(true);
        client.wait(&job.id, WITHIN).await
    });
    let job = Box::pin(job).await?;
    assert_eq!((job.status, job.reason.as_str()), (Status::Cancelled, "CANCELLED_BY_CALLER"));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_wait_ends_with_its_job_or_with_its_time_and_then_says_how_the_job_stands() -> Done {
    let (client, queue) = (client()?, own());
    let id = client.enqueue(NewJob::new("echo").queue(&queue).payload(json!([1]))).await?.id;
    let late = client.wait(&id, Duration::from_millis(100)).await.unwrap_err();
    assert_eq!((late.kind(), late.summary()), (ErrorKind::WaitTimeout, ""));
    assert!(late.message().contains("QUEUED"), "{late}");
    let worker = Worker::builder(server()).queue(&queue).handle("echo", echoes).build()?;
    let job = beside(worker, client.wait(&id, None)).await?;
    assert_eq!((job.status, job.output), (Status::Succeeded, Some(json!([1]).into())));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_wait_of_a_second_that_ends_in_vain_says_why() -> Done {
    let (client, queue) = (client()?, own());
    let id = client.enqueue(NewJob::new("k").queue(&queue)).await?.id;
    client.pause_queue(&queue, "the printer burns").await?;
    let late = client.wait(&id, Duration::from_secs(1)).await.unwrap_err();
    assert!(late.kind() == ErrorKind::WaitTimeout && late.is(ErrorKind::DeadlineExceeded));
    assert_eq!(late.summary(), client.explain(&id).await?.summary);
    assert!(late.summary().contains("paused"), "{late}");
    let words = format!("job {id} is QUEUED and not over within 1s; {}", late.summary());
    assert!(late.to_string().ends_with(&words), "{late}");
    let short = client.wait(&id, Duration::from_millis(990)).await.unwrap_err();
    assert_eq!((short.kind(), short.summary()), (ErrorKind::WaitTimeout, ""));
    Ok(())
}

/// Fails once, then goes on from where it was, and ends when it is released.
async fn steps(job: LeasedJob, mut released: Receiver<bool>) -> HandlerResult {
    if job.attempt() == 1 {
        job.save_checkpoint("half way")?;
        return Err(retry(failed("busy"), Duration::ZERO));
    }
    job.progress(0.5, &String::from_utf8_lossy(job.checkpoint()))?;
    job.follow_up(NewJob::new("next").queue(job.queue()).delay(Duration::from_secs(60)))?;
    released.wait_for(|released| *released).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_a_handler_leaves_behind_is_there_to_be_read() -> Done {
    let (client, queue) = (client()?, own());
    let (release, released) = channel(false);
    let handler = move |job| steps(job, released.clone());
    let worker = Worker::builder(server()).queue(&queue).name("steps").handle("steps", handler).build()?;
    let job = beside(worker, async {
        let id = client.enqueue(NewJob::new("steps").queue(&queue)).await?.id;
        let told = async {
            loop {
                let progress = client.get(&id).await?.progress;
                if let Some(progress) = progress.filter(|progress| !progress.message.is_empty()) {
                    return Ok::<_, Error>(progress);
                }
            }
        };
        let progress = timeout(WITHIN, told).await.expect("no progress is told")?;
        assert_eq!((progress.fraction, progress.message.as_str()), (Some(0.5), "half way"));
        release.send_replace(true);
        client.wait(&id, WITHIN).await
    });
    let job = Box::pin(job).await?;
    assert_eq!((job.status, job.attempts, job.failures), (Status::Succeeded, 2, 1));
    let [attempt] = &job.failed_attempts[..] else { return Err("not one".into()) };
    assert_eq!((attempt.attempt, attempt.reason.as_str()), (1, "HANDLER_FAILED"));
    assert_eq!((attempt.error.as_str(), attempt.worker.as_str()), ("busy", "steps"));
    assert!(attempt.started_at.is_some() && attempt.started_at < attempt.ended_at);

    let next = Filter { kind: "next".into(), full: true, ..of_queue(&queue) };
    let next: Vec<Job> = client.list(next).try_collect().await?;
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].headers.get("x-request-id"), job.headers.get("x-request-id"));
    assert!(job.headers.contains_key("x-request-id"));
    client.cancel(&next[0].id).await?;
    Ok(())
}
