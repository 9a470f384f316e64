//! Answers `/livez` and `/readyz` of a worker.

use std::io;
use std::net::TcpListener;
use std::sync::Weak;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::errors::Error;

/// A probe is read and answered in so long, or is left.
const WITHIN: Duration = Duration::from_secs(5);
const REQUEST_BYTES: usize = 8 * 1024;

/// A thread of its own with a runtime of its own: handlers that block hold it up as little as the session.
pub(super) struct Health {
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// Listens, and answers until it is dropped.
    pub(super) fn open(address: &str, worker: Weak<Inner>) -> Result<Self, Error> {
        let taken = |error: io::Error| Error::invalid("health", format!("{address} can't be listened on: {error}"));
        let listener = TcpListener::bind(address).map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(taken)?;
        let end = CancellationToken::new();
        let ends = end.clone();
        let serve = move || runtime.block_on(ends.run_until_cancelled_owned(answer_all(listener, worker)));
        let thread = Builder::new()
            .name("jobqueue-health".to_owned())
            .spawn(move || {
                serve();
            })
            .map_err(taken)?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Health {
    /// Waits until the address is free again. Not under a lock that answers take.
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answer_all(listener: TcpListener, worker: Weak<Inner>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "health can't be answered"),
    };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(timeout(WITHIN, serve(stream, worker.clone())));
        } else {
            // Out of descriptors, for example: probes fail, and that is heard.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn serve(mut stream: TcpStream, worker: Weak<Inner>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST_BYTES || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let answer = answer(&String::from_utf8_lossy(&request), &worker);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(request: &str, worker: &Weak<Inner>) -> String {
    let mut words = request.split_ascii_whitespace();
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default();
    let readiness = path == "/readyz";
    let Some(worker) = worker.upgrade().filter(|_| readiness || path == "/livez") else {
        return response("404 Not Found", "", "");
    };
    if method != "GET" {
        return response("405 Method Not Allowed", "Allow: GET\r\n", "");
    }
    let (good, status) = worker.health(readiness);
    let words = if good { "200 OK" } else { "503 Service Unavailable" };
    response(words, "Content-Type: application/json\r\n", &format!("{}\n", status.as_json()))
}

fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nCache-Control: no-store\r\nConnection: \
         close\r\n\r\n{body}"
    )
}
