//! How the queues are doing, and what happened to jobs.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Streaming};

use crate::backoff::Backoff;
use crate::calls::{call, pause_of_stream};
use crate::client::Client;
use crate::convert::{count, duration_message, duration_of, label_filter, status_message, time_of, total};
use crate::errors::Error;
use crate::jobs::Filter;
use crate::v1;

/// The server answers every 2 s.
const SILENCE: Duration = Duration::from_secs(30);

/// Overviews as [`Client::watch_overview`] tells them.
pub type OverviewStream = BoxStream<'static, Result<Overview, Error>>;

/// What is wrong, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningCode {
    /// Something that this version does not know.
    Unspecified,
    /// A queue is paused, and jobs wait in it.
    PausedWithJobs,
    /// Jobs of a queue are due, and no connected worker takes them.
    WorkersMissing,
    /// Jobs of a queue have been due for 5 s, and every slot of the workers that take them is taken.
    SlotsTaken,
    /// Attempts were lost with their workers.
    WorkersLost,
    /// A server was not heard for 5 s, and did not sign off.
    ServerSilent,
    /// Servers of different versions or levels run together.
    ServersDiffer,
    /// A transaction of the database has been open for long, which makes claims slow.
    LongSnapshot,
    /// Keys of a queue in strict order are blocked by jobs that failed.
    KeysBlocked,
    /// The server that answers could not write its statistics, so that some are missing.
    StatsBehind,
    /// Nothing is handed out and no schedule fires, until an operator resumes.
    StandingStill,
}

/// By what statistics are split into series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupBy {
    /// One series of all.
    #[default]
    All,
    /// A series for each queue.
    Queue,
    /// A series for each kind.
    Kind,
    /// A series for each queue and kind.
    QueueAndKind,
}

/// What happens to jobs, each as a number per second; the names are those of [`StatTotals`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Flow {
    /// Jobs that were stored.
    pub enqueued: f64,
    /// Attempts that began.
    pub started: f64,
    /// Jobs that succeeded.
    pub succeeded: f64,
    /// Attempts that failed, and whose job waits for another one.
    pub retried: f64,
    /// Jobs that failed for good.
    pub failed: f64,
    /// Jobs that were cancelled.
    pub cancelled: f64,
    /// Attempts that were lost with their worker.
    pub lost: f64,
    /// Attempts that ran into their timeout.
    pub timed_out: f64,
    /// Attempts that were given back, or never reached a worker.
    pub released: f64,
}

/// How many jobs have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Depth {
    /// Those that wait and did not fail yet.
    pub queued: u32,
    /// Those that wait for another attempt.
    pub retrying: u32,
    /// Those that run.
    pub running: u32,
    /// Of those that wait, the ones that are held back.
    pub held: u32,
    /// Whether the server stopped counting somewhere, so that there may be more.
    pub capped: bool,
    /// For how long the first of the waiting jobs has been due. `None`: none is due.
    pub oldest_due_age: Option<Duration>,
}

/// Who paused a queue, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuePause {
    /// Since when.
    pub since: Option<SystemTime>,
    /// The principal. Empty: it is not known.
    pub by: String,
    /// Why, for people.
    pub reason: String,
}

/// How a queue is doing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueOverview {
    /// The queue.
    pub queue: String,
    /// Whether its jobs may not be claimed.
    pub paused: bool,
    /// Who paused it, and when. `None`: it is not paused.
    pub pause: Option<QueuePause>,
    /// How many of its jobs have not ended.
    pub depth: Depth,
    /// What happens to its jobs.
    pub flow: Flow,
    /// The sessions of workers that take its jobs.
    pub workers: u32,
    /// Their slots. They may take jobs of other queues too.
    pub slots: u32,
    /// Of these, the free ones.
    pub free_slots: u32,
}

/// The sessions of workers of all servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkersOverview {
    /// Those that take jobs.
    pub sessions: u32,
    /// Those that are not connected, and may come back.
    pub silent: u32,
    /// Those that are connected and take no more jobs.
    pub draining: u32,
    /// The slots of those that take jobs.
    pub slots: u32,
    /// Of these, the free ones.
    pub free_slots: u32,
}

/// A server that runs on the database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Its id, until it ends.
    pub id: String,
    /// Its host and process.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it knows of the contract, as a number.
    pub level: u32,
    /// When it started.
    pub started_at: Option<SystemTime>,
    /// When it was last heard.
    pub heard_at: Option<SystemTime>,
    /// How long ago that was.
    pub heartbeat_age: Option<Duration>,
    /// Whether it is the one that answered.
    pub is_self: bool,
    /// The sessions of workers connected to it that take jobs.
    pub sessions: u32,
    /// Their slots.
    pub slots: u32,
    /// Of these, the free ones.
    pub free_slots: u32,
}

