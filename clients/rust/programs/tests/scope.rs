//! What the test kit promises of a real server, by one that it starts. tests/clients/test_rust.py says by which command.

#[path = "scope/agreement.rs"]
mod agreement;

use std::env;
use std::error::Error as StdError;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::FutureExt;
use jobqueue::testing::{Failures, NotIdle, RunOptions, TestScope, TestServer, Wanted};
use jobqueue::{
    Access, AesGcm, Client, Encodings, Error, HandlerError, HandlerResult, Kind, LeasedJob, NewJob, Status, Worker,
    failed, retry, snooze,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

type Done = Result<(), Box<dyn StdError>>;

async fn scope() -> Result<TestScope<'static>, Error> {
    let scope = TestScope::open(TestServer::shared().await?).await?;
    for kind in ["mail", "audit"] {
        scope.client.put_kind(Kind::new(kind)).await?;
    }
    Ok(scope)
}

#[derive(Debug)]
struct Unwilling;

impl std::fmt::Display for Unwilling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not today")
    }
}

impl StdError for Unwilling {}

async fn ends(job: LeasedJob) -> HandlerResult<Value> {
    let how: Value = job.decode()?;
    match how.as_str().unwrap_or_default() {
        "fails" => Err(Unwilling.into()),
        "fails once" if job.attempt() == 1 => Err(failed("the first time")),
        "panics" => panic!("this handler panics"),
        "retries" => Err(retry(failed("busy"), Duration::from_secs(3600))),
        "snoozes" => Err(snooze(Duration::from_secs(3600))),
        "hangs" => std::future::pending().await,
        "says too much" => Ok(json!("x".repeat(1 << 20))),
        "follows" => {
            job.follow_up(NewJob::new("audit").payload(json!("nothing")))?;
            Ok(json!(1))
        }
        _ => Ok(json!(2)),
    }
}

fn worker(scope: &TestScope<'_>) -> Result<Worker, Error> {
    scope.worker().handle("mail", ends).handle("audit", ends).build()
}

async fn enqueue(scope: &TestScope<'_>, how: &str) -> Result<jobqueue::Job, Error> {
    scope.client.enqueue(NewJob::new("mail").payload(json!(how))).await
}

