//! Kinds and queues.

use std::time::Duration;

use jobqueue::v1::reason::Detail;
use jobqueue::{ErrorKind, JsonText, Kind, LeasedJob, Limits, NewJob, RetryPolicy, Status, Worker, failed};
use serde_json::json;
use tokio::sync::watch::channel;
use tokio::time::timeout;

use crate::{Done, WITHIN, beside, client, echoes, own, server};

#[tokio::test]
#[ignore = "wants a server"]
async fn a_kind_is_put_read_and_held_to_its_schema() -> Done {
    let (client, name) = (client()?, own());
    let kind = Kind {
        schema: Some(JsonText::new(r#"{"type": "object", "required": ["to"]}"#)),
        retry_policy: Some(RetryPolicy {
            min_backoff: Some(Duration::from_secs(2)),
            max_backoff: Some(Duration::from_secs(9)),
        }),
        max_attempts: Some(5),
        timeout: Some(Duration::from_secs(60)),
        limits: Some(Limits { max_running: Some(7), rate: None }),
        slot_weight: Some(4),
        ..Kind::new(&name)
    };
    assert_eq!(client.put_kind(kind.clone()).await?, kind);
    let kinds = client.list_kinds().await?;
    assert!(kinds.contains(&kind));
    assert!(kinds.is_sorted_by(|one, next| one.name < next.name));

    let refused = client.enqueue(NewJob::new(&name).payload(json!({}))).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::PayloadInvalid && refused.is(ErrorKind::InvalidRequest));
    assert_eq!(refused.violations()[0].field, "job.payload.to");
    let job = client.enqueue(NewJob::new(&name).payload(json!({"to": "a"}))).await?;
    assert_eq!(job.max_attempts, 5);
    client.cancel(&job.id).await?;

    let broken = Kind { schema: Some(JsonText::new(r#"{"type": 7}"#)), ..Kind::new(&name) };
    assert!(client.put_kind(broken).await.unwrap_err().is(ErrorKind::InvalidRequest));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_queue_is_read_paused_and_resumed() -> Done {
    let (client, name) = (client()?, own());
    assert_eq!(client.get_queue(&name).await.unwrap_err().kind(), ErrorKind::QueueNotFound);
    assert_eq!(client.resume_queue(&name).await.unwrap_err().kind(), ErrorKind::QueueNotFound);
    let job = client.enqueue(NewJob::new("echo").queue(&name)).await?;

    assert!(client.pause_queue(&name, "").await?.paused);
    let queue = client.get_queue(&name).await?;
    assert_eq!((queue.name.as_str(), queue.paused, queue.running), (name.as_str(), true, 0));
    let depth = queue.depths[&Status::Queued];
    assert_eq!((depth.jobs, depth.capped, depth.oldest_age.is_some()), (1, false, true));
    let queues = client.list_queues().await?;
    assert!(queues.iter().any(|each| each.name == name && each.paused));

    let worker = Worker::builder(server()).queue(&name).handle("echo", echoes).build()?;
    let done = beside(worker, async {
        assert_eq!(
            client.wait(&job.id, Duration::from_millis(300)).await.unwrap_err().code(),
            jobqueue::Code::DeadlineExceeded
        );
        assert!(!client.resume_queue(&name).await?.paused);
        client.wait(&job.id, WITHIN).await
    });
    assert_eq!(done.await?.status, Status::Succeeded);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_job_is_explained_and_a_queues_demand_is_told() -> Done {
    let (client, name) = (client()?, own());
    assert_eq!(client.get_queue_demand(&name).await.unwrap_err().kind(), ErrorKind::QueueNotFound);
    let job = client.enqueue(NewJob::new("echo").queue(&name)).await?;
    client.pause_queue(&name, "the printer burns").await?;

    let found = client.explain(&job.id).await?;
    assert_eq!((found.job_id.as_str(), found.status), (job.id.as_str(), Status::Queued));
    assert_eq!(found.reasons[0].code, "QUEUE_PAUSED");
    assert_eq!(found.reasons[0].unblocked_by, [format!("ResumeQueue {name}")]);
    assert!(matches!(&found.reasons[0].detail, Some(Detail::Pause(pause)) if pause.reason == "the printer burns"));
    let demand = client.get_queue_demand(&name).await?;
    assert_eq!((demand.paused, demand.runnable, demand.wanted_slots), (1, 0, 0));
    assert!(demand.read_at.is_some() && demand.oldest_runnable_age.is_none());

    client.cancel(&job.id).await?;
    assert_eq!(client.explain(&job.id).await?.reasons[0].code, "TERMINAL");
    let unknown = "00000000-0000-7000-8000-000000000000";
    assert_eq!(client.explain(unknown).await.unwrap_err().kind(), ErrorKind::JobNotFound);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_job_that_waits_for_its_turn_says_when_it_may_start_and_a_demand_what_came_and_ended() -> Done {
    let (client, queue) = (client()?, own());
    let (release, released) = channel(false);
    let holds = move |job: LeasedJob| {
        let mut released = released.clone();
        async move {
            if job.decode::<bool>().map_err(failed)? {
                released.wait_for(|released| *released).await?;
            }
            Ok(())
        }
    };
    let worker = Worker::builder(server()).queue(&queue).concurrency(1).handle("hold", holds).build()?;
    let job = |holds: bool| NewJob::new("hold").queue(&queue).payload(json!(holds));
    let told = beside(worker, async {
        for done in client.enqueue_many(vec![job(false); 6]).await? {
            client.wait(&done.id, WITHIN).await?;
        }
        client.enqueue(job(true)).await?;
        let last = client.enqueue(job(false)).await?.id;
        let told = async {
            loop {
                // What has just come or ended is counted when its second is over.
                let (found, demand) = (client.explain(&last).await?, client.get_queue_demand(&queue).await?);
                let estimate = found.estimate.filter(|estimate| estimate.ends_per_second > 0.09);
                if let Some(estimate) = estimate.filter(|_| demand.arrivals_per_second > 0.12) {
                    return Ok((found.read_at, estimate, demand));
                }
            }
        };
        let told = timeout(WITHIN, told).await.expect("there is no estimate");
        release.send_replace(true);
        client.wait(&last, WITHIN).await?;
        told
    });
    let (read_at, estimate, demand) = Box::pin(told).await?;
    assert!(!estimate.capped && estimate.ahead <= 1);
    assert!(read_at < estimate.earliest_at && estimate.earliest_at < estimate.latest_at);
    assert!(demand.ends_per_second > 0.09 && demand.ends_per_second < demand.arrivals_per_second);
    Ok(())
}
