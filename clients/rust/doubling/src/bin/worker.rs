use doubling::double;
use jobqueue::{Error, Worker};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt::init();
    let server = std::env::args().nth(1).unwrap_or("127.0.0.1:50051".into());
    let worker = Worker::builder(server).concurrency(16).handle_kind(double).sync_kinds(true).build()?;
    worker.run_until_signal().await
}
