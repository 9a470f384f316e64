//! What the test kit promises; that it agrees with a worker is tested on a real server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::enqueue::Enqueue;
use crate::errors::{Error, ErrorKind};
use crate::job::NewJob;
use crate::jobs::{Hold, Status};
use crate::json::{Json, JsonText};
use crate::outcomes::{HandlerError, HandlerResult, Stop, cancelled, discard, failed, retry, snooze};
use crate::typed::JobKind;
use crate::unique::{Unique, UniqueField, UniqueScope, Until};
use crate::worker::{LeasedJob, Worker};

#[derive(Debug)]
struct Unwilling;

impl std::fmt::Display for Unwilling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not today")
    }
}

impl std::error::Error for Unwilling {}

#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    number: u32,
}

impl JobKind for Ask {
    const NAME: &'static str = "ask";
    type Output = f64;
    const VERSION: u32 = 2;
    const OLDEST: u32 = 2;
    const ALIASES: &'static [&'static str] = &["ask-old"];

    fn settings(&self, job: NewJob) -> NewJob {
        job.key("k").max_attempts(5)
    }
}

async fn halves(ask: Ask, job: LeasedJob) -> HandlerResult<f64> {
    assert_eq!((job.key(), job.max_attempts()), ("k", 5));
    Ok(f64::from(ask.number) / 2.0)
}

async fn fails(_: LeasedJob) -> HandlerResult {
    Err(Unwilling.into())
}

async fn panics(job: LeasedJob) -> HandlerResult {
    panic!("number {}", job.attempt())
}

#[tokio::test]
async fn what_a_handler_returned_and_told_is_answered() {
    async fn report(job: LeasedJob) -> HandlerResult<Value> {
        job.progress(0.5, "half")?;
        job.save_checkpoint("7")?;
        job.progress_message("nearly");
        job.follow_up(NewJob::new("next").payload(json!({"a": 1})).header("x", "y").delay(Duration::from_secs(7)))?;
        let seen: Value = job.decode()?;
        Ok(json!({"attempt": job.attempt(), "seen": seen, "was": String::from_utf8_lossy(job.checkpoint())}))
    }
    let done = perform(report, TestJob::new(json!([1, 2])).attempt(3).checkpoint("6")).await.unwrap();
    assert_eq!(done.outcome, Outcome::Succeeded);
    assert_eq!(done.output, Some(json!({"attempt": 3, "seen": [1, 2], "was": "6"}).into()));
    let told: Vec<_> = done.progress.iter().map(|each| (each.fraction, each.message.as_str())).collect();
    assert_eq!(told, [(Some(0.5), "half"), (None, "nearly")]);
    assert_eq!((done.checkpoints.len(), &done.checkpoint()[..]), (1, b"7".as_slice()));
    let next = NewJob::new("next").payload(json!({"a": 1})).header("x", "y").delay(Duration::from_secs(7));
    assert_eq!(done.follow_ups, [next]);
}

#[tokio::test]
async fn a_follow_up_is_told_with_all_that_was_said_of_it() {
    let unique = Unique::payload_fields(["/a"])
        .scope(UniqueScope::Queue)
        .until(Until::Period)
        .period(Duration::from_secs(60))
        .or_debounce(Duration::from_secs(90), [UniqueField::Payload, UniqueField::Priority]);
    let next = NewJob::new("next")
        .payload(JsonText::new("[ 1 ]"))
        .queue("later")
        .priority(-3)
        .max_attempts(7)
        .timeout(Duration::from_secs(9))
        .idempotency_key("i")
        .label("a", "b")
        .hold()
        .key("k")
        .unique(unique);
    let given = next.clone();
    let handler = move |job: LeasedJob| {
        let given = given.clone();
        async move { Ok::<_, HandlerError>(job.follow_up(given)?) }
    };
    assert_eq!(perform(handler, TestJob::new(json!(null))).await.unwrap().follow_ups, [next]);
}

