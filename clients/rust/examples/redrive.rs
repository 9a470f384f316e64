//! Jobs that failed are retried: first they are counted, then as many are changed.

use std::time::Duration;

use jobqueue::{CancelJobs, Client, Error, JobFilter, NewJob, RetryJobs};

/// Retries the jobs of a queue that failed or were cancelled, and says how many there were.
async fn redrive(client: &Client, queue: &str) -> Result<u64, Error> {
    let chosen = JobFilter { queue: queue.into(), ..JobFilter::default() };
    let counted = client.retry_jobs(chosen.clone(), RetryJobs::default()).await?;
    println!("{} jobs match, such as {:?}", counted.estimate, counted.sample_ids);
    let how = RetryJobs {
        force: true,
        expected: Some(counted.estimate),
        per_second: Some(200),
        spread: Some(Duration::from_secs(600)),
        ..RetryJobs::default()
    };
    let begun = client.retry_jobs(chosen, how).await?;
    Ok(client.wait_operation(&begun.name, None).await?.changed)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or("127.0.0.1:50051".into());
    let client = Client::new(server)?;
    let jobs = ["ada", "grace"].map(|name| NewJob::new("redriven").queue("redrive").label("to", name));
    client.enqueue_many(jobs).await?;
    let chosen = JobFilter { queue: "redrive".into(), ..JobFilter::default() };
    let begun = client.cancel_jobs(chosen, CancelJobs { force: true, ..CancelJobs::default() }).await?;
    client.wait_operation(&begun.name, None).await?;

    println!("{} jobs retried", redrive(&client, "redrive").await?);
    Ok(())
}
