//! How long a queue keeps ended jobs.

use std::time::Duration;

use jobqueue::{ErrorKind, QueueChange, Retention};

use crate::{Done, client, own};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
#[ignore = "wants a server"]
async fn how_long_a_queue_keeps_ended_jobs_is_changed_as_a_whole_or_in_part() -> Done {
    let (client, queue) = (client()?, own());
    let retention = Retention {
        succeeded: Some(DAY),
        failed_permanent: Some(30 * DAY),
        cancelled: Some(Duration::from_secs(3600)),
    };
    let change = |retention| QueueChange { retention: Some(retention), ..QueueChange::default() };
    assert_eq!(client.update_queue(&queue, change(retention)).await.unwrap_err().kind(), ErrorKind::QueueNotFound);
    let made = QueueChange { allow_missing: true, max_waiting: Some(9), ..change(retention) };
    let made = client.update_queue(&queue, made).await?;
    assert_eq!((made.retention, made.max_waiting), (Some(retention), Some(9)));
    assert_eq!(client.get_queue(&queue).await?.retention, Some(retention));

    let longer = Retention { succeeded: Some(2 * DAY), ..Retention::default() };
    let part = QueueChange { retention_fields: vec!["succeeded".into()], etag: made.etag.clone(), ..change(longer) };
    let changed = client.update_queue(&queue, part.clone()).await?;
    assert_eq!(changed.retention, Some(Retention { succeeded: Some(2 * DAY), ..retention }));
    let again = client.update_queue(&queue, part).await.unwrap_err();
    assert_eq!((again.kind(), again.metadata().get("etag")), (ErrorKind::EtagMismatch, Some(&changed.etag)));
    let without = QueueChange { retention_fields: vec!["failed_permanent".into()], ..QueueChange::default() };
    let of_nothing = QueueChange { max_waiting: Some(9), ..without.clone() };
    assert_eq!(client.update_queue(&queue, of_nothing).await?.retention, changed.retention);
    let without = QueueChange { retention: Some(Retention::default()), ..without };
    let left = client.update_queue(&queue, without).await?.retention.ok_or("nothing is left")?;
    assert_eq!((left.failed_permanent, left.cancelled), (None, retention.cancelled));

    let short = Retention { cancelled: Some(Duration::from_secs(1)), ..Retention::default() };
    let refused = client.update_queue(&queue, change(short)).await.unwrap_err();
    assert_eq!(refused.violations()[0].field, "queue.retention.cancelled");
    let none = client.update_queue(&queue, change(Retention::default())).await?;
    assert_eq!((none.retention, none.max_waiting), (None, Some(9)));
    Ok(())
}
