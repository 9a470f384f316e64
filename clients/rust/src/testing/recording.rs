//! A client that has no server: it checks what is enqueued, and keeps it.

use std::collections::HashMap;
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tonic::Code;

use super::ids::new_id;
use crate::convert::duration_of;
use crate::enqueue::Enqueue;
use crate::errors::{Error, ErrorKind};
use crate::job::{Job, NewJob, job_of, new_job_message};
use crate::jobs::{EncodingRule, EnqueueResult};
use crate::middleware::{Middleware, Middlewares};
use crate::v1;

const PAYLOAD_BYTES: usize = 1024 * 1024;

/// Stands for a [`Client`](crate::Client) in a unit test of code that enqueues, by [`Enqueue`].
///
/// It checks names and ranges, answers a QUEUED job with a new id, and replays idempotency keys. A server checks more:
/// JSON, schemas, permissions, limits, unique names.
#[derive(Debug, Default)]
pub struct RecordingClient {
    kept: Mutex<Kept>,
    middleware: Middlewares,
}

#[derive(Debug, Default)]
struct Kept {
    jobs: Vec<NewJob>,
    /// With what each key was used for, and what was answered.
    keys: HashMap<String, (NewJob, Job)>,
}

impl RecordingClient {
    /// One that has nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what goes around enqueues. The first is the outermost one. Default: none.
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.add(middleware);
        self
    }

    /// What was enqueued, in order; a replay is no second one. They compare with [`NewJob::of`] and [`NewJob::new`].
    pub fn jobs(&self) -> Vec<NewJob> {
        self.lock().jobs.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, job: NewJob, path: &str) -> Result<Job, Error> {
        check(&job, path)?;
        let message = new_job_message(job.clone().encodings(EncodingRule::Unsaid))?;
        let mut kept = self.lock();
        // Headers are not part of what makes two requests the same.
        let request = NewJob { headers: HashMap::new(), ..job.clone() };
        if let Some((before, answer)) = kept.keys.get(&job.idempotency_key) {
            if *before != request {
                return Err(key_reused(&answer.id));
            }
            return Ok(Job { replayed: true, ..answer.clone() });
        }
        let answer = answer_to(message);
        if !job.idempotency_key.is_empty() {
            kept.keys.insert(job.idempotency_key.clone(), (request, answer.clone()));
        }
        kept.jobs.push(job);
        Ok(answer)
    }

    fn keep_all(&self, jobs: Vec<NewJob>) -> Result<Vec<EnqueueResult>, Error> {
        // All or none.
        for (number, job) in jobs.iter().enumerate() {
            check(job, &format!("jobs[{number}]"))?;
        }
        let answers = jobs.into_iter().enumerate().map(|(number, job)| self.keep(job, &format!("jobs[{number}]")));
        answers.map(|answer| answer.map(|job| EnqueueResult::of(&job))).collect()
    }
}

impl Enqueue for RecordingClient {
    async fn enqueue(&self, job: NewJob) -> Result<Job, Error> {
        self.middleware.enqueue_one(job, |job| ready(self.keep(job, "job"))).await
    }

    fn enqueue_many(
        &self,
        jobs: impl IntoIterator<Item = NewJob> + Send,
    ) -> impl Future<Output = Result<Vec<EnqueueResult>, Error>> + Send {
        let jobs = jobs.into_iter().collect();
        self.middleware.enqueue(jobs, |jobs| ready(self.keep_all(jobs)))
    }
}

/// The job as a server would have it.
fn answer_to(message: v1::NewJob) -> Job {
    let created = SystemTime::now();
    let now = Some(created.into());
    let run_at = match message.start {
        Some(v1::new_job::Start::RunAt(moment)) => Some(moment),
        Some(v1::new_job::Start::Delay(delay)) => {
            Some((created + duration_of(Some(&delay)).unwrap_or_default()).into())
        }
        None => now,
    };
    job_of(v1::Job {
        id: new_id(),
        kind: message.kind,
        status: v1::job::Status::Queued.into(),
        queue: if message.queue.is_empty() { "default".to_owned() } else { message.queue },
        priority: message.priority,
        max_attempts: if message.max_attempts == 0 { 3 } else { message.max_attempts },
        run_at,
        hold: message.hold.then_some(v1::job::Hold::Hand.into()),
        unique_key: message.unique.map_or_else(String::new, |unique| unique.key),
        created_at: now,
        updated_at: now,
        labels: message.labels,
        headers: message.headers,
        idempotency_key: message.idempotency_key,
        key: message.key,
        timeout: message.timeout,
        retry_policy: message.retry_policy,
        content: Some(v1::job::Content::PayloadJson(match message.content {
            Some(v1::new_job::Content::PayloadJson(text)) => text,
            _ => "null".into(),
        })),
        ..v1::Job::default()
    })
}

fn key_reused(id: &str) -> Error {
    let words = format!("the key was used for another request, whose job is {id}; choose a new key for this one");
    Error::new(Code::AlreadyExists, words)
        .named(ErrorKind::IdempotencyKeyReused, "IDEMPOTENCY_KEY_REUSED")
        .fact("job_id", id)
}

/// What a server refuses whatever it has been told of the kind.
fn check(job: &NewJob, path: &str) -> Result<(), Error> {
    let refused = |field: &str, words: String| {
        Err(Error::invalid(format!("{path}.{field}"), words).named(ErrorKind::InvalidRequest, "FIELD_INVALID"))
    };
    for (field, name) in [("kind", &job.kind), ("queue", &job.queue)] {
        if !is_name(name) && (field == "kind" || !name.is_empty()) {
            return refused(field, "must be 1 to 128 of a-z 0-9 _ . - and begin with a letter or digit".into());
        }
    }
    if !(-10..=10).contains(&job.priority) {
        return refused("priority", "must be from -10 to 10".into());
    }
    if job.max_attempts.is_some_and(|attempts| attempts > 1000) {
        return refused("max_attempts", "must be 1 to 1000".into());
    }
    let bytes = job.payload.as_ref().map_or(0, |text| text.as_bytes().len());
    if bytes > PAYLOAD_BYTES {
        return refused("payload", format!("has {bytes} bytes; at most {PAYLOAD_BYTES} are allowed"));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let plain = |each: u8| each.is_ascii_lowercase() || each.is_ascii_digit();
    name.len() <= 128
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|each| plain(each) || b"_.-".contains(&each))
}
