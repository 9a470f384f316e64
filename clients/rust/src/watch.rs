//! Jobs as they change.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::backoff::Backoff;
use crate::calls::pause_of_stream;
use crate::client::{Client, JobStream};
use crate::convert::{label_filter, view_of};
use crate::errors::{Error, ErrorKind};
use crate::job::Job;
use crate::v1;

/// The server answers every 10 s, also where nothing changes.
const WATCH_SILENCE: Duration = Duration::from_secs(60);

/// Chooses jobs to watch. What is set must all match.
#[derive(Debug, Clone, Default)]
pub struct WatchFilter {
    /// Only these jobs, at most 1000. The watch then ends when all are over.
    pub ids: Vec<String>,
    /// Empty: every queue.
    pub queue: String,
    /// Empty: every kind.
    pub kind: String,
    /// Only with all of these.
    pub labels: HashMap<String, String>,
    /// With payloads, outputs, headers and failed attempts.
    pub full: bool,
    /// The token of another watch for the same jobs: continues after it.
    pub resume_token: String,
    /// How long it tries where no server answers. `None`: the client's deadline.
    pub patience: Option<Duration>,
}

/// Tells jobs as they change. Made by [`Client::watch`].
///
/// A stream that breaks, because a server leaves or a connection is cut, is opened anew where it ended: no change is
/// missed, and none is told again.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    request: v1::WatchJobsRequest,
    patience: Duration,
    deleted: Vec<String>,
    stream: Option<Streaming<v1::WatchJobsResponse>>,
    /// The stream that is being opened. Kept here, as the next two: each future of [`Watch::next`] may be dropped before.
    opening: Option<Opening>,
    /// When it will have been silent for too long.
    silent_at: Option<Instant>,
    /// When another stream may be opened.
    again_at: Option<Instant>,
    first: Option<v1::WatchJobsResponse>,
    over: bool,
    away_since: Option<Instant>,
    waits: Backoff,
    silence: Duration,
}

/// The answer of a server to a watch that is opened.
struct Opening(BoxFuture<'static, Result<Response<Streaming<v1::WatchJobsResponse>>, Status>>);

impl fmt::Debug for Opening {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Opening")
    }
}

impl Watch {
    pub(crate) fn new(client: Client, filter: WatchFilter) -> Self {
        Self {
            patience: filter.patience.unwrap_or(client.deadline),
            client,
            request: v1::WatchJobsRequest {
                ids: filter.ids,
                queue: filter.queue,
                kind: filter.kind,
                labels: label_filter(&filter.labels),
                resume_token: filter.resume_token,
                view: view_of(filter.full),
                payload_format: v1::PayloadFormat::Json.into(),
            },
            deleted: Vec::new(),
            stream: None,
            opening: None,
            silent_at: None,
            again_at: None,
            first: None,
            over: false,
            away_since: None,
            waits: Backoff::of_calls(),
            silence: WATCH_SILENCE,
        }
    }

    /// Continues after the last answer, in another process or tomorrow's: [`WatchFilter::resume_token`].
    pub fn resume_token(&self) -> &str {
        &self.request.resume_token
    }

    /// Those of the ids that were asked for whose jobs were deleted meanwhile.
    pub fn deleted(&self) -> &[String] {
        &self.deleted
    }

    /// Waits until the watch has begun: whatever changes after it is told.
    ///
    /// # Errors
    ///
    /// As those of `next`.
    pub async fn begin(&mut self) -> Result<(), Error> {
        if self.first.is_none() {
            self.first = self.answer().await?;
        }
        Ok(())
    }

    /// The next change. `None`: all jobs that were asked for by their ids are over. A future that is dropped loses
    /// nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable`: no server has answered for as long as the filter's patience. `WatchTokenExpired`, `InvalidRequest`.
    pub async fn next(&mut self) -> Option<Result<Job, Error>> {
        loop {
            let answer = match self.first.take() {
                Some(first) => first,
                None => match self.answer().await.transpose()? {
                    Ok(answer) => answer,
                    Err(error) => return Some(Err(error)),
                },
            };
            if self.client.encodings.is_some() {
                // Keys may be waited for: one that drops this meanwhile gets the answer from the next.
                self.first = Some(answer.clone());
            }
            let job = match answer.job {
                Some(job) if !job.kind.is_empty() => Some(self.client.read(job).await),
                Some(gone) => {
                    self.deleted.push(gone.id);
                    None
                }
                None => None,
            };
            self.first = None;
            self.request.resume_token = answer.resume_token;
            if let Some(job) = job {
                return Some(Ok(job));
            }
        }
    }

    /// The same as a stream, which ends after an error.
    pub fn into_stream(self) -> JobStream {
        stream::try_unfold(self, |mut watch| async move { Ok(watch.next().await.transpose()?.map(|job| (job, watch))) })
            .boxed()
    }

