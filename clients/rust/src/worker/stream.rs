//! One open Lease stream.

use std::future::Future;
use std::pin::Pin;

use hyper::rt::Executor;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Streaming};

use crate::access::{Access, MESSAGE_BYTES};
use crate::errors::Error;
use crate::v1;
use crate::v1::job_queue_client::JobQueueClient;
use crate::v1::lease_request::Frame;

/// The session's end of a stream. It never blocks: a slow network must not hold up the session.
pub(super) struct Stream {
    sender: UnboundedSender<v1::LeaseRequest>,
    end: CancellationToken,
    last_delivery: i64,
    receipted: i64,
    /// A bare receipt is on its way to be sent.
    pub(super) receipt_planned: bool,
}

/// What came back when the stream was opened: its frames, and the sender, which must outlive them. A worker's side that
/// closes before means a drain.
pub(super) struct Incoming {
    pub(super) frames: Streaming<v1::LeaseResponse>,
    pub(super) end: CancellationToken,
    _sender: UnboundedSender<v1::LeaseRequest>,
}

impl Stream {
    pub(super) fn new(sender: UnboundedSender<v1::LeaseRequest>, end: CancellationToken) -> Self {
        Self { sender, end, last_delivery: 0, receipted: 0, receipt_planned: false }
    }

    /// Opens a stream on a connection of its own, since a worker that leaves a server must not come back to it over the
    /// connection that it left; its tasks end with it.
    pub(super) async fn open(
        access: &Access,
        target: &str,
        hello: v1::LeaseRequest,
    ) -> Result<(Self, Incoming, v1::Welcome), Error> {
        let end = CancellationToken::new();
        let guard = end.clone().drop_guard();
        let endpoint = access.endpoint(target)?.executor(Within(end.clone()));
        let (sender, receiver) = unbounded_channel();
        let _ = sender.send(hello);
        let mut request = Request::new(UnboundedReceiverStream::new(receiver));
        access.authorize(&mut request).await?;
        let mut stub = JobQueueClient::new(endpoint.connect().await?)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        let mut frames = stub.lease(request).await?.into_inner();
        let welcome = welcome(&mut frames).await?;
        guard.disarm();
        let incoming = Incoming { frames, end: end.clone(), _sender: sender.clone() };
        Ok((Self::new(sender, end), incoming, welcome))
    }

    /// Whether it is the one whose frames these are.
    pub(super) fn is(&self, end: &CancellationToken) -> bool {
        self.end == *end
    }

    /// Queues a frame, with the receipt of what was delivered.
    pub(super) fn send(&mut self, frame: Option<Frame>) {
        self.receipted = self.last_delivery;
        // If the stream has ended, the frame is dropped, and the reader gets the error.
        let _ = self.sender.send(v1::LeaseRequest { last_delivery: self.last_delivery, frame });
    }

    /// Notes a delivery that was seen.
    pub(super) fn delivered(&mut self, seq: i64) {
        self.last_delivery = seq;
    }

    /// Sends a bare receipt, unless another frame has carried it.
    pub(super) fn receipt(&mut self) {
        if self.receipted < self.last_delivery {
            self.send(None);
        }
    }
}

impl Drop for Stream {
    /// Ends the stream at once.
    fn drop(&mut self) {
        self.end.cancel();
    }
}

async fn welcome(frames: &mut Streaming<v1::LeaseResponse>) -> Result<v1::Welcome, Error> {
    use v1::lease_response::Frame;
    loop {
        let Some(response) = frames.message().await? else {
            return Err(Error::new(Code::Unavailable, "the stream ended without a Welcome"));
        };
        match response.frame {
            Some(Frame::Welcome(welcome)) => return Ok(welcome),
            Some(Frame::GoAway(_) | Frame::Goodbye(_)) => {
                return Err(Error::new(Code::Unavailable, "the server is leaving"));
            }
            _ => {}
        }
    }
}

/// Runs the tasks of a connection until its stream has ended: nothing of it stays behind.
struct Within(CancellationToken);

impl Executor<Pin<Box<dyn Future<Output = ()> + Send>>> for Within {
    fn execute(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(task));
    }
}
