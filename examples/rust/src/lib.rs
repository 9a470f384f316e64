//! What `embed_http` and `metrics` share: a client of HTTP in a few lines. A program of yours has one of a library.

use std::error::Error;
use std::net::SocketAddr;

use jobqueue::new_idempotency_key;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The status and the body that a server answers to a request, such as `POST /reports`, whose body is JSON.
///
/// # Errors
///
/// There is no server, or it does not speak HTTP.
pub async fn ask(server: SocketAddr, request: &str, body: &str) -> Result<(u16, String), Box<dyn Error>> {
    let head = [
        format!("{request} HTTP/1.1"),
        format!("host: {server}"),
        "connection: close".into(),
        "content-type: application/json".into(),
        format!("content-length: {}", body.len()),
        format!("idempotency-key: {}", new_idempotency_key()),
    ];
    let mut connection = TcpStream::connect(server).await?;
    connection.write_all(format!("{}\r\n\r\n{body}", head.join("\r\n")).as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer has no body")?;
    let status = head.split(' ').nth(1).ok_or("the answer has no status")?;
    Ok((status.parse()?, body.to_owned()))
}
