//! JOBQUEUE_SERVER and JOBQUEUE_TOKEN say where the server is, LISTEN where this program listens.

use std::time::Duration;

use jobqueue::{Client, Worker};
use orders::{BoxError, deliver, ends_by_signal, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().init();
    let ends = ends_by_signal()?;
    // A caller waits 5 s for a server that is away, and not the 30 s of a call.
    let client = Client::from_env()?.deadline(Duration::from_secs(5)).build()?;
    let worker = Worker::from_env()?.sync_kinds(true).handle_kind(deliver).build()?;
    let listener = TcpListener::bind(std::env::var("LISTEN").unwrap_or("127.0.0.1:8000".into())).await?;
    tracing::info!("listens at http://{}", listener.local_addr()?);
    serve(listener, client, worker, ends).await
}
