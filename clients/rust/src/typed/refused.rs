//! What does not fit a kind does not compile. Nothing of it is in the crate.
//!
//! A handler answers the output of its kind:
//! ```compile_fail,E0271
//! # use jobqueue::{HandlerResult, JobKind, LeasedJob, Worker};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Mail { to: String }
//! # impl JobKind for Mail { const NAME: &'static str = "mail"; type Output = u64; }
//! async fn deliver(mail: Mail, _: LeasedJob) -> HandlerResult<String> {
//!     Ok(mail.to)
//! }
//! Worker::builder("127.0.0.1:50051").handle_kind(deliver);
//! ```
//!
//! Its first argument is the payload of a kind:
//! ```compile_fail,E0277
//! # use jobqueue::{HandlerResult, LeasedJob, Worker};
//! async fn deliver(mail: String, _: LeasedJob) -> HandlerResult<String> {
//!     Ok(mail)
//! }
//! Worker::builder("127.0.0.1:50051").handle_kind(deliver);
//! ```
//!
//! A producer gives all fields, each of its type, and the payload of a kind:
//! ```compile_fail,E0063
//! # use jobqueue::{JobKind, NewJob};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Mail { to: String }
//! # impl JobKind for Mail { const NAME: &'static str = "mail"; type Output = u64; }
//! NewJob::of(&Mail {})?;
//! # Ok::<(), jobqueue::Error>(())
//! ```
//! ```compile_fail,E0308
//! # use jobqueue::{JobKind, NewJob};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Mail { to: String }
//! # impl JobKind for Mail { const NAME: &'static str = "mail"; type Output = u64; }
//! NewJob::of(&Mail { to: 7 })?;
//! # Ok::<(), jobqueue::Error>(())
//! ```
//! ```compile_fail,E0277
//! # use jobqueue::NewJob;
//! NewJob::of(&7)?;
//! # Ok::<(), jobqueue::Error>(())
//! ```
//!
//! A reader has the type of the output:
//! ```compile_fail,E0308
//! # use jobqueue::{Job, JobKind};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Mail { to: String }
//! # impl JobKind for Mail { const NAME: &'static str = "mail"; type Output = u64; }
//! fn said(job: &Job) -> Result<String, jobqueue::Error> {
//!     Mail::output_of(job)
//! }
//! ```
