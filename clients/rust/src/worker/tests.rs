//! What the conformance suite does not ask for: panics, errors' names, observers. A session is given frames, and what it
//! sends is looked at.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::observer::{AttemptOutcome, Observer};
use super::session::Session;
use super::stream::Stream;
use super::{LeasedJob, Worker};
use crate::outcomes::{HandlerResult, Stop, cancelled, discard, failed, retry, snooze};
use crate::v1;
use crate::v1::lease_request::Frame;
use crate::v1::lease_response::Frame as Said;
use crate::v1::outcome::Outcome;
use crate::v1::settle_result::Verdict;

/// A session on a stream whose other end is the test.
struct Scene {
    session: Arc<Session>,
    sent: UnboundedReceiver<v1::LeaseRequest>,
}

impl Scene {
    fn new(worker: &Worker) -> Self {
        let session = worker.inner.open().unwrap();
        let (sender, sent) = unbounded_channel();
        let welcome = v1::Welcome { session_token: "token".into(), ..v1::Welcome::default() };
        session.lock().welcome(welcome, Stream::new(sender, CancellationToken::new()));
        Self { session, sent }
    }

    fn says(&self, frame: Said) {
        self.session.lock().handle(frame);
    }

    /// Hands over a job of the kind `k`, by the number of its lease.
    fn delivers(&self, lease_id: i64) {
        let job = v1::LeasedJob {
            lease_id,
            id: format!("job-{lease_id}"),
            attempt: 1,
            kind: "k".into(),
            content: Some(v1::leased_job::Content::PayloadJson("7".into())),
            ..v1::LeasedJob::default()
        };
        self.says(Said::Delivery(v1::Delivery { seq: lease_id, jobs: vec![job] }));
    }

    /// As its handler has it.
    fn job(&self, lease_id: i64) -> LeasedJob {
        self.session.lock().leases[&lease_id].job.clone()
    }

    async fn settle(&mut self) -> v1::Settle {
        let found = async {
            loop {
                if let Some(Frame::Settle(settle)) = self.sent.recv().await.unwrap().frame {
                    return settle;
                }
            }
        };
        timeout(Duration::from_secs(10), found).await.expect("nothing is settled")
    }

    /// The one outcome of the next frame.
    async fn outcome(&mut self) -> Outcome {
        let settle = self.settle().await;
        self.says(Said::Settled(v1::Settled { seq: settle.seq, exceptions: Vec::new() }));
        assert_eq!((settle.succeeded.len(), settle.outcomes.len()), (0, 1));
        settle.outcomes.into_iter().next().unwrap().outcome.unwrap()
    }

