//! A handler alone, by the code that a worker runs, without a server; and a client that keeps what is enqueued.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use jobqueue::testing::{Outcome, TestJob, perform};
//! use jobqueue::{HandlerResult, LeasedJob, failed, retry};
//! use serde_json::{Value, json};
//!
//! async fn count(job: LeasedJob) -> HandlerResult<Value> {
//!     if job.attempt() == 1 {
//!         return Err(retry(failed("the store is busy"), Duration::from_secs(300)));
//!     }
//!     let rows: u64 = job.decode()?;
//!     Ok(json!(2 * rows))
//! }
//!
//! let first = perform(count, TestJob::new(json!(21))).await.unwrap();
//! assert_eq!((first.outcome, first.retry_after), (Outcome::Failed, Some(Duration::from_secs(300))));
//! let second = perform(count, first.again()).await.unwrap();
//! assert_eq!(second.output, Some(json!(42).into()));
//! # Ok(())
//! # }
//! ```
//!
//! What only a server knows does not hold: the schema of a kind, slots, permissions, limits. A [`TestScope`] is a namespace of a
//! real one.

mod idle;
mod ids;
mod job;
mod performed;
mod performing;
mod recording;
mod scope;
mod server;
#[cfg(test)]
mod tests;

pub use idle::{Failures, Idle, NotIdle, RunOptions, Waiting};
pub use job::{StopAt, TestJob};
pub use performed::{Outcome, Performed, Report};
pub use performing::{Handles, StillRunning, attempt, perform};
pub use recording::RecordingClient;
pub use scope::{TestScope, Wanted};
pub use server::TestServer;
