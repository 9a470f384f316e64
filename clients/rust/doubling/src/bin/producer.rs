use std::time::Duration;

use doubling::Double;
use jobqueue::{Client, Error, JobKind, KindDeclaration, NewJob, new_idempotency_key};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or("127.0.0.1:50051".into());
    let client = Client::new(server)?;
    client.sync_kinds([KindDeclaration::of::<Double>()]).await?;
    let job = NewJob::of(&Double { number: 21 })?.idempotency_key(new_idempotency_key());
    let job = client.enqueue(job).await?;
    let job = client.wait(&job.id, Duration::from_secs(60)).await?;
    println!("{} {}", job.status, Double::output_of(&job)?.doubled);
    Ok(())
}
