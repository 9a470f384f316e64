//! Middleware between a real server and its clients and workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::TryStreamExt;
use jobqueue::{
    Client, EnqueueResult, Error, Filter, HandlerResult, Job, JsonText, LeasedJob, Middleware, NewJob, Next,
    NextEnqueue, Worker, snooze,
};
use serde_json::json;

use crate::{Done, WITHIN, beside, client, of_queue, own, server};

/// Marks each job with how many it came with, and counts calls.
#[derive(Default)]
struct Marks(AtomicUsize);

impl Middleware for Marks {
    async fn handle(&self, job: &LeasedJob, next: Next<'_>) -> HandlerResult<Option<JsonText>> {
        if job.labels().get("later").is_some_and(|_| job.attempt() == 1) {
            return Err(snooze(std::time::Duration::ZERO));
        }
        next.run().await
    }

    async fn enqueue(&self, jobs: Vec<NewJob>, next: NextEnqueue<'_>) -> Result<Vec<EnqueueResult>, Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let came = jobs.len().to_string();
        next.run(jobs.into_iter().map(|job| job.label("came", &came)).collect()).await
    }
}

async fn follows(job: LeasedJob) -> HandlerResult<serde_json::Value> {
    for _ in 0..3 {
        job.follow_up(NewJob::new("next").queue(format!("{}-next", job.queue())))?;
    }
    Ok(json!(job.attempt().to_string()))
}

#[tokio::test]
#[ignore = "wants a server"]
async fn middleware_goes_around_enqueues_handlers_and_follow_ups_of_a_real_server() -> Done {
    let (plain, queue, marks) = (client()?, own(), Arc::new(Marks::default()));
    let marking = Client::builder(server()).middleware(marks.clone()).build()?;
    let one = marking.enqueue(NewJob::new(&queue).queue(&queue).label("later", "yes")).await?;
    assert_eq!(one.labels["came"], "1");
    let elsewhere = format!("{queue}-many");
    let many = marking.enqueue_many((0..1500).map(|_| NewJob::new("k").queue(&elsewhere))).await?;
    assert_eq!((many.len(), marks.0.swap(0, Ordering::SeqCst)), (1500, 2));
    assert_eq!(plain.get(&many[1499].id).await?.labels["came"], "1500");
    let worker = Worker::builder(server()).queue(&queue).handle(&queue, follows).middleware(marks.clone()).build()?;
    let done = beside(worker, plain.wait(&one.id, WITHIN)).await?;
    assert_eq!((done.attempts, done.failures, done.output), (2, 0, Some(json!("2").into())));
    let next = Filter { full: true, ..of_queue(&format!("{queue}-next")) };
    let jobs: Vec<Job> = plain.list(next).try_collect().await?;
    let came: Vec<&str> = jobs.iter().map(|job| job.labels["came"].as_str()).collect();
    assert_eq!((came, marks.0.load(Ordering::SeqCst)), (vec!["3"; 3], 1));
    Ok(())
}
