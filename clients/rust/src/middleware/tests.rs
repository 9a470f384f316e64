//! What middleware promises, by the code that workers and clients run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::client::Client;
use crate::enqueue::Enqueue;
use crate::errors::ErrorKind;
use crate::outcomes::{HandlerError, cancelled, discard, failed, retry, snooze};
use crate::testing::{Outcome, Performed, RecordingClient, TestJob, perform};
use crate::worker::{Worker, around, of_job};

type Output = HandlerResult<Option<JsonText>>;
type Results = Result<Vec<EnqueueResult>, Error>;

/// Notes what passes, and marks each job with its name.
struct Notes(&'static str, Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, what: &str) {
        self.1.lock().unwrap().push(format!("{}{what}", self.0));
    }
}

impl Middleware for Notes {
    async fn handle(&self, _: &LeasedJob, next: Next<'_>) -> Output {
        self.note("+");
        let ended = next.run().await;
        self.note("-");
        ended
    }

    async fn enqueue(&self, jobs: Vec<NewJob>, next: NextEnqueue<'_>) -> Results {
        self.note(&format!("{}", jobs.len()));
        next.run(jobs.into_iter().map(|job| job.header(self.0, "x").header("by", self.0)).collect()).await
    }
}

type Kept = Arc<Mutex<Vec<String>>>;

