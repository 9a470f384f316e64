//! A job that is cancelled while it runs: its handler is told, cleans up, and ends.
//!
//!     cargo run --bin cancel

use std::error::Error;
use std::time::Duration;

use jobqueue::{Client, HandlerResult, JobKind, KindDeclaration, LeasedJob, NewJob, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "example-cancel";

#[derive(Serialize, Deserialize)]
struct Render {
    frames: u32,
}

impl JobKind for Render {
    const NAME: &'static str = "example_render";
    type Output = ();

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

async fn render(payload: Render, job: LeasedJob, begun: mpsc::Sender<()>) -> HandlerResult {
    println!("rendering");
    begun.send(()).await?;
    let rendered = tokio::select! {
        () = frames(payload.frames) => Ok(()),
        // Why it should stop. As the handler's error it says that it has.
        stop = job.stopped() => Err(stop.into()),
    };
    println!("the frames are removed");
    rendered
}

async fn frames(count: u32) {
    for _ in 0..count {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (begun, mut runs) = mpsc::channel(1);
    let settings = Worker::from_env()?.queue(QUEUE).sync_kinds(true);
    let worker = settings.handle_kind(move |payload, job| render(payload, job, begun.clone())).build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let working = tokio::spawn(async move { worker.run(stopped).await });

    let client = Client::from_env()?.build()?;
    client.sync_kinds([KindDeclaration::of::<Render>()]).await?;
    let job = client.enqueue(NewJob::of(&Render { frames: 100_000 })?).await?;
    timeout(Duration::from_secs(60), runs.recv()).await?;
    client.cancel(&job.id).await?;
    let done = client.wait(&job.id, Duration::from_secs(60)).await?;
    println!("{}", done.status);

    stop.cancel();
    Ok(working.await??)
}
