//! Many jobs are changed at once.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use jobqueue::{
    BulkState, CancelJobs, Client, DeleteJobs, Error, ErrorKind, Filter, Job, JobFilter, NewJob, Operation, RetryJobs,
    Start, Status, UpdateJobs,
};

use crate::line::Line;
use crate::{Done, WITHIN, client, of_queue, own, server};

fn of(queue: &str) -> JobFilter {
    JobFilter { queue: queue.into(), ..JobFilter::default() }
}

async fn jobs(client: &Client, queue: &str) -> Result<Vec<Job>, Error> {
    client.list(Filter { full: true, ..of_queue(queue) }).try_collect().await
}

/// The operation, as soon as it is done.
async fn ended(client: &Client, operation: Operation) -> Result<Operation, Error> {
    let done = client.wait_operation(&operation.name, WITHIN).await?;
    assert!(done.done && done.state == BulkState::Succeeded, "{done:?}");
    Ok(done)
}

#[tokio::test]
#[ignore = "wants a server"]
async fn without_force_jobs_are_counted_and_nothing_changes() -> Done {
    let (client, queue) = (client()?, own());
    let ids: Vec<String> = client
        .enqueue_many((0..3).map(|n| NewJob::new("k").queue(&queue).label("n", n.to_string())))
        .await?
        .into_iter()
        .map(|each| each.id)
        .collect();
    let counted = client.cancel_jobs(of(&queue), CancelJobs::default()).await?;
    assert_eq!((counted.estimate, counted.dry_run, counted.done, counted.changed), (3, true, true, 0));
    assert_eq!((counted.name.as_str(), counted.verb.as_str(), counted.schedule.is_none()), ("", "CancelJobs", true));
    assert!(counted.sample_ids.iter().all(|id| ids.contains(id)) && counted.sample_ids.len() == 3);
    assert_eq!(
        client.update_jobs(of(&queue), UpdateJobs { priority: Some(5), ..UpdateJobs::default() }).await?.estimate,
        3
    );
    let labels = HashMap::from([("n".to_owned(), "1".to_owned())]);
    let one = client.cancel_jobs(JobFilter { labels, ..of(&queue) }, CancelJobs::default()).await?;
    assert_eq!((one.estimate, one.sample_ids), (1, vec![ids[1].clone()]));
    assert!(jobs(&client, &queue).await?.iter().all(|job| job.status == Status::Queued && job.priority == 0));
    for id in &ids {
        client.cancel(id).await?;
    }
    assert_eq!(client.retry_jobs(of(&queue), RetryJobs::default()).await?.estimate, 3);
    assert_eq!(client.delete_jobs(of(&queue), DeleteJobs::default()).await?.estimate, 3);
    assert!(jobs(&client, &queue).await?.iter().all(|job| job.status == Status::Cancelled));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn many_jobs_are_cancelled_retried_changed_and_deleted_by_operations() -> Done {
    let (client, queue, other) = (client()?, own(), own());
    client.enqueue_many(vec![NewJob::new("k").queue(&queue); 3]).await?;
    client.enqueue(NewJob::new("k").queue(&other)).await?;

    let how = CancelJobs { force: true, reason: "sent by hand".into(), expected: Some(3), ..CancelJobs::default() };
    let done = ended(&client, client.cancel_jobs(of(&queue), how).await?).await?;
    assert_eq!((done.changed, done.dry_run, done.verb.as_str()), (3, false, "CancelJobs"));
    assert!(done.created_at.is_some() && done.ended_at.is_some() && done.error.is_empty());

    let after = Some(Start::After(Duration::from_secs(3600)));
    let how =
        RetryJobs { force: true, to_queue: other.clone(), start: after, max_jobs: Some(2), ..RetryJobs::default() };
    let done = ended(&client, client.retry_jobs(of(&queue), how).await?).await?;
    assert_eq!((done.changed, done.max_jobs), (2, 2));
    let moved: Vec<Job> = jobs(&client, &other).await?;
    let later = moved.iter().filter(|job| job.run_at > Some(SystemTime::now() + Duration::from_secs(1800))).count();
    assert_eq!((moved.len(), later), (3, 2));

    let how = UpdateJobs {
        force: true,
        priority: Some(-4),
        max_attempts: Some(9),
        start: Some(Start::After(Duration::ZERO)),
        per_second: Some(1000),
        ..UpdateJobs::default()
    };
    let done = ended(&client, client.update_jobs(of(&other), how).await?).await?;
    assert_eq!((done.changed, done.per_second), (3, 1000));
    let changed = jobs(&client, &other).await?;
    assert!(changed.iter().all(|job| (job.priority, job.max_attempts) == (-4, 9)));
    assert!(changed.iter().all(|job| job.run_at < Some(SystemTime::now() + Duration::from_secs(1800))));

    let force = DeleteJobs { force: true, ..DeleteJobs::default() };
    assert_eq!(ended(&client, client.delete_jobs(of(&queue), force).await?).await?.changed, 1);
    assert!(jobs(&client, &queue).await?.is_empty());
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_is_not_expected_or_not_said_is_refused_and_changes_nothing() -> Done {
    let (client, queue) = (client()?, own());
    client.enqueue_many(vec![NewJob::new("k").queue(&queue); 3]).await?;
    for expected in [0, 9] {
        let how = CancelJobs { force: true, expected: Some(expected), ..CancelJobs::default() };
        let changed = client.cancel_jobs(of(&queue), how).await.unwrap_err();
        assert_eq!((changed.kind(), changed.metadata()["estimate"].as_str()), (ErrorKind::FilterChanged, "3"));
    }
    let all = client.cancel_jobs(JobFilter::default(), CancelJobs::default()).await.unwrap_err();
    assert!(all.is(ErrorKind::InvalidRequest) && all.reason() == "FILTER_EMPTY");
    let ended_after = Some(SystemTime::UNIX_EPOCH);
    let ended = client.cancel_jobs(JobFilter { ended_after, ..of(&queue) }, CancelJobs::default()).await.unwrap_err();
    assert_eq!(ended.violations()[0].field, "filter.ended_after");
    let nowhere = UpdateJobs { force: true, to_queue: own(), ..UpdateJobs::default() };
    let refused = client.update_jobs(of(&queue), nowhere).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QueueNotFound);
    assert!(jobs(&client, &queue).await?.iter().all(|job| job.status == Status::Queued));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn an_operation_is_found_again_cancelled_and_deleted_when_it_is_done() -> Done {
    let (client, queue) = (client()?, own());
    let jobs = client.enqueue_many(vec![NewJob::new("k").queue(&queue); 600]).await?;
    assert_eq!(jobs.len(), 600);
    let request_id = own();
    let how = CancelJobs { force: true, per_second: Some(1), request_id: request_id.clone(), ..CancelJobs::default() };
    let begun = client.cancel_jobs(of(&queue), how.clone()).await?;
    assert_eq!(client.cancel_jobs(of(&queue), how.clone()).await?.name, begun.name);
    let other = client.cancel_jobs(of(&own()), how).await.unwrap_err();
    assert_eq!((other.kind(), other.metadata().get("operation")), (ErrorKind::RequestIdReused, Some(&begun.name)));

    // With a job a second it goes on for ten minutes.
    let still = client.wait_operation(&begun.name, Duration::from_millis(50)).await?;
    assert!(!still.done && still.ended_at.is_none());
    assert_eq!(client.delete_operation(&begun.name).await.unwrap_err().kind(), ErrorKind::OperationNotDone);
    client.cancel_operation(&begun.name).await?;
    let done = client.wait_operation(&begun.name, None).await?;
    assert_eq!((done.state, done.done), (BulkState::Cancelled, true));
    assert_eq!(client.get_operation(&begun.name).await?.state, BulkState::Cancelled);
    assert!(client.list_operations().await?.iter().any(|each| each.name == begun.name));
    client.delete_operation(&begun.name).await?;
    for gone in [client.get_operation(&begun.name).await, client.wait_operation(&begun.name, None).await] {
        let gone = gone.unwrap_err();
        assert!(gone.kind() == ErrorKind::OperationNotFound && gone.is(ErrorKind::NotFound));
    }
    let force = CancelJobs { force: true, ..CancelJobs::default() };
    ended(&client, client.cancel_jobs(of(&queue), force).await?).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn operations_are_listed_over_all_pages_newest_first() -> Done {
    let (client, queue) = (client()?, own());
    client.enqueue(NewJob::new("k").queue(&queue)).await?;
    let mut names = Vec::new();
    for _ in 0..52 {
        let how = UpdateJobs { force: true, priority: Some(1), ..UpdateJobs::default() };
        names.push(client.update_jobs(of(&queue), how).await?.name);
    }
    names.reverse();
    let listed = client.list_operations().await?.into_iter().map(|each| each.name);
    let listed: Vec<String> = listed.filter(|name| names.contains(name)).collect();
    assert_eq!(listed, names);
    for name in &names {
        client.wait_operation(name, WITHIN).await?;
        client.delete_operation(name).await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_is_forced_is_tried_again_only_by_its_name() -> Done {
    let line = Line::to(&server()).await?;
    let far = Client::builder(&line.address).deadline(Duration::from_millis(300)).build()?;
    line.close();
    let filter = of(&own());
    let again = |error: Error| error.to_string().contains("tried again until the deadline");
    assert!(again(far.cancel_jobs(filter.clone(), CancelJobs::default()).await.unwrap_err()));
    assert!(again(far.retry_jobs(filter.clone(), RetryJobs::default()).await.unwrap_err()));
    let forced = CancelJobs { force: true, ..CancelJobs::default() };
    assert!(!again(far.cancel_jobs(filter.clone(), forced.clone()).await.unwrap_err()));
    let named = CancelJobs { request_id: "a".into(), ..forced };
    assert!(again(far.cancel_jobs(filter.clone(), named).await.unwrap_err()));
    let forced = RetryJobs { force: true, ..RetryJobs::default() };
    assert!(!again(far.retry_jobs(filter.clone(), forced).await.unwrap_err()));
    let forced = DeleteJobs { force: true, ..DeleteJobs::default() };
    assert!(!again(far.delete_jobs(filter.clone(), forced).await.unwrap_err()));
    let forced = UpdateJobs { force: true, ..UpdateJobs::default() };
    assert!(!again(far.update_jobs(filter, forced).await.unwrap_err()));
    assert!(again(far.list_operations().await.unwrap_err()));
    assert!(again(far.cancel_operation("operations/a").await.unwrap_err()));
    assert!(!again(far.delete_operation("operations/a").await.unwrap_err()));
    Ok(())
}
