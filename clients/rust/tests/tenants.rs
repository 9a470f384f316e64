//! A tenant that is passed on from a caller to its jobs, and from them to their follow-ups.

use jobqueue::testing::{RecordingClient, TestJob, perform};
use jobqueue::{
    Enqueue, EnqueueResult, Error, HandlerResult, JsonText, LeasedJob, Middleware, NewJob, Next, NextEnqueue,
};
use serde_json::{Value, json};

tokio::task_local! {
    static TENANT: String;
}

fn tenant() -> String {
    TENANT.try_with(String::clone).unwrap_or_default()
}

struct PassesTenant;

impl Middleware for PassesTenant {
    async fn handle(&self, job: &LeasedJob, next: Next<'_>) -> HandlerResult<Option<JsonText>> {
        let tenant = job.headers().get("tenant").cloned().unwrap_or_default();
        TENANT.scope(tenant, next.run()).await
    }

    async fn enqueue(&self, jobs: Vec<NewJob>, next: NextEnqueue<'_>) -> Result<Vec<EnqueueResult>, Error> {
        next.run(jobs.into_iter().map(|job| job.header("tenant", tenant())).collect()).await
    }
}

async fn greet(job: LeasedJob) -> HandlerResult<Value> {
    job.follow_up(NewJob::new("audit"))?;
    Ok(json!(format!("for {}", tenant())))
}

#[tokio::test]
async fn a_tenant_is_passed_on() -> Result<(), Error> {
    let client = RecordingClient::new().middleware(PassesTenant);
    let job = TENANT.scope("acme".into(), client.enqueue(NewJob::new("greet"))).await?;
    assert_eq!(job.headers["tenant"], "acme");
    Ok(())
}

#[tokio::test]
async fn a_handler_and_its_follow_ups_have_the_tenant() -> HandlerResult {
    let job = TestJob::new(json!(null)).header("tenant", "acme").middleware(PassesTenant);
    let done = perform(greet, job).await?;
    assert_eq!(done.output, Some(json!("for acme").into()));
    assert_eq!(done.follow_ups[0].headers["tenant"], "acme");
    Ok(())
}