#[tokio::test]
async fn a_typed_handler_gets_and_answers_its_types() {
    let done = perform(halves, TestJob::of(&Ask { number: 7 }).unwrap()).await.unwrap();
    assert_eq!(done.output_as::<f64>().unwrap().to_bits(), 3.5_f64.to_bits());
    assert_eq!(done.output_as::<String>().unwrap_err().message(), "output: must be a string");
    let stored = |text: &str, version: &str| {
        TestJob::new(JsonText::new(text.to_owned())).kind("ask").header("x-payload-version", version)
    };
    let unreadable = perform(halves, stored(r#"{"number":"7"}"#, "2")).await.unwrap();
    assert_eq!((unreadable.outcome, unreadable.error_type.as_str()), (Outcome::Discarded, "PayloadUnreadable"));
    assert_eq!(unreadable.error, "payload.number: must be a whole number (u32)");
    let newer = perform(halves, stored("{}", "3")).await.unwrap();
    assert_eq!(newer.outcome, Outcome::Snoozed);
    assert!((11.25..=18.75).contains(&newer.delay.unwrap().as_secs_f64()));
    let late = perform(halves, stored("{}", "3").attempt(21).failures(0).catch()).await.unwrap();
    assert_eq!((late.outcome, late.error_type.as_str()), (Outcome::Failed, "PayloadTooNew"));
}

#[tokio::test]
async fn an_ordinary_failure_is_answered_as_itself_and_as_an_outcome_where_that_is_asked_for() {
    let error = perform(fails, TestJob::new(json!(null))).await.unwrap_err();
    assert!(error.downcast_ref::<Unwilling>().is_some());
    let done = perform(fails, TestJob::new(json!(null)).catch()).await.unwrap();
    assert_eq!((done.outcome, done.error.as_str()), (Outcome::Failed, "not today"));
    assert!(done.error_type.ends_with("tests::Unwilling"));
    let panic = std::panic::AssertUnwindSafe(perform(panics, TestJob::new(json!(null)))).catch_unwind().await;
    assert_eq!(panic.unwrap_err().downcast_ref::<String>().unwrap(), "number 1");
    let caught = perform(panics, TestJob::new(json!(null)).catch()).await.unwrap();
    assert_eq!((caught.error_type.as_str(), caught.error.as_str()), ("panic", "number 1"));
    let large = async |_: LeasedJob| Ok::<_, HandlerError>(json!("x".repeat(1 << 20)));
    let error = perform(large, TestJob::new(json!(null))).await.unwrap_err();
    assert!(error.to_string().starts_with("OutputError: the handler's output is 1048578 bytes"), "{error}");
}

#[tokio::test]
async fn what_a_handler_asks_for_is_an_outcome() {
    async fn ends(job: LeasedJob) -> HandlerResult {
        match job.kind() {
            "retry" => Err(retry(Unwilling, Duration::from_secs(3600))),
            "pause" => Err(retry(Unwilling, Duration::from_secs(60)).pause_key()),
            "pause long" => Err(retry(Unwilling, Duration::from_secs(259_200)).pause_key()),
            "pause for good" => Err(discard(retry(Unwilling, Duration::from_secs(60)).pause_key())),
            "discard" => Err(discard(failed("no such user"))),
            "snooze" => Err(snooze(Duration::from_secs(7))),
            _ => Err(cancelled()),
        }
    }
    let of = async |kind: &str| perform(ends, TestJob::new(json!(null)).kind(kind)).await.unwrap();
    let retried = of("retry").await;
    assert_eq!((retried.outcome, retried.retry_after), (Outcome::Failed, Some(Duration::from_secs(3600))));
    assert_eq!(retried.pause_key, None);
    assert_eq!(of("pause").await.pause_key, Some(Duration::from_secs(60)));
    let long = of("pause long").await;
    assert_eq!(
        (long.pause_key, long.retry_after),
        (Some(Duration::from_secs(86_400)), Some(Duration::from_secs(259_200)))
    );
    assert_eq!(of("pause for good").await.pause_key, None);
    let discarded = of("discard").await;
    assert_eq!((discarded.outcome, discarded.error.as_str()), (Outcome::Discarded, "no such user"));
    assert_eq!(of("snooze").await.delay, Some(Duration::from_secs(7)));
    assert_eq!(of("cancel").await.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn the_next_attempt_has_the_checkpoint_and_the_failures_of_those_before() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keeps = seen.clone();
    let step = move |job: LeasedJob| {
        let (id, found) = (job.id().to_owned(), String::from_utf8_lossy(job.checkpoint()).into_owned());
        keeps.lock().unwrap().push((id, job.attempt(), job.failures(), found, job.is_last_attempt()));
        async move {
            job.save_checkpoint(job.attempt().to_string())?;
            match job.attempt() {
                1 | 3 => Err(HandlerError::from(Unwilling)),
                2 => Err(snooze(Duration::from_secs(1))),
                _ => Ok(()),
            }
        }
    };
    let step = Arc::new(step);
    let again = |job| {
        let step = step.clone();
        perform(move |job| step(job), job)
    };
    let first = again(TestJob::new(json!(null)).catch()).await.unwrap();
    let second = again(first.again()).await.unwrap();
    let third = again(second.again()).await.unwrap();
    let fourth = again(third.again()).await.unwrap();
    assert_eq!(fourth.outcome, Outcome::Succeeded);
    let id = seen.lock().unwrap()[0].0.clone();
    let of = |attempt, failures, found: &str, last| (id.clone(), attempt, failures, found.to_owned(), last);
    let wanted = [of(1, 0, "", false), of(2, 1, "1", false), of(3, 1, "2", false), of(4, 2, "3", true)];
    assert_eq!(*seen.lock().unwrap(), wanted);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cursor {
    page: u32,
    seen: Vec<String>,
}

#[tokio::test]
async fn a_checkpoint_is_a_value_and_json_while_it_is_stored() {
    async fn step(job: LeasedJob) -> HandlerResult {
        match job.checkpoint_as::<Cursor>()? {
            None => {
                job.save_checkpoint(Json(Cursor { page: 2, seen: vec!["a".to_owned()] }))?;
                Err(Unwilling.into())
            }
            found => {
                assert_eq!(found, Some(Cursor { page: 2, seen: vec!["a".to_owned()] }));
                Ok(())
            }
        }
    }
    let first = perform(step, TestJob::new(json!(null)).catch()).await.unwrap();
    assert_eq!(first.checkpoint(), r#"{"page":2,"seen":["a"]}"#);
    assert_eq!(perform(step, first.again()).await.unwrap().outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn bytes_are_a_checkpoint_as_they_are() {
    async fn saves(job: LeasedJob) -> HandlerResult {
        job.save_checkpoint(r#""a""#)?;
        job.save_checkpoint(vec![98])?;
        job.save_checkpoint("c".to_owned())?;
        job.save_checkpoint(Json("d"))?;
        job.save_checkpoint("")?;
        Ok(())
    }
    let done = perform(saves, TestJob::new(json!(null)).checkpoint("before")).await.unwrap();
    assert_eq!(done.checkpoints, [r#""a""#, "b", "c", r#""d""#, ""]);
}

#[tokio::test]
async fn a_checkpoint_that_does_not_fit_is_a_failure_that_says_where_and_never_what_stands_there() {
    async fn reads(job: LeasedJob) -> HandlerResult {
        job.checkpoint_as::<Cursor>()?;
        Ok(())
    }
    for (stored, words) in [
        (r#"{"page":"secret","seen":[]}"#.as_bytes(), "checkpoint.page: must be a whole number (u32)"),
        (b"secret", "checkpoint: must be JSON, nested less deeply"),
        (b"\xff\xfe", "checkpoint: must be JSON, nested less deeply"),
    ] {
        let job = TestJob::new(json!(null)).checkpoint(stored.to_vec()).catch();
        let done = perform(reads, job).await.unwrap();
        assert_eq!(
            (done.outcome, done.error_type.as_str(), done.error.as_str()),
            (Outcome::Failed, "CheckpointUnreadable", words)
        );
    }
}

#[tokio::test]
async fn an_encoded_checkpoint_is_not_taken_for_a_value() {
    let envelope = r#"{"$jobqueue.encoded":1,"content_type":"","encodings":["aes256gcm"],"key_id":"k","data":""}"#;
    let reads = async |job: LeasedJob| {
        let error = job.checkpoint_as::<Value>().unwrap_err();
        assert_eq!((error.kind(), error.metadata()["key_id"].as_str()), (ErrorKind::Encoded, "k"));
        HandlerResult::Ok(())
    };
    perform(reads, TestJob::new(json!(null)).checkpoint(envelope)).await.unwrap();
}

#[tokio::test]
async fn what_json_has_no_form_for_is_no_checkpoint() {
    async fn saves(job: LeasedJob) -> HandlerResult {
        let no_keys = std::collections::HashMap::from([(vec![1], 2)]);
        let error = job.save_checkpoint(Json(no_keys)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains("checkpoint: is no JSON"), "{error}");
        let long = job.save_checkpoint(Json("x".repeat(65_536))).unwrap_err();
        assert!(long.message().contains("has 65538 bytes; at most 65536"), "{long}");
        Ok(())
    }
    assert!(perform(saves, TestJob::new(json!(null))).await.unwrap().checkpoints.is_empty());
}

#[tokio::test]
async fn a_handler_is_told_to_stop_when_the_test_says() {
    async fn waits(job: LeasedJob) -> HandlerResult {
        job.progress(0.1, "")?;
        assert!(job.stop_reason().is_none_or(|_| job.kind() != "second"));
        job.progress(0.2, "")?;
        assert!(job.stop_reason().is_some() || job.kind() == "later", "it is told at once");
        Err(job.stopped().await.into())
    }
    let of = async |kind: &str, at, why: Option<Stop>| {
        let job = TestJob::new(json!(null)).kind(kind).stop_at(at);
        perform(waits, if let Some(why) = why { job.stop(why) } else { job }).await.unwrap().outcome
    };
    assert_eq!(of("second", StopAt::Progress(2), None).await, Outcome::Cancelled);
    assert_eq!(of("first", StopAt::Start, None).await, Outcome::Cancelled);
    assert_eq!(of("later", StopAt::After(Duration::ZERO), Some(Stop::Shutdown)).await, Outcome::Released);
    assert_eq!(of("first", StopAt::Start, Some(Stop::Lost)).await, Outcome::Released);
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_dropped_and_said() {
    struct Ends(Arc<AtomicBool>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ended = Arc::new(AtomicBool::new(false));
    let keeps = ended.clone();
    let hangs = move |_: LeasedJob| {
        let ends = Ends(keeps.clone());
        async move {
            std::future::pending::<()>().await;
            drop(ends);
            Ok::<_, HandlerError>(())
        }
    };
    let job = TestJob::new(json!(null)).within(Duration::from_millis(5)).stop_at(StopAt::Start);
    let error = perform(hangs, job).await.unwrap_err();
    assert_eq!(error.to_string(), "the handler of performed still runs after 5ms, though it was told to stop");
    assert!(error.downcast_ref::<StillRunning>().is_some_and(|said| said.told));
    while !ended.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_worker_gives_the_handler_that_it_has_of_the_kind() {
    let worker = Worker::builder("127.0.0.1:1").handle_kind(halves).build().unwrap();
    let job = TestJob::of(&Ask { number: 4 }).unwrap();
    assert_eq!(perform(&worker, job.clone()).await.unwrap().output, Some(JsonText::new("2.0")));
    assert_eq!(perform(&worker, job.clone().kind("ask-old")).await.unwrap().output, Some(JsonText::new("2.0")));
    let error = perform(&worker, job.kind("other")).await.unwrap_err();
    assert!(error.to_string().ends_with("the worker has no handler of kind \"other\"; it has: ask, ask-old"));
}

#[tokio::test]
async fn an_output_that_a_failure_has_not_is_told_with_the_failure() {
    let done = perform(fails, TestJob::new(json!(null)).catch()).await.unwrap();
    let error = done.output_as::<Value>().unwrap_err();
    let words = "the attempt ended as Failed, without an output: jobqueue::testing::tests::Unwilling: not today";
    assert_eq!((error.kind(), error.message()), (ErrorKind::JobNotSucceeded, words));
    let later =
        perform(|_: LeasedJob| async { Err::<(), _>(snooze(Duration::from_secs(1))) }, TestJob::new(json!(null)));
    let error = later.await.unwrap().output_as::<()>().unwrap_err();
    assert_eq!(error.message(), "the attempt ended as Snoozed, without an output");
}

#[tokio::test]
async fn a_typed_handler_is_not_given_a_job_of_another_kind() {
    let job = TestJob::of(&Ask { number: 4 }).unwrap();
    let error = perform(halves, job.clone().kind("other")).await.unwrap_err();
    assert!(error.downcast_ref::<Error>().is_some_and(|error| error.is(ErrorKind::InvalidRequest)), "{error}");
    assert!(
        error.to_string().ends_with("kind: the job is of kind \"other\"; the handler is of ask, ask-old"),
        "{error}"
    );
    // An older name of it, and a job whose kind nothing names.
    perform(halves, job.kind("ask-old")).await.unwrap();
    let unnamed = TestJob::new(json!({"number": 4})).header("x-payload-version", "2").key("k").max_attempts(5);
    perform(halves, unnamed).await.unwrap();
}

#[test]
fn an_attempt_is_a_leased_job_alone() {
    let job =
        attempt(&TestJob::of(&Ask { number: 7 }).unwrap().attempt(2).timeout(Duration::from_secs(60)).label("a", "b"));
    assert_eq!((job.kind(), job.attempt(), job.failures(), job.queue()), ("ask", 2, 1, "default"));
    assert_eq!((job.payload().to_string().as_str(), job.labels()["a"].as_str()), (r#"{"number":7}"#, "b"));
    assert_eq!(job.timeout(), Some(Duration::from_secs(60)));
    job.progress(0.5, "").unwrap();
    assert!(job.created_at().is_some() && job.stop_reason().is_none());
}

#[tokio::test]
async fn what_was_enqueued_is_kept_in_order_as_a_server_would_have_it() {
    let client = RecordingClient::new();
    let mail = NewJob::new("mail").payload(json!({"to": "a"})).label("a", "b").delay(Duration::from_secs(3600));
    let job = client.enqueue(mail.clone()).await.unwrap();
    assert_eq!(
        (job.status, job.kind.as_str(), job.queue.as_str(), job.max_attempts),
        (Status::Queued, "mail", "default", 3)
    );
    assert_eq!((job.payload, job.replayed), (mail.payload.clone(), false));
    let ask = NewJob::of(&Ask { number: 7 }).unwrap();
    let many = client.enqueue_many([ask.clone(), NewJob::new("mail").unique(Unique::key("u"))]).await.unwrap();
    assert!(many[0].id != many[1].id && many[0].id != job.id && job.id.len() == 36);
    assert_eq!(client.jobs(), [mail, ask, NewJob::new("mail").unique(Unique::key("u"))]);
}

#[tokio::test]
async fn the_job_that_is_answered_has_all_that_was_said_of_it() {
    let client = RecordingClient::new();
    let new_year = UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    let minute = Duration::from_secs(60);
    let job = NewJob::new("mail").key("k").unique(Unique::key("u")).timeout(minute).run_at(new_year).hold();
    let job = client.enqueue(job).await.unwrap();
    assert_eq!((job.key.as_str(), job.unique_key.as_str(), job.timeout), ("k", "u", Some(minute)));
    assert_eq!((job.run_at, job.hold), (Some(new_year), Some(Hold::Hand)));
    let later = client.enqueue(NewJob::new("mail").delay(minute)).await.unwrap();
    assert_eq!((later.run_at, later.hold), (later.created_at.map(|at| at + minute), None));
}

#[tokio::test]
async fn a_key_that_is_repeated_answers_its_job_and_is_refused_for_another_request() {
    let client = RecordingClient::new();
    let mail = || NewJob::new("mail").payload(json!(1)).idempotency_key("k").label("a", "b").label("c", "d");
    let first = client.enqueue(mail().header("a", "b")).await.unwrap();
    let again = client.enqueue(mail().header("a", "c")).await.unwrap();
    assert_eq!((&again.id, again.replayed, first.replayed, client.jobs().len()), (&first.id, true, false, 1));
    let error = client.enqueue(mail().payload(json!(2))).await.unwrap_err();
    assert_eq!((error.kind(), &error.metadata()["job_id"]), (ErrorKind::IdempotencyKeyReused, &first.id));
    for _ in 0..2 {
        client.enqueue(NewJob::new("mail")).await.unwrap();
    }
    assert_eq!(client.jobs().len(), 3);
}

#[tokio::test]
async fn what_each_server_refuses_is_refused_alike() {
    let client = RecordingClient::new();
    for (job, field) in [
        (NewJob::new("Mail"), "kind"),
        (NewJob::new(""), "kind"),
        (NewJob::new("a".repeat(129)), "kind"),
        (NewJob::new("mail").queue("a b"), "queue"),
        (NewJob::new("mail").priority(11), "priority"),
        (NewJob::new("mail").max_attempts(1001), "max_attempts"),
        (NewJob::new("mail").payload(json!("x".repeat(1 << 20))), "payload"),
    ] {
        let error = client.enqueue(job.clone()).await.unwrap_err();
        assert!(error.is(ErrorKind::InvalidRequest));
        assert_eq!(error.violations()[0].field, format!("job.{field}"));
        let error = client.enqueue_many([NewJob::new("mail"), job]).await.unwrap_err();
        assert_eq!(error.violations()[0].field, format!("jobs[1].{field}"));
    }
    assert!(client.jobs().is_empty(), "a batch is all or none");
}
