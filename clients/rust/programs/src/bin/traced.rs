//! Runs jobs of a queue, as tests/traces/worker_program.py does: `first`, `follow_up`, `called`.

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use jobqueue::{Access, Client, LeasedJob, NewJob, OpenTelemetry, RetryPolicy, Worker, failed};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;

/// One connection for each request: a library for it would be the largest of this program.
#[derive(Debug)]
struct Plain;

#[async_trait::async_trait]
impl HttpClient for Plain {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri: &Uri = request.uri();
        let (address, path) = (uri.authority().ok_or("no address")?.as_str(), uri.path());
        let mut connection = TcpStream::connect(address)?;
        let length = request.body().len();
        write!(
            connection,
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )?;
        connection.write_all(request.body())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let status: u16 = answer.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok(Response::builder().status(status).body(Bytes::new())?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [server, queue] = &env::args().skip(1).collect::<Vec<_>>()[..] else { return Err("SERVER QUEUE".into()) };
    let exporter = SpanExporter::builder().with_http().with_http_client(Plain).build()?;
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
    opentelemetry::global::set_tracer_provider(provider);

    let access = Access::new().traces(OpenTelemetry::new());
    let client = Client::builder(server.as_str()).access(access.clone()).build()?;
    let soon = Duration::from_millis(1);
    let soon = RetryPolicy { min_backoff: Some(soon), max_backoff: Some(soon) };
    let of_first = queue.clone();
    let worker = Worker::builder(server.as_str())
        .access(access)
        .queue(queue.as_str())
        .handle("first", move |job: LeasedJob| {
            let (client, queue) = (client.clone(), of_first.clone());
            async move {
                client.enqueue(NewJob::new("called").queue(queue.as_str())).await?;
                job.follow_up(NewJob::new("follow_up").queue(queue).retry_policy(soon))?;
                Ok(())
            }
        })
        .handle(
            "follow_up",
            async |job: LeasedJob| {
                if job.attempt() == 1 { Err(failed("the first attempt fails")) } else { Ok(()) }
            },
        )
        .handle("called", async |_| Ok(()))
        .build()?;
    println!("ready");
    worker.run_until_signal().await?;
    Ok(())
}
