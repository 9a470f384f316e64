//! What producers and operators call.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tonic::Code;
use tonic::transport::Channel;

use crate::access::{Access, MESSAGE_BYTES};
use crate::adaptive::Window;
use crate::batches::{cut_batch, rebased};
use crate::calls::{FirstUse, call, paced_call, wait_until};
use crate::convert::{duration_message, label_filter, status_message, view_of, whole};
use crate::encodings::Encodings;
use crate::environment::{self, Environment};
use crate::errors::{Error, ErrorKind};
use crate::job::{Job, NewJob, job_of, new_job_message};
use crate::jobs::{Cancellation, EnqueueResult, Filter, JobPage};
use crate::longrunning::operations_client::OperationsClient;
use crate::middleware::{Middleware, Middlewares};
use crate::telling::Telling;
use crate::unique::unique_action;
use crate::v1;
use crate::v1::bulk_client::BulkClient;
use crate::v1::insight_client::InsightClient;
use crate::v1::job_queue_client::JobQueueClient;
use crate::v1::queue_admin_client::QueueAdminClient;
use crate::v1::schedules_client::SchedulesClient;
use crate::watch::{Watch, WatchFilter};
use crate::worker::Observer;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
/// A wait of this length or more that ends before its job asks why, for so long at most.
const WORTH_ASKING: Duration = Duration::from_secs(1);
const TO_SAY_WHY: Duration = Duration::from_secs(1);

/// Jobs as [`Client::list`] and [`Watch::into_stream`] tell them.
pub type JobStream = BoxStream<'static, Result<Job, Error>>;

/// The settings of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    target: String,
    of_environment: bool,
    access: Access,
    deadline: Duration,
    adaptive: bool,
    telling: Telling,
    middleware: Middlewares,
    encodings: Option<Encodings>,
}

impl ClientBuilder {
    /// What payloads go through before they are sent, within all middleware; payloads and outputs that are read are
    /// decoded. What can't be says so in the job ([`JsonText::encoded`](crate::JsonText::encoded)). Default: none.
    #[must_use]
    pub fn encodings(mut self, encodings: Encodings) -> Self {
        self.encodings = Some(encodings);
        self
    }

    /// Adds what goes around enqueues. The first is the outermost one. Default: none.
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.add(middleware);
        self
    }

    /// Is told of enqueues, for metrics and reports of errors. Default: none.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.telling = Telling::new(Arc::new(observer));
        self
    }

    /// TLS and the token. Default: neither.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// For each call, all its tries together. Default: 30 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Whether enqueues wait for their turns within the client while the server says that it is nearly full. At most 64 are in
    /// flight at first: hints and refusals make that fewer, answers without them more, up to 1000. The client refuses nothing
    /// by itself, and the wait is part of the call's deadline; what gets no turn ends as `DeadlineExceeded` and was not sent.
    /// Clones share the turns. Default: false, and nothing waits.
    #[must_use]
    pub fn adaptive(mut self, adaptive: bool) -> Self {
        self.adaptive = adaptive;
        self
    }

    /// Makes the client; it connects at the first call. Within a tokio runtime.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: the target is no address, or the TLS settings can't be used.
    pub fn build(self) -> Result<Client, Error> {
        let channel = self.access.endpoint(&self.target)?.connect_lazy();
        Ok(Client {
            jobs: JobQueueClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES),
            admin: QueueAdminClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES),
            bulk: BulkClient::new(channel.clone()),
            operations: OperationsClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES),
            schedules: SchedulesClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES),
            insight: InsightClient::new(channel),
            access: self.access,
            deadline: self.deadline,
            window: self.adaptive.then(|| Arc::new(Window::new())),
            telling: self.telling,
            middleware: self.middleware,
            encodings: self.encodings,
            first: Arc::new(FirstUse::new(self.target, self.of_environment)),
        })
    }
}

