//! Runs jobs of the kind `double` until Ctrl-C.

use jobqueue::{Error, HandlerResult, LeasedJob, Worker, discard};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct In {
    number: i64,
}

async fn double(job: LeasedJob) -> HandlerResult<Value> {
    let In { number } = job.decode().map_err(discard)?;
    Ok(json!({"doubled": 2 * number}))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or("127.0.0.1:50051".into());
    let worker = Worker::builder(server).concurrency(16).handle("double", double).build()?;
    worker.run_until_signal().await
}
