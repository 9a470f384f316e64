//! A web application with its worker in one process: a request enqueues and is answered at once, one asks for the end.
//!
//!     cargo run --bin embed_http
//!
//! It makes both requests itself, and ends in the order that loses nothing: first no more requests, then the worker
//! drains, then the client goes. docs/recipes/axum.md has a larger one, which ends by a signal.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use jobqueue::{Client, ErrorKind, HandlerResult, JobKind, KindDeclaration, LeasedJob, NewJob, Worker};
use jobqueue_examples::ask;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "example-embed-http";

#[derive(Serialize, Deserialize)]
struct Report {
    of: String,
}

impl JobKind for Report {
    const NAME: &'static str = "example_report";
    type Output = String;

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue(QUEUE)
    }
}

async fn report(payload: Report, _: LeasedJob) -> HandlerResult<String> {
    Ok(format!("report of {}", payload.of))
}

/// POST /reports enqueues.
async fn place(
    State(client): State<Client>,
    headers: HeaderMap,
    Json(asked): Json<Report>,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let mut job = NewJob::of(&asked).map_err(|error| refused(&error))?;
    if let Some(Ok(key)) = headers.get("idempotency-key").map(|key| key.to_str()) {
        // A client who asks twice gets one job.
        job = job.idempotency_key(key);
    }
    let job = client.enqueue(job).await.map_err(|error| refused(&error))?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": job.id}))))
}

/// GET /reports/ID says how the job stands.
async fn look(State(client): State<Client>, Path(id): Path<String>) -> Result<Json<Value>, StatusCode> {
    let job = client.get(&id).await.map_err(|error| refused(&error))?;
    let report = Report::output_of(&job).ok();
    Ok(Json(json!({"ended": job.is_terminal(), "status": job.status.to_string(), "report": report})))
}

fn refused(error: &jobqueue::Error) -> StatusCode {
    if error.is(ErrorKind::JobNotFound) { StatusCode::NOT_FOUND } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::from_env()?.build()?;
    client.sync_kinds([KindDeclaration::of::<Report>()]).await?;
    let worker = Worker::from_env()?.queue(QUEUE).sync_kinds(true).handle_kind(report).build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let working = tokio::spawn(async move { worker.run(stopped).await });
    let routes =
        Router::new().route("/reports", post(place)).route("/reports/{id}", get(look)).with_state(client.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let closing = CancellationToken::new();
    let serving = axum::serve(listener, routes).with_graceful_shutdown(closing.clone().cancelled_owned());
    let serving = tokio::spawn(serving.into_future());

    browse(address).await?;

    closing.cancel();
    serving.await??;
    stop.cancel();
    working.await??;
    drop(client);
    Ok(())
}

/// What a user's browser would do.
async fn browse(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let (status, answer) = ask(address, "POST /reports", r#"{"of": "May"}"#).await?;
    println!("{status}");
    let placed: Value = serde_json::from_str(&answer)?;
    let path = format!("GET /reports/{}", placed["id"].as_str().unwrap_or_default());
    loop {
        let (_, answer) = ask(address, &path, "").await?;
        let found: Value = serde_json::from_str(&answer)?;
        if found["ended"] == true {
            println!(
                "{} {}",
                found["status"].as_str().unwrap_or_default(),
                found["report"].as_str().unwrap_or_default()
            );
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
