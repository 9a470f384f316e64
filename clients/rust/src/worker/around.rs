//! Handlers with middleware around them.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;

use super::builder::Handler;
use super::leased_job::LeasedJob;
use crate::errors::Error;
use crate::json::JsonText;
use crate::middleware::{Around, Middlewares, Next, amend};
use crate::new_jobs::new_job_of;
use crate::outcomes::{HandlerError, HandlerResult};

/// A handler of a kind of these names, with a worker's middleware around it and around its follow-ups.
pub(crate) fn around(handler: Handler, middleware: &Middlewares, names: &[String]) -> Handler {
    if middleware.is_empty() {
        return handler;
    }
    let (all, wanted) = (middleware.clone(), middleware.wanted(names));
    Arc::new(move |job| {
        let (handler, all, wanted) = (handler.clone(), all.clone(), wanted.clone());
        async move { Passage::new(&job, &all).run(handler, &wanted).await }.boxed()
    })
}

/// One attempt on its way through middleware.
struct Passage<'a> {
    job: &'a LeasedJob,
    all: &'a Middlewares,
    /// How many follow-ups have gone through the enqueue side.
    passed: OnceLock<usize>,
    /// A middleware has answered an output, though what is inside of it has failed.
    caught: AtomicBool,
}

// What became of what is inside of a middleware.
const NOT_RUN: u8 = 0;
const BEGUN: u8 = 1;
const SUCCEEDED: u8 = 2;

impl<'a> Passage<'a> {
    fn new(job: &'a LeasedJob, all: &'a Middlewares) -> Self {
        Self { job, all, passed: OnceLock::new(), caught: AtomicBool::new(false) }
    }

    async fn run(self, handler: Handler, wanted: &Middlewares) -> HandlerResult<Option<JsonText>> {
        let this = &self;
        let mut next = Next::new(|| async move {
            let output = handler(this.job.clone()).await?;
            this.pass().await?;
            Ok(output)
        });
        for each in wanted.inside_out() {
            next = Next::new(move || this.link(each, next));
        }
        let output = next.run().await?;
        if self.caught.load(Ordering::Relaxed) {
            self.job.take_follow_ups();
        } else if self.passed.get() != Some(&self.job.follow_up_count()) {
            let words = "follow_up was called after a middleware's next: call it before";
            return Err(HandlerError::from(Error::invalid("middleware", words)));
        }
        Ok(output)
    }

    /// One middleware, around what is inside of it.
    async fn link(&self, middleware: &dyn Around, next: Next<'_>) -> HandlerResult<Option<JsonText>> {
        let inside = AtomicU8::new(NOT_RUN);
        let noted = &inside;
        let watched = Next::new(move || async move {
            noted.store(BEGUN, Ordering::Relaxed);
            let output = next.run().await?;
            noted.store(SUCCEEDED, Ordering::Relaxed);
            Ok(output)
        });
        let output = middleware.around_handler(self.job, watched).await?;
        match inside.load(Ordering::Relaxed) {
            NOT_RUN => self.pass().await?,
            BEGUN => self.caught.store(true, Ordering::Relaxed),
            _ => {}
        }
        Ok(output)
    }

    /// Takes the follow-ups through the enqueue side, as one call.
    async fn pass(&self) -> Result<(), Error> {
        let mut follow_ups = self.job.take_follow_ups();
        let _ = self.passed.set(follow_ups.len());
        if follow_ups.is_empty() {
            return Ok(());
        }
        let jobs = follow_ups.iter().map(|each| new_job_of(each.message.clone())).collect();
        let job = self.job;
        self.all
            .enqueue(jobs, |jobs| async move {
                let results = vec![crate::EnqueueResult::default(); jobs.len()];
                amend(follow_ups.iter_mut().map(|each| &mut each.message), jobs);
                job.put_follow_ups(follow_ups)?;
                Ok(results)
            })
            .await
            .map(drop)
    }
}
