//! The client against a real server, over lines that break. tests/clients/test_rust.py starts both, a run for each test:
//! the server's address is in `JOBQUEUE_SERVER`, in `JOBQUEUE_GATE` that of one before it which takes each token once.

mod admin;
mod bulk;
mod declared;
mod encodings;
mod jobs;
mod kinds;
mod line;
mod middleware;
mod overview;
mod repeated;
mod retention;
mod schedules;
mod testing;
mod tokens;
mod typed;
mod watching;
mod workers;

use std::env;
use std::error::Error as StdError;
use std::time::Duration;

use futures_util::TryStreamExt;
use jobqueue::{Client, Error, Filter, HandlerResult, Job, JsonText, LeasedJob, Watch, Worker, new_idempotency_key};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) type Done = Result<(), Box<dyn StdError>>;

pub(crate) const WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn server() -> String {
    env::var("JOBQUEUE_SERVER").expect("tests/clients/test_rust.py starts a server for these")
}

pub(crate) fn client() -> Result<Client, Error> {
    Client::new(server())
}

/// A queue, or a kind, of the test's own.
pub(crate) fn own() -> String {
    format!("rust-{}", new_idempotency_key())
}

pub(crate) fn of_queue(queue: &str) -> Filter {
    Filter { queue: queue.into(), ..Filter::default() }
}

/// The one job of a queue, as soon as it is there.
pub(crate) async fn the_one_of(client: &Client, queue: &str) -> Result<Job, Error> {
    loop {
        let mut jobs: Vec<Job> = client.list(of_queue(queue)).try_collect().await?;
        if let Some(job) = jobs.pop() {
            assert!(jobs.is_empty(), "there are more: {jobs:?}");
            return Ok(job);
        }
    }
}

/// The next job that a watch tells.
pub(crate) async fn told(watch: &mut Watch) -> Result<Job, Error> {
    timeout(WITHIN, watch.next()).await.expect("nothing is told").expect("it has ended")
}

pub(crate) async fn echoes(job: LeasedJob) -> HandlerResult<JsonText> {
    Ok(job.payload().clone())
}

/// Runs a worker while something is done, and drains it.
pub(crate) async fn beside<T>(worker: Worker, what: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let end = CancellationToken::new();
    let serving = tokio::spawn({
        let end = end.clone();
        async move { worker.run(end).await }
    });
    let done = what.await;
    end.cancel();
    serving.await.expect("the worker panics")?;
    done
}
