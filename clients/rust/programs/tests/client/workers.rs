//! Workers are listed, read and drained.

use std::collections::HashMap;
use std::time::Duration;

use jobqueue::{ErrorKind, LeasedJob, NewJob, SessionState, Status, Worker, WorkerFilter, WorkerSession};
use tokio::sync::watch::channel;
use tokio::time::timeout;

use crate::{Done, WITHIN, beside, client, own, server};

#[tokio::test]
#[ignore = "wants a server"]
async fn a_worker_is_listed_read_with_its_jobs_and_drained_for_good() -> Done {
    let (client, queue) = (client()?, own());
    let (release, released) = channel(false);
    let holds = move |_: LeasedJob| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await?;
            Ok(())
        }
    };
    let worker = Worker::builder(server())
        .queue(&queue)
        .name(&queue)
        .label("rack", "7")
        .concurrency(3)
        .handle("hold", holds)
        .build()?;
    let job = client.enqueue(NewJob::new("hold").queue(&queue).timeout(Duration::from_secs(600))).await?;
    let of = |filter: WorkerFilter| client.list_workers(WorkerFilter { queue: queue.clone(), ..filter });
    let done = beside(worker, async {
        let holding = async {
            loop {
                let found = of(WorkerFilter::default()).await?;
                // What each holds is counted once in 2 s.
                if let Some(one) = found.into_iter().find(|each| each.held == 1) {
                    return Ok::<_, jobqueue::Error>(one);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let listed = timeout(WITHIN, holding).await.expect("no worker is listed that holds the job")?;
        assert_eq!((&listed.name, listed.state, listed.slots), (&queue, SessionState::Connected, 3));
        assert_eq!(listed.labels, HashMap::from([("rack".to_owned(), "7".to_owned())]));
        assert_eq!(listed.takes, HashMap::from([(queue.clone(), vec!["hold".to_owned()])]));
        assert!(listed.client.starts_with("jobqueue-rust/") && listed.jobs.is_empty() && listed.drain.is_none());
        assert!(listed.opened_at.is_some() && listed.silent_since.is_none() && listed.ends_at.is_none());

        let ids = |found: Vec<WorkerSession>| found.into_iter().map(|each| each.session_id).collect::<Vec<_>>();
        let mine = std::slice::from_ref(&listed.session_id);
        let state = vec![SessionState::Connected, SessionState::Silent];
        assert_eq!(ids(of(WorkerFilter { state, ..WorkerFilter::default() }).await?), mine);
        let state = vec![SessionState::Silent];
        assert!(of(WorkerFilter { state, ..WorkerFilter::default() }).await?.is_empty());
        let name = queue[..12].to_owned();
        assert_eq!(ids(of(WorkerFilter { name, kind: "hold".into(), ..WorkerFilter::default() }).await?), mine);
        assert!(of(WorkerFilter { name: "x".into(), ..WorkerFilter::default() }).await?.is_empty());
        assert!(of(WorkerFilter { kind: "another".into(), ..WorkerFilter::default() }).await?.is_empty());

        let read = client.get_worker(&listed.session_id).await?;
        let [held] = &read.jobs[..] else { panic!("not one: {read:?}") };
        assert_eq!((&held.job_id, &held.queue, held.kind.as_str()), (&job.id, &queue, "hold"));
        assert!(held.attempt == 1 && !held.cancel_requested && held.since < held.deadline_at);

        let drained = client.drain_worker(&listed.session_id, "a new version").await?;
        assert_eq!((drained.state, drained.jobs.len(), drained.free_slots), (SessionState::Draining, 1, 0));
        let drain = drained.drain.expect("it says why");
        assert_eq!((drain.reason.as_str(), drain.since.is_some()), ("a new version", true));
        release.send_replace(true);
        let done = client.wait(&job.id, WITHIN).await?;
        let later = client.enqueue(NewJob::new("hold").queue(&queue)).await?;
        assert_eq!(client.explain(&later.id).await?.reasons[0].code, "WORKERS_DRAINING");
        client.cancel(&later.id).await?;
        Ok(done)
    });
    assert_eq!(Box::pin(done).await?.status, Status::Succeeded);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_worker_that_is_not_there_is_not_found() -> Done {
    let client = client()?;
    let nowhere = "999999999999999999";
    for missing in [client.get_worker(nowhere).await, client.drain_worker(nowhere, "").await] {
        let missing = missing.unwrap_err();
        assert!(missing.kind() == ErrorKind::WorkerNotFound && missing.is(ErrorKind::NotFound), "{missing}");
    }
    assert!(client.list_workers(WorkerFilter { queue: own(), ..WorkerFilter::default() }).await?.is_empty());
    Ok(())
}