/// A connection to a JobQueue server. Make one and keep it; clones share it.
///
/// Every method may return an [`Error`]. Reads, and what changes nothing when done twice, are tried again while no server
/// answers; so is an enqueue that carries an idempotency key, and no other. A future that is dropped ends its call; what
/// was asked for may have been done.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) jobs: JobQueueClient<Channel>,
    pub(crate) admin: QueueAdminClient<Channel>,
    pub(crate) bulk: BulkClient<Channel>,
    pub(crate) operations: OperationsClient<Channel>,
    pub(crate) schedules: SchedulesClient<Channel>,
    pub(crate) insight: InsightClient<Channel>,
    pub(crate) access: Access,
    pub(crate) deadline: Duration,
    /// Of an adaptive client.
    pub(crate) window: Option<Arc<Window>>,
    telling: Telling,
    middleware: Middlewares,
    pub(crate) encodings: Option<Encodings>,
    pub(crate) first: Arc<FirstUse>,
}

impl Client {
    /// A client of the server at an address, for example `127.0.0.1:50051`, with every default: without TLS and token.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: the target is no address.
    pub fn new(target: impl Into<String>) -> Result<Self, Error> {
        Self::builder(target).build()
    }

    /// The settings of a client, to be changed.
    pub fn builder(target: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            target: target.into(),
            of_environment: false,
            access: Access::default(),
            deadline: DEFAULT_DEADLINE,
            adaptive: false,
            telling: Telling::default(),
            middleware: Middlewares::default(),
            encodings: None,
        }
    }

    /// The settings of a client as the environment has them, by the names of the command line: `JOBQUEUE_SERVER` (default
    /// `127.0.0.1:50051`), `JOBQUEUE_TOKEN`, and for TLS `JOBQUEUE_TLS_ROOTS` (a PEM file, or `public`),
    /// `JOBQUEUE_TLS_CLIENT_CERT` and `JOBQUEUE_TLS_CLIENT_KEY`.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: a file can't be read, of a certificate and its key one is not set, or TLS is asked for without
    /// the feature `tls`.
    pub fn from_env() -> Result<ClientBuilder, Error> {
        Self::of_environment(&environment::of_process())
    }

    fn of_environment<F: Fn(&str) -> Option<String>>(environment: &Environment<F>) -> Result<ClientBuilder, Error> {
        let made = Self::builder(environment.server()).access(environment.access()?);
        Ok(ClientBuilder { of_environment: true, ..made })
    }

    /// Tells the observer how a call has ended that was to enqueue jobs of these kinds and queues.
    fn tell(&self, began: Instant, jobs: BTreeMap<(String, String), usize>, error: Option<&Error>) {
        let took = began.elapsed();
        for ((kind, queue), count) in jobs {
            let error = error.cloned();
            self.telling.tell(move |observer| observer.enqueued(count, &kind, &queue, took, error.as_ref()));
        }
    }

    /// How many jobs of each kind and queue there are; nothing where nothing is told.
    fn counts(&self, jobs: &[v1::NewJob]) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        for job in jobs.iter().filter(|_| self.telling.on()) {
            let queue = if job.queue.is_empty() { "default" } else { &job.queue };
            *counts.entry((job.kind.clone(), queue.to_owned())).or_default() += 1;
        }
        counts
    }

    /// Enqueues one job. Once it returns, the job is committed.
    ///
    /// Without a key an error may leave open whether the job was enqueued. With one the client repeats the call safely,
    /// and so may you. The job is as it was enqueued; if the key was used before, as it is now, with `replayed` set;
    /// if another job holds the name of [`Unique`](crate::Unique), that job with `unique_action` set, or its id alone if it may not
    /// be read.
    ///
    /// # Errors
    ///
    /// `KindUnknown`, `PayloadInvalid`, `TooLarge`, `IdempotencyKeyReused`, `Duplicate`, `InvalidRequest`; `Overloaded`.
    /// With encodings `KeyUnknown`, and what one fails with; without, `EncodingRequired`. Then nothing was sent.
    pub async fn enqueue(&self, job: NewJob) -> Result<Job, Error> {
        if self.middleware.is_empty() {
            return self.send(job).await;
        }
        self.middleware.enqueue_one(job, |job| self.send(job)).await
    }

    async fn send(&self, job: NewJob) -> Result<Job, Error> {
        let keyed = !job.idempotency_key.is_empty();
        let job = match &self.encodings {
            None => job,
            Some(encodings) => encodings.job(job).await?,
        };
        let message = new_job_message(job)?;
        let (began, counts) = (Instant::now(), self.counts(std::slice::from_ref(&message)));
        let request = v1::EnqueueJobRequest { job: Some(message), payload_format: v1::PayloadFormat::Json.into() };
        let answer = paced_call!(self.jobs.enqueue_job, request, repeat: keyed).await;
        self.tell(began, counts, answer.as_ref().err());
        let answer = answer?;
        let action = unique_action(answer.unique_action);
        let mut enqueued = self.read(answer.job.unwrap_or_default()).await;
        enqueued.replayed = answer.replayed;
        enqueued.unique_action = action;
        Ok(enqueued)
    }

    /// Enqueues many jobs, in batches of up to 1000 and 3 MiB; each batch all or none. A batch of which each job has a key
    /// is tried again where one without may not be. There is one result for each job, in their order.
    ///
    /// # Errors
    ///
    /// As those of `enqueue`. [`Error::enqueued`] has the results of the batches before, which are committed; the paths
    /// in [`Error::violations`] count from the first job of all.
    pub async fn enqueue_many(&self, jobs: impl IntoIterator<Item = NewJob>) -> Result<Vec<EnqueueResult>, Error> {
        let jobs = jobs.into_iter().collect();
        if self.middleware.is_empty() {
            return self.send_many(jobs).await;
        }
        self.middleware.enqueue(jobs, |jobs| self.send_many(jobs)).await
    }

    async fn send_many(&self, jobs: Vec<NewJob>) -> Result<Vec<EnqueueResult>, Error> {
        // All of them, before the first is sent.
        let jobs = match &self.encodings {
            None => jobs,
            Some(encodings) => encodings.jobs(jobs).await?,
        };
        let mut messages = jobs.into_iter().map(new_job_message).collect::<Result<Vec<_>, _>>()?;
        let mut results = Vec::with_capacity(messages.len());
        while !messages.is_empty() {
            let rest = messages.split_off(cut_batch(&messages));
            let keyed = messages.iter().all(|job| !job.idempotency_key.is_empty());
            let (began, counts) = (Instant::now(), self.counts(&messages));
            let request = v1::BatchEnqueueJobsRequest { jobs: messages };
            messages = rest;
            let answer = paced_call!(self.jobs.batch_enqueue_jobs, request, repeat: keyed).await;
            self.tell(began, counts, answer.as_ref().err());
            match answer {
                Ok(answer) => results.extend(answer.results.into_iter().map(|each| EnqueueResult {
                    unique_action: unique_action(each.unique_action),
                    id: each.id,
                    replayed: each.replayed,
                })),
                Err(error) => return Err(rebased(error, results.len()).after_batches(results)),
            }
        }
        Ok(results)
    }

    /// A job that was answered, decoded.
    pub(crate) async fn read(&self, job: v1::Job) -> Job {
        match &self.encodings {
            None => job_of(job),
            Some(encodings) => encodings.read(job).await,
        }
    }

    /// Reads a job, in full.
    ///
    /// # Errors
    ///
    /// `JobNotFound`.
    pub async fn get(&self, id: &str) -> Result<Job, Error> {
        let request = v1::GetJobRequest { id: id.to_owned(), payload_format: v1::PayloadFormat::Json.into() };
        let answer = call!(self.jobs.get_job, request, repeat: true).await?;
        Ok(self.read(answer.job.unwrap_or_default()).await)
    }

    /// Reads all jobs that match, newest first, page by page as they are asked for. After an error it ends.
    pub fn list(&self, filter: Filter) -> JobStream {
        struct Pages {
            client: Client,
            filter: Filter,
            ready: VecDeque<Job>,
            next: Option<String>,
        }
        let first = Pages { client: self.clone(), filter, ready: VecDeque::new(), next: Some(String::new()) };
        stream::try_unfold(first, |mut pages| async move {
            loop {
                if let Some(job) = pages.ready.pop_front() {
                    return Ok(Some((job, pages)));
                }
                let Some(token) = pages.next.take() else {
                    return Ok(None);
                };
                let page = pages.client.list_page(&pages.filter, &token).await?;
                pages.ready = page.jobs.into();
                pages.next = page.next;
            }
        })
        .boxed()
    }

    /// Reads one page of jobs, newest first. The token is [`JobPage::next`] of the page before; empty: the first page.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`.
    pub async fn list_page(&self, filter: &Filter, token: &str) -> Result<JobPage, Error> {
        let request = v1::ListJobsRequest {
            page_size: whole(filter.page_size),
            page_token: token.to_owned(),
            queue: filter.queue.clone(),
            kind: filter.kind.clone(),
            status: filter.status.iter().map(|each| status_message(*each).into()).collect(),
            labels: label_filter(&filter.labels),
            created_after: filter.created_after.map(Into::into),
            created_before: filter.created_before.map(Into::into),
            view: view_of(filter.full),
            payload_format: v1::PayloadFormat::Json.into(),
        };
        let answer = call!(self.jobs.list_jobs, request, repeat: true).await?;
        let mut jobs = Vec::with_capacity(answer.jobs.len());
        for job in answer.jobs {
            jobs.push(self.read(job).await);
        }
        Ok(JobPage { jobs, next: Some(answer.next_page_token).filter(|token| !token.is_empty()) })
    }

    /// Cancels a job: a waiting job at once; of a running one the server asks its worker.
    ///
    /// # Errors
    ///
    /// `JobNotFound`, `JobTerminal`.
    pub async fn cancel(&self, id: &str) -> Result<Cancellation, Error> {
        self.cancel_with(id, "").await
    }

    /// Cancels a job as [`cancel`](Self::cancel) does, for a reason that people read.
    ///
    /// # Errors
    ///
    /// `JobNotFound`, `JobTerminal`.
    pub async fn cancel_with(&self, id: &str, reason: &str) -> Result<Cancellation, Error> {
        let request = v1::CancelJobRequest {
            id: id.to_owned(),
            reason: reason.to_owned(),
            payload_format: v1::PayloadFormat::Json.into(),
        };
        let answer = call!(self.jobs.cancel_job, request, repeat: false).await?;
        Ok(Cancellation { job: self.read(answer.job.unwrap_or_default()).await, pending: answer.pending })
    }

    /// Makes a terminal job QUEUED again. It keeps its history; its failures and losses become 0.
    ///
    /// # Errors
    ///
    /// `JobNotFound`, `JobNotTerminal`.
    pub async fn retry(&self, id: &str) -> Result<Job, Error> {
        let payload_format = v1::PayloadFormat::Json.into();
        let request = v1::RetryJobRequest { id: id.to_owned(), payload_format, respect_unique: false };
        let answer = call!(self.jobs.retry_job, request, repeat: false).await?;
        Ok(self.read(answer.job.unwrap_or_default()).await)
    }

    /// Lets a job go that was enqueued with `hold`: it waits for its `run_at` and a worker, as any job.
    ///
    /// # Errors
    ///
    /// `JobNotFound`, `JobNotHeld`.
    pub async fn release(&self, id: &str) -> Result<Job, Error> {
        let request = v1::ReleaseJobRequest { id: id.to_owned(), payload_format: v1::PayloadFormat::Json.into() };
        let answer = call!(self.jobs.release_job, request, repeat: false).await?;
        Ok(self.read(answer.job.unwrap_or_default()).await)
    }

    /// Deletes a terminal job and its history.
    ///
    /// # Errors
    ///
    /// `JobNotFound`, `JobNotTerminal`.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        let request = v1::DeleteJobRequest { id: id.to_owned() };
        call!(self.jobs.delete_job, request, repeat: false).await?;
        Ok(())
    }

    /// Waits until a job has ended, and returns it in full. `None`: for as long as it takes.
    ///
    /// # Errors
    ///
    /// `WaitTimeout`, a `DeadlineExceeded` too: it is not over in time; its message says what it is, and
    /// [`Error::summary`] why. `JobNotFound`.
    pub async fn wait(&self, id: &str, within: impl Into<Option<Duration>>) -> Result<Job, Error> {
        let within = within.into();
        let ask = |wait: Duration| async move {
            let request = v1::WaitJobRequest {
                id: id.to_owned(),
                timeout: Some(duration_message(wait)),
                payload_format: v1::PayloadFormat::Json.into(),
            };
            // Time for the answer to come back, after the server has waited.
            let limit = wait.saturating_add(self.deadline);
            let answer = call!(self.jobs.wait_job, request, repeat: true, within: limit).await?;
            Ok(self.read(answer.job.unwrap_or_default()).await)
        };
        let job = wait_until(within, Job::is_terminal, ask).await?;
        if job.is_terminal() {
            return Ok(job);
        }
        let within = within.unwrap_or_default();
        let why = if within >= WORTH_ASKING { self.why(id).await } else { String::new() };
        Err(not_over(&job, within, why))
    }

    /// Why a job has not ended, in a sentence. Empty: no server says so within a second.
    async fn why(&self, id: &str) -> String {
        self.explain_within(id, self.deadline.min(TO_SAY_WHY)).await.map(|found| found.summary).unwrap_or_default()
    }

    /// Begins to watch jobs; nothing is sent before the first `next` or `begin`.
    ///
    /// Each change of a job is followed by the job as it then is, or as it is later: steps may be skipped, a terminal
    /// status is not, unless the job was retried or deleted meanwhile. With ids each job is answered as it is,
    /// then whenever it changes; without, what changes from `begin` on is told, for ever.
    pub fn watch(&self, filter: WatchFilter) -> Watch {
        Watch::new(self.clone(), filter)
    }
}

