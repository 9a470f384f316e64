//! Middleware: what goes around each enqueue and each handler.

#[cfg(all(test, feature = "testing"))]
mod tests;

use std::any::type_name;
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::errors::Error;
use crate::job::{Job, NewJob};
use crate::jobs::EnqueueResult;
use crate::json::JsonText;
use crate::outcomes::HandlerResult;
use crate::typed::{JobKind, VERSION_HEADER};
use crate::v1;
use crate::worker::LeasedJob;

type Enqueued<'a> = BoxFuture<'a, Result<Vec<EnqueueResult>, Error>>;

/// Goes around handlers and enqueues. Both methods have a default that does nothing.
///
/// The same one may be given to clients and workers, by an `Arc`. The first that is given is the outermost one.
///
/// ```
/// use jobqueue::{EnqueueResult, Error, HandlerResult, JsonText, LeasedJob, Middleware, NewJob, Next, NextEnqueue};
///
/// struct Times;
///
/// impl Middleware for Times {
///     async fn handle(&self, job: &LeasedJob, next: Next<'_>) -> HandlerResult<Option<JsonText>> {
///         let began = std::time::Instant::now();
///         let ended = next.run().await;
///         println!("{} took {:?}", job.kind(), began.elapsed());
///         ended
///     }
///
///     async fn enqueue(&self, jobs: Vec<NewJob>, next: NextEnqueue<'_>) -> Result<Vec<EnqueueResult>, Error> {
///         next.run(jobs.into_iter().map(|job| job.header("from", "here")).collect()).await
///     }
/// }
/// ```
///
/// What is inside runs once at most, and not longer than the middleware around it:
///
/// ```compile_fail,E0382
/// # use jobqueue::{HandlerResult, JsonText, LeasedJob, Middleware, Next};
/// # struct Twice;
/// # impl Middleware for Twice {
/// async fn handle(&self, _: &LeasedJob, next: Next<'_>) -> HandlerResult<Option<JsonText>> {
///     next.run().await?;
///     next.run().await
/// }
/// # }
/// ```
///
/// ```compile_fail,E0521
/// # use jobqueue::{HandlerResult, JsonText, LeasedJob, Middleware, Next};
/// # struct Leaves;
/// # impl Middleware for Leaves {
/// async fn handle(&self, _: &LeasedJob, next: Next<'_>) -> HandlerResult<Option<JsonText>> {
///     tokio::spawn(next.run());
///     Ok(None)
/// }
/// # }
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Goes around one attempt.
    ///
    /// What it answers is what the attempt comes to: an output, or an error as of a handler, so [`retry`](crate::retry),
    /// [`discard`](crate::discard), [`snooze`](crate::snooze) and [`cancelled`](crate::cancelled) too. If it answers an
    /// output without `next`, the handler and what is further inside are not run. If it answers one after `next` has
    /// failed or was dropped, the attempt has succeeded with it and without follow-ups.
    ///
    /// # Errors
    ///
    /// How else the attempt ends.
    fn handle(&self, job: &LeasedJob, next: Next<'_>) -> impl Future<Output = HandlerResult<Option<JsonText>>> + Send {
        let _ = job;
        next.run()
    }

    /// Goes around one call of `enqueue` or `enqueue_many`, or around all follow-ups of an attempt.
    ///
    /// It is called once for a call, however often the client tries, with one job for `enqueue`. It runs `next`, and answers
    /// what that answered. What it gives to `next` are the same jobs, whose headers and labels may differ, and nothing
    /// else; the header `x-payload-version` says what the payload is, and stays as it was. The results of follow-ups have
    /// no ids, since they are enqueued with the outcome.
    ///
    /// # Errors
    ///
    /// What it answers before `next` ends the call, and nothing was sent; an attempt with follow-ups fails.
    fn enqueue(
        &self,
        jobs: Vec<NewJob>,
        next: NextEnqueue<'_>,
    ) -> impl Future<Output = Result<Vec<EnqueueResult>, Error>> + Send {
        next.run(jobs)
    }

    /// Whether it goes around handlers of a kind of these names.
    #[doc(hidden)]
    fn wants(&self, names: &[String]) -> bool {
        let _ = names;
        true
    }
}

