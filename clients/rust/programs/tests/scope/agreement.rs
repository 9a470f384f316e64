//! The handlers of tests/testing_kit/handlers.json: what `perform` comes to is what a worker of a real server makes of each,
//! and what the table says.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use jobqueue::testing::{Outcome, Performed, StopAt, TestJob, TestScope, TestServer, perform};
use jobqueue::{
    Access, AesGcm, Client, Encodings, EnqueueResult, Error, Filter, HandlerResult, Job, JobKind, JsonText, Kind,
    LeasedJob, Middleware, NewJob, Next, NextEnqueue, Start, Status, Stop, UpcastError, Worker, WorkerBuilder,
    cancelled, discard, retry, snooze,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Done;

const WITHIN: Duration = Duration::from_secs(60);
const HOUR: u64 = 3600;

#[derive(Debug)]
struct Unwilling(String);

impl fmt::Display for Unwilling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unwilling {}

fn unwilling(words: &Value) -> Unwilling {
    Unwilling(words.as_str().unwrap_or_default().to_owned())
}

#[derive(Serialize, Deserialize)]
struct Ask {
    number: i64,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    half: f64,
}

impl JobKind for Ask {
    const NAME: &'static str = "halves";
    type Output = Answer;
    const VERSION: u32 = 2;

    fn upcast(from: u32, payload: JsonText) -> Result<JsonText, UpcastError> {
        let old: Value = payload.decode()?;
        match from {
            1 => Ok(JsonText::of(&json!({"number": old["n"]}))?),
            _ => Err(UpcastError::none()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the numbers of the table are small")]
async fn halve(ask: Ask, _: LeasedJob) -> HandlerResult<Answer> {
    Ok(Answer { half: ask.number as f64 / 2.0 })
}

/// A row of the table.
#[derive(Clone)]
struct Row(Arc<Value>);

impl Row {
    fn all() -> Result<Vec<Self>, Box<dyn std::error::Error>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/testing_kit/handlers.json");
        let table: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let rows = table["handlers"].as_array().ok_or("no handlers")?.iter();
        Ok(rows
            .filter(|row| row["except"]["rust"]["left_out"].is_null())
            .map(|row| Self(Arc::new(row.clone())))
            .collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.0[name] == true
    }

    fn kind(&self) -> &str {
        if self.is("typed") { Ask::NAME } else { self.text("name") }
    }

    fn attempts(&self) -> usize {
        self.0["does"].as_array().map_or(1, Vec::len)
    }

    fn max_attempts(&self) -> u32 {
        self.0["job"]["max_attempts"].as_u64().and_then(|number| number.try_into().ok()).unwrap_or(1)
    }

    fn job(&self) -> NewJob {
        let said = &self.0["job"];
        let payload = JsonText::new(self.0["payload_text"].as_str().unwrap_or("null").to_owned());
        let mut job = NewJob::new(self.kind()).payload(payload).max_attempts(self.max_attempts());
        job = job.key(said["key"].as_str().unwrap_or_default());
        if let Some(seconds) = said["timeout"].as_u64() {
            job = job.timeout(Duration::from_secs(seconds));
        }
        for (name, value) in strings(&said["labels"]) {
            job = job.label(name, value);
        }
        for (name, value) in strings(&said["headers"]) {
            job = job.header(name, value);
        }
        job
    }
}

fn strings(of: &Value) -> HashMap<String, String> {
    serde_json::from_value(of.clone()).unwrap_or_default()
}

fn long(of: &Value, each: &str) -> String {
    each.repeat(of.as_u64().and_then(|number| number.try_into().ok()).unwrap_or(0))
}

fn seconds(of: &Value) -> Duration {
    Duration::from_secs(of.as_u64().unwrap_or(0))
}

/// Does the steps of a row.
async fn run(row: Row, job: LeasedJob) -> HandlerResult<Option<JsonText>> {
    let steps = row.0["does"][job.attempt() as usize - 1].as_array().cloned().unwrap_or_default();
    for step in steps {
        let (name, first, second) =
            (step[0].as_str().unwrap_or_default(), &step[1], step.get(2).unwrap_or(&Value::Null));
        if name.starts_with("told") {
            let words = second.as_str().map_or_else(|| long(second, "é"), ToOwned::to_owned);
            job.progress(first.as_f64().unwrap_or(-1.0), &words)?;
            job.stopped().await;
        } else if let Some(output) = done(&job, name, first, second)? {
            return Ok(Some(output));
        }
    }
    Ok(None)
}

/// Does a step. None: there is another one.
fn done(job: &LeasedJob, step: &str, first: &Value, second: &Value) -> HandlerResult<Option<JsonText>> {
    match step {
        "return" => return Ok(Some(first.clone().into())),
        "payload" => return Ok(Some(job.payload().clone())),
        "echo" => {
            let payload: Value = job.decode()?;
            let seen = json!({
                "payload": payload, "attempt": job.attempt(), "failures": job.failures(), "last": job.is_last_attempt(),
                "checkpoint": String::from_utf8_lossy(job.checkpoint()), "key": job.key(), "labels": job.labels(),
            });
            return Ok(Some(seen.into()));
        }
        "raise" => return Err(unwilling(first).into()),
        "raise_long" => return Err(Unwilling(long(first, "é")).into()),
        "break" => panic!("{}", unwilling(first)),
        "retry" => return Err(retry(unwilling(first), seconds(second))),
        "discard" => return Err(discard(unwilling(first))),
        "snooze" => return Err(snooze(seconds(first))),
        "give_up" => return Err(cancelled()),
        "no_json" => return Ok(Some(JsonText::of(&BTreeMap::from([([1, 2], 3)]))?)),
        "return_long" => {
            let text = long(first, "x");
            return Ok(Some(json!(text[2..]).into()));
        }
        "follow_up" => {
            let kind = first["kind"].as_str().unwrap_or_default();
            let mut next = NewJob::new(kind).payload(first["payload"].clone()).queue(job.kind());
            for (name, value) in strings(&first["labels"]) {
                next = next.label(name, value);
            }
            job.follow_up(if first["delay"].is_null() { next } else { next.delay(seconds(&first["delay"])) })?;
        }
        "follow_ups" => {
            for _ in 0..first.as_u64().unwrap_or(0) {
                job.follow_up(NewJob::new("next").queue(job.kind()))?;
            }
        }
        "progress" => job.progress(first.as_f64().unwrap_or(-1.0), "")?,
        "checkpoint" => job.save_checkpoint(first.as_str().unwrap_or_default().to_owned())?,
        "checkpoint_long" => job.save_checkpoint(long(first, "x"))?,
        "stop" => {
            if let Some(why) = job.stop_reason() {
                return Err(why.clone().into());
            }
        }
        "time_left" => {
            let left = job.timeout().unwrap_or_default();
            return Ok(Some(json!(!left.is_zero() && left <= WITHIN).into()));
        }
        _ => unreachable!("no step: {step}"),
    }
    Ok(None)
}

/// Does what `around` of a row says.
struct Around(String);

impl Middleware for Around {
    async fn handle(&self, _: &LeasedJob, next: Next<'_>) -> HandlerResult<Option<JsonText>> {
        match self.0.as_str() {
            "raises" => return Err(Unwilling("of no tenant".to_owned()).into()),
            "answers" => return Ok(Some(json!("instead").into())),
            _ => {}
        }
        let output = next.run().await?;
        match self.0.as_str() {
            "raises_after" => Err(Unwilling("too late".to_owned()).into()),
            "changes" => {
                let was: Value = output.map(|text| text.decode()).transpose()?.unwrap_or_default();
                Ok(Some(json!({"was": was}).into()))
            }
            _ => Ok(output),
        }
    }

    async fn enqueue(&self, jobs: Vec<NewJob>, next: NextEnqueue<'_>) -> Result<Vec<EnqueueResult>, Error> {
        let count = jobs.len().to_string();
        next.run(jobs.into_iter().map(|job| job.label("of", &count)).collect()).await
    }
}

/// What became of a job. `after`: whole hours, in seconds, as a server adds up to a tenth to a retry.
#[derive(Debug, PartialEq)]
struct Facts {
    outcome: &'static str,
    output: String,
    error: String,
    error_type: String,
    after: u64,
    progress: Option<(Option<f64>, String)>,
    next: Vec<Following>,
}

#[derive(Debug, PartialEq)]
struct Following {
    kind: String,
    payload: String,
    labels: HashMap<String, String>,
    after: u64,
}

fn text_of(text: Option<&JsonText>) -> String {
    text.map_or_else(String::new, |text| String::from_utf8_lossy(text.as_bytes()).into_owned())
}

fn hours(wait: Duration) -> u64 {
    wait.as_secs() / HOUR * HOUR
}

fn between(from: Option<SystemTime>, to: Option<SystemTime>) -> Duration {
    from.zip(to).and_then(|(from, to)| to.duration_since(from).ok()).unwrap_or_default()
}

async fn alone(row: &Row, worker: Option<&Worker>) -> HandlerResult<Facts> {
    let mut job = TestJob::from(row.job()).within(WITHIN).catch();
    match row.text("stop") {
        "" => {}
        "cancel" => job = job.stop_at(StopAt::Progress(1)),
        _ => job = job.stop_at(StopAt::Progress(1)).stop(Stop::Shutdown),
    }
    if !row.text("around").is_empty() {
        job = job.middleware(Around(row.text("around").to_owned()));
    }
    let mut ended = performed(row, worker, job).await?;
    for _ in 1..row.attempts() {
        let next = ended.again();
        ended = performed(row, worker, next).await?;
    }
    let again = ended.outcome == Outcome::Failed && ended.failures + 1 < row.max_attempts();
    let after = if again { ended.retry_after } else { ended.delay };
    let told = ended.progress.first().filter(|_| !row.text("stop").is_empty());
    let next = ended.follow_ups.iter().map(|each| Following {
        kind: each.kind.clone(),
        payload: each.payload.as_ref().map_or_else(|| "null".to_owned(), |text| text_of(Some(text))),
        labels: each.labels.clone(),
        after: match each.start {
            Some(Start::After(delay)) => hours(delay),
            _ => 0,
        },
    });
    Ok(Facts {
        outcome: match ended.outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Discarded => "discarded",
            Outcome::Snoozed => "snoozed",
            Outcome::Cancelled => "cancelled",
            Outcome::Released => "released",
        },
        output: text_of(ended.output.as_ref()),
        after: hours(after.unwrap_or_default()),
        progress: told.map(|report| (report.fraction, report.message.clone())),
        next: next.collect(),
        error: ended.error,
        error_type: ended.error_type,
    })
}

async fn performed(row: &Row, worker: Option<&Worker>, job: TestJob) -> HandlerResult<Performed> {
    let own = row.clone();
    match worker {
        Some(worker) => perform(worker, job).await,
        None if row.is("typed") => perform(halve, job).await,
        None => perform(move |job| run(own.clone(), job), job).await,
    }
}

async fn there(row: &Row, client: &Client, id: &str, leave: &CancellationToken) -> Result<Facts, Error> {
    let mut progress = None;
    if !row.text("stop").is_empty() {
        let told = until(client, id, |job| job.progress.is_some()).await?.progress;
        progress = told.map(|told| (told.fraction, told.message));
        if row.text("stop") == "cancel" {
            client.cancel(id).await?;
        } else {
            leave.cancel();
        }
    }
    let over =
        |job: &Job| job.is_terminal() || (job.attempts as usize >= row.attempts() && job.status != Status::Running);
    let job = until(client, id, over).await?;
    let outcome = outcome(&job);
    let failed = job.failed_attempts.last().filter(|_| ["failed", "discarded"].contains(&outcome));
    let filter = Filter { queue: job.kind.clone(), full: true, ..Filter::default() };
    let following: Vec<Job> = client.list(filter).try_collect().await?;
    let next = following.into_iter().map(|each| Following {
        payload: text_of(each.payload.as_ref()),
        after: hours(between(each.created_at, each.run_at)),
        kind: each.kind,
        labels: each.labels,
    });
    Ok(Facts {
        outcome,
        output: text_of(job.output.as_ref()),
        error: failed.map_or_else(String::new, |failed| failed.error.clone()),
        error_type: failed.map_or_else(String::new, |failed| failed.error_type.clone()),
        after: if job.is_terminal() { 0 } else { hours(between(job.created_at, job.run_at)) },
        progress,
        next: next.collect(),
    })
}

fn outcome(job: &Job) -> &'static str {
    match job.status {
        Status::Succeeded => "succeeded",
        Status::FailedPermanent if job.reason == "NOT_RETRYABLE" => "discarded",
        Status::FailedPermanent | Status::Retrying => "failed",
        // What an attempt that was to stop has failed with is kept, but there is no next one.
        Status::Cancelled if !job.failed_attempts.is_empty() => "failed",
        Status::Cancelled => "cancelled",
        _ if job.run_at > job.updated_at => "snoozed",
        _ => "released",
    }
}

async fn until(client: &Client, id: &str, holds: impl Fn(&Job) -> bool) -> Result<Job, Error> {
    let found = async {
        loop {
            let job = client.get(id).await?;
            if holds(&job) {
                return Ok(job);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(WITHIN, found).await.expect("it does not come to that")
}

/// What the table would say of it, by the names of what it does.
fn in_table(found: &Facts, wanted: &Value) -> Value {
    let ends = wanted["error_ends"].as_str().unwrap_or_default();
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let all = json!({
        "outcome": found.outcome,
        "output": value(&found.output),
        "output_text": found.output,
        "output_bytes": found.output.len(),
        "error": found.error,
        "error_ends": if found.error.ends_with(ends) { ends } else { &found.error },
        "error_type": found.error_type.rsplit("::").next().unwrap_or_default().to_lowercase(),
        "after": found.after,
        "progress": found.progress.as_ref().map(|(fraction, message)| json!([fraction, message.len()])),
        "follow_ups": found.next.iter()
            .map(|next| json!({"payload": value(&next.payload), "labels": next.labels}))
            .collect::<Vec<_>>(),
    });
    let names = wanted.as_object().into_iter().flatten().map(|(name, _)| (name.clone(), all[name].clone()));
    Value::Object(names.collect())
}

fn without_why(mut wanted: Value) -> Value {
    if let Some(named) = wanted.as_object_mut() {
        named.remove("why");
        named.remove("alone");
    }
    wanted
}

/// What is not as it should be.
fn wrong(row: &Row, by_worker: &Facts, by_itself: &Facts) -> Vec<String> {
    let otherwise = &row.0["except"]["rust"];
    let mut wanted = row.0["comes_to"].clone();
    for (name, value) in otherwise.as_object().into_iter().flatten() {
        wanted[name] = value.clone();
    }
    let alone = [&otherwise["alone"], &row.0["alone"]].into_iter().find(|each| !each.is_null());
    let wanted_alone = without_why(alone.unwrap_or(&wanted).clone());
    let wanted = without_why(wanted);
    let mut found = Vec::new();
    if alone.is_none() && by_worker != by_itself {
        found.push(format!("{}: by a worker {by_worker:.1000?}, alone {by_itself:.1000?}", row.text("name")));
    }
    for (facts, wanted) in [(by_worker, &wanted), (by_itself, &wanted_alone)] {
        let told = in_table(facts, wanted);
        if told != *wanted {
            found.push(format!("{}: {told}, the table has {wanted}", row.text("name")));
        }
    }
    found
}

fn encodings() -> Result<Encodings, Error> {
    Encodings::builder().add(AesGcm::new([("a", [7; 32])], "a")?).build()
}

/// Those with middleware of their own have a worker each, and so has the one that leaves.
fn worker_of(row: &Row) -> String {
    match (row.is("encoded"), row.text("stop")) {
        (true, _) => "encoding".to_owned(),
        (_, "shutdown") => "leaving".to_owned(),
        _ => row.text("around").to_owned(),
    }
}

fn built(mut builder: WorkerBuilder, name: &str, rows: &[Row]) -> Result<Worker, Error> {
    builder = builder.concurrency(16).shutdown_grace(Duration::ZERO);
    let mut typed = false;
    for row in rows.iter().filter(|row| worker_of(row) == name) {
        let own = row.clone();
        if !row.is("typed") {
            builder = builder.handle(row.kind(), move |job| run(own.clone(), job));
        } else if !typed {
            (builder, typed) = (builder.handle_kind(halve), true);
        }
    }
    match name {
        "encoding" => builder.encodings(encodings()?).build(),
        "leaving" | "" => builder.build(),
        says => builder.middleware(Around(says.to_owned())).build(),
    }
}

#[tokio::test]
async fn a_handler_comes_to_the_same_by_itself_and_by_a_worker() -> Done {
    let scope = TestScope::open(TestServer::shared().await?).await?;
    let sealing =
        Client::builder(&scope.target).access(Access::new().token(&scope.key)).encodings(encodings()?).build()?;
    let rows = Row::all()?;
    scope.client.put_kind(Kind::new("next")).await?;
    let mut workers = BTreeMap::new();
    for row in &rows {
        scope.client.put_kind(Kind::new(row.kind())).await?;
        let name = worker_of(row);
        if !workers.contains_key(&name) {
            let worker = Arc::new(built(scope.worker(), &name, &rows)?);
            workers.insert(name, (worker, CancellationToken::new()));
        }
    }
    let mut serving = Vec::new();
    for (worker, end) in workers.values() {
        let (worker, end) = (worker.clone(), end.clone());
        serving.push(tokio::spawn(async move { worker.run(end).await }));
    }
    let leave = workers["leaving"].1.clone();
    let mut all_wrong = Vec::new();
    for row in &rows {
        let client = if row.is("encoded") { &sealing } else { &scope.client };
        let id = client.enqueue(row.job()).await?.id;
        let by_worker = there(row, client, &id, &leave).await?;
        let worker = row.is("encoded").then(|| &*workers["encoding"].0);
        let by_itself = alone(row, worker).await.map_err(|error| format!("{}: {error}", row.text("name")))?;
        all_wrong.extend(wrong(row, &by_worker, &by_itself));
    }
    for (_, end) in workers.values() {
        end.cancel();
    }
    for each in serving {
        each.await??;
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
    Ok(scope.close().await?)
}
