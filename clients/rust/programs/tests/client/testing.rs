//! What `perform` and a recording client come to is what a worker and a real server come to.

use std::fmt;
use std::time::Duration;

use jobqueue::testing::{Outcome, RecordingClient, TestJob, perform};
use jobqueue::{
    Client, Enqueue, Error, HandlerResult, Job, JsonText, LeasedJob, NewJob, Status, Worker, cancelled, discard,
    failed, retry, snooze,
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{Done, WITHIN, beside, client, of_queue, own, server};

#[derive(Debug)]
struct Unwilling(&'static str);

impl fmt::Display for Unwilling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unwilling {}

const ENDINGS: [&str; 15] = [
    "nothing",
    "echo",
    "fails",
    "wordless",
    "retries",
    "retries_from",
    "discards",
    "snoozes",
    "gives_up",
    "no_json",
    "too_large",
    "too_many",
    "follows_up",
    "fails_after_following_up",
    "panics",
];

/// A handler with each ending, by the last part of its kind.
async fn ends(job: LeasedJob) -> HandlerResult<Option<JsonText>> {
    match job.kind().rsplit('.').next().unwrap_or_default() {
        "nothing" => job.progress(1.0, "done")?,
        "echo" => {
            let payload: serde_json::Value = job.decode()?;
            let seen = json!({"payload": payload, "attempt": job.attempt(), "queue": job.queue(), "key": job.key()});
            return Ok(Some(seen.into()));
        }
        "fails" => return Err(Unwilling("not today").into()),
        "wordless" => return Err(Unwilling("").into()),
        "retries" => return Err(retry(failed("busy"), Duration::from_secs(3600))),
        "retries_from" => return Err(retry(Unwilling("inside"), Duration::ZERO)),
        "discards" => return Err(discard(failed("no such user"))),
        "snoozes" => return Err(snooze(Duration::from_secs(3600))),
        "gives_up" => return Err(cancelled()),
        "no_json" => {
            let keyed: std::collections::BTreeMap<[u8; 2], u8> = [([1, 2], 3)].into();
            return Ok(Some(JsonText::of(&keyed)?));
        }
        "too_large" => return Ok(Some(json!("x".repeat(1 << 20)).into())),
        "too_many" => {
            for _ in 0..=100 {
                job.follow_up(NewJob::new("next"))?;
            }
        }
        "follows_up" => {
            let next = NewJob::new("next").payload(json!({"of": 1})).queue(format!("{}-later", job.queue()));
            job.follow_up(next.label("a", "b").delay(Duration::from_secs(3600)))?;
            return Ok(Some(json!("enqueued").into()));
        }
        "fails_after_following_up" => {
            job.follow_up(NewJob::new("next"))?;
            return Err(Unwilling("after all").into());
        }
        _ => panic!("this handler panics"),
    }
    Ok(None)
}

fn ended(outcome: Outcome) -> (Status, &'static str) {
    match outcome {
        Outcome::Succeeded => (Status::Succeeded, ""),
        Outcome::Failed => (Status::FailedPermanent, "ATTEMPTS_EXHAUSTED"),
        Outcome::Discarded => (Status::FailedPermanent, "NOT_RETRYABLE"),
        Outcome::Snoozed | Outcome::Released => (Status::Queued, ""),
        Outcome::Cancelled => (Status::Cancelled, "CANCELLED_BY_WORKER"),
    }
}

/// The job once its first attempt is over.
async fn over(client: &Client, id: &str) -> Result<Job, Error> {
    let found = async {
        loop {
            let job = client.get(id).await?;
            if job.is_terminal() || (job.attempts > 0 && job.status != Status::Running) {
                return Ok(job);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(WITHIN, found).await.expect("it does not end")
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_handler_comes_to_the_same_by_itself_and_by_a_worker() -> Done {
    let (client, queue) = (client()?, own());
    let kinds: Vec<String> = ENDINGS.iter().map(|name| format!("{queue}.{name}")).collect();
    let mut builder = Worker::builder(server()).queue(&queue).concurrency(16);
    for kind in &kinds {
        builder = builder.handle(kind, ends);
    }
    let jobs = kinds
        .iter()
        .map(|kind| NewJob::new(kind).queue(&queue).payload(json!({"n": 7})).key(format!("{kind}.k")).max_attempts(1));
    let jobs: Vec<NewJob> = jobs.collect();
    let found = beside(builder.build()?, async {
        let mut found = Vec::new();
        for each in client.enqueue_many(jobs.clone()).await? {
            found.push(over(&client, &each.id).await?);
        }
        Ok(found)
    })
    .await?;
    for (there, job) in found.into_iter().zip(jobs) {
        let done = perform(ends, TestJob::from(job).catch()).await.map_err(|error| error.to_string())?;
        assert_eq!((there.status, there.reason.as_str()), ended(done.outcome), "{there:?}");
        assert_eq!(there.output, done.output, "{}", there.kind);
        assert_eq!(there.last_error, done.error, "{}", there.kind);
        let types: Vec<&str> = there.failed_attempts.iter().map(|each| each.error_type.as_str()).collect();
        assert_eq!(types, if done.error_type.is_empty() { vec![] } else { vec![done.error_type.as_str()] });
        if there.kind.ends_with(".follows_up") {
            let page =
                client.list_page(&jobqueue::Filter { full: true, ..of_queue(&format!("{queue}-later")) }, "").await?;
            let [next] = &page.jobs[..] else { panic!("{page:?}") };
            let [alone] = &done.follow_ups[..] else { panic!("{done:?}") };
            assert_eq!((&next.kind, &next.payload, &next.labels), (&alone.kind, &alone.payload, &alone.labels));
        }
    }
    Ok(())
}

async fn sends(jobs: &impl Enqueue, queue: &str, key: &str) -> Result<(Vec<bool>, Error), Error> {
    let job = NewJob::new("k").queue(queue).payload(json!(1)).idempotency_key(key);
    let first = jobs.enqueue(job.clone()).await?;
    let again = jobs.enqueue(job.clone().header("a", "b")).await?;
    let many = jobs.enqueue_many([job.clone(), NewJob::new("k").queue(queue)]).await?;
    assert_eq!((&again.id, &many[0].id), (&first.id, &first.id));
    let refused = jobs.enqueue(job.payload(json!(2))).await.unwrap_err();
    Ok((vec![first.replayed, again.replayed, many[0].replayed, many[1].replayed], refused))
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_recording_client_answers_as_a_server_does() -> Done {
    let (client, recording, queue) = (client()?, RecordingClient::new(), own());
    let (there, refused) = sends(&client, &queue, &queue).await?;
    let (alone, refused_alone) = sends(&recording, &queue, &queue).await?;
    assert_eq!(there, alone);
    assert_eq!((refused.kind(), refused.reason()), (refused_alone.kind(), refused_alone.reason()));
    for job in [NewJob::new("K"), NewJob::new("k").queue("a b"), NewJob::new("k").priority(11)] {
        let there = Enqueue::enqueue(&client, job.clone()).await.unwrap_err();
        let alone = recording.enqueue(job).await.unwrap_err();
        assert_eq!((there.kind(), there.reason()), (alone.kind(), alone.reason()));
        assert_eq!(there.violations()[0].field, alone.violations()[0].field);
    }
    assert_eq!(recording.jobs().len(), 2);
    Ok(())
}