impl<M: Middleware> Middleware for Arc<M> {
    fn handle(&self, job: &LeasedJob, next: Next<'_>) -> impl Future<Output = HandlerResult<Option<JsonText>>> + Send {
        M::handle(self, job, next)
    }

    fn enqueue(
        &self,
        jobs: Vec<NewJob>,
        next: NextEnqueue<'_>,
    ) -> impl Future<Output = Result<Vec<EnqueueResult>, Error>> + Send {
        M::enqueue(self, jobs, next)
    }

    fn wants(&self, names: &[String]) -> bool {
        M::wants(self, names)
    }
}

/// What is inside of a middleware around a handler: the next one, or the handler.
#[must_use]
pub struct Next<'a>(Box<dyn FnOnce() -> BoxFuture<'a, HandlerResult<Option<JsonText>>> + Send + 'a>);

impl<'a> Next<'a> {
    pub(crate) fn new<R>(run: impl FnOnce() -> R + Send + 'a) -> Self
    where
        R: Future<Output = HandlerResult<Option<JsonText>>> + Send + 'a,
    {
        Self(Box::new(move || run().boxed()))
    }

    /// Runs it, and answers its output. `None`: it has none.
    ///
    /// # Errors
    ///
    /// How else it ends the attempt.
    pub async fn run(self) -> HandlerResult<Option<JsonText>> {
        (self.0)().await
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

/// What is inside of a middleware around an enqueue: the next one, or what enqueues.
#[must_use]
pub struct NextEnqueue<'a>(Box<dyn FnOnce(Vec<NewJob>) -> Enqueued<'a> + Send + 'a>);

impl<'a> NextEnqueue<'a> {
    pub(crate) fn new<R>(run: impl FnOnce(Vec<NewJob>) -> R + Send + 'a) -> Self
    where
        R: Future<Output = Result<Vec<EnqueueResult>, Error>> + Send + 'a,
    {
        Self(Box::new(move |jobs| run(jobs).boxed()))
    }

    /// Hands the jobs on, and answers a result for each.
    ///
    /// # Errors
    ///
    /// Why they are not enqueued.
    pub async fn run(self, jobs: Vec<NewJob>) -> Result<Vec<EnqueueResult>, Error> {
        (self.0)(jobs).await
    }
}

impl fmt::Debug for NextEnqueue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextEnqueue").finish_non_exhaustive()
    }
}

/// The same middleware for these kinds alone. Of a call with several kinds it sees its own jobs.
///
/// ```
/// # struct Tenant;
/// # impl jobqueue::Middleware for Tenant {}
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Mail { to: String }
/// # impl jobqueue::JobKind for Mail { const NAME: &'static str = "send-mail"; type Output = (); }
/// let middleware = jobqueue::for_kinds(Tenant, ["report", "audit"]).kind::<Mail>();
/// ```
pub fn for_kinds<M, N>(middleware: M, names: impl IntoIterator<Item = N>) -> ForKinds<M>
where
    M: Middleware,
    N: Into<String>,
{
    ForKinds { inner: middleware, names: names.into_iter().map(Into::into).collect() }
}

/// A middleware for some kinds alone, by [`for_kinds`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ForKinds<M> {
    inner: M,
    names: HashSet<String>,
}

impl<M: Middleware> ForKinds<M> {
    /// For this typed kind as well, and its aliases.
    pub fn kind<K: JobKind>(mut self) -> Self {
        self.names.extend(std::iter::once(&K::NAME).chain(K::ALIASES).map(|name| (*name).to_owned()));
        self
    }
}

impl<M: Middleware> Middleware for ForKinds<M> {
    fn handle(&self, job: &LeasedJob, next: Next<'_>) -> impl Future<Output = HandlerResult<Option<JsonText>>> + Send {
        self.inner.handle(job, next)
    }

