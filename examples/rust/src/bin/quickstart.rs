//! A kind with types, its handler, and one job: enqueued, run, and its output read.
//!
//!     cargo run --bin quickstart

use std::error::Error;
use std::time::Duration;

use jobqueue::{Client, HandlerResult, JobKind, KindDeclaration, LeasedJob, NewJob, Worker};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "example-quickstart";

#[derive(Serialize, Deserialize)]
struct Greet {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Greeting {
    text: String,
}

impl JobKind for Greet {
    const NAME: &'static str = "example_greet";
    type Output = Greeting;

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

async fn greet(payload: Greet, _: LeasedJob) -> HandlerResult<Greeting> {
    Ok(Greeting { text: format!("Hello, {}!", payload.name) })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The worker tells the server its kinds. A program that is nothing but a worker says `worker.run_until_signal()`.
    let worker = Worker::from_env()?.queue(QUEUE).sync_kinds(true).handle_kind(greet).build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let working = tokio::spawn(async move { worker.run(stopped).await });

    let client = Client::from_env()?.build()?;
    client.sync_kinds([KindDeclaration::of::<Greet>()]).await?;
    let job = client.enqueue(NewJob::of(&Greet { name: "Ada".into() })?).await?;
    let done = client.wait(&job.id, Duration::from_secs(60)).await?;
    println!("{}", Greet::output_of(&done)?.text);

    stop.cancel();
    Ok(working.await??)
}
