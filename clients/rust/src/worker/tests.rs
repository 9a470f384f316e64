//! What the conformance suite does not ask for: panics, errors' names, observers. A session is given frames, and what it
//! sends is looked at.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::observer::{Attempt, AttemptOutcome, Observer};
use super::session::Session;
use super::stream::Stream;
use super::{LeasedJob, Running, Worker, WorkerBuilder, WorkerState, WorkerStatus};
use crate::environment::Environment;
use crate::errors::Error;
use crate::json::Json;
use crate::outcomes::{HandlerResult, Stop, cancelled, discard, failed, retry, snooze};
use crate::v1;
use crate::v1::lease_request::Frame;
use crate::v1::lease_response::Frame as Said;
use crate::v1::outcome::Outcome;
use crate::v1::settle_result::Verdict;

/// A session on a stream whose other end is the test.
pub(super) struct Scene {
    session: Arc<Session>,
    sent: UnboundedReceiver<v1::LeaseRequest>,
}

impl Scene {
    pub(super) fn new(worker: &Worker) -> Self {
        let session = worker.inner.open().unwrap();
        let mut scene = Self { session, sent: unbounded_channel().1 };
        scene.welcomed(v1::Welcome::default());
        scene
    }

    /// Another stream is opened.
    fn welcomed(&mut self, welcome: v1::Welcome) {
        let (sender, sent) = unbounded_channel();
        let (session_token, server) = ("token".to_owned(), "scripted".to_owned());
        let welcome = v1::Welcome { session_id: 7, session_token, server, ..welcome };
        self.session.lock().welcome(welcome, Stream::new(sender, CancellationToken::new()));
        self.sent = sent;
    }

    pub(super) fn says(&self, frame: Said) {
        self.session.lock().handle(frame);
    }

    /// Hands over a job of the kind `k`, by the number of its lease.
    fn delivers(&self, lease_id: i64) {
        self.delivers_with(lease_id, &[("x-request-id", "r1")]);
    }

    /// The same with headers.
    pub(super) fn delivers_with(&self, lease_id: i64, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let job = v1::LeasedJob {
            headers,
            lease_id,
            id: format!("job-{lease_id}"),
            attempt: 1,
            kind: "k".into(),
            queue: "default".into(),
            failures: 2,
            labels: [("team".into(), "a".into())].into(),
            content: Some(v1::leased_job::Content::PayloadJson("7".into())),
            ..v1::LeasedJob::default()
        };
        self.says(Said::Delivery(v1::Delivery { seq: lease_id, jobs: vec![job] }));
    }

    /// As its handler has it.
    fn job(&self, lease_id: i64) -> LeasedJob {
        self.session.lock().leases[&lease_id].job.clone()
    }