    async fn enqueue(&self, jobs: Vec<NewJob>, next: NextEnqueue<'_>) -> Result<Vec<EnqueueResult>, Error> {
        let mine = |job: &NewJob| self.names.contains(&job.kind);
        let places: Vec<usize> = (0..jobs.len()).filter(|place| mine(&jobs[*place])).collect();
        if places.is_empty() {
            return next.run(jobs).await;
        }
        let own = places.iter().map(|place| jobs[*place].clone()).collect();
        let whole = Mutex::new(Vec::new());
        let of_all = NextEnqueue::new(|changed: Vec<NewJob>| {
            let (places, whole, mut merged) = (&places, &whole, jobs);
            async move {
                for (place, job) in places.iter().zip(changed) {
                    merged[*place] = job;
                }
                let all = next.run(merged).await?;
                let answer = places.iter().filter_map(|place| all.get(*place).cloned()).collect();
                *whole.lock().unwrap_or_else(PoisonError::into_inner) = all;
                Ok(answer)
            }
        });
        once(&self.inner, own, of_all).await?;
        Ok(whole.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn wants(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.names.contains(name)) && self.inner.wants(names)
    }
}

/// A middleware whose type is forgotten.
pub(crate) trait Around: Send + Sync {
    fn wants_any(&self, names: &[String]) -> bool;

    fn around_handler<'a>(
        &'a self,
        job: &'a LeasedJob,
        next: Next<'a>,
    ) -> BoxFuture<'a, HandlerResult<Option<JsonText>>>;

    fn around_enqueue<'a>(&'a self, jobs: Vec<NewJob>, next: NextEnqueue<'a>) -> Enqueued<'a>;

    fn name(&self) -> &'static str;
}

impl<M: Middleware> Around for M {
    fn wants_any(&self, names: &[String]) -> bool {
        self.wants(names)
    }

    fn around_handler<'a>(
        &'a self,
        job: &'a LeasedJob,
        next: Next<'a>,
    ) -> BoxFuture<'a, HandlerResult<Option<JsonText>>> {
        self.handle(job, next).boxed()
    }

    fn around_enqueue<'a>(&'a self, jobs: Vec<NewJob>, next: NextEnqueue<'a>) -> Enqueued<'a> {
        self.enqueue(jobs, next).boxed()
    }

    fn name(&self) -> &'static str {
        type_name::<M>()
    }
}

/// The middleware of a client or a worker, the outermost first.
#[derive(Clone, Default)]
pub(crate) struct Middlewares(Arc<Vec<Arc<dyn Around>>>);

impl Middlewares {
    pub(crate) fn add(&mut self, middleware: impl Middleware) {
        Arc::make_mut(&mut self.0).push(Arc::new(middleware));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that go around handlers of a kind of these names.
    pub(crate) fn wanted(&self, names: &[String]) -> Self {
        Self(Arc::new(self.0.iter().filter(|each| each.wants_any(names)).cloned().collect()))
    }

    /// The innermost first.
    pub(crate) fn inside_out(&self) -> impl Iterator<Item = &dyn Around> {
        self.0.iter().rev().map(|each| &**each)
    }

    /// Calls each `enqueue`, and then what enqueues with the jobs as they have become.
    pub(crate) async fn enqueue<'a, R>(
        &'a self,
        jobs: Vec<NewJob>,
        send: impl FnOnce(Vec<NewJob>) -> R + Send + 'a,
    ) -> Result<Vec<EnqueueResult>, Error>
    where
        R: Future<Output = Result<Vec<EnqueueResult>, Error>> + Send + 'a,
    {
        let mut next = NextEnqueue::new(send);
        for each in self.inside_out() {
            next = NextEnqueue::new(move |jobs| once(each, jobs, next));
        }
        next.run(jobs).await
    }

