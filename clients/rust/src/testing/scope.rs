//! A namespace of a real server for one test, and what a test asks of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use prost::Message;
use serde_json::Value;
use tokio::time::sleep;

use super::idle::{Idle, RunOptions, Working};
use super::server::TestServer;
use crate::access::Access;
use crate::calls::{ONE_WAIT, make};
use crate::client::Client;
use crate::convert::duration_message;
use crate::errors::Error;
use crate::job::Job;
use crate::jobs::{Filter, Status};
use crate::json::JsonText;
use crate::longrunning as lro;
use crate::longrunning::operations_client::OperationsClient;
use crate::outcomes::HandlerResult;
use crate::typed::JobKind;
use crate::v1;
use crate::v1::bulk_client::BulkClient;
use crate::worker::{Worker, WorkerBuilder};

/// What has not ended.
pub(super) const LIVE: [Status; 3] = [Status::Queued, Status::Running, Status::Retrying];
pub(super) const POLL: Duration = Duration::from_millis(20);
/// So many jobs a failed assertion shows.
const SHOWN: usize = 20;
/// So many ids a filter may have.
const IDS: usize = 1000;

/// A namespace of a real server, for one test. It sees its own jobs, kinds and queues alone.
///
/// ```no_run
/// # async fn sign_up(_: &impl jobqueue::Enqueue, _: &str) -> Result<(), jobqueue::Error> { Ok(()) }
/// # async fn test() -> Result<(), jobqueue::Error> {
/// use jobqueue::Kind;
/// use jobqueue::testing::{TestScope, TestServer, Wanted};
/// use serde_json::json;
///
/// let scope = TestScope::open(TestServer::shared().await?).await?;
/// scope.client.put_kind(Kind::new("welcome")).await?;
/// sign_up(&scope.client, "ada@example.org").await?;
/// scope.assert_enqueued(Wanted::kind("welcome").payload(json!({"to": "ada@example.org"}))).await?;
/// scope.close().await
/// # }
/// ```
///
/// Jobs, kinds and keys of a scope that is dropped without [`close`](Self::close) stay until the server ends.
#[derive(Debug)]
#[non_exhaustive]
pub struct TestScope<'s> {
    /// A client of it.
    pub client: Client,
    /// The server's address.
    pub target: String,
    /// The name of the namespace.
    pub namespace: String,
    /// A key that permits everything in it.
    pub key: String,
    server: &'s TestServer,
}

impl<'s> TestScope<'s> {
    /// Makes a namespace of a server, which goes on when the scope is closed.
    ///
    /// # Errors
    ///
    /// What the server refuses it for, such as a key that is no administrator's of `default`.
    pub async fn open(server: &'s TestServer) -> Result<Self, Error> {
        let (namespace, key) = server.open_scope().await?;
        let target = server.target().to_owned();
        let client = Client::builder(&target).access(Access::new().token(&key)).build()?;
        Ok(Self { client, target, namespace, key, server })
    }