fn not_over(job: &Job, within: Duration, why: String) -> Error {
    let id = &job.id;
    let hint = if why.is_empty() { format!("; explain({id:?}) tells why") } else { String::new() };
    let words = format!("job {id} is {} and not over within {within:?}{hint}", job.status);
    Error::new(Code::DeadlineExceeded, words).named(ErrorKind::WaitTimeout, "").fact("job_id", id).summed_up(why)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Where nothing listens.
    fn nowhere() -> String {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
    }

    #[tokio::test]
    async fn the_first_call_that_finds_no_server_says_once_what_to_do() {
        let address = nowhere();
        let client = Client::new(&address).unwrap();
        let first = client.enqueue(NewJob::new("k")).await.unwrap_err();
        assert!(first.is(ErrorKind::Unavailable));
        let hint = format!("; nothing answers at {address}; start a server by \"make run\" or \"jobqueue-server\"");
        assert!(first.to_string().ends_with(&hint), "{first}");
        let again = client.clone().enqueue(NewJob::new("k")).await.unwrap_err();
        assert!(!again.to_string().contains("nothing answers"), "{again}");
        let repeated = Client::builder(&address).deadline(Duration::from_millis(300)).build().unwrap();
        let read = repeated.get("j1").await.unwrap_err().to_string();
        assert!(read.contains("tried again until the deadline") && read.ends_with(&hint), "{read}");
    }

    #[tokio::test]
    async fn the_variable_of_the_address_is_named_where_the_address_came_from_the_environment() {
        let address = nowhere();
        let environment = Environment(|name: &str| (name == "JOBQUEUE_SERVER").then(|| address.clone()));
        let client = Client::of_environment(&environment).unwrap().build().unwrap();
        let error = client.enqueue(NewJob::new("k")).await.unwrap_err().to_string();
        assert!(
            error.ends_with("start a server by \"make run\" or \"jobqueue-server\", or set JOBQUEUE_SERVER"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_http_port_is_told_and_not_called_one_where_nothing_answers() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(listener.local_addr().unwrap().to_string()).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
                while stream.read(&mut asked).await.is_ok_and(|bytes| bytes > 0) {}
            }
        });
        let error = client.enqueue(NewJob::new("k")).await.unwrap_err().to_string();
        assert!(
            error.ends_with("; this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS"),
            "{error}"
        );
        assert!(!error.contains("nothing answers"), "{error}");
    }

    #[test]
    fn a_wait_that_runs_out_says_after_how_long_and_what_tells_why() {
        let job = job_of(v1::Job { id: "j1".into(), ..v1::Job::default() });
        let error = not_over(&job, Duration::from_secs(60), String::new());
        let words = format!("job j1 is {} and not over within 60s; explain(\"j1\") tells why", job.status);
        assert_eq!((error.message(), error.kind()), (words.as_str(), ErrorKind::WaitTimeout));
        assert!(error.is(ErrorKind::DeadlineExceeded) && error.summary().is_empty());
        assert_eq!(error.metadata()["job_id"], "j1");
    }

    #[test]
    fn a_wait_that_runs_out_and_knows_why_says_so() {
        let job = job_of(v1::Job { id: "j1".into(), status: v1::job::Status::Queued.into(), ..v1::Job::default() });
        let error = not_over(&job, Duration::from_secs(1), "The queue is paused.".into());
        assert_eq!(error.summary(), "The queue is paused.");
        let words = "DeadlineExceeded: job j1 is QUEUED and not over within 1s; The queue is paused.";
        assert_eq!(error.to_string(), words);
    }

    #[tokio::test]
    async fn a_server_that_does_not_say_why_is_asked_for_a_second_at_most() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = silent.local_addr().unwrap().to_string();
        let [away, silent] = [nowhere(), silent].map(|address| Client::new(address).unwrap());
        let began = Instant::now();
        assert_eq!(tokio::join!(away.why("j1"), silent.why("j1")), (String::new(), String::new()));
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_wait_that_no_clock_can_end_is_one_without_an_end() {
        let client = Client::builder(nowhere()).deadline(Duration::MAX).build().unwrap();
        let briefly = Duration::from_millis(20);
        assert!(tokio::time::timeout(briefly, client.wait("j1", Duration::MAX)).await.is_err());
        assert!(tokio::time::timeout(briefly, client.wait_operation("o1", Duration::MAX)).await.is_err());
        assert!(tokio::time::timeout(briefly, client.get("j1")).await.is_err());
    }

    struct Told(Sender<String>);

    impl Observer for Told {
        fn enqueued(&self, count: usize, kind: &str, queue: &str, _: Duration, error: Option<&Error>) {
            let kinds = error.map(Error::kind);
            self.0.send(format!("{count} {kind} {queue} {kinds:?}")).unwrap();
        }
    }

    #[tokio::test]
    async fn an_observer_is_told_of_enqueues_by_kind_and_queue() {
        let (told, tells) = channel();
        let client = Client::builder(nowhere()).observer(Told(told)).build().unwrap();
        let job = |queue: &str| NewJob::new("k").queue(queue);
        client.enqueue_many([NewJob::new("k"), job("q"), job("q")]).await.unwrap_err();
        client.enqueue(job("q")).await.unwrap_err();
        for wanted in ["1 k default", "2 k q", "1 k q"] {
            let line = tells.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(line, format!("{wanted} Some(Unavailable)"));
        }
    }
}