    /// The same for one job, whose answer has more.
    pub(crate) async fn enqueue_one<'a, R>(
        &'a self,
        job: NewJob,
        send: impl FnOnce(NewJob) -> R + Send + 'a,
    ) -> Result<Job, Error>
    where
        R: Future<Output = Result<Job, Error>> + Send + 'a,
    {
        let answer = Mutex::new(None);
        let kept = &answer;
        self.enqueue(vec![job], |mut jobs: Vec<NewJob>| async move {
            let job = send(jobs.swap_remove(0)).await?;
            let results = vec![EnqueueResult::of(&job)];
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
            Ok(results)
        })
        .await?;
        let answer = answer.into_inner().unwrap_or_else(PoisonError::into_inner);
        answer.ok_or_else(|| Error::invalid("middleware", "the job was not sent"))
    }
}

impl fmt::Debug for Middlewares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|each| each.name())).finish()
    }
}

/// What became of `next` in one `enqueue`.
enum Called {
    Not,
    Failed(Error),
    /// The jobs are sent, and the answer was not waited for.
    Dropped,
    Answered(Vec<EnqueueResult>),
}

/// Calls one `enqueue`, and holds it to what it promises.
async fn once<'a>(
    middleware: &'a dyn Around,
    jobs: Vec<NewJob>,
    next: NextEnqueue<'a>,
) -> Result<Vec<EnqueueResult>, Error> {
    let name = middleware.name();
    let called = Mutex::new(Called::Not);
    let note = |what: Called| *called.lock().unwrap_or_else(PoisonError::into_inner) = what;
    let given = jobs.clone();
    let watched = NextEnqueue::new(|changed: Vec<NewJob>| {
        let note = &note;
        async move {
            note(Called::Dropped);
            let answered = match checked(name, given, changed) {
                Ok(jobs) => next.run(jobs).await,
                Err(error) => Err(error),
            };
            note(match &answered {
                Ok(results) => Called::Answered(results.clone()),
                Err(error) => Called::Failed(error.clone()),
            });
            answered
        }
    });
    let got = middleware.around_enqueue(jobs, watched).await?;
    match called.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Called::Answered(answered) if got == answered => Ok(answered),
        Called::Answered(_) => Err(broken(name, "must answer what next answered; the jobs are enqueued")),
        Called::Not => Err(untold(name, "did not run next")),
        Called::Dropped => Err(untold(name, "has dropped the call of next")),
        Called::Failed(error) => Err(untold(name, &format!("has dropped an error of next ({error})"))),
    }
}

fn untold(name: &str, what: &str) -> Error {
    broken(name, &format!("{what}, so nothing says that the jobs are enqueued: return an error to refuse them"))
}

fn broken(name: &str, what: &str) -> Error {
    Error::invalid("middleware", format!("{name}::enqueue {what}"))
}

/// The jobs as they go on: with other headers and labels, and the version of their payload as it was.
fn checked(name: &str, given: Vec<NewJob>, mut changed: Vec<NewJob>) -> Result<Vec<NewJob>, Error> {
    if changed.len() != given.len() {
        return Err(broken(name, &format!("ran next with {} jobs, and got {}", changed.len(), given.len())));
    }
    for (mut before, after) in given.into_iter().zip(&mut changed) {
        if !before.is_but_for_marks(after) {
            let what = format!(
                "has changed a job of kind {}: headers and labels alone may be others, since another payload under its \
                 idempotency key would be another request",
                before.kind
            );
            return Err(broken(name, &what));
        }
        match before.headers.remove(VERSION_HEADER) {
            Some(version) => after.headers.insert(VERSION_HEADER.to_owned(), version),
            None => after.headers.remove(VERSION_HEADER),
        };
    }
    Ok(changed)
}

/// Puts the headers and labels of jobs into their messages.
pub(crate) fn amend<'a>(messages: impl Iterator<Item = &'a mut v1::NewJob>, jobs: Vec<NewJob>) {
    for (message, job) in messages.zip(jobs) {
        (message.headers, message.labels) = (job.headers, job.labels);
    }
}
