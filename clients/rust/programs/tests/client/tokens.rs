//! Tokens that are renewed.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jobqueue::{
    Access, Client, ErrorKind, HandlerError, LeasedJob, NewJob, Status, WatchFilter, Worker, new_idempotency_key,
};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use crate::line::Line;
use crate::{Done, WITHIN, beside, client, own, told};

/// Makes a token that was never used; how many were asked for.
fn renewed() -> (Access, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let access = Access::new().token_source(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(new_idempotency_key()) }
    });
    (access, asked)
}

fn gate() -> Result<String, env::VarError> {
    env::var("JOBQUEUE_GATE")
}

#[tokio::test]
#[ignore = "wants a server"]
async fn the_token_is_asked_for_at_every_call_and_every_stream() -> Done {
    let queue = own();
    let kept = Client::builder(gate()?).access(Access::new().token(new_idempotency_key())).build()?;
    kept.list_queues().await?;
    assert_eq!(kept.list_queues().await.unwrap_err().kind(), ErrorKind::Unauthenticated);

    let (access, asked) = renewed();
    let asked = || asked.load(Ordering::Relaxed);
    let line = Line::to(&gate()?).await?;
    let renewing = Client::builder(&line.address).access(access).build()?;
    let mut watch = renewing.watch(WatchFilter { queue: queue.clone(), ..WatchFilter::default() });
    watch.begin().await?;
    for _ in 0..3 {
        let before = asked();
        let job = renewing.enqueue(NewJob::new("k").queue(&queue)).await?;
        assert_eq!(asked(), before + 1);
        line.cut();
        client()?.cancel(&job.id).await?;
        // That it was enqueued may have been told on the stream that was cut; its end was not.
        while told(&mut watch).await?.status != Status::Cancelled {}
        assert!(asked() > before + 1);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_worker_connects_again_with_a_renewed_token() -> Done {
    let (direct, queue) = (client()?, own());
    let (access, asked) = renewed();
    let line = Line::to(&gate()?).await?;
    let (tell, mut told) = unbounded_channel();
    let handler = move |job: LeasedJob| {
        let heard = tell.send(job.id().to_owned()).map_err(HandlerError::from);
        async { heard }
    };
    let worker = Worker::builder(&line.address).access(access).queue(&queue).handle("tell", handler).build()?;
    beside(worker, async {
        for turn in 1..=3 {
            let job = Box::pin(direct.enqueue(NewJob::new("tell").queue(&queue))).await?;
            // Its outcome goes over the line that it came on, or over the next one, which wants another token.
            // A job that the server does not know to be here yet comes once more, at no charge.
            while timeout(WITHIN, told.recv()).await.expect("nothing begins") != Some(job.id.clone()) {}
            line.cut();
            let job = direct.wait(&job.id, WITHIN).await?;
            assert_eq!((job.status, job.failures), (Status::Succeeded, 0), "{turn}");
        }
        Ok(())
    })
    .await?;
    assert!(asked.load(Ordering::Relaxed) >= 3);
    Ok(())
}
