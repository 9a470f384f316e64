//! One worker with two kinds. Each has its handler; they share the worker's slots.
//!
//!     cargo run --bin two_kinds

use std::error::Error;
use std::time::Duration;

use jobqueue::{Client, HandlerResult, JobKind, KindDeclaration, LeasedJob, NewJob, Worker};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "example-two-kinds";

#[derive(Serialize, Deserialize)]
struct Resize {
    path: String,
    width: u32,
}

impl JobKind for Resize {
    const NAME: &'static str = "example_resize";
    type Output = ();

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

async fn resize(payload: Resize, _: LeasedJob) -> HandlerResult {
    println!("{} is {} wide", payload.path, payload.width);
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct SendEmail {
    to: String,
    subject: String,
}

impl JobKind for SendEmail {
    const NAME: &'static str = "example_send_email";
    type Output = ();

    fn settings(&self, job: NewJob) -> NewJob {
        // More urgent than pictures: of jobs that wait, those of the higher priority go first.
        job.queue(QUEUE).priority(5)
    }
}

async fn send_email(payload: SendEmail, _: LeasedJob) -> HandlerResult {
    println!("sent '{}' to {}", payload.subject, payload.to);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Worker::from_env()?.queue(QUEUE).concurrency(4).sync_kinds(true);
    let worker = settings.handle_kind(resize).handle_kind(send_email).build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let working = tokio::spawn(async move { worker.run(stopped).await });

    let client = Client::from_env()?.build()?;
    client.sync_kinds([KindDeclaration::of::<Resize>(), KindDeclaration::of::<SendEmail>()]).await?;
    for new in [
        NewJob::of(&Resize { path: "a.png".into(), width: 640 })?,
        NewJob::of(&SendEmail { to: "ada@example.org".into(), subject: "Hello".into() })?,
    ] {
        let job = client.enqueue(new).await?;
        let done = client.wait(&job.id, Duration::from_secs(60)).await?;
        println!("{} {}", done.kind, done.status);
    }

    stop.cancel();
    Ok(working.await??)
}
