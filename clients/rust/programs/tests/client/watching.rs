//! Jobs are told as they change.

use std::time::Duration;

use futures_util::StreamExt;
use jobqueue::{Client, ErrorKind, NewJob, Status, WatchFilter};
use serde_json::json;
use tokio::time::timeout;

use crate::line::Line;
use crate::{Done, WITHIN, client, own, server, told};

#[tokio::test]
#[ignore = "wants a server"]
async fn a_watch_of_ids_ends_when_all_are_over_and_names_those_that_were_deleted() -> Done {
    let (client, queue) = (client()?, own());
    let one = client.enqueue(NewJob::new("k").queue(&queue).payload(json!(1))).await?.id;
    let two = client.enqueue(NewJob::new("k").queue(&queue).payload(json!(2))).await?.id;
    let ids = vec![one.clone(), two.clone()];
    let mut watch = client.watch(WatchFilter { ids, full: true, ..WatchFilter::default() });
    for _ in 0..2 {
        let job = told(&mut watch).await?;
        assert_eq!((job.status, job.payload.is_some()), (Status::Queued, true));
    }
    client.cancel(&one).await?;
    assert_eq!(told(&mut watch).await?.id, one);
    client.delete(&one).await?;
    client.cancel(&two).await?;
    let last = told(&mut watch).await?;
    assert_eq!((last.id, last.status), (two, Status::Cancelled));
    assert!(timeout(WITHIN, watch.next()).await?.is_none());
    assert_eq!(watch.deleted(), [one]);
    assert!(watch.next().await.is_none());

    let nowhere = vec!["0199aaaa-0000-7000-8000-000000000000".into()];
    let mut watch = client.watch(WatchFilter { ids: nowhere, ..WatchFilter::default() });
    assert_eq!(told(&mut watch).await.unwrap_err().kind(), ErrorKind::JobNotFound);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn another_watch_goes_on_by_the_token() -> Done {
    let (client, queue) = (client()?, own());
    let filter = WatchFilter { queue: queue.clone(), ..WatchFilter::default() };
    let mut watch = client.watch(filter.clone());
    watch.begin().await?;
    let first = client.enqueue(NewJob::new("k").queue(&queue)).await?;
    assert_eq!(told(&mut watch).await?.id, first.id);
    let resume_token = watch.resume_token().to_owned();
    drop(watch);
    let second = client.enqueue(NewJob::new("k").queue(&queue)).await?;
    let mut again = client.watch(WatchFilter { resume_token, ..filter }).into_stream();
    let next = timeout(WITHIN, again.next()).await?.ok_or("it has ended")??;
    assert_eq!(next.id, second.id);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_watch_goes_on_where_its_stream_broke_and_tells_nothing_twice() -> Done {
    let (client, queue) = (client()?, own());
    let line = Line::to(&server()).await?;
    let mut watch = Client::new(&line.address)?.watch(WatchFilter { queue: queue.clone(), ..WatchFilter::default() });
    watch.begin().await?;
    let mut ids = Vec::new();
    for turn in 0..6 {
        // While it hears of nothing, while there is no line, and while all is well.
        match turn % 3 {
            0 => line.mute(),
            1 => line.close(),
            _ => {}
        }
        ids.push(client.enqueue(NewJob::new("k").queue(&queue)).await?.id);
        line.cut();
        assert_eq!(told(&mut watch).await?.id, ids[turn]);
    }
    for id in &ids {
        client.cancel(id).await?;
        line.cut();
        let job = told(&mut watch).await?;
        assert_eq!((&job.id, job.status), (id, Status::Cancelled));
    }
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_watch_without_a_server_ends_when_its_patience_does_and_says_why() -> Done {
    let line = Line::to(&server()).await?;
    let patience = Some(Duration::from_millis(300));
    let mut watch = Client::new(&line.address)?.watch(WatchFilter { queue: own(), patience, ..WatchFilter::default() });
    watch.begin().await?;
    line.close();
    let error = told(&mut watch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("tried again until the deadline"), "{error}");
    Ok(())
}
