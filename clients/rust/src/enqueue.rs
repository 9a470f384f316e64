//! What code that only enqueues asks for.

use std::future::Future;

use crate::client::Client;
use crate::errors::Error;
use crate::job::{Job, NewJob};
use crate::jobs::EnqueueResult;

/// Enqueues jobs: a [`Client`], or in tests the `RecordingClient` of the feature `testing`.
///
/// ```
/// use jobqueue::{Enqueue, Error, NewJob};
/// use serde_json::json;
///
/// async fn sign_up(jobs: &impl Enqueue, address: &str) -> Result<(), Error> {
///     jobs.enqueue(NewJob::new("welcome").payload(json!({"to": address}))).await?;
///     Ok(())
/// }
/// ```
pub trait Enqueue: Send + Sync {
    /// As [`Client::enqueue`].
    ///
    /// # Errors
    ///
    /// As there.
    fn enqueue(&self, job: NewJob) -> impl Future<Output = Result<Job, Error>> + Send;

    /// As [`Client::enqueue_many`].
    ///
    /// # Errors
    ///
    /// As there.
    fn enqueue_many(
        &self,
        jobs: impl IntoIterator<Item = NewJob> + Send,
    ) -> impl Future<Output = Result<Vec<EnqueueResult>, Error>> + Send;
}

impl Enqueue for Client {
    fn enqueue(&self, job: NewJob) -> impl Future<Output = Result<Job, Error>> + Send {
        Client::enqueue(self, job)
    }

    fn enqueue_many(
        &self,
        jobs: impl IntoIterator<Item = NewJob> + Send,
    ) -> impl Future<Output = Result<Vec<EnqueueResult>, Error>> + Send {
        Client::enqueue_many(self, jobs)
    }
}