    pub(super) async fn settle(&mut self) -> v1::Settle {
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
    pub(super) async fn outcome(&mut self) -> Outcome {
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
struct Told(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<Attempt>>>);

impl Observer for Told {
    fn attempt_started(&self, attempt: &Attempt) {
        self.0.lock().unwrap().push(format!("started {}", attempt.kind));
        self.1.lock().unwrap().push(attempt.clone());
    }

    fn attempt_ended(&self, attempt: &Attempt, outcome: AttemptOutcome, _: Duration, error: &str) {
        self.0.lock().unwrap().push(format!("{outcome} {} {error}", attempt.kind));
        assert_ne!(attempt.id, "job-2", "an observer that fails does no harm");
    }

    fn session_changed(&self, status: &WorkerStatus) {
        self.0.lock().unwrap().push(format!("is {} at {}", status.state, status.server));
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
    worker.inner.settings.telling.flush(Duration::from_secs(10)).await;
    let ends: Vec<String> =
        told.0.lock().unwrap().iter().filter(|line| !line.starts_with("started")).cloned().collect();
    let broken = "jobqueue::worker::tests::Broken: it is broken";
    let wanted = [
        "is serving at scripted".to_owned(),
        "succeeded k ".to_owned(),
        format!("retrying k {broken}"),
        format!("failed_permanent k {broken}"),
        "cancelled k ".to_owned(),
        "error k the outcome was not taken: STALE_LEASE".to_owned(),
        "error k the lease was revoked: TIMED_OUT".to_owned(),
    ];
    assert_eq!(ends, wanted);
    assert_eq!(told.0.lock().unwrap().iter().filter(|line| *line == "started k").count(), 6);
    let first = told.1.lock().unwrap()[0].clone();
    assert_eq!((first.id.as_str(), first.queue.as_str(), first.attempt, first.failures), ("job-100", "default", 1, 2));
    assert_eq!((first.labels["team"].as_str(), first.request_id.as_str()), ("a", "r1"));
}

struct Slow(Mutex<std::sync::mpsc::Receiver<()>>);

impl Observer for Slow {
    fn attempt_started(&self, _: &Attempt) {
        self.0.lock().unwrap().recv().unwrap();
    }
}

#[tokio::test]
async fn an_observer_that_blocks_holds_up_no_job_and_no_heartbeat() {
    let (open, gate) = std::sync::mpsc::channel();
    let worker = Worker::builder("127.0.0.1:1").handle("k", ends).observer(Slow(Mutex::new(gate))).build().unwrap();
    let mut scene = Scene::new(&worker);
    scene.delivers(100);
    assert_eq!(scene.settle().await.succeeded, [100]);
    assert!(scene.session.lock().heartbeat());
    open.send(()).unwrap();
    worker.inner.settings.telling.flush(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_worker_says_how_it_is_from_its_making_to_its_end() {
    let worker = worker();
    assert_eq!((worker.status().state, worker.status().slots), (WorkerState::Starting, 8));
    assert_eq!((worker.status().server.as_str(), worker.status().last_heard), ("", None));
    let mut scene = Scene::new(&worker);
    scene.delivers(9);
    let status = worker.status();
    assert_eq!((status.state, status.server.as_str(), status.session), (WorkerState::Serving, "scripted", 7));
    assert_eq!((status.running, status.orphans, status.kinds), (1, 0, vec!["k".to_owned()]));
    assert!(status.last_heard.unwrap().elapsed().unwrap() < Duration::from_secs(20));

    let gone = Error::new(Code::Unavailable, "gone");
    scene.session.lock().broken(&gone, false);
    assert_eq!(
        (worker.status().state, worker.status().last_error.as_str()),
        (WorkerState::Reconnecting, "Unavailable: gone")
    );
    scene.session.lock().broken(&Error::new(Code::Unauthenticated, "no key"), true);
    assert_eq!(worker.status().state, WorkerState::Refused);
    scene.session.lock().over();
    assert_eq!((worker.status().slots, worker.status().orphans), (7, 1));
    scene.welcomed(v1::Welcome::default());
    assert_eq!(worker.status().state, WorkerState::Serving);

    scene.session.lock().draining = true;
    scene.session.lock().enter(WorkerState::Draining);
    scene.session.lock().broken(&gone, false);
    assert_eq!(worker.status().state, WorkerState::Draining);
    drop(Running { worker: &worker.inner, session: scene.session.clone() });
    assert_eq!(worker.status().state, WorkerState::Ended);
}

#[tokio::test]
async fn a_worker_that_is_refused_at_first_has_ended_refused() {
    let worker = worker();
    let session = worker.inner.open().unwrap();
    session.lock().end(Some(&Error::new(Code::InvalidArgument, "no such queue")));
    drop(Running { worker: &worker.inner, session });
    assert_eq!(worker.status().state, WorkerState::Refused);
    assert!(worker.status().last_error.contains("no such queue"));
}

/// Keeps the words of each warning.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Words(String);
        impl tracing::field::Visit for Words {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                match field.name() {
                    "message" => self.0.insert_str(0, &format!("{value:?}")),
                    "run_at" => self.0 = format!("{} run_at={value:?}", self.0),
                    _ => {}
                }
            }
        }
        let mut words = Words(String::new());
        event.record(&mut words);
        self.0.lock().unwrap().push(words.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_kind_that_the_server_does_not_know_is_said_once_for_each_set_of_them() {
    let warnings = Warnings::default();
    let _here = tracing::subscriber::set_default(warnings.clone());
    let worker = worker();
    let mut scene = Scene::new(&worker);
    let unknown = || v1::Welcome { unknown_kinds: vec!["k".into()], ..v1::Welcome::default() };
    scene.welcomed(unknown());
    scene.welcomed(unknown());
    assert_eq!(worker.status().unknown_kinds, ["k"]);
    scene.welcomed(v1::Welcome::default());
    assert!(worker.status().unknown_kinds.is_empty());
    assert_eq!(
        *warnings.0.lock().unwrap(),
        [
            "the server knows no kind \"k\": no job of it can be enqueued; declare it by sync_kinds or PutKind (jobqueue \
          kinds put k)"
        ]
    );
}

#[tokio::test]
async fn a_failure_is_logged_with_a_time_that_people_can_read() {
    let warnings = Warnings::default();
    let _here = tracing::subscriber::set_default(warnings.clone());
    let mut scene = Scene::new(&worker());
    scene.delivers(2);
    let seq = scene.settle().await.seq;
    let result = v1::SettleResult {
        lease_id: 2,
        verdict: Verdict::Applied.into(),
        status: v1::job::Status::Retrying.into(),
        run_at: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        ..v1::SettleResult::default()
    };
    scene.says(Said::Settled(v1::Settled { seq, exceptions: vec![result] }));
    assert_eq!(*warnings.0.lock().unwrap(), ["failed, is tried again run_at=\"2027-01-15T08:00:00Z\""]);
}

#[tokio::test]
async fn a_pause_before_serving_is_kept() {
    let slots = |worker: &Worker| {
        let hello = worker.inner.open().unwrap().lock().hello();
        let Some(Frame::Hello(hello)) = hello.frame else { panic!("{hello:?}") };
        hello.capacity.unwrap().slots
    };
    let made = Worker::builder("127.0.0.1:1").handle("k", ends).paused(true).build().unwrap();
    assert_eq!(made.status().slots, 0);
    assert_eq!(slots(&made), 0);
    assert_eq!(made.status().slots, 0);
    let told = worker();
    told.pause();
    assert_eq!(slots(&told), 0);
    assert_eq!(slots(&worker()), 8);
}

#[tokio::test]
async fn a_message_alone_leaves_the_fraction_as_it_was() {
    let mut scene = Scene::new(&worker());
    scene.delivers(9);
    let job = scene.job(9);
    job.progress(0.25, "a quarter").unwrap();
    job.progress_message("still at it");
    let found = async {
        loop {
            if let Some(Frame::Progress(progress)) = scene.sent.recv().await.unwrap().frame {
                return progress;
            }
        }
    };
    let progress = timeout(Duration::from_secs(10), found).await.unwrap();
    assert_eq!((progress.fraction, progress.message.as_str()), (Some(0.25), "still at it"));
}

#[derive(serde::Serialize)]
struct Sent {
    message_id: u64,
}

#[tokio::test]
async fn a_type_of_ones_own_is_an_output_and_one_without_a_form_in_json_is_a_failure() {
    async fn sends(_: LeasedJob) -> HandlerResult<Json<Sent>> {
        Ok(Json(Sent { message_id: 12_345_678_901_234_567_890 }))
    }
    async fn fails(_: LeasedJob) -> HandlerResult<Json<std::collections::HashMap<Option<bool>, u8>>> {
        Ok(Json([(None, 1)].into()))
    }
    let mut scene = Scene::new(&Worker::builder("127.0.0.1:1").handle("k", sends).build().unwrap());
    scene.delivers(1);
    let Outcome::Success(success) = scene.outcome().await else { panic!("no success") };
    assert_eq!(success.result, Some(v1::success::Result::OutputJson(r#"{"message_id":12345678901234567890}"#.into())));
    let mut scene = Scene::new(&Worker::builder("127.0.0.1:1").handle("k", fails).build().unwrap());
    scene.delivers(1);
    assert!(scene.failure().await.error_type.starts_with("serde_json::"));
}

#[test]
fn a_second_handler_for_a_kind_is_refused_with_the_name_of_the_first() {
    let twice = Worker::builder("127.0.0.1:1").queue("mail").handle("k", ends).handle("k", |_| async { Ok(()) });
    let error = twice.build().unwrap_err();
    let words = "kind \"k\" has a handler already: jobqueue::worker::tests::ends, in the worker of queues [\"mail\"]";
    assert_eq!(error.violations()[0].description, words);
}

#[test]
fn the_environment_says_what_a_worker_takes() {
    let of = |values: &'static [(&str, &str)]| {
        let environment = Environment(move |name: &str| {
            values.iter().find(|(each, _)| *each == name).map(|(_, value)| (*value).to_owned())
        });
        WorkerBuilder::of_environment(&environment)
    };
    let made = of(&[("JOBQUEUE_SERVER", "jobs:1"), ("JOBQUEUE_QUEUES", "mail, bulk"), ("WORKER_CONCURRENCY", "3")]);
    let settings = made.unwrap().handle("k", ends).build().unwrap().inner.settings.clone();
    assert_eq!((settings.targets.as_slice(), settings.concurrency), (["jobs:1".to_owned()].as_slice(), 3));
    assert_eq!(settings.subscriptions.iter().map(|each| each.queue.as_str()).collect::<Vec<_>>(), ["mail", "bulk"]);
    let Err(error) = of(&[("WORKER_CONCURRENCY", "many")]) else { panic!("many is no number") };
    assert_eq!(error.violations()[0].field, "WORKER_CONCURRENCY");
}

#[test]
fn what_the_program_says_of_a_worker_wins_over_the_environment() {
    let made = || {
        let environment = Environment(|name: &str| match name {
            "JOBQUEUE_QUEUES" => Some("mail, reports,".to_owned()),
            "WORKER_CONCURRENCY" => Some("7".to_owned()),
            "JOBQUEUE_WORKER_NAME" => Some("blue".to_owned()),
            _ => None,
        });
        WorkerBuilder::of_environment(&environment).unwrap().handle("k", ends)
    };
    let of = |builder: WorkerBuilder| {
        let settings = builder.build().unwrap().inner.settings.clone();
        let queues: Vec<String> = settings.subscriptions.iter().map(|each| each.queue.clone()).collect();
        (queues.join("+"), settings.concurrency, settings.name.clone())
    };
    assert_eq!(of(made()), ("mail+reports".to_owned(), 7, "blue".to_owned()));
    assert_eq!(of(made().queue("bulk").concurrency(2).name("green")), ("bulk".to_owned(), 2, "green".to_owned()));
    let empty = Environment(|name: &str| (name == "JOBQUEUE_QUEUES").then(|| " , ".to_owned()));
    assert_eq!(of(WorkerBuilder::of_environment(&empty).unwrap().handle("k", ends)).0, "default");
}

#[cfg(feature = "health")]
mod health {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn free_address() -> String {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
    }

    fn probed(address: &str) -> Worker {
        Worker::builder("127.0.0.1:1").handle("k", ends).health(address).build().unwrap()
    }

    /// The status, the headers and the body.
    async fn ask(address: &str, line: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
    }

    async fn answers(address: &str) -> (u16, u16) {
        (ask(address, "GET /livez").await.0, ask(address, "GET /readyz").await.0)
    }

    #[tokio::test]
    async fn probes_are_told_how_the_worker_is_and_nothing_else_is_answered() {
        let address = free_address();
        let worker = probed(&address);
        worker.listen().unwrap();
        assert_eq!(answers(&address).await, (200, 503));
        let mut scene = Scene::new(&worker);
        assert_eq!(answers(&address).await, (200, 200));
        let (status, head, body) = ask(&address, "GET /readyz?verbose").await;
        assert!(status == 200 && head.contains("Cache-Control: no-store"), "{head}");
        assert!(head.contains("Content-Type: application/json"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let mut names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "kinds",
                "last_error",
                "last_heard",
                "observer_dropped",
                "orphans",
                "running",
                "server",
                "session",
                "since",
                "slots",
                "state",
                "unknown_kinds",
            ]
        );
        assert_eq!((body["state"].as_str(), body["session"].as_i64()), (Some("serving"), Some(7)));
        assert!(body["last_error"] == "" && body["since"].as_str().unwrap().ends_with('Z'));
        assert_eq!(ask(&address, "GET /metrics").await.0, 404);
        assert_eq!(ask(&address, "POST /livez").await.0, 405);

        let ttl = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
        scene.welcomed(v1::Welcome { session_ttl: ttl, ..v1::Welcome::default() });
        scene.session.lock().broken(&Error::new(Code::Unavailable, "gone"), false);
        assert_eq!(answers(&address).await, (200, 200));
        let unready = async {
            while ask(&address, "GET /readyz").await.0 == 200 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), unready).await.expect("it is ready for longer than its ttl");
        assert_eq!(answers(&address).await, (200, 503));
        // As where the runtime has stood still.
        let still = std::time::Instant::now().checked_sub(Duration::from_secs(31)).unwrap();
        scene.session.lock().condition.ticked = still;
        assert_eq!(answers(&address).await, (503, 503));
        drop(Running { worker: &worker.inner, session: scene.session.clone() });
        assert!(TcpStream::connect(&address).await.is_err());
    }

    #[tokio::test]
    async fn a_worker_that_has_ended_by_an_error_is_not_alive_until_it_is_dropped() {
        let address = free_address();
        let worker = probed(&address);
        worker.listen().unwrap();
        let session = worker.inner.open().unwrap();
        session.lock().end(Some(&Error::new(Code::InvalidArgument, "no such queue")));
        worker.inner.lock().failed = true;
        drop(Running { worker: &worker.inner, session });
        assert_eq!(answers(&address).await, (503, 503));
        drop(worker);
        assert!(TcpStream::connect(&address).await.is_err());
    }

    #[tokio::test]
    async fn a_worker_whose_address_is_taken_does_not_start_and_names_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = probed(&address).run(CancellationToken::new()).await.unwrap_err();
        assert!(error.to_string().contains(&address), "{error}");
        for wrong in ["8081", ":8081", "localhost:http", "127.0.0.1:70000"] {
            let built = Worker::builder("127.0.0.1:1").handle("k", ends).health(wrong).build();
            assert_eq!(built.unwrap_err().violations()[0].field, "health", "{wrong}");
        }
    }
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