    /// The next answer, of a new stream where one broke. `None`: all is told.
    async fn answer(&mut self) -> Result<Option<v1::WatchJobsResponse>, Error> {
        while !self.over {
            if let Some(at) = self.again_at {
                sleep_until(at).await;
                self.again_at = None;
            }
            match self.read().await {
                Ok(Some(answer)) => {
                    self.away_since = None;
                    self.waits.reset();
                    return Ok(Some(answer));
                }
                Ok(None) => {
                    self.over = true;
                    self.stream = None;
                }
                Err(error) => {
                    self.stream = None;
                    self.pause(error)?;
                }
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<Option<v1::WatchJobsResponse>, Error> {
        let read = self.read_in_time().await;
        self.silent_at = None;
        read
    }

    /// The next answer, unless the server has been silent for too long since it was waited for first.
    async fn read_in_time(&mut self) -> Result<Option<v1::WatchJobsResponse>, Error> {
        let silent = |_| Error::new(Code::Unavailable, "the server is silent");
        let in_time = || Instant::now() + self.silence;
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let opening = match &mut self.opening {
                    Some(opening) => opening,
                    none => {
                        let mut request = Request::new(self.request.clone());
                        self.client.access.authorize(&mut request).await?;
                        let mut jobs = self.client.jobs.clone();
                        none.insert(Opening(Box::pin(async move { jobs.watch_jobs(request).await })))
                    }
                };
                let until = *self.silent_at.get_or_insert_with(in_time);
                let opened = timeout_at(until, &mut opening.0).await.map_err(silent);
                // It has said something, or is left.
                (self.opening, self.silent_at) = (None, None);
                none.insert(opened??.into_inner())
            }
        };
        let until = *self.silent_at.get_or_insert_with(in_time);
        Ok(timeout_at(until, stream.message()).await.map_err(silent)??)
    }

    /// Puts another stream off. An error: another one is of no use, or it took too long.
    fn pause(&mut self, error: Error) -> Result<(), Error> {
        if error.is(ErrorKind::WatchTokenExpired) && !self.request.ids.is_empty() {
            // Each is told as it is now, so nothing that still holds is missed.
            self.request.resume_token.clear();
            return Ok(());
        }
        let Some(wait) = pause_of_stream(&error, &mut self.waits) else {
            return Err(error);
        };
        let away_since = *self.away_since.get_or_insert_with(Instant::now);
        if away_since.elapsed() + wait >= self.patience {
            return Err(error.noted(format!("tried again until the deadline of {:?}", self.patience)));
        }
        self.again_at = Some(Instant::now() + wait);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use tokio::time::{sleep, timeout};

    use super::*;

    /// What opens a stream of HTTP/2 and says one empty answer in it: SETTINGS, HEADERS of status 200, and DATA.
    fn answer(stream: [u8; 4]) -> Vec<u8> {
        let frame = |size, kind, flags, stream: [u8; 4]| [&[0, 0, size, kind, flags][..], &stream].concat();
        let settings = frame(0, 4, 0, [0; 4]);
        let headers = [frame(1, 1, 4, stream), vec![0x88]].concat();
        [settings, headers, frame(5, 0, 0, stream), vec![0; 5]].concat()
    }

    /// A server of one connection that stays there. Of a stream it says that it is open, and one answer; or nothing.
    fn silent_server(opens: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let (mut preface, mut head) = ([0; 24], [0; 9]);
            peer.read_exact(&mut preface).unwrap();
            while peer.read_exact(&mut head).is_ok() {
                let [a, b, c, kind, _, stream @ ..] = head;
                let mut frame = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                peer.read_exact(&mut frame).unwrap();
                if opens && kind == 1 {
                    peer.write_all(&answer(stream)).unwrap();
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn a_server_that_is_silent_is_left_though_each_wait_for_it_is_dropped() {
        for opens in [true, false] {
            let client = Client::new(silent_server(opens)).unwrap();
            let mut watch = client.watch(WatchFilter { patience: Some(Duration::ZERO), ..WatchFilter::default() });
            if opens {
                watch.begin().await.unwrap();
                assert!(watch.silent_at.is_none(), "an answer begins a new wait");
            }
            watch.silence = Duration::from_millis(500);
            let told = async {
                loop {
                    if let Ok(told) = timeout(Duration::from_millis(10), watch.next()).await {
                        return told;
                    }
                }
            };
            let told = timeout(Duration::from_secs(10), told).await.expect("it waits for ever");
            let error = told.unwrap().unwrap_err();
            assert!(error.to_string().contains("the server is silent"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_opened_while_nothing_waits_for_it_is_no_silent_server() {
        let client = Client::new(silent_server(true)).unwrap();
        let mut watch = client.watch(WatchFilter { patience: Some(Duration::ZERO), ..WatchFilter::default() });
        watch.silence = Duration::from_millis(100);
        // It is asked for once, and the server answers meanwhile; on a busy machine at once.
        let _ = timeout(Duration::ZERO, watch.begin()).await;
        sleep(Duration::from_millis(300)).await;
        watch.begin().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_tried_again_in_its_time_though_each_wait_for_it_is_dropped() {
        // Nothing listens at port 1.
        let client = Client::new("127.0.0.1:1").unwrap();
        let mut watch = client.watch(WatchFilter { patience: Some(Duration::MAX), ..WatchFilter::default() });
        watch.waits = Backoff::new(Duration::from_secs(60), Duration::from_secs(60));
        let tick = Duration::from_millis(10);
        let failed = async {
            while watch.again_at.is_none() {
                assert!(timeout(tick, watch.next()).await.is_err());
            }
        };
        timeout(Duration::from_secs(10), failed).await.expect("it keeps when it may try again");
        let again_at = watch.again_at;
        for _ in 0..10 {
            assert!(timeout(tick, watch.next()).await.is_err());
            assert_eq!(watch.again_at, again_at);
        }
    }
}
