//! Enqueues jobs in a JobQueue server, reads and changes them, and runs them.
//!
//! A producer makes one [`Client`] and keeps it:
//!
//! ```no_run
//! # async fn produce() -> Result<(), jobqueue::Error> {
//! use jobqueue::{Client, NewJob};
//! use serde_json::json;
//!
//! let client = Client::new("127.0.0.1:50051")?;
//! let job = client.enqueue(NewJob::new("hello").payload(json!({"name": "Ada"}))).await?;
//! let job = client.wait(&job.id, None).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Worker`] holds one stream to a server, is handed jobs over it, and runs a handler for each:
//!
//! ```no_run
//! # async fn work() -> Result<(), jobqueue::Error> {
//! use jobqueue::{HandlerResult, Json, LeasedJob, Worker, discard};
//!
//! #[derive(serde::Deserialize)]
//! struct Who {
//!     name: String,
//! }
//!
//! async fn hello(job: LeasedJob) -> HandlerResult<Json<String>> {
//!     let who: Who = job.decode().map_err(discard)?;
//!     Ok(Json(format!("Hello {}", who.name)))
//! }
//!
//! let worker = Worker::builder("127.0.0.1:50051").handle("hello", hello).build()?;
//! worker.run_until_signal().await
//! # }
//! ```
//!
//! Payloads and outputs are JSON. A [`JsonText`] goes in and comes out byte for byte; `JsonText::of` writes whatever serde
//! can, as `Json` does for a handler, and `decode` reads it. What a server refuses is an [`Error`], whose [`ErrorKind`] says what to do about it.
//!
//! Everything runs on tokio, with its time and IO drivers on.
//!
//! A kind can be declared once, by the type of its payload ([`JobKind`]). With the feature `testing` a handler is performed
//! without a server.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod adaptive;
mod admin;
mod backoff;
mod batches;
mod bulk;
mod calls;
mod client;
mod convert;
mod declared;
mod encoded;
mod encodings;
mod enqueue;
mod environment;
mod errors;
mod insight;
mod job;
mod jobs;
mod json;
mod middleware;
mod new_jobs;
mod operations;
#[cfg(feature = "otel")]
mod otel;
mod outcomes;
mod overview;
mod pages;
mod queue_keys;
mod schedule_calls;
mod schedules;
mod telling;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "otel")]
mod trace_names;
mod typed;
mod unique;
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
#[rustfmt::skip]
pub mod longrunning;
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
#[rustfmt::skip]
pub mod v1;
mod watch;
mod worker;
mod worker_sessions;

pub use access::Access;
pub use admin::{
    HoldDepth, KeyOrder, KeyPolicy, Kind, Limits, OnKeyFailure, Queue, QueueChange, QueueDepth, Rate, Retention,
};
pub use bulk::{CancelJobs, DeleteJobs, JobFilter, RetryJobs, UpdateJobs};
pub use client::{Client, ClientBuilder, JobStream};
pub use declared::{Applied, AppliedSchedule};
pub use encoded::{Encoded, Undecodable};
#[cfg(feature = "encryption")]
#[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
pub use encodings::AesGcm;
#[cfg(feature = "zstd")]
#[cfg_attr(docsrs, doc(cfg(feature = "zstd")))]
pub use encodings::Zstd;
pub use encodings::{Encoding, Encodings, EncodingsBuilder};
pub use enqueue::Enqueue;
pub use errors::{Error, ErrorKind, FieldViolation};
pub use insight::{Estimate, Explanation, QueueDemand, Reason};
pub use job::{FailedAttempt, Job, JobProgress, NewJob};
pub use jobs::{
    Cancellation, EncodingRule, EnqueueResult, Filter, Hold, JobPage, RetryPolicy, Start, Status, new_idempotency_key,
};
pub use json::{IntoCheckpoint, IntoOutput, Json, JsonText};
pub use middleware::{ForKinds, Middleware, Next, NextEnqueue, for_kinds};
pub use operations::{BulkState, Operation};
#[cfg(feature = "otel")]
#[cfg_attr(docsrs, doc(cfg(feature = "otel")))]
pub use otel::OpenTelemetry;
pub use outcomes::{HandlerError, HandlerResult, Stop, cancelled, discard, failed, retry, snooze};
pub use overview::{
    Depth, Flow, GroupBy, JobCount, Overview, OverviewStream, OverviewWarning, Point, QueueOverview, QueuePause,
    Series, ServerInfo, StatTotals, Stats, StatsQuery, WarningCode, WorkersOverview,
};
pub use queue_keys::{KeyFilter, KeyHolder, QueueKey, QueueKeyChange, QueueKeys};
pub use schedule_calls::{ScheduleRunStream, ScheduleStream, Schedules};
pub use schedules::{
    Backfill, CatchUp, NewSchedule, Overlap, RunCause, RunOutcome, Schedule, ScheduleChange, ScheduleFilter,
    SchedulePolicy, ScheduleRun, ScheduleSpec, ScheduleTick, TickRule,
};
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use tls::Tls;
/// gRPC's own, for [`Error::code`].
pub use tonic::Code;
#[cfg(feature = "schema")]
#[cfg_attr(docsrs, doc(cfg(feature = "schema")))]
pub use typed::schema_of;
pub use typed::{JobKind, KindDeclaration, SyncedKind, UpcastError};
pub use unique::{OnConflict, Unique, UniqueAction, UniqueField, UniqueScope, Until};
pub use watch::{Watch, WatchFilter};
pub use worker::{Attempt, AttemptOutcome, LeasedJob, Observer, Worker, WorkerBuilder, WorkerState, WorkerStatus};
pub use worker_sessions::{HeldJob, SessionState, WorkerDrain, WorkerFilter, WorkerSession};

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const CLIENT_NAME: &str = concat!("jobqueue-rust/", env!("CARGO_PKG_VERSION"));