async fn words_of(what: impl Future<Output = Result<(), Error>>) -> String {
    let panic = AssertUnwindSafe(what).catch_unwind().await.expect_err("nothing is wrong");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_scope_sees_its_own_jobs_alone_and_is_refused_once_it_is_closed() -> Done {
    let (one, other) = (scope().await?, scope().await?);
    enqueue(&one, "").await?;
    one.assert_enqueued("mail").await?;
    other.assert_not_enqueued("mail").await?;
    assert_eq!((one.enqueued("").await?.len(), other.enqueued("").await?.len()), (1, 0));
    let [(_, server), (_, token)] = one.environment();
    let client = Client::builder(server).access(jobqueue::Access::new().token(token)).build()?;
    one.close().await?;
    client.enqueue(NewJob::new("mail")).await.unwrap_err();
    Ok(other.close().await?)
}

#[tokio::test]
async fn what_is_wanted_is_found_or_shown_with_what_there_is() -> Done {
    let scope = scope().await?;
    let job = NewJob::new("mail").payload(json!({"to": "ada", "n": 2})).queue("out").label("a", "b").key("k");
    scope.client.enqueue(job.delay(Duration::from_secs(60))).await?;
    let minute = Duration::from_secs(60);
    let whole = Wanted::kind("mail").payload(json!({"n": 2.0, "to": "ada"})).queue("out").label("a", "b").key("k");
    scope.assert_enqueued(whole.due_in(minute).field("n", 2).matching(|job| job.attempts == 0).count(1)).await?;
    for wrong in [
        Wanted::kind("audit"),
        Wanted::kind("mail").payload(json!({"to": "ada"})),
        Wanted::kind("mail").field("n", 3),
        Wanted::kind("mail").queue("default"),
        Wanted::kind("mail").label("a", "c"),
        Wanted::kind("mail").key("l"),
        Wanted::kind("mail").due_in(2 * minute),
        Wanted::kind("mail").matching(|_| false),
        Wanted::kind("mail").status([Status::Succeeded]),
    ] {
        scope.assert_not_enqueued(wrong.clone()).await?;
        let words = words_of(async { scope.assert_enqueued(wrong.clone()).await.map(drop) }).await;
        assert!(words.starts_with(&format!("no job of {wrong}. T")), "{words}");
    }
    let words = words_of(async { scope.assert_enqueued(Wanted::kind("mail").count(2)).await.map(drop) }).await;
    let there = r#"mail {"n":2,"to":"ada"} queue out labels {"a": "b"} key k, due in 60 s"#;
    assert_eq!(words, format!("1 job of kind mail, not 2. There are:\n  {there}"));
    let words = words_of(scope.assert_not_enqueued("mail")).await;
    assert!(words.starts_with("1 of kind mail, and there should be none. There are:"), "{words}");
    let (answer, jobs) = scope.recorded(async { enqueue(&scope, "x").await }).await?;
    assert_eq!(jobs.iter().map(|job| &job.id).collect::<Vec<_>>(), [&answer?.id]);
    Ok(scope.close().await?)
}

#[tokio::test]
async fn a_worker_runs_until_nothing_is_due_and_what_waits_is_named() -> Done {
    let scope = scope().await?;
    for how in ["follows", "snoozes", "retries", "hangs later"] {
        enqueue(&scope, how).await?;
    }
    scope.client.enqueue(NewJob::new("mail").queue("elsewhere")).await?;
    // So near that the server alone says whether it is due.
    scope.client.enqueue(NewJob::new("mail").delay(Duration::from_secs(45))).await?;
    let idle = scope.run_until_idle(&worker(&scope)?).await.map_err(|error| error.to_string())?;
    let ended: Vec<(&str, Option<Value>)> = idle
        .ended
        .iter()
        .map(|job| (job.kind.as_str(), job.output.as_ref().and_then(|text| text.decode().ok())))
        .collect();
    assert_eq!(ended, [("mail", Some(json!(1))), ("mail", Some(json!(2))), ("audit", Some(json!(2)))]);
    assert_eq!(idle.waiting.len(), 4);
    assert!(idle.waiting.iter().all(|each| !each.why.is_empty()), "{:?}", idle.waiting);
    scope.make_due([]).await?;
    scope.make_due(idle.waiting.iter().map(|each| &each.job).take(1)).await?;
    let idle = scope.run_until_idle(&worker(&scope)?).await.map_err(|error| error.to_string())?;
    assert!(idle.ended.is_empty(), "{:?}", idle.ended);
    Ok(scope.close().await?)
}

#[tokio::test]
async fn a_failure_ends_the_run_as_itself_unless_it_is_kept_or_tried_again() -> Done {
    let scope = scope().await?;
    let worker = worker(&scope)?;
    enqueue(&scope, "fails").await?;
    let error = scope.run_until_idle(&worker).await.unwrap_err();
    assert!(error.downcast_ref::<Unwilling>().is_some(), "{error}");
    let job = enqueue(&scope, "fails once").await?;
    let kept = scope.run_until_idle_with(&worker, Failures::Keep).await.map_err(|error| error.to_string())?;
    assert!(kept.ended.is_empty() && kept.waiting.iter().any(|each| each.job.id == job.id), "{kept:?}");
    let patient = RunOptions::new().failures(Failures::Retry).within(Duration::from_secs(20));
    let again = scope.run_until_idle_with(&worker, patient).await.map_err(|error| error.to_string())?;
    let ends: Vec<Status> = again.ended.iter().map(|job| job.status).collect();
    assert_eq!(ends, [Status::FailedPermanent, Status::Succeeded]);
    enqueue(&scope, "panics").await?;
    let panic = AssertUnwindSafe(scope.run_until_idle(&worker)).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"this handler panics"));
    Ok(scope.close().await?)
}

