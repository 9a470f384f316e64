//! An HTTP client as small as one can be, so that the server is what is measured: one request after the other on each of
//! its connections, which stay open.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Outcome;

pub const CONNECTIONS: usize = 256;

pub async fn connect(address: &str) -> Outcome<Vec<TcpStream>> {
    let mut lanes = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        lanes.push(stream);
    }
    Ok(lanes)
}

/// Posts the body `count` times; each answer must be 201.
pub async fn post(lanes: Vec<TcpStream>, path: &str, body: &str, count: usize) -> Outcome<()> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let request: Arc<[u8]> = request.into_bytes().into();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for mut stream in lanes {
        let (request, taken) = (request.clone(), taken.clone());
        tasks.spawn(async move {
            let mut answer = Vec::with_capacity(4096);
            while taken.fetch_add(1, Ordering::Relaxed) < count {
                stream.write_all(&request).await?;
                answer.clear();
                while !whole(&answer)? {
                    if stream.read_buf(&mut answer).await? == 0 {
                        return Err("the server hung up".into());
                    }
                }
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Whether the answer has come to its end.
fn whole(answer: &[u8]) -> Outcome<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = std::str::from_utf8(&answer[..end])?;
    if !head.starts_with("HTTP/1.1 201") {
        return Err(String::from_utf8_lossy(answer).into());
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .ok_or("an answer without its length")?;
    Ok(answer.len() >= end + 4 + length.parse::<usize>()?)
}
