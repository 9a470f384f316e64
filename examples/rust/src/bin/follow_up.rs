//! Jobs that follow: they are stored in the transaction that ends their job, so there is never one without the other.
//!
//!     cargo run --bin follow_up

use std::error::Error;
use std::time::Duration;

use jobqueue::{Client, HandlerResult, JobKind, KindDeclaration, LeasedJob, NewJob, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "example-follow-up";

#[derive(Serialize, Deserialize)]
struct Pack {
    number: u32,
}

impl JobKind for Pack {
    const NAME: &'static str = "example_pack";
    type Output = ();

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

async fn pack(order: Pack, job: LeasedJob) -> HandlerResult {
    println!("order {} is packed", order.number);
    // Stored if this attempt succeeds, and only then.
    job.follow_up(NewJob::of(&Receipt { number: order.number })?)?;
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    number: u32,
}

impl JobKind for Receipt {
    const NAME: &'static str = "example_receipt";
    type Output = ();

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

async fn receipt(order: Receipt, sent: mpsc::Sender<u32>) -> HandlerResult {
    println!("the receipt of order {} is sent", order.number);
    sent.send(order.number).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sent, mut receipts) = mpsc::channel(1);
    let settings = Worker::from_env()?.queue(QUEUE).sync_kinds(true);
    let worker = settings.handle_kind(pack).handle_kind(move |order, _| receipt(order, sent.clone())).build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let working = tokio::spawn(async move { worker.run(stopped).await });

    let client = Client::from_env()?.build()?;
    client.sync_kinds([KindDeclaration::of::<Pack>(), KindDeclaration::of::<Receipt>()]).await?;
    client.enqueue(NewJob::of(&Pack { number: 7 })?).await?;
    timeout(Duration::from_secs(60), receipts.recv()).await?;

    stop.cancel();
    Ok(working.await??)
}