    /// Disables the namespace: its workers and clients are refused from then on.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn close(self) -> Result<(), Error> {
        self.server.close_scope(&self.namespace).await
    }

    /// What [`Client::from_env`] and [`Worker::from_env`] need, and the command `jobqueue`, for a process that is started.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("JOBQUEUE_SERVER", self.target.clone()), ("JOBQUEUE_TOKEN", self.key.clone())]
    }

    /// The settings of a worker of the scope.
    pub fn worker(&self) -> WorkerBuilder {
        Worker::builder(&self.target).access(self.access())
    }

    pub(super) fn access(&self) -> Access {
        Access::new().token(&self.key)
    }

    /// The jobs of the scope that have not ended, the oldest first, with their payloads. Empty kind: of any.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn enqueued(&self, kind: &str) -> Result<Vec<Job>, Error> {
        self.jobs(kind, &LIVE).await
    }

    /// The jobs with one of these statuses; none: with any.
    pub(super) async fn jobs(&self, kind: &str, status: &[Status]) -> Result<Vec<Job>, Error> {
        let (kind, status) = (kind.to_owned(), status.to_vec());
        let filter = Filter { kind, status, full: true, page_size: Some(1000), ..Filter::default() };
        let mut found: Vec<Job> = self.client.list(filter).try_collect().await?;
        found.reverse();
        Ok(found)
    }

    /// Returns the jobs that are so. They are judged here, by decoded values; all that is given must hold.
    ///
    /// # Errors
    ///
    /// Those of every call.
    ///
    /// # Panics
    ///
    /// There are none, or not so many. The words show what there is.
    pub async fn assert_enqueued(&self, wanted: impl Into<Wanted>) -> Result<Vec<Job>, Error> {
        let wanted = wanted.into();
        let ends = Instant::now() + wanted.within;
        loop {
            let all = self.jobs("", &wanted.status).await?;
            let found: Vec<Job> = all.iter().filter(|job| wanted.holds(job)).cloned().collect();
            if wanted.count.map_or(!found.is_empty(), |count| found.len() == count) {
                return Ok(found);
            }
            if Instant::now() >= ends {
                let said = match found.len() {
                    0 => "no job".to_owned(),
                    1 => "1 job".to_owned(),
                    many => format!("{many} jobs"),
                };
                let count = wanted.count.map_or(String::new(), |count| format!(", not {count}"));
                panic!("{said} of {wanted}{count}{}", shown(&all));
            }
            sleep(POLL).await;
        }
    }

    /// Returns if no job is so.
    ///
    /// # Errors
    ///
    /// Those of every call.
    ///
    /// # Panics
    ///
    /// There is one.
    pub async fn assert_not_enqueued(&self, wanted: impl Into<Wanted>) -> Result<(), Error> {
        let wanted = wanted.into();
        let mut found = self.jobs("", &wanted.status).await?;
        found.retain(|job| wanted.holds(job));
        assert!(found.is_empty(), "{} of {wanted}, and there should be none{}", found.len(), shown(&found));
        Ok(())
    }

    /// What a future answers, and the jobs that were enqueued while it ran alone, the oldest first.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn recorded<T>(&self, what: impl Future<Output = T>) -> Result<(T, Vec<Job>), Error> {
        let before: HashSet<String> = self.jobs("", &[]).await?.into_iter().map(|job| job.id).collect();
        let answer = what.await;
        let mut jobs = self.jobs("", &[]).await?;
        jobs.retain(|job| !before.contains(&job.id));
        Ok((answer, jobs))
    }

    /// Lets jobs start now that wait for their time or for their backoff: `run_at` becomes now.
    ///
    /// It is the job that changes; time goes on as it does.
    ///
    /// # Errors
    ///
    /// Those of every call.
    ///
    /// # Panics
    ///
    /// One of them does not wait.
    pub async fn make_due<'j>(&self, jobs: impl IntoIterator<Item = &'j Job>) -> Result<(), Error> {
        let ids: Vec<String> = jobs.into_iter().map(|job| job.id.clone()).collect();
        let (wanted, changed) = (ids.len(), self.due(ids).await?);
        assert!(usize::try_from(changed) == Ok(wanted), "{changed} of {wanted} jobs waited");
        Ok(())
    }

    /// The same, and answers how many waited.
    pub(super) async fn due(&self, ids: Vec<String>) -> Result<i64, Error> {
        let mut changed = 0;
        for part in ids.chunks(IDS) {
            changed += self.due_at_once(part.to_vec()).await?;
        }
        Ok(changed)
    }

    async fn due_at_once(&self, ids: Vec<String>) -> Result<i64, Error> {
        let (client, access) = (&self.client, self.access());
        let channel = access.endpoint(&self.target)?.connect_lazy();
        let bulk = BulkClient::new(channel.clone());
        let request = v1::UpdateJobsRequest {
            filter: Some(v1::JobFilter { ids, ..v1::JobFilter::default() }),
            force: true,
            start: Some(v1::update_jobs_request::Start::Delay(duration_message(Duration::ZERO))),
            ..v1::UpdateJobsRequest::default()
        };
        let made = make(&access, &client.first, client.deadline, false, None, request, |request| {
            let mut stub = bulk.clone();
            async move { stub.update_jobs(request).await }
        });
        let mut operation = made.await?.operation.unwrap_or_default();
        let operations = OperationsClient::new(channel);
        while !operation.done {
            let timeout = Some(duration_message(ONE_WAIT));
            let request = lro::WaitOperationRequest { name: operation.name, timeout };
            let waited = make(&access, &client.first, ONE_WAIT + client.deadline, true, None, request, |request| {
                let mut stub = operations.clone();
                async move { stub.wait_operation(request).await }
            });
            operation = waited.await?;
        }
        let metadata = operation.metadata.map(|any| v1::BulkMetadata::decode(&*any.value));
        Ok(metadata.and_then(Result::ok).unwrap_or_default().changed)
    }

    /// Runs a worker's handlers in this process until no job that they take is due or runs, follow-ups too, for 10 s at
    /// most. The first ordinary failure ends it.
    ///
    /// Jobs that wait for their time, a backoff, a hold or a limit are not waited for: [`Idle::waiting`] says why each waits.
    ///
    /// # Errors
    ///
    /// What a handler failed with, itself; an output over 1 MiB is a failure. Those of every call.
    /// [`NotIdle`](super::NotIdle): it takes longer; it says what runs and what is due.
    ///
    /// # Panics
    ///
    /// Where a handler panics, or there are more than 1000 jobs.
    pub async fn run_until_idle(&self, worker: &Worker) -> HandlerResult<Idle> {
        self.run_until_idle_with(worker, RunOptions::new()).await
    }

    /// The same with another way with failures, within another time or with more jobs: [`RunOptions`], or
    /// [`Failures`](super::Failures) alone.
    ///
    /// # Errors
    ///
    /// As those of [`run_until_idle`](Self::run_until_idle).
    ///
    /// # Panics
    ///
    /// As there, with the [`limit`](RunOptions::limit) that is given.
    pub async fn run_until_idle_with(&self, worker: &Worker, options: impl Into<RunOptions>) -> HandlerResult<Idle> {
        Working::new(self, worker, options.into()).run().await
    }
}

