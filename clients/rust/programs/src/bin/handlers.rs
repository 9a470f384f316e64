//! The program of the gates `handlers` and `kits`: `handlers WAY SERVER`, or `handlers kit`. bench/programs.py says what
//! it does, and bench/workers/handlers.py and bench/workers/kit.py do it in Python.

use std::env;
use std::io::stderr;
use std::time::Instant;

use jobqueue::testing::{TestJob, TestScope, TestServer, perform};
use jobqueue::{
    AesGcm, Encodings, HandlerResult, JobKind, JsonText, Kind, LeasedJob, Middleware, NewJob, Next, Worker, Zstd,
    failed,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

const SLOTS: u32 = 1000;
const SCOPES: u32 = 20;
const PERFORMED: u32 = 200;
const SUITE: u32 = 100;

/// What a payload is where the kind is typed.
#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    paid: bool,
    lines: Vec<String>,
    note: String,
}

/// What a handler answers.
#[derive(Serialize, Deserialize)]
struct Total {
    id: u64,
    lines: usize,
}

impl JobKind for Order {
    const NAME: &'static str = "typed";
    type Output = Total;
}

async fn typed(order: Order, _: LeasedJob) -> HandlerResult<Total> {
    Ok(Total { id: order.id, lines: order.lines.len() })
}

async fn plain(job: LeasedJob) -> HandlerResult<Value> {
    let order: Value = job.decode()?;
    let lines = order["lines"].as_array().ok_or_else(|| failed("the order has no lines"))?;
    Ok(json!({"id": order["id"], "lines": lines.len()}))
}

/// Goes around, and does nothing.
struct Nothing;

impl Middleware for Nothing {
    async fn handle(&self, _: &LeasedJob, next: Next<'_>) -> HandlerResult<Option<JsonText>> {
        next.run().await
    }
}

/// Compression and encryption, of payloads of any size. The bytes of the key are 0 to 31.
fn encodings() -> Result<Encodings, jobqueue::Error> {
    let mut key = [0; 32];
    for (byte, number) in key.iter_mut().zip(0..) {
        *byte = number;
    }
    let encrypts = AesGcm::new([("bench", key)], "bench")?;
    Encodings::builder().add(Zstd::new().over(0)).add(encrypts).build()
}

fn worker(way: &str, server: &str) -> HandlerResult<Worker> {
    let worker = Worker::builder(server).concurrency(SLOTS);
    let worker = match way {
        "plain" => worker.handle(way, plain),
        "typed" => worker.handle_kind(typed),
        "middleware" => worker.middleware(Nothing).middleware(Nothing).middleware(Nothing).handle(way, plain),
        "encoded" => worker.encodings(encodings()?).handle(way, plain),
        other => return Err(failed(format!("{other:?} is not a way"))),
    };
    Ok(worker.build()?)
}

async fn answer(job: LeasedJob) -> HandlerResult<Value> {
    let payload: Value = job.decode()?;
    let number = payload["number"].as_u64().ok_or_else(|| failed("no number"))?;
    Ok(json!({"twice": 2 * number}))
}

async fn with_one_job(server: &TestServer) -> HandlerResult {
    let scope = TestScope::open(server).await?;
    scope.client.put_kind(Kind::new("twice")).await?;
    scope.client.enqueue(NewJob::new("twice").payload(json!({"number": 21}))).await?;
    let worker = scope.worker().handle("twice", answer).build()?;
    let idle = scope.run_until_idle(&worker).await?;
    assert_eq!(idle.ended.len(), 1);
    assert_eq!(idle.ended[0].output, Some(json!({"twice": 42}).into()));
    Ok(scope.close().await?)
}

fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

/// Of an even number of them.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    f64::midpoint(values[half - 1], values[half])
}

/// What the test kit takes, as a suite uses it: seconds by what is measured.
async fn measure() -> HandlerResult<Value> {
    let began = Instant::now();
    let server = TestServer::start().await?;
    let start = seconds(began);

    let mut each = Vec::new();
    for _ in 0..SCOPES {
        let began = Instant::now();
        TestScope::open(&server).await?.close().await?;
        each.push(seconds(began));
    }

    let began = Instant::now();
    for number in 0..PERFORMED {
        let done = perform(answer, TestJob::new(json!({"number": number}))).await?;
        assert_eq!(done.output, Some(json!({"twice": 2 * number}).into()));
    }
    let performed = seconds(began);

    let began = Instant::now();
    for _ in 0..SUITE {
        with_one_job(&server).await?;
    }
    let scopes = seconds(began);

    let began = Instant::now();
    drop(server);
    let close = seconds(began);
    Ok(json!({"start": start, "scope": median(each), "perform": performed, "scopes": scopes, "close": close}))
}

#[tokio::main]
async fn main() -> HandlerResult {
    // Warnings only: what logs cost is not what is measured.
    tracing_subscriber::fmt().with_writer(stderr).with_ansi(false).with_max_level(LevelFilter::WARN).init();
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["kit"] => println!("{}", measure().await?),
        [way, server] => worker(way, server)?.run_until_signal().await?,
        _ => return Err(failed("WAY SERVER, or kit")),
    }
    Ok(())
}
