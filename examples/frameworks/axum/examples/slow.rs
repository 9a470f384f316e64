//! The program with one more handler, for a test of its end: it enqueues once it is let go on.

use std::path::PathBuf;
use std::time::Duration;

use jobqueue::{Client, HandlerResult, LeasedJob, NewJob, Worker};
use orders::{BoxError, ends_by_signal, serve};
use tokio::net::TcpListener;

async fn slow(client: Client, job: LeasedJob) -> HandlerResult {
    println!("slow runs");
    let until: PathBuf = job.decode()?;
    while !until.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.enqueue(NewJob::new("by-client")).await?;
    job.follow_up(NewJob::new("by-settlement"))?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ends = ends_by_signal()?;
    let client = Client::from_env()?.build()?;
    let jobs = client.clone();
    let worker = Worker::from_env()?.handle("slow", move |job| slow(jobs.clone(), job)).build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listens at http://{}", listener.local_addr()?);
    serve(listener, client, worker, ends).await
}
