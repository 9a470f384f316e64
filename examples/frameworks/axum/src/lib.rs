//! axum: requests enqueue typed jobs, and a worker in the same process runs them.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jobqueue::{Client, ErrorKind, HandlerResult, JobKind, LeasedJob, NewJob, Worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tracing::Level;

/// What a program ends by, whatever part of it has failed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a request is waited for at most, with its body: what is open at the end holds the app no longer.
const LONGEST: Duration = Duration::from_secs(10);

/// The body of a request, and the payload of its job.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub number: NonZeroU32,
    pub email: String,
}

/// The output of that job.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub text: String,
}

impl JobKind for Order {
    const NAME: &'static str = "send-receipt";
    const MAX_ATTEMPTS: Option<u32> = Some(5);
    type Output = Receipt;
}

/// Runs in a task of its own, so it awaits what takes time.
pub async fn deliver(order: Order, _: LeasedJob) -> HandlerResult<Receipt> {
    tracing::info!("sends a receipt");
    Ok(Receipt { text: format!("order {} for {}", order.number, order.email) })
}

/// The routes, with one client for all of them.
pub fn app(client: Client) -> Router {
    let traces = TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
        .on_response(DefaultOnResponse::new().level(Level::INFO));
    let routes = Router::new().route("/orders", post(place)).route("/orders/{id}", get(look)).with_state(client);
    routes.layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, LONGEST)).layer(traces)
}

/// Answers when the job is committed. The same Idempotency-Key again is the same job.
async fn place(
    State(jobs): State<Client>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let mut job = NewJob::of(&order)?;
    if let Some(key) = headers.get("idempotency-key") {
        let key = key.to_str().map_err(|_| Refused(StatusCode::BAD_REQUEST, "Idempotency-Key is not ASCII".into()))?;
        job = job.idempotency_key(key);
    }
    let job = jobs.enqueue(job).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"job": job.id}))))
}

/// How far it is.
async fn look(State(jobs): State<Client>, Path(id): Path<String>) -> Result<Json<Value>, Refused> {
    let job = jobs.get(&id).await?;
    if job.kind != Order::NAME {
        return Err(Refused(StatusCode::NOT_FOUND, "no such job".into()));
    }
    let receipt = Order::output_of(&job).ok();
    Ok(Json(json!({"status": job.status.to_string(), "receipt": receipt})))
}

/// What a route answers where the server has refused: the status, and what is wrong.
struct Refused(StatusCode, Value);

impl From<jobqueue::Error> for Refused {
    fn from(error: jobqueue::Error) -> Self {
        let is = |kind| error.is(kind);
        if is(ErrorKind::JobNotFound) {
            Self(StatusCode::NOT_FOUND, "no such job".into())
        } else if is(ErrorKind::IdempotencyKeyReused) {
            Self(StatusCode::CONFLICT, "this Idempotency-Key came with another order".into())
        } else if is(ErrorKind::InvalidRequest) && !is(ErrorKind::KindUnknown) {
            let wrong = error.violations().iter().map(|each| json!({"field": each.field, "is": each.description}));
            Self(StatusCode::UNPROCESSABLE_ENTITY, wrong.collect())
        } else if is(ErrorKind::Unavailable) || is(ErrorKind::DeadlineExceeded) || is(ErrorKind::Overloaded) {
            // No server answers, or it takes no more for now.
            Self(StatusCode::SERVICE_UNAVAILABLE, "try again".into())
        } else {
            tracing::error!(%error, "a call has failed");
            Self(StatusCode::INTERNAL_SERVER_ERROR, "it has failed".into())
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, detail) = self;
        let answer = (status, Json(json!({"detail": detail})));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            ([(RETRY_AFTER, "1")], answer).into_response()
        } else {
            answer.into_response()
        }
    }
}

/// Serves requests and runs jobs until the token is cancelled. The worker leaves before the client goes: its last handlers
/// may still enqueue.
pub async fn serve(
    listener: TcpListener,
    client: Client,
    worker: Worker,
    ends: CancellationToken,
) -> Result<(), BoxError> {
    let answering = axum::serve(listener, app(client.clone())).with_graceful_shutdown(ends.clone().cancelled_owned());
    let working = tokio::spawn({
        let ends = ends.clone();
        async move {
            // Where the worker is refused, the app ends too.
            let _ends = ends.clone().drop_guard();
            worker.run(ends).await
        }
    });
    answering.await?;
    working.await??;
    drop(client);
    Ok(())
}

/// A token that is cancelled when the process is told to end: by SIGTERM or Ctrl-C. Told again, it ends at once.
pub fn ends_by_signal() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ends = CancellationToken::new();
    let told = ends.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
            if told.is_cancelled() {
                std::process::exit(1);
            }
            told.cancel();
        }
    });
    Ok(ends)
}