/// Something that is wrong, or may be, and what would end it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverviewWarning {
    /// What it is.
    pub code: WarningCode,
    /// The same for people.
    pub message: String,
    /// The queue that it is about. Empty: it is about none.
    pub queue: String,
    /// Since when. `None`: it is not known.
    pub since: Option<SystemTime>,
    /// What would end it, such as `ResumeQueue reports`.
    pub remedy: String,
}

/// How the queues are doing, at most 2 s ago.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Overview {
    /// When it was so, by the database's clock.
    pub read_at: Option<SystemTime>,
    /// Over how much time flows are counted.
    pub window: Option<Duration>,
    /// What happens to jobs, of all queues together, as `depth`.
    pub flow: Flow,
    /// How many jobs have not ended.
    pub depth: Depth,
    /// At most 200, the one whose job has been due for longest first.
    pub queues: Vec<QueueOverview>,
    /// How many more there are.
    pub queues_left_out: u32,
    /// Those of all servers.
    pub workers: WorkersOverview,
    /// All that have not signed off.
    pub servers: Vec<ServerInfo>,
    /// What is wrong, the worst first.
    pub warnings: Vec<OverviewWarning>,
}

/// Which statistics, of what time, in which steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsQuery {
    /// Only of this queue. Empty: of every queue.
    pub queue: String,
    /// Only of this kind. Empty: of every kind.
    pub kind: String,
    /// From then on, at most 90 days ago. `None`: an hour before `until`.
    pub since: Option<SystemTime>,
    /// Until then. `None`: now.
    pub until: Option<SystemTime>,
    /// How much time a point stands for, a multiple of 10 s. `None`: what makes at most 360 points. The answer has the step
    /// that was taken, which is longer where what is kept of that time is coarser.
    pub step: Option<Duration>,
    /// By what it is split into series.
    pub group_by: GroupBy,
}

/// How many jobs or attempts went which way, and how long half and 99 of 100 of them waited and ran at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatTotals {
    /// Jobs that were stored.
    pub enqueued: u64,
    /// Attempts that began.
    pub started: u64,
    /// Jobs that succeeded.
    pub succeeded: u64,
    /// Attempts that failed, and whose job waits for another one.
    pub retried: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Attempts that were lost with their worker.
    pub lost: u64,
    /// Attempts that ran into their timeout.
    pub timed_out: u64,
    /// Attempts that were given back, or never reached a worker.
    pub released: u64,
    /// How long half of the started attempts had been due at most. As the others right within a factor of two. `None`:
    /// there are none.
    pub wait_p50: Option<Duration>,
    /// How long 99 of 100 started attempts had been due at most.
    pub wait_p99: Option<Duration>,
    /// How long half of the attempts that ended had run at most.
    pub run_p50: Option<Duration>,
    /// How long 99 of 100 attempts that ended had run at most.
    pub run_p99: Option<Duration>,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Point {
    /// Where it begins.
    pub at: Option<SystemTime>,
    /// What happened in it.
    pub totals: StatTotals,
}

/// Statistics of a queue, of a kind, of both, or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Series {
    /// The queue. Empty: all that were asked for.
    pub queue: String,
    /// The kind. Empty: all that were asked for.
    pub kind: String,
    /// By time. Steps in which nothing happened are left out.
    pub points: Vec<Point>,
    /// Of the whole time.
    pub totals: StatTotals,
}

/// What happened from `since` on, in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Where the first step begins.
    pub since: Option<SystemTime>,
    /// How much time a point stands for.
    pub step: Option<Duration>,
    /// At most 20, those with most jobs first.
    pub series: Vec<Series>,
    /// How many more there are.
    pub series_left_out: u32,
    /// When it was so, by the database's clock.
    pub read_at: Option<SystemTime>,
}

/// How many jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobCount {
    /// How many were counted.
    pub count: u64,
    /// Whether these are all. Else there are at least so many.
    pub exact: bool,
    /// When it was so, by the database's clock.
    pub read_at: Option<SystemTime>,
}

