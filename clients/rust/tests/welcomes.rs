//! Code that enqueues and its handler, together on a real server.

use std::time::Duration;

use jobqueue::testing::{TestScope, TestServer, Wanted};
use jobqueue::{Enqueue, Error, HandlerResult, Kind, LeasedJob, NewJob};
use serde_json::{Value, json};

async fn sign_up(jobs: &impl Enqueue, address: &str) -> Result<(), Error> {
    let day = Duration::from_secs(86_400);
    jobs.enqueue(NewJob::new("welcome").payload(json!({"to": address})).delay(day)).await.map(drop)
}

async fn welcome(job: LeasedJob) -> HandlerResult<Value> {
    let payload: Value = job.decode()?;
    Ok(json!(format!("welcomed {}", payload["to"])))
}

#[tokio::test]
async fn a_user_is_welcomed_after_a_day() -> HandlerResult {
    let scope = TestScope::open(TestServer::shared().await?).await?;
    scope.client.put_kind(Kind::new("welcome")).await?;
    sign_up(&scope.client, "ada").await?;
    let wanted = Wanted::kind("welcome").payload(json!({"to": "ada"})).due_in(Duration::from_secs(86_400));
    let jobs = scope.assert_enqueued(wanted).await?;

    let worker = scope.worker().handle("welcome", welcome).build()?;
    let idle = scope.run_until_idle(&worker).await?;
    assert_eq!((idle.ended.len(), idle.waiting.len()), (0, 1));

    scope.make_due(&jobs).await?;
    let idle = scope.run_until_idle(&worker).await?;
    assert_eq!(idle.ended[0].output, Some(json!("welcomed \"ada\"").into()));
    Ok(scope.close().await?)
}
