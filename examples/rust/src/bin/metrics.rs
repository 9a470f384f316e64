//! A worker whose attempts are counted on a page for Prometheus, under the names that the worker service has.
//!
//!     cargo run --bin metrics
//!
//! The page is written by hand here. With a library for Prometheus the observer looks the same.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jobqueue::{
    Attempt, AttemptOutcome, Client, HandlerResult, JobKind, KindDeclaration, LeasedJob, NewJob, Observer, Worker,
    discard, failed,
};
use jobqueue_examples::ask;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "example-metrics";

/// Is told of each attempt by a thread of its own, so it delays none. Clones have the same samples.
#[derive(Clone, Default)]
struct Metrics(Arc<Mutex<BTreeMap<String, f64>>>);

impl Observer for Metrics {
    fn attempt_started(&self, attempt: &Attempt) {
        self.add("worker_jobs_started_total", &format!("kind={:?}", attempt.kind), 1.0);
    }

    fn attempt_ended(&self, attempt: &Attempt, outcome: AttemptOutcome, took: Duration, _: &str) {
        let labels = format!("kind={:?},outcome=\"{outcome}\"", attempt.kind);
        self.add("worker_jobs_completed_total", &labels, 1.0);
        self.add("worker_job_duration_seconds_count", &labels, 1.0);
        self.add("worker_job_duration_seconds_sum", &labels, took.as_secs_f64());
    }
}

impl Metrics {
    fn add(&self, name: &str, labels: &str, more: f64) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *samples.entry(format!("{name}{{{labels}}}")).or_default() += more;
    }

    fn page(&self) -> String {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = String::new();
        for (name, of) in [
            ("worker_jobs_started_total", "counter"),
            ("worker_jobs_completed_total", "counter"),
            ("worker_job_duration_seconds", "summary"),
        ] {
            let _ = writeln!(page, "# TYPE {name} {of}");
            for (sample, value) in samples.iter().filter(|(sample, _)| sample.starts_with(name)) {
                let _ = writeln!(page, "{sample} {value}");
            }
        }
        page
    }
}

#[derive(Serialize, Deserialize)]
struct Work {
    fails: bool,
}

impl JobKind for Work {
    const NAME: &'static str = "example_work";
    type Output = ();

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

async fn work(payload: Work, _: LeasedJob) -> HandlerResult {
    if payload.fails { Err(discard(failed("this can never be done"))) } else { Ok(()) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let metrics = Metrics::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let worker =
        Worker::from_env()?.queue(QUEUE).sync_kinds(true).observer(metrics.clone()).handle_kind(work).build()?;
    let routes = Router::new().route("/metrics", get(async move || metrics.page()));
    tokio::spawn(axum::serve(listener, routes).into_future());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let working = tokio::spawn(async move { worker.run(stopped).await });

    let client = Client::from_env()?.build()?;
    client.sync_kinds([KindDeclaration::of::<Work>()]).await?;
    for fails in [false, true, false] {
        let job = client.enqueue(NewJob::of(&Work { fails })?).await?;
        client.wait(&job.id, Duration::from_secs(60)).await?;
    }

    // The worker hears of the end of a job a little later than who waits for it. Once it has left, all is counted.
    stop.cancel();
    working.await??;
    let (_, page) = ask(address, "GET /metrics", "").await?;
    for line in page.lines().filter(|line| line.starts_with("worker_jobs")) {
        println!("{line}");
    }
    Ok(())
}
