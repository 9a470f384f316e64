//! What is asked for again when an answer is lost, and what is not.

use std::time::Duration;

use jobqueue::{Client, Error, ErrorKind, Job, NewJob, Status, WatchFilter, new_idempotency_key};

use crate::line::Line;
use crate::{Done, client, own, server, the_one_of, told};

/// A call over a line that is cut once its job is there: the answer is lost, and the job is not.
async fn lost<T>(
    line: &Line,
    queue: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<(Result<T, Error>, Job), Error> {
    line.mute();
    let direct = client()?;
    let cut = async {
        let job = the_one_of(&direct, queue).await;
        line.cut();
        job
    };
    let (answer, job) = tokio::join!(call, cut);
    // It stays the only one.
    let job = job?;
    assert_eq!(the_one_of(&direct, queue).await?.id, job.id);
    Ok((answer, job))
}

#[tokio::test]
#[ignore = "wants a server"]
async fn an_enqueue_whose_answer_was_lost_is_repeated_under_its_key_and_is_one_job() -> Done {
    let line = Line::to(&server()).await?;
    let client = Client::new(&line.address)?;
    client.list_queues().await?;
    let keyed = |queue: &str| NewJob::new("k").queue(queue).idempotency_key(new_idempotency_key());

    let queue = own();
    let (answer, job) = lost(&line, &queue, Box::pin(client.enqueue(keyed(&queue)))).await?;
    let answer = answer?;
    assert_eq!((answer.id, answer.replayed), (job.id, true));

    let queue = own();
    let (answer, job) = lost(&line, &queue, client.enqueue_many([keyed(&queue)])).await?;
    let [answer] = answer?.try_into().map_err(|_| "not one")?;
    assert_eq!((answer.id, answer.replayed), (job.id, true));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn an_enqueue_without_a_key_is_not_repeated() -> Done {
    let line = Line::to(&server()).await?;
    let client = Client::new(&line.address)?;
    client.list_queues().await?;

    let queue = own();
    let (answer, _) = lost(&line, &queue, Box::pin(client.enqueue(NewJob::new("k").queue(&queue)))).await?;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);

    let queue = own();
    let mixed = [NewJob::new("k").queue(&queue)];
    let (answer, _) = lost(&line, &queue, client.enqueue_many(mixed)).await?;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.enqueued().len()), (ErrorKind::Unavailable, 0));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_read_is_repeated_and_a_cancel_a_retry_and_a_delete_are_not() -> Done {
    let direct = client()?;
    let line = Line::to(&server()).await?;
    let client = Client::new(&line.address)?;
    let id = client.enqueue(NewJob::new("k").queue(own())).await?.id;
    let mut watch = direct.watch(WatchFilter { ids: vec![id.clone()], ..WatchFilter::default() });
    told(&mut watch).await?;

    line.mute();
    let (read, ()) = tokio::join!(client.get(&id), async { line.cut() });
    assert_eq!(read?.id, id);
    // Each is done, and its answer is lost.
    line.mute();
    let (cancelled, status) = tokio::join!(client.cancel(&id), async {
        let job = told(&mut watch).await;
        line.cut();
        job.map(|job| job.status)
    });
    assert_eq!((cancelled.unwrap_err().kind(), status?), (ErrorKind::Unavailable, Status::Cancelled));

    client.get(&id).await?;
    line.mute();
    let (again, ()) = tokio::join!(client.retry(&id), async {
        while direct.get(&id).await.is_ok_and(|job| job.is_terminal()) {}
        line.cut();
    });
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Unavailable);

    direct.cancel(&id).await?;
    client.get(&id).await?;
    line.mute();
    let (deleted, ()) = tokio::join!(client.delete(&id), async {
        while direct.get(&id).await.is_ok() {}
        line.cut();
    });
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Unavailable);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn the_deadline_bounds_all_tries_and_the_cause_is_told() -> Done {
    let line = Line::to(&server()).await?;
    let client = Client::builder(&line.address).deadline(Duration::from_millis(500)).build()?;
    let id = client.enqueue(NewJob::new("k").queue(own())).await?.id;
    line.close();
    let refused = client.get(&id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().ends_with("; tried again until the deadline"), "{refused}");
    line.cut();
    assert_eq!(client.get(&id).await?.id, id);
    line.mute();
    let silent = client.get(&id).await.unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::DeadlineExceeded);
    Ok(())
}