impl Client {
    /// Asks how the queues are doing: what happens, what waits, who works, what is wrong.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn overview(&self) -> Result<Overview, Error> {
        let answer = call!(self.insight.get_overview, v1::GetOverviewRequest {}, repeat: true).await?;
        Ok(overview_of(answer.overview.unwrap_or_default()))
    }

    /// Asks so every 2 s, until the stream is dropped. One that breaks is opened again: for as long as `patience` while no
    /// server answers (`None`: the client's deadline), then it ends after an `Unavailable`.
    pub fn watch_overview(&self, patience: impl Into<Option<Duration>>) -> OverviewStream {
        let watch = OverviewWatch {
            patience: patience.into().unwrap_or(self.deadline),
            client: self.clone(),
            stream: None,
            away_since: None,
            waits: Backoff::of_calls(),
        };
        stream::try_unfold(watch, |mut watch| async move { Ok(Some((watch.next().await?, watch))) }).boxed()
    }

    /// Asks what happened to jobs in a time, in steps.
    ///
    /// # Errors
    ///
    /// `InvalidRequest`: `since` is not before `until`, or the step makes more than 720 points.
    pub async fn stats(&self, query: StatsQuery) -> Result<Stats, Error> {
        let group_by = match query.group_by {
            GroupBy::All => v1::GroupBy::Unspecified,
            GroupBy::Queue => v1::GroupBy::Queue,
            GroupBy::Kind => v1::GroupBy::Kind,
            GroupBy::QueueAndKind => v1::GroupBy::QueueAndKind,
        };
        let request = v1::QueryStatsRequest {
            queue: query.queue,
            kind: query.kind,
            since: query.since.map(Into::into),
            until: query.until.map(Into::into),
            step: query.step.map(duration_message),
            group_by: group_by.into(),
        };
        let answer = call!(self.insight.query_stats, request, repeat: true).await?;
        Ok(Stats {
            since: time_of(answer.since.as_ref()),
            step: duration_of(answer.step.as_ref()),
            series: answer.series.into_iter().map(series_of).collect(),
            series_left_out: count(answer.series_left_out),
            read_at: time_of(answer.read_at.as_ref()),
        })
    }

    /// Counts jobs, by what [`list`](Self::list) takes; `full` and `page_size` mean nothing here.
    ///
    /// The server counts for 2 s at most, and keeps the answer for a minute. It reads each job, so it is for a single
    /// question; for what is shown all the time there are [`overview`](Self::overview) and [`stats`](Self::stats).
    ///
    /// # Errors
    ///
    /// `InvalidRequest`.
    pub async fn count_jobs(&self, filter: &Filter) -> Result<JobCount, Error> {
        let request = v1::CountJobsRequest {
            queue: filter.queue.clone(),
            kind: filter.kind.clone(),
            status: filter.status.iter().map(|each| status_message(*each).into()).collect(),
            labels: label_filter(&filter.labels),
            created_after: filter.created_after.map(Into::into),
            created_before: filter.created_before.map(Into::into),
        };
        let answer = call!(self.insight.count_jobs, request, repeat: true).await?;
        Ok(JobCount { count: total(answer.count), exact: answer.exact, read_at: time_of(answer.read_at.as_ref()) })
    }

    /// Reads which servers run on the database, by name.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn list_servers(&self) -> Result<Vec<ServerInfo>, Error> {
        let answer = call!(self.insight.list_servers, v1::ListServersRequest {}, repeat: true).await?;
        Ok(answer.servers.into_iter().map(server_of).collect())
    }
}

/// The overview again and again, over as many streams as it takes.
struct OverviewWatch {
    client: Client,
    patience: Duration,
    stream: Option<Streaming<v1::WatchOverviewResponse>>,
    away_since: Option<Instant>,
    waits: Backoff,
}

