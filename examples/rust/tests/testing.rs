//! Tests of a handler alone, of a producer alone, and of both with a real server, in a namespace of the test's own.
//!
//!     cargo test --test testing

use jobqueue::testing::{RecordingClient, TestJob, TestScope, TestServer, perform};
use jobqueue::{Enqueue, Error, HandlerResult, JobKind, KindDeclaration, LeasedJob, NewJob};
use serde::{Deserialize, Serialize};

const QUEUE: &str = "example-testing";

#[derive(Serialize, Deserialize)]
struct Invoice {
    number: u32,
    cents: u32,
}

impl JobKind for Invoice {
    const NAME: &'static str = "example_invoice";
    type Output = String;

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

// ---- what is to be tested

async fn invoice(payload: Invoice, _: LeasedJob) -> HandlerResult<String> {
    let Invoice { number, cents } = payload;
    Ok(format!("invoice {number}: {}.{:02} EUR", cents / 100, cents % 100))
}

/// A producer, as of an HTTP handler.
async fn order(jobs: &impl Enqueue, number: u32, cents: u32) -> Result<(), Error> {
    jobs.enqueue(NewJob::of(&Invoice { number, cents })?).await?;
    Ok(())
}

// ---- the tests

#[tokio::test]
async fn an_invoice_has_its_sum() -> HandlerResult {
    let done = perform(invoice, TestJob::of(&Invoice { number: 7, cents: 1250 })?).await?;
    assert_eq!(done.output_as::<String>()?, "invoice 7: 12.50 EUR");
    Ok(())
}

#[tokio::test]
async fn an_order_enqueues_its_invoice() -> Result<(), Error> {
    let jobs = RecordingClient::new();
    order(&jobs, 7, 1250).await?;
    assert_eq!(jobs.jobs(), [NewJob::of(&Invoice { number: 7, cents: 1250 })?]);
    Ok(())
}

#[tokio::test]
async fn an_order_is_invoiced() -> HandlerResult {
    let scope = TestScope::open(TestServer::shared().await?).await?;
    scope.client.sync_kinds([KindDeclaration::of::<Invoice>()]).await?;
    order(&scope.client, 8, 99).await?;
    let worker = scope.worker().queue(QUEUE).handle_kind(invoice).build()?;
    let idle = scope.run_until_idle(&worker).await?;
    let outputs: Vec<String> = idle.ended.iter().map(Invoice::output_of).collect::<Result<_, _>>()?;
    assert_eq!(outputs, ["invoice 8: 0.99 EUR"]);
    Ok(scope.close().await?)
}
