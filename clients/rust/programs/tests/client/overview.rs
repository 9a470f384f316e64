//! How the queues are doing, and what happened to jobs.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt};
use jobqueue::{
    Client, Error, ErrorKind, Filter, GroupBy, NewJob, Overview, QueueOverview, StatsQuery, Status, WarningCode,
    Worker, WorkerFilter,
};
use tokio::time::timeout;

use crate::line::Line;
use crate::{Done, WITHIN, beside, client, echoes, of_queue, own, server};

fn of(overview: &Overview, queue: &str) -> Option<QueueOverview> {
    overview.queues.iter().find(|each| each.queue == queue).cloned()
}

#[tokio::test]
#[ignore = "wants a server"]
async fn an_overview_tells_what_waits_and_what_is_wrong_again_and_again() -> Done {
    let (client, queue) = (client()?, own());
    client.enqueue_many(vec![NewJob::new("k").queue(&queue); 3]).await?;
    client.pause_queue(&queue, "the printer burns").await?;
    let mut watch = client.watch_overview(None);
    let told = async {
        loop {
            let overview = watch.try_next().await?.expect("it has no end");
            let shown = of(&overview, &queue).filter(|each| each.depth.queued == 3);
            let warning = overview.warnings.iter().find(|each| each.queue == queue).cloned();
            if let (Some(shown), Some(warning)) = (shown, warning) {
                return Ok::<_, Error>((overview, shown, warning));
            }
        }
    };
    let (overview, shown, warning) = timeout(2 * WITHIN, told).await.expect("the queue is not told")?;
    let pause = shown.pause.ok_or("it is paused")?;
    assert_eq!((shown.paused, pause.reason.as_str(), pause.since.is_some()), (true, "the printer burns", true));
    assert_eq!((shown.depth.running, shown.depth.capped, shown.workers), (0, false, 0));
    assert!(shown.depth.oldest_due_age.is_some() && overview.depth.queued >= 3);
    assert_eq!(warning.code, WarningCode::PausedWithJobs);
    assert_eq!((warning.remedy, warning.since.is_some()), (format!("ResumeQueue {queue}"), true));
    assert!(overview.read_at.is_some() && overview.window > Some(Duration::ZERO));

    let servers = client.list_servers().await?;
    assert_eq!(servers.iter().filter(|each| each.is_self).count(), 1);
    assert!(servers.iter().all(|each| each.level > 0 && !each.name.is_empty() && each.heard_at.is_some()));
    let once = client.overview().await?;
    assert_eq!(once.servers.len(), servers.len());
    assert!(of(&once, &queue).is_some() && once.read_at >= overview.read_at);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_watched_overview_goes_on_over_another_stream_and_ends_with_its_patience() -> Done {
    let line = Line::to(&server()).await?;
    let mut watch = Client::new(&line.address)?.watch_overview(Duration::from_secs(2));
    let first = timeout(WITHIN, watch.try_next()).await??.ok_or("it has no end")?;
    line.cut();
    // One or two may have come before it was cut.
    for _ in 0..3 {
        let next = timeout(WITHIN, watch.try_next()).await??.ok_or("it has no end")?;
        assert!(next.read_at >= first.read_at);
    }
    line.close();
    let last = async {
        loop {
            if let Err(error) = watch.try_next().await {
                return error;
            }
        }
    };
    let error = timeout(WITHIN, last).await?;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("tried again until the deadline"), "{error}");
    assert!(watch.next().await.is_none());
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_happened_is_told_in_steps_and_split_by_kind() -> Done {
    let (client, queue) = (client()?, own());
    let since = SystemTime::now() - Duration::from_secs(60);
    let worker = Worker::builder(server()).queue(&queue).handle("echo", echoes).build()?;
    let done = beside(worker, async {
        for each in client.enqueue_many(vec![NewJob::new("echo").queue(&queue); 2]).await? {
            client.wait(&each.id, WITHIN).await?;
        }
        client.enqueue(NewJob::new("k").queue(&queue)).await
    });
    client.cancel(&Box::pin(done).await?.id).await?;
    let query = StatsQuery {
        queue: queue.clone(),
        since: Some(since),
        step: Some(Duration::from_secs(10)),
        group_by: GroupBy::Kind,
        ..StatsQuery::default()
    };
    let written = async {
        loop {
            // What has just happened is written each 10 s.
            let stats = client.stats(query.clone()).await?;
            if stats.series.iter().map(|each| each.totals.succeeded + each.totals.cancelled).sum::<u64>() == 3 {
                return Ok::<_, Error>(stats);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let stats = timeout(3 * WITHIN, written).await.expect("nothing is written")?;
    let [echo, other] = &stats.series[..] else { return Err(format!("not two: {stats:?}").into()) };
    assert_eq!((echo.kind.as_str(), echo.queue.as_str(), other.kind.as_str()), ("echo", "", "k"));
    assert_eq!((echo.totals.enqueued, echo.totals.started, echo.totals.succeeded), (2, 2, 2));
    assert_eq!((other.totals.enqueued, other.totals.cancelled, other.totals.run_p50), (1, 1, None));
    assert!(echo.totals.wait_p50 <= echo.totals.wait_p99 && echo.totals.run_p99.is_some());
    assert_eq!(echo.points.iter().map(|point| point.totals.succeeded).sum::<u64>(), 2);
    assert_eq!((stats.step, stats.series_left_out), (Some(Duration::from_secs(10)), 0));
    assert!(stats.since <= Some(since) && echo.points.iter().all(|point| point.at >= stats.since));

    let kind = StatsQuery { kind: "k".into(), group_by: GroupBy::QueueAndKind, ..query.clone() };
    let one = client.stats(kind).await?;
    assert_eq!((one.series.len(), one.series[0].queue.as_str()), (1, queue.as_str()));
    let backwards = StatsQuery { until: Some(since - Duration::from_secs(60)), ..query };
    assert!(client.stats(backwards).await.unwrap_err().is(ErrorKind::InvalidRequest));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn jobs_are_counted_by_what_lists_take() -> Done {
    let (client, queue) = (client()?, own());
    let jobs = (0..5).map(|n| NewJob::new("k").queue(&queue).label("odd", (n % 2).to_string()));
    let ids = client.enqueue_many(jobs).await?;
    client.cancel(&ids[0].id).await?;
    let all = client.count_jobs(&of_queue(&queue)).await?;
    assert_eq!((all.count, all.exact, all.read_at.is_some()), (5, true, true));
    let waiting = Filter { status: vec![Status::Queued], ..of_queue(&queue) };
    assert_eq!(client.count_jobs(&waiting).await?.count, 4);
    let odd = Filter { labels: HashMap::from([("odd".into(), "0".into())]), ..waiting };
    assert_eq!(client.count_jobs(&odd).await?.count, 2);
    let older = Filter { created_before: Some(SystemTime::UNIX_EPOCH), ..of_queue(&queue) };
    assert_eq!(client.count_jobs(&older).await?.count, 0);
    let wrong = client.count_jobs(&of_queue("No Queue")).await.unwrap_err();
    assert!(wrong.is(ErrorKind::InvalidRequest));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn questions_are_asked_again_while_no_server_answers() -> Done {
    let line = Line::to(&server()).await?;
    let far = Client::builder(&line.address).deadline(Duration::from_millis(300)).build()?;
    line.close();
    let again = |error: Error| error.to_string().contains("tried again until the deadline");
    assert!(again(far.overview().await.unwrap_err()));
    assert!(again(far.stats(StatsQuery::default()).await.unwrap_err()));
    assert!(again(far.count_jobs(&Filter::default()).await.unwrap_err()));
    assert!(again(far.list_servers().await.unwrap_err()));
    assert!(again(far.list_workers(WorkerFilter::default()).await.unwrap_err()));
    assert!(again(far.get_worker("4711").await.unwrap_err()));
    assert!(again(far.drain_worker("4711", "").await.unwrap_err()));
    Ok(())
}