impl OverviewWatch {
    async fn next(&mut self) -> Result<Overview, Error> {
        loop {
            match self.read().await {
                Ok(answer) => {
                    self.away_since = None;
                    self.waits.reset();
                    return Ok(overview_of(answer.overview.unwrap_or_default()));
                }
                Err(error) => {
                    self.stream = None;
                    self.pause(error).await?;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<v1::WatchOverviewResponse, Error> {
        let silent = |_| Error::new(Code::Unavailable, format!("nothing was heard of the server for {SILENCE:?}"));
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let mut request = Request::new(v1::WatchOverviewRequest {});
                self.client.access.authorize(&mut request).await?;
                let opening = self.client.insight.watch_overview(request);
                none.insert(timeout(SILENCE, opening).await.map_err(silent)??.into_inner())
            }
        };
        let ended = || Error::new(Code::Unavailable, "the stream has ended");
        timeout(SILENCE, stream.message()).await.map_err(silent)??.ok_or_else(ended)
    }

    /// Waits before another stream. An error: another one is of no use, or it took too long.
    async fn pause(&mut self, error: Error) -> Result<(), Error> {
        let Some(wait) = pause_of_stream(&error, &mut self.waits) else {
            return Err(error);
        };
        let away_since = *self.away_since.get_or_insert_with(Instant::now);
        if away_since.elapsed() + wait >= self.patience {
            return Err(error.noted(format!("tried again until the deadline of {:?}", self.patience)));
        }
        sleep(wait).await;
        Ok(())
    }
}

fn overview_of(message: v1::Overview) -> Overview {
    let workers = message.workers.unwrap_or_default();
    Overview {
        read_at: time_of(message.read_at.as_ref()),
        window: duration_of(message.window.as_ref()),
        flow: flow_of(message.flow),
        depth: depth_of(message.depth),
        queues: message.queues.into_iter().map(queue_of).collect(),
        queues_left_out: count(message.queues_left_out),
        workers: WorkersOverview {
            sessions: count(workers.sessions),
            silent: count(workers.silent),
            draining: count(workers.draining),
            slots: count(workers.slots),
            free_slots: count(workers.free_slots),
        },
        servers: message.servers.into_iter().map(server_of).collect(),
        warnings: message.warnings.into_iter().map(warning_of).collect(),
    }
}

fn flow_of(message: Option<v1::Flow>) -> Flow {
    let message = message.unwrap_or_default();
    Flow {
        enqueued: message.enqueued,
        started: message.started,
        succeeded: message.succeeded,
        retried: message.retried,
        failed: message.failed,
        cancelled: message.cancelled,
        lost: message.lost,
        timed_out: message.timed_out,
        released: message.released,
    }
}

fn depth_of(message: Option<v1::Depth>) -> Depth {
    let message = message.unwrap_or_default();
    Depth {
        queued: count(message.queued),
        retrying: count(message.retrying),
        running: count(message.running),
        held: count(message.held),
        capped: message.capped,
        oldest_due_age: duration_of(message.oldest_due_age.as_ref()),
    }
}

fn queue_of(message: v1::QueueOverview) -> QueueOverview {
    QueueOverview {
        queue: message.queue,
        paused: message.paused,
        pause: message.pause.map(|pause| QueuePause {
            since: time_of(pause.since.as_ref()),
            by: pause.by,
            reason: pause.reason,
        }),
        depth: depth_of(message.depth),
        flow: flow_of(message.flow),
        workers: count(message.workers),
        slots: count(message.slots),
        free_slots: count(message.free_slots),
    }
}

fn server_of(message: v1::Server) -> ServerInfo {
    ServerInfo {
        id: message.id,
        name: message.name,
        version: message.version,
        level: count(message.level),
        started_at: time_of(message.started_at.as_ref()),
        heard_at: time_of(message.heard_at.as_ref()),
        heartbeat_age: duration_of(message.heartbeat_age.as_ref()),
        is_self: message.self_,
        sessions: count(message.sessions),
        slots: count(message.slots),
        free_slots: count(message.free_slots),
    }
}

fn warning_of(message: v1::Warning) -> OverviewWarning {
    use v1::warning::WarningCode as Code;
    OverviewWarning {
        code: match message.code() {
            Code::Unspecified => WarningCode::Unspecified,
            Code::PausedWithJobs => WarningCode::PausedWithJobs,
            Code::WorkersMissing => WarningCode::WorkersMissing,
            Code::SlotsTaken => WarningCode::SlotsTaken,
            Code::WorkersLost => WarningCode::WorkersLost,
            Code::ServerSilent => WarningCode::ServerSilent,
            Code::ServersDiffer => WarningCode::ServersDiffer,
            Code::LongSnapshot => WarningCode::LongSnapshot,
            Code::KeysBlocked => WarningCode::KeysBlocked,
            Code::StatsBehind => WarningCode::StatsBehind,
            Code::StandingStill => WarningCode::StandingStill,
        },
        message: message.message,
        queue: message.queue,
        since: time_of(message.since.as_ref()),
        remedy: message.remedy,
    }
}

fn series_of(message: v1::Series) -> Series {
    let point = |point: v1::Point| Point { at: time_of(point.at.as_ref()), totals: totals_of(point.totals) };
    Series {
        queue: message.queue,
        kind: message.kind,
        points: message.points.into_iter().map(point).collect(),
        totals: totals_of(message.totals),
    }
}

fn totals_of(message: Option<v1::StatTotals>) -> StatTotals {
    let message = message.unwrap_or_default();
    StatTotals {
        enqueued: total(message.enqueued),
        started: total(message.started),
        succeeded: total(message.succeeded),
        retried: total(message.retried),
        failed: total(message.failed),
        cancelled: total(message.cancelled),
        lost: total(message.lost),
        timed_out: total(message.timed_out),
        released: total(message.released),
        wait_p50: duration_of(message.wait_p50.as_ref()),
        wait_p99: duration_of(message.wait_p99.as_ref()),
        run_p50: duration_of(message.run_p50.as_ref()),
        run_p99: duration_of(message.run_p99.as_ref()),
    }
}