fn notes(names: [&'static str; 3]) -> (Kept, [Notes; 3]) {
    let kept = Kept::default();
    (kept.clone(), names.map(|name| Notes(name, kept.clone())))
}

fn of(kept: &Kept) -> String {
    std::mem::take(&mut *kept.lock().unwrap()).join(" ")
}

async fn follows(job: LeasedJob) -> HandlerResult<Value> {
    job.follow_up(NewJob::new("next").payload(json!(1)))?;
    job.follow_up(NewJob::new("next").payload(json!(2)).idempotency_key("i"))?;
    Ok(json!("whole"))
}

async fn fails(job: LeasedJob) -> HandlerResult {
    job.follow_up(NewJob::new("next"))?;
    Err(failed("not today"))
}

#[tokio::test]
async fn the_first_is_the_outermost_on_both_sides_and_follow_ups_pass_once_as_a_batch() {
    let (kept, [a, b, c]) = notes(["a", "b", "c"]);
    let job = TestJob::new(json!(null)).middleware(a).middleware(b).middleware(c);
    let done = perform(follows, job).await.unwrap();
    assert_eq!(of(&kept), "a+ b+ c+ a2 b2 c2 c- b- a-");
    assert_eq!(done.output, Some(json!("whole").into()));
    let marks: Vec<_> =
        done.follow_ups.iter().map(|job| (job.headers["a"].as_str(), job.headers["by"].as_str())).collect();
    assert_eq!(marks, [("x", "c"); 2]);
    assert_eq!(
        (done.follow_ups[1].payload.clone(), &*done.follow_ups[1].idempotency_key),
        (Some(json!(2).into()), "i")
    );
}

#[tokio::test]
async fn a_call_of_many_passes_once_and_a_call_of_one_as_a_list_of_one() {
    let (kept, [a, b, c]) = notes(["a", "b", "c"]);
    let client = RecordingClient::new().middleware(a).middleware(b).middleware(c);
    let found = client.enqueue(NewJob::new("k").header("by", "me")).await.unwrap();
    assert_eq!((found.headers["a"].as_str(), found.headers["by"].as_str()), ("x", "c"));
    let many = client.enqueue_many(std::iter::repeat_n(NewJob::new("k"), 1000)).await.unwrap();
    assert_eq!((of(&kept).as_str(), many.len(), client.jobs().len()), ("a1 b1 c1 a1000 b1000 c1000", 1000, 1001));
}

#[derive(Clone, Copy)]
enum How {
    Before(fn() -> HandlerError),
    After(fn() -> HandlerError),
    Skips,
    SkipsAndFollows,
    Catches,
    CutsOff,
    Panics,
    FollowsAfter,
}

struct Odd(How);

impl Middleware for Odd {
    async fn handle(&self, job: &LeasedJob, next: Next<'_>) -> Output {
        match self.0 {
            How::Before(made) => Err(made()),
            How::After(made) => next.run().await.and(Err(made())),
            How::Skips => Ok(Some(json!("skipped").into())),
            How::SkipsAndFollows => {
                job.follow_up(NewJob::new("instead"))?;
                Ok(None)
            }
            How::Catches => Ok(next.run().await.unwrap_or(Some(json!("caught").into()))),
            How::CutsOff => {
                let _ = tokio::time::timeout(Duration::from_millis(5), next.run()).await;
                Ok(None)
            }
            How::Panics => panic!("in the middle"),
            How::FollowsAfter => {
                let ended = next.run().await;
                job.follow_up(NewJob::new("late"))?;
                ended
            }
        }
    }
}

async fn with<F, R>(how: How, handler: F) -> (Performed, String)
where
    F: Fn(LeasedJob) -> R + Send + Sync + 'static,
    R: Future<Output = HandlerResult> + Send + 'static,
{
    let (kept, [outside, inside, _]) = notes(["o", "i", ""]);
    let job = TestJob::new(json!(null)).middleware(outside).middleware(Odd(how)).middleware(inside).catch();
    let done = perform(handler, job).await.unwrap();
    (done, of(&kept))
}

#[tokio::test]
async fn a_middleware_ends_an_attempt_as_its_handler_would() {
    async fn one(job: LeasedJob) -> HandlerResult {
        Ok(job.follow_up(NewJob::new("next"))?)
    }
    let whole = "o+ i+ o1 i1 i- o-";
    for (how, outcome, error, passed) in [
        (How::Before(|| failed("no")), Outcome::Failed, "no", "o+ o-"),
        (How::After(|| failed("no")), Outcome::Failed, "no", whole),
        (How::Before(|| discard(failed("never"))), Outcome::Discarded, "never", "o+ o-"),
        (How::After(|| discard(failed("never"))), Outcome::Discarded, "never", whole),
        (How::Before(|| retry(failed("busy"), Duration::from_secs(7))), Outcome::Failed, "busy", "o+ o-"),
        (How::After(|| snooze(Duration::from_secs(7))), Outcome::Snoozed, "", whole),
        (How::Before(|| snooze(Duration::from_secs(7))), Outcome::Snoozed, "", "o+ o-"),
        (How::Before(cancelled), Outcome::Cancelled, "", "o+ o-"),
        (How::After(cancelled), Outcome::Cancelled, "", whole),
        (How::Panics, Outcome::Failed, "in the middle", "o+"),
    ] {
        let (done, told) = with(how, one).await;
        assert_eq!((done.outcome, done.error.as_str(), told.as_str()), (outcome, error, passed));
        assert!(done.follow_ups.is_empty(), "{done:?}");
        assert_eq!(done.retry_after.is_some(), error == "busy");
    }
}

#[tokio::test]
async fn an_output_without_next_is_a_success_without_the_handler() {
    let (done, told) = with(How::Skips, fails).await;
    assert_eq!(
        (done.outcome, done.output, told.as_str()),
        (Outcome::Succeeded, Some(json!("skipped").into()), "o+ o-")
    );
    let (done, told) = with(How::SkipsAndFollows, fails).await;
    assert_eq!((done.outcome, done.output, told.as_str()), (Outcome::Succeeded, None, "o+ o1 i1 o-"));
    assert_eq!((&*done.follow_ups[0].kind, &*done.follow_ups[0].headers["by"]), ("instead", "i"));
}

#[tokio::test]
async fn a_failure_that_is_caught_or_cut_off_is_a_success_without_follow_ups() {
    async fn hangs(job: LeasedJob) -> HandlerResult {
        job.follow_up(NewJob::new("next"))?;
        std::future::pending().await
    }
    let (caught, told) = with(How::Catches, fails).await;
    assert_eq!(
        (caught.outcome, caught.output, told.as_str()),
        (Outcome::Succeeded, Some(json!("caught").into()), "o+ i+ i- o-")
    );
    let (cut_off, told) = with(How::CutsOff, hangs).await;
    assert_eq!((cut_off.outcome, cut_off.output, told.as_str()), (Outcome::Succeeded, None, "o+ i+ o-"));
    assert!(caught.follow_ups.is_empty() && cut_off.follow_ups.is_empty());
}

#[tokio::test]
async fn a_follow_up_after_next_fails_the_attempt() {
    async fn nothing(_: LeasedJob) -> HandlerResult {
        Ok(())
    }
    let (done, _) = with(How::FollowsAfter, nothing).await;
    assert_eq!(done.outcome, Outcome::Failed);
    assert!(done.error.contains("follow_up was called after a middleware's next"), "{}", done.error);
}

#[derive(Clone, Copy, Debug)]
enum Breach {
    Refuses,
    Payload,
    Key,
    Fewer,
    NoNext,
    DropsError,
    DropsCall,
    OtherAnswer,
}

struct Bad(Breach);

impl Middleware for Bad {
    async fn enqueue(&self, mut jobs: Vec<NewJob>, next: NextEnqueue<'_>) -> Results {
        match self.0 {
            Breach::Refuses => return Err(Error::invalid("tenant", "is missing")),
            Breach::Payload => jobs[0].payload = Some(json!("other").into()),
            Breach::Key => jobs[0].idempotency_key = String::from("other"),
            Breach::Fewer => drop(jobs.pop()),
            Breach::NoNext => return Ok(Vec::new()),
            Breach::DropsError => {
                jobs[0].kind = String::from("other");
                let _ = next.run(jobs).await;
                return Ok(Vec::new());
            }
            Breach::DropsCall => {
                let _ = next.run(jobs).now_or_never();
                return Ok(Vec::new());
            }
            Breach::OtherAnswer => {
                next.run(jobs).await?;
                return Ok(Vec::new());
            }
        }
        next.run(jobs).await
    }
}

const BREACHES: [(Breach, &str); 7] = [
    (Breach::Refuses, "is missing"),
    (Breach::Payload, "Bad::enqueue has changed a job of kind k: headers and labels alone may be others"),
    (Breach::Key, "has changed a job of kind k"),
    (Breach::Fewer, "ran next with 0 jobs, and got 1"),
    (Breach::NoNext, "did not run next, so nothing says that the jobs are enqueued: return an error to refuse them"),
    (Breach::DropsError, "has dropped an error of next ("),
    (Breach::OtherAnswer, "must answer what next answered; the jobs are enqueued"),
];

#[tokio::test]
async fn what_breaks_the_rules_of_enqueues_ends_the_call() {
    for (breach, words) in BREACHES {
        let client = RecordingClient::new().middleware(Bad(breach));
        for many in [false, true] {
            let job = NewJob::new("k").payload(json!(1)).idempotency_key("i");
            let error = if many {
                client.enqueue_many([job]).await.unwrap_err()
            } else {
                client.enqueue(job).await.unwrap_err()
            };
            assert!(error.is(ErrorKind::InvalidRequest) && error.to_string().contains(words), "{breach:?}: {error}");
        }
        assert_eq!(client.jobs().len(), usize::from(matches!(breach, Breach::OtherAnswer)), "{breach:?}");
    }
}

/// Makes the headers anew, with a version or without.
struct Renames(Option<&'static str>);

impl Middleware for Renames {
    async fn enqueue(&self, mut jobs: Vec<NewJob>, next: NextEnqueue<'_>) -> Results {
        for job in &mut jobs {
            job.headers = [("tenant".to_owned(), "acme".to_owned())].into();
            job.headers.extend(self.0.map(|version| (VERSION_HEADER.to_owned(), version.to_owned())));
        }
        next.run(jobs).await
    }
}

#[tokio::test]
async fn the_version_of_a_payload_stays_as_it_was() {
    async fn follows_newer(job: LeasedJob) -> HandlerResult {
        job.follow_up(NewJob::of(&Newer {})?)?;
        Ok(job.follow_up(NewJob::new("plain"))?)
    }
    let version = |job: &NewJob| (job.headers["tenant"].clone(), job.headers.get(VERSION_HEADER).cloned());
    let expected = [("acme".to_owned(), Some("2".to_owned())), ("acme".to_owned(), None)];
    for given in [None, Some("7")] {
        let client = RecordingClient::new().middleware(for_kinds(Renames(given), ["newer", "plain"]));
        client.enqueue(NewJob::of(&Newer {}).unwrap()).await.unwrap();
        client.enqueue_many([NewJob::new("plain")]).await.unwrap();
        assert_eq!(client.jobs().iter().map(version).collect::<Vec<_>>(), expected, "{given:?}");
        let job = TestJob::new(json!(null)).middleware(Renames(given));
        let done = perform(follows_newer, job).await.unwrap();
        assert_eq!(done.follow_ups.iter().map(version).collect::<Vec<_>>(), expected, "{given:?}");
    }
}

#[tokio::test]
async fn an_attempt_whose_follow_ups_are_refused_fails() {
    async fn one(job: LeasedJob) -> HandlerResult {
        Ok(job.follow_up(NewJob::new("k").payload(json!(1)))?)
    }
    for (breach, words) in BREACHES {
        let done = perform(one, TestJob::new(json!(null)).middleware(Bad(breach)).catch()).await.unwrap();
        assert_eq!(done.outcome, Outcome::Failed, "{breach:?}");
        assert!(done.error.contains(words), "{breach:?}: {}", done.error);
    }
}

#[tokio::test]
async fn a_client_whose_middleware_refuses_sends_nothing() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = server.local_addr().unwrap().to_string();
    let client = Client::builder(&address).middleware(Bad(Breach::Refuses)).build().unwrap();
    client.enqueue(NewJob::new("k")).await.unwrap_err();
    client.enqueue_many([NewJob::new("k"), NewJob::new("k")]).await.unwrap_err();
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let dropping = Client::builder(&address).middleware(Bad(Breach::DropsCall)).build().unwrap();
    let error = dropping.enqueue(NewJob::new("k")).await.unwrap_err();
    assert!(error.to_string().contains("has dropped the call of next"), "{error}");
}

#[tokio::test]
async fn for_kinds_sees_its_own_jobs_alone() {
    let (kept, [a, b, c]) = notes(["a", "b", "c"]);
    let client = RecordingClient::new().middleware(a).middleware(for_kinds(b, ["mail", "sms"])).middleware(c);
    let jobs = ["mail", "other", "sms"].map(|kind| NewJob::new(kind).payload(json!(kind)));
    let results = client.enqueue_many(jobs).await.unwrap();
    assert_eq!((of(&kept).as_str(), results.len()), ("a3 b2 c3", 3));
    let marked = |job: &NewJob| (job.kind.clone(), job.headers.contains_key("b"), job.payload.clone());
    let expected = ["mail", "other", "sms"].map(|kind| (kind.to_owned(), kind != "other", Some(json!(kind).into())));
    assert_eq!(client.jobs().iter().map(marked).collect::<Vec<_>>(), expected);
    client.enqueue(NewJob::new("other")).await.unwrap();
    assert_eq!(of(&kept), "a1 c1");

    for (kind, told) in [("mail", "b+ b-"), ("other", "")] {
        let (kept, [_, b, _]) = notes(["", "b", ""]);
        let job = TestJob::new(json!(null)).kind(kind).middleware(for_kinds(b, ["mail"]));
        perform(|_: LeasedJob| async { Ok::<_, HandlerError>(()) }, job).await.unwrap();
        assert_eq!(of(&kept), told);
    }
    let refused = RecordingClient::new().middleware(for_kinds(Bad(Breach::NoNext), ["k"]));
    assert!(refused.enqueue(NewJob::new("k")).await.is_err());
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Newer {}

impl JobKind for Newer {
    const NAME: &'static str = "newer";
    const VERSION: u32 = 2;
    type Output = ();
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Mail {}

impl JobKind for Mail {
    const NAME: &'static str = "mail";
    const ALIASES: &'static [&'static str] = &["mail-old"];
    type Output = ();
}

#[tokio::test]
async fn a_workers_middleware_goes_around_all_its_handlers_and_a_kinds_around_its_older_names() {
    async fn mails(_: Mail, _: LeasedJob) -> HandlerResult {
        Ok(())
    }
    let (kept, [a, b, c]) = notes(["a", "b", "c"]);
    let shared = Arc::new(a);
    let worker = Worker::builder("127.0.0.1:1")
        .middleware(shared.clone())
        .handle_kind(mails)
        .handle("follows", follows)
        .middleware(for_kinds(b, ["mail"]))
        .middleware(for_kinds(c, ["none"]).kind::<Mail>())
        .build()
        .unwrap();
    for (kind, told) in [("mail-old", "a+ b+ c+ c- b- a-"), ("follows", "a+ a2 a-")] {
        perform(&worker, TestJob::new(json!({})).kind(kind)).await.unwrap();
        assert_eq!(of(&kept), told);
    }
    let beside = TestJob::new(json!({})).kind("mail").middleware(shared);
    let error = perform(&worker, beside).await.unwrap_err().to_string();
    assert!(error.contains("a worker has its own"), "{error}");
}

#[test]
fn without_middleware_a_handler_is_run_as_it_is() {
    let handler = of_job(follows);
    let same = around(handler.clone(), &Middlewares::default(), &["k".to_owned()]);
    assert!(Arc::ptr_eq(&handler, &same));
}