    async fn failure(&mut self) -> v1::Failure {
        match self.outcome().await {
            Outcome::Failure(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is broken")
    }
}

impl std::error::Error for Broken {}

/// By the number of its lease, which its id ends with.
async fn ends(job: LeasedJob) -> HandlerResult {
    match job.id() {
        "job-1" => panic!("number {}", 1),
        "job-2" => Err(Broken.into()),
        "job-3" => Err(discard(Broken)),
        "job-4" => Err(retry(Broken, Duration::from_secs(7))),
        "job-5" => Err(failed("ä".repeat(8 * 1024))),
        "job-6" => Err(snooze(Duration::from_secs(7))),
        "job-7" => Err(cancelled()),
        "job-8" => {
            job.decode::<String>()?;
            Ok(())
        }
        "job-9" => Err(job.stopped().await.into()),
        _ => Ok(()),
    }
}

fn worker() -> Worker {
    Worker::builder("127.0.0.1:1").handle("k", ends).build().unwrap()
}

#[tokio::test]
async fn a_panic_is_a_failure_like_another_and_the_worker_goes_on() {
    let mut scene = Scene::new(&worker());
    scene.delivers(1);
    let failure = scene.failure().await;
    assert_eq!((failure.error_type.as_str(), failure.error.as_str()), ("panic", "number 1"));
    assert!(!failure.permanent);
    scene.delivers(100);
    assert_eq!(scene.settle().await.succeeded, [100]);
}

#[tokio::test]
async fn an_error_is_reported_by_its_type_and_its_words() {
    let mut scene = Scene::new(&worker());
    scene.delivers(2);
    let plain = scene.failure().await;
    assert!(plain.error_type.ends_with("tests::Broken"), "{}", plain.error_type);
    assert_eq!((plain.error.as_str(), plain.permanent, plain.retry_after), ("it is broken", false, None));
    scene.delivers(3);
    let discarded = scene.failure().await;
    assert_eq!((discarded.error_type, discarded.permanent), (plain.error_type, true));
    scene.delivers(4);
    let again = scene.failure().await;
    assert_eq!(again.retry_after.map(|wait| wait.seconds), Some(7));
    scene.delivers(5);
    let long = scene.failure().await;
    assert!(long.error.len() <= 8 * 1024 && long.error.ends_with("[cut, 16384 bytes in all]"));
    scene.delivers(8);
    assert!(scene.failure().await.error_type.starts_with("serde_json::"));
}

#[tokio::test]
async fn a_handler_puts_its_job_off_or_gives_it_up() {
    let mut scene = Scene::new(&worker());
    scene.delivers(6);
    assert!(matches!(scene.outcome().await, Outcome::Snooze(snooze) if snooze.delay.unwrap().seconds == 7));
    scene.delivers(7);
    assert!(matches!(scene.outcome().await, Outcome::Cancellation(_)));
}

#[tokio::test]
async fn why_a_handler_was_stopped_decides_what_its_stopping_means() {
    let mut scene = Scene::new(&worker());
    scene.delivers(9);
    let cancel = v1::CancelLeases { lease_ids: vec![9], reason: "a test".into(), ..v1::CancelLeases::default() };
    scene.says(Said::Control(v1::Control { action: Some(v1::control::Action::Cancel(cancel)) }));
    assert!(matches!(scene.outcome().await, Outcome::Cancellation(_)));
    let worker = worker();
    let mut scene = Scene::new(&worker);
    scene.delivers(9);
    for lease in scene.session.lock().alive() {
        lease.stop(Stop::Shutdown);
        assert_eq!(lease.job.stop_reason(), Some(&Stop::Shutdown));
    }
    assert!(matches!(scene.outcome().await, Outcome::Release(_)));
}

#[tokio::test]
async fn what_crosses_a_move_that_is_refused_is_given_back_and_not_begun() {
    let mut scene = Scene::new(&worker());
    scene.session.lock().hello();
    scene.delivers(100);
    scene.session.lock().stay();
    assert!(matches!(scene.outcome().await, Outcome::Release(_)));
}

#[tokio::test]
async fn a_report_of_a_handler_that_outlived_its_session_is_not_taken_for_that_of_a_later_lease() {
    let mut scene = Scene::new(&worker());
    scene.delivers(9);
    let old = scene.job(9);
    scene.session.lock().over();
    let (sender, sent) = unbounded_channel();
    let welcome = v1::Welcome { session_token: "another".into(), ..v1::Welcome::default() };
    scene.session.lock().welcome(welcome, Stream::new(sender, CancellationToken::new()));
    scene.sent = sent;
    scene.delivers(9);
    old.save_checkpoint("of the old one").unwrap();
    scene.job(9).save_checkpoint("of the new one").unwrap();
    let found = async {
        loop {
            if let Some(Frame::Progress(progress)) = scene.sent.recv().await.unwrap().frame {
                return progress.checkpoint.unwrap();
            }
        }
    };
    assert_eq!(timeout(Duration::from_secs(10), found).await.unwrap(), "of the new one");
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Observer for Told {
    fn started(&self, kind: &str) {
        self.0.lock().unwrap().push(format!("started {kind}"));
    }

    fn finished(&self, kind: &str, outcome: AttemptOutcome, _: Duration) {
        self.0.lock().unwrap().push(format!("{outcome} {kind}"));
    }
}

#[tokio::test]
async fn an_observer_is_told_of_every_start_and_of_what_became_of_it() {
    let told = Told::default();
    let worker = Worker::builder("127.0.0.1:1").handle("k", ends).observer(told.clone()).build().unwrap();
    let mut scene = Scene::new(&worker);
    let answers = [
        (100, Verdict::Applied, v1::job::Status::Succeeded),
        (2, Verdict::Applied, v1::job::Status::Retrying),
        (3, Verdict::Applied, v1::job::Status::FailedPermanent),
        (7, Verdict::Applied, v1::job::Status::Cancelled),
        (6, Verdict::StaleLease, v1::job::Status::Unspecified),
    ];
    for (lease_id, verdict, status) in answers {
        scene.delivers(lease_id);
        let seq = scene.settle().await.seq;
        let mut result = v1::SettleResult { lease_id, ..v1::SettleResult::default() };
        result.set_verdict(verdict);
        result.set_status(status);
        scene.says(Said::Settled(v1::Settled { seq, exceptions: vec![result] }));
    }
    scene.delivers(9);
    let revoke = v1::RevokeLeases { lease_ids: vec![9], reason: "TIMED_OUT".into(), ..v1::RevokeLeases::default() };
    scene.says(Said::Control(v1::Control { action: Some(v1::control::Action::Revoke(revoke)) }));
    let ends: Vec<String> =
        told.0.lock().unwrap().iter().filter(|line| !line.starts_with("started")).cloned().collect();
    assert_eq!(ends, ["succeeded k", "retrying k", "failed_permanent k", "cancelled k", "error k", "error k"]);
    assert_eq!(told.0.lock().unwrap().iter().filter(|line| *line == "started k").count(), 6);
}

#[test]
fn a_worker_says_which_of_its_settings_is_wrong() {
    let builder = || Worker::builder("127.0.0.1:1").handle("k", ends);
    for (field, wrong) in [
        ("target", builder().target("nowhere")),
        ("handle", Worker::builder("127.0.0.1:1")),
        ("handle", builder().handle("k", ends)),
        ("slots", builder().slots("k", 0)),
        ("slots", builder().slots("another", 1)),
        ("concurrency", builder().concurrency(0)),
        ("concurrency", builder().concurrency(10_001)),
        ("name", builder().name("")),
        ("name", builder().name("ä".repeat(129))),
        ("session_ttl", builder().session_ttl(Duration::from_secs(4))),
    ] {
        assert_eq!(wrong.build().unwrap_err().violations()[0].field, field);
    }
    builder().name("ä".repeat(128)).build().unwrap();
}

#[tokio::test]
async fn a_worker_runs_once_at_a_time_and_again_after_it() {
    let worker = worker();
    let end = CancellationToken::new();
    let running = tokio::spawn({
        let (worker, end) = (worker.clone(), end.clone());
        async move { worker.run(end).await }
    });
    while worker.inner.lock().session.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(worker.run(end.clone()).await.unwrap_err().message().contains("runs already"));
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert!(worker.inner.lock().session.is_none());
}