#[tokio::test]
async fn a_job_whose_key_is_missing_waits_for_it_and_then_succeeds() -> Done {
    let scope = scope().await?;
    let encodings = |keys: &[(&'static str, [u8; 32])], primary| {
        let encrypts = AesGcm::new(keys.iter().copied(), primary)?;
        Encodings::builder().add(encrypts).build()
    };
    let (a, b) = (("a", [7; 32]), ("b", [8; 32]));
    let worker = |encodings| scope.worker().handle("mail", ends).encodings(encodings).build();
    let [(_, target), (_, token)] = scope.environment();
    let client = Client::builder(target).access(Access::new().token(token)).encodings(encodings(&[b], "b")?).build()?;
    let job = client.enqueue(NewJob::new("mail").payload(json!("x"))).await?;
    let lacks = worker(encodings(&[a], "a")?)?;
    let idle = scope.run_until_idle(&lacks).await.map_err(|error| error.to_string())?;
    assert_eq!((idle.waiting[0].job.status, idle.waiting[0].job.failures), (Status::Queued, 0));
    assert_eq!(idle.waiting[0].job.attempts, 1);
    scope.make_due([&job]).await?;
    let has = worker(encodings(&[a, b], "a")?)?;
    scope.run_until_idle(&has).await.map_err(|error| error.to_string())?;
    let done = client.get(&job.id).await?;
    assert_eq!((done.status, done.failures), (Status::Succeeded, 0));
    Ok(scope.close().await?)
}

#[tokio::test]
async fn a_run_that_takes_too_long_says_what_runs() -> Done {
    let scope = scope().await?;
    let job = enqueue(&scope, "hangs").await?;
    let brief = RunOptions::new().within(Duration::from_secs(2));
    let error: HandlerError = scope.run_until_idle_with(&worker(&scope)?, brief).await.unwrap_err();
    assert!(error.downcast_ref::<NotIdle>().is_some(), "{error}");
    let words = format!("after 2s there is still something to do:\n  mail {}: runs for ", job.id);
    assert!(error.to_string().starts_with(&words), "{error}");
    Ok(scope.close().await?)
}

#[tokio::test]
async fn an_output_that_is_refused_ends_the_run_as_a_failure() -> Done {
    let scope = scope().await?;
    enqueue(&scope, "says too much").await?;
    let error = scope.run_until_idle(&worker(&scope)?).await.unwrap_err().to_string();
    assert!(error.starts_with("OutputError: the handler's output is 1048578 bytes of JSON"), "{error}");
    Ok(scope.close().await?)
}

#[tokio::test]
async fn a_run_takes_as_many_jobs_as_its_limit() -> Done {
    let scope = scope().await?;
    let worker = worker(&scope)?;
    for how in ["one", "two"] {
        enqueue(&scope, how).await?;
    }
    let run = scope.run_until_idle_with(&worker, RunOptions::new().limit(1));
    let panic = AssertUnwindSafe(run).catch_unwind().await.unwrap_err();
    let words = panic.downcast_ref::<String>().ok_or("it has no words")?;
    assert_eq!(words, "the scope has 2 jobs, and the limit is 1");
    let enough = RunOptions::new().limit(2);
    let idle = scope.run_until_idle_with(&worker, enough).await.map_err(|error| error.to_string())?;
    assert_eq!(idle.ended.len(), 2);
    Ok(scope.close().await?)
}

fn shares_a_server(folder: &Path) -> io::Result<Child> {
    Command::new(env::current_exe()?)
        .args(["--exact", "says_where_its_server_is", "--ignored", "--nocapture"])
        .env("JOBQUEUE_TEST_SHARED", "1")
        .env("XDG_RUNTIME_DIR", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

fn place(process: &mut Child) -> Result<String, Box<dyn StdError>> {
    for line in BufReader::new(process.stdout.as_mut().ok_or("it has no stdout")?).lines() {
        if let Some((_, place)) = line?.split_once("it answers at ") {
            return Ok(place.to_owned());
        }
    }
    Err("it has ended".into())
}

#[test]
fn processes_share_a_server_where_the_environment_says_so() -> Done {
    let folder = env::temp_dir().join(format!("jobqueue-shared-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let mut processes = [shares_a_server(&folder)?, shares_a_server(&folder)?];
    let places: Result<Vec<String>, _> = processes.iter_mut().map(place).collect();
    for process in &mut processes {
        // Its stdin ends.
        process.wait()?;
    }
    let _ = fs::remove_dir_all(&folder);
    let places = places?;
    assert_eq!(places[0], places[1]);
    Ok(())
}

#[tokio::test]
#[ignore = "is a process of the test above"]
async fn says_where_its_server_is() -> Done {
    println!("it answers at {}", TestServer::shared().await?.target());
    tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

#[tokio::test]
async fn a_server_that_was_started_ends_when_it_is_dropped() -> Done {
    let server = TestServer::start().await?;
    let target = server.target().to_owned();
    TcpStream::connect(&target).await?;
    tokio::task::spawn_blocking(move || drop(server)).await?;
    TcpStream::connect(&target).await.unwrap_err();
    Ok(())
}
