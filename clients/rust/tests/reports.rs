//! A handler that is performed, and code that enqueues.

use std::time::Duration;

use jobqueue::testing::{Outcome, RecordingClient, TestJob, perform};
use jobqueue::{Enqueue, Error, HandlerResult, LeasedJob, NewJob, failed, retry};
use serde_json::{Value, json};

async fn count(job: LeasedJob) -> HandlerResult<Value> {
    if job.attempt() == 1 {
        return Err(retry(failed("the store is busy"), Duration::from_secs(300)));
    }
    job.progress(0.5, "half of it")?;
    let rows: u64 = job.decode()?;
    Ok(json!({"rows": 2 * rows}))
}

#[tokio::test]
async fn a_busy_store_is_asked_again() -> HandlerResult {
    let first = perform(count, TestJob::new(json!(21))).await?;
    assert_eq!((first.outcome, first.retry_after), (Outcome::Failed, Some(Duration::from_secs(300))));
    let second = perform(count, first.again()).await?;
    assert_eq!(second.output, Some(json!({"rows": 42}).into()));
    assert_eq!(second.progress[0].message, "half of it");
    Ok(())
}

async fn sign_up(jobs: &impl Enqueue, address: &str) -> Result<(), Error> {
    let job = NewJob::new("welcome").payload(json!({"to": address})).idempotency_key(format!("welcome-{address}"));
    jobs.enqueue(job).await.map(drop)
}

#[tokio::test]
async fn a_user_is_welcomed_once() -> Result<(), Error> {
    let jobs = RecordingClient::new();
    sign_up(&jobs, "ada@example.org").await?;
    sign_up(&jobs, "ada@example.org").await?;
    assert_eq!(jobs.jobs().len(), 1);
    assert_eq!(jobs.jobs()[0].payload, Some(json!({"to": "ada@example.org"}).into()));
    Ok(())
}
