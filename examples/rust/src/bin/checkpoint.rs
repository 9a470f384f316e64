//! A long job that goes on where it was: it saves a checkpoint after each page, which the attempt after a failure reads.
//!
//!     cargo run --bin checkpoint

use std::error::Error;
use std::time::Duration;

use jobqueue::{Client, HandlerResult, JobKind, Json, KindDeclaration, LeasedJob, NewJob, RetryPolicy, Worker, failed};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "example-checkpoint";
const SOON: Option<Duration> = Some(Duration::from_millis(10));

#[derive(Serialize, Deserialize)]
struct Import {
    pages: u32,
}

#[derive(Serialize, Deserialize)]
struct Done {
    pages: u32,
}

impl JobKind for Import {
    const NAME: &'static str = "example_import";
    const RETRY_POLICY: Option<RetryPolicy> = Some(RetryPolicy { min_backoff: SOON, max_backoff: SOON });
    type Output = ();

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

async fn import(payload: Import, job: LeasedJob) -> HandlerResult {
    // A value of your own, at most 64 KiB as JSON; none in the first attempt.
    let begin = job.checkpoint_as::<Done>()?.map_or(0, |done| done.pages);
    println!("attempt {} begins at page {begin}", job.attempt());
    for page in begin..payload.pages {
        if page == 3 && job.attempt() == 1 {
            return Err(failed("the source went away"));
        }
        job.save_checkpoint(Json(Done { pages: page + 1 }))?;
    }
    println!("imported {} pages", payload.pages);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let worker = Worker::from_env()?.queue(QUEUE).sync_kinds(true).handle_kind(import).build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let working = tokio::spawn(async move { worker.run(stopped).await });

    let client = Client::from_env()?.build()?;
    client.sync_kinds([KindDeclaration::of::<Import>()]).await?;
    let job = client.enqueue(NewJob::of(&Import { pages: 5 })?).await?;
    let done = client.wait(&job.id, Duration::from_secs(60)).await?;
    println!("{} in attempt {}", done.status, done.attempts);

    stop.cancel();
    Ok(working.await??)
}