type Matching = Arc<dyn Fn(&Job) -> bool + Send + Sync>;

/// What a job is to be, for [`TestScope::assert_enqueued`]. A name of a kind becomes one by `into()`.
#[derive(Clone)]
#[must_use]
pub struct Wanted {
    kind: String,
    payload: Option<Value>,
    fields: BTreeMap<String, Value>,
    matching: Option<Matching>,
    queue: Option<String>,
    labels: BTreeMap<String, String>,
    key: Option<String>,
    due_in: Option<Duration>,
    count: Option<usize>,
    status: Vec<Status>,
    within: Duration,
}

impl Wanted {
    /// Of this kind.
    pub fn kind(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            payload: None,
            fields: BTreeMap::new(),
            matching: None,
            queue: None,
            labels: BTreeMap::new(),
            key: None,
            due_in: None,
            count: None,
            status: LIVE.to_vec(),
            within: Duration::ZERO,
        }
    }

    /// Of this typed kind, with this payload.
    ///
    /// # Errors
    ///
    /// `PayloadInvalid`: JSON has no form for the payload.
    pub fn of<K: JobKind>(payload: &K) -> Result<Self, Error> {
        let job = crate::NewJob::of(payload)?;
        Ok(Self::kind(job.kind).payload(value_of(job.payload.as_ref())))
    }

    /// With this payload, equal after JSON.
    pub fn payload(mut self, payload: impl Into<Value>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// With this value in a field of the payload, among others.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// For which a function answers true.
    pub fn matching(mut self, matching: impl Fn(&Job) -> bool + Send + Sync + 'static) -> Self {
        self.matching = Some(Arc::new(matching));
        self
    }

    /// In this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// With this label, among others.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// With this key.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// That may start so long after its enqueue, to a second.
    pub fn due_in(mut self, due_in: Duration) -> Self {
        self.due_in = Some(due_in);
        self
    }

    /// So many of them. Default: at least one.
    pub fn count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    /// With one of these statuses. Default: those that have not ended.
    pub fn status(mut self, status: impl IntoIterator<Item = Status>) -> Self {
        self.status = status.into_iter().collect();
        self
    }

    /// How long it may take until they are there, of code that enqueues later. Default: not at all.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    fn holds(&self, job: &Job) -> bool {
        let of = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        if job.kind != self.kind || !of(&self.queue, &job.queue) || !of(&self.key, &job.key) {
            return false;
        }
        let payload = value_of(job.payload.as_ref());
        self.payload.as_ref().is_none_or(|wanted| same(wanted, &payload))
            && self.fields.iter().all(|(name, value)| payload.get(name).is_some_and(|found| same(value, found)))
            && self.labels.iter().all(|(name, value)| job.labels.get(name) == Some(value))
            && self.due_in.is_none_or(|wanted| due_in(job).abs_diff(wanted) <= Duration::from_secs(1))
            && self.matching.as_ref().is_none_or(|matching| matching(job))
    }
}

