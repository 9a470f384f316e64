//! Enqueues a job, waits for it, and prints what its handler answered.

use std::time::Duration;

use jobqueue::{Client, Error, Kind, NewJob, new_idempotency_key};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or("127.0.0.1:50051".into());
    let client = Client::new(server)?;
    client.put_kind(Kind::new("double")).await?;
    let job = NewJob::new("double").payload(json!({"number": 21})).idempotency_key(new_idempotency_key());
    let job = client.enqueue(job).await?;
    let job = client.wait(&job.id, Duration::from_secs(60)).await?;
    println!("{} {}", job.status, job.output.unwrap_or(json!(null).into()));
    Ok(())
}
