//! What a recording client answers is what a real server does.

use jobqueue::testing::RecordingClient;
use jobqueue::{Enqueue, Error, NewJob};
use serde_json::json;

use crate::{Done, client, own};

async fn sends(jobs: &impl Enqueue, queue: &str, key: &str) -> Result<(Vec<bool>, Error), Error> {
    let job = NewJob::new("k").queue(queue).payload(json!(1)).idempotency_key(key);
    let first = jobs.enqueue(job.clone()).await?;
    let again = jobs.enqueue(job.clone().header("a", "b")).await?;
    let many = jobs.enqueue_many([job.clone(), NewJob::new("k").queue(queue)]).await?;
    assert_eq!((&again.id, &many[0].id), (&first.id, &first.id));
    let refused = jobs.enqueue(job.payload(json!(2))).await.unwrap_err();
    Ok((vec![first.replayed, again.replayed, many[0].replayed, many[1].replayed], refused))
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_recording_client_answers_as_a_server_does() -> Done {
    let (client, recording, queue) = (client()?, RecordingClient::new(), own());
    let (there, refused) = sends(&client, &queue, &queue).await?;
    let (alone, refused_alone) = sends(&recording, &queue, &queue).await?;
    assert_eq!(there, alone);
    assert_eq!((refused.kind(), refused.reason()), (refused_alone.kind(), refused_alone.reason()));
    for job in [NewJob::new("K"), NewJob::new("k").queue("a b"), NewJob::new("k").priority(11)] {
        let there = Enqueue::enqueue(&client, job.clone()).await.unwrap_err();
        let alone = recording.enqueue(job).await.unwrap_err();
        assert_eq!((there.kind(), there.reason()), (alone.kind(), alone.reason()));
        assert_eq!(there.violations()[0].field, alone.violations()[0].field);
    }
    assert_eq!(recording.jobs().len(), 2);
    Ok(())
}
