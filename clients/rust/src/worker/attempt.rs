//! One attempt: a handler is run on a job, to an outcome. The worker and the test kit both run it.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::builder::Handler;
use super::ending::{outcome_of, outcome_of_panic};
use super::leased_job::LeasedJob;
use crate::outcomes::HandlerError;
use crate::v1;

/// Runs a handler. `None`: it has succeeded without output. What it failed with is given away, and dropped in here.
pub(crate) async fn attempt(
    job: LeasedJob,
    handler: Handler,
    failed: impl FnOnce(HandlerError),
) -> Option<v1::Outcome> {
    let ended = handler(job.clone()).await;
    let outcome = outcome_of(&job, &ended);
    if let Err(error) = ended {
        failed(error);
    }
    outcome
}

/// Makes a failure of a panic. All of the handler's own code is in the attempt, also that which writes its errors.
pub(crate) async fn caught(
    attempt: impl Future<Output = Option<v1::Outcome>>,
    panicked: impl FnOnce(Box<dyn Any + Send>),
) -> Option<v1::Outcome> {
    match AssertUnwindSafe(attempt).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => {
            let outcome = outcome_of_panic(&*panic);
            panicked(panic);
            Some(outcome)
        }
    }
}
