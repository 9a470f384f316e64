//! The handler, without a server.

use jobqueue::testing::{TestJob, perform};
use jobqueue::{HandlerError, HandlerResult, LeasedJob};
use orders::{Order, Receipt, deliver};
use serde_json::json;
use tower::{ServiceExt, service_fn};

#[tokio::test]
async fn an_order_gets_its_receipt() -> HandlerResult {
    let order = Order { number: 7.try_into()?, email: "ada@example.org".into() };
    let done = perform(deliver, TestJob::of(&order)?).await?;
    assert_eq!(done.output_as::<Receipt>()?, Receipt { text: "order 7 for ada@example.org".into() });
    Ok(())
}

#[tokio::test]
async fn a_service_of_tower_is_a_handler() -> HandlerResult {
    let service = service_fn(async |job: LeasedJob| Ok::<_, HandlerError>(json!({"id": job.id()})));
    let done = perform(move |job| service.clone().oneshot(job), TestJob::new(json!(null)).id("7")).await?;
    assert_eq!(done.output.unwrap().as_bytes(), br#"{"id":"7"}"#);
    Ok(())
}