impl From<&str> for Wanted {
    fn from(kind: &str) -> Self {
        Self::kind(kind)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kind {}", self.kind)?;
        if let Some(payload) = &self.payload {
            write!(f, ", payload {payload}")?;
        }
        for (name, value) in &self.fields {
            write!(f, ", {name} {value}")?;
        }
        if self.matching.is_some() {
            f.write_str(", matching a function")?;
        }
        if let Some(queue) = &self.queue {
            write!(f, ", queue {queue}")?;
        }
        if !self.labels.is_empty() {
            write!(f, ", labels {:?}", self.labels)?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key {key}")?;
        }
        match self.due_in {
            Some(due_in) => write!(f, ", due in {due_in:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wanted").field(&self.to_string()).finish()
    }
}

fn value_of(payload: Option<&JsonText>) -> Value {
    payload.and_then(|text| text.decode().ok()).unwrap_or_default()
}

fn due_in(job: &Job) -> Duration {
    let spans = job.run_at.zip(job.created_at).map(|(run_at, created_at)| run_at.duration_since(created_at));
    spans.and_then(Result::ok).unwrap_or_default()
}

fn shown(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return ". The scope has no job of this status".to_owned();
    }
    let lines = jobs.iter().take(SHOWN).map(|job| {
        let mut line = format!("\n  {} {} queue {}", job.kind, value_of(job.payload.as_ref()), job.queue);
        if !job.labels.is_empty() {
            let _ = write!(line, " labels {:?}", job.labels);
        }
        if !job.key.is_empty() {
            let _ = write!(line, " key {}", job.key);
        }
        if !LIVE.contains(&job.status) {
            let _ = write!(line, ", {}", job.status);
        }
        if due_in(job) > Duration::from_secs(1) {
            let _ = write!(line, ", due in {} s", due_in(job).as_secs_f64().round());
        }
        line
    });
    let more = jobs.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    format!(". There are:{}{more}", lines.collect::<String>())
}

/// Whether two JSON values are equal: `2` and `2.0` are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|found| same(value, found)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Number(left), Value::Number(right)) if left.is_f64() || right.is_f64() => {
            left.as_f64() == right.as_f64()
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_compared_as_json_has_them() {
        assert!(same(&json!({"a": [1, {"b": 2.0}]}), &json!({"a": [1.0, {"b": 2}]})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
        assert!(!same(&json!(true), &json!(1)) && !same(&json!([1]), &json!([1, 1])));
        assert!(!same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
    }

    #[test]
    fn what_is_wanted_is_said_in_words() {
        let wanted = Wanted::kind("mail").payload(json!({"to": "ada"})).queue("q").key("k").label("a", "b");
        let wanted = wanted.due_in(Duration::from_secs(3)).field("n", 7);
        let words = r#"kind mail, payload {"to":"ada"}, n 7, queue q, labels {"a": "b"}, key k, due in 3s"#;
        assert_eq!(wanted.to_string(), words);
    }
}
