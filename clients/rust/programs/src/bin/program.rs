//! The producer and worker of tests/clients, which tests/conformance/languages.py specifies.

use std::error::Error;
use std::io::{Read, Write, stderr, stdin, stdout};
use std::time::Duration;

use jobqueue::{
    Access, AesGcm, Client, Encodings, HandlerResult, JobKind, JsonText, LeasedJob, NewJob, Tls, Worker, Zstd,
};
use lexopt::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

type Done = Result<(), Box<dyn Error + Send + Sync>>;

#[derive(Serialize, Deserialize)]
struct Line {
    sku: String,
    count: i64,
    price: f64,
}

#[derive(Serialize, Deserialize)]
struct Order {
    customer: String,
    lines: Vec<Line>,
    paid: bool,
    note: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Summary {
    customer: String,
    count: i64,
    dearest: Option<f64>,
}

impl JobKind for Order {
    const NAME: &'static str = "order";
    type Output = Summary;
}

#[derive(Default)]
struct Options {
    what: String,
    server: String,
    queue: String,
    kind: String,
    name: String,
    slots: u32,
    workers: u32,
    health: String,
    roots: String,
    cert: String,
    key: String,
    encryption_key: String,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        queue: "default".into(),
        kind: "echo".into(),
        name: "rust".into(),
        slots: 32,
        workers: 1,
        ..Options::default()
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(what) => options.what = what.string()?,
            Long("server") => options.server = parser.value()?.string()?,
            Long("queue") => options.queue = parser.value()?.string()?,
            Long("kind") => options.kind = parser.value()?.string()?,
            Long("name") => options.name = parser.value()?.string()?,
            Long("slots") => options.slots = parser.value()?.parse()?,
            Long("workers") => options.workers = parser.value()?.parse()?,
            Long("health") => options.health = parser.value()?.string()?,
            Long("roots") => options.roots = parser.value()?.string()?,
            Long("cert") => options.cert = parser.value()?.string()?,
            Long("encryption-key") => options.encryption_key = parser.value()?.string()?,
            Long("key") => options.key = parser.value()?.string()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn access(options: &Options) -> Result<Access, jobqueue::Error> {
    if options.roots.is_empty() {
        return Ok(Access::new());
    }
    let mut tls = Tls::from_file(&options.roots)?;
    if !options.cert.is_empty() {
        tls = tls.identity(&options.cert, &options.key)?;
    }
    Ok(Access::new().tls(tls))
}

/// Those of a key, 64 hexadecimal digits; it is named `a`. `None`: no key is given.
fn encodings(options: &Options) -> Result<Option<Encodings>, Box<dyn Error + Send + Sync>> {
    if options.encryption_key.is_empty() {
        return Ok(None);
    }
    let mut key = [0; 32];
    for (at, byte) in key.iter_mut().enumerate() {
        let digits = options.encryption_key.get(2 * at..2 * at + 2).ok_or("the key is too short")?;
        *byte = u8::from_str_radix(digits, 16)?;
    }
    let encrypts = AesGcm::new([("a", key)], "a")?;
    Ok(Some(Encodings::builder().add(Zstd::new().over(200)).add(encrypts).build()?))
}

/// Makes a job of each line of its input, as it is, and prints the outputs in their order, as they are.
async fn enqueue(options: Options) -> Done {
    let mut client = Client::builder(&options.server).access(access(&options)?);
    if let Some(encodings) = encodings(&options)? {
        client = client.encodings(encodings);
    }
    let client = client.build()?;
    let mut lines = Vec::new();
    stdin().read_to_end(&mut lines)?;
    let lines = lines.strip_suffix(b"\n").unwrap_or(&lines).split(|byte| *byte == b'\n');
    if options.kind == Order::NAME {
        for line in lines {
            let order: Order = serde_json::from_slice(line)?;
            let job = client.enqueue(NewJob::of(&order)?.queue(&options.queue)).await?;
            let output = Order::output_of(&client.wait(&job.id, None).await?)?;
            writeln!(stdout(), "{}", serde_json::to_string(&output)?)?;
        }
        return Ok(());
    }
    let jobs = lines.map(|line| {
        let payload = JsonText::new(line.to_vec());
        NewJob::new(&options.kind).queue(&options.queue).payload(payload)
    });
    for each in client.enqueue_many(jobs).await? {
        let job = client.wait(&each.id, None).await?;
        let output = job.output.ok_or_else(|| format!("job {} is {} without output", job.id, job.status))?;
        stdout().write_all(output.as_bytes())?;
        stdout().write_all(b"\n")?;
    }
    Ok(())
}

async fn summarize(order: Order, _: LeasedJob) -> HandlerResult<Summary> {
    let paid = if order.paid { ", paid" } else { "" };
    let note = order.note.map(|note| format!(": {note}")).unwrap_or_default();
    Ok(Summary {
        customer: format!("{}{paid}{note}", order.customer),
        count: order.lines.iter().map(|line| line.count).sum(),
        dearest: order.lines.iter().map(|line| line.price).max_by(f64::total_cmp),
    })
}

async fn echo(job: LeasedJob) -> HandlerResult<JsonText> {
    Ok(job.payload().clone())
}

async fn noop(_: LeasedJob) -> HandlerResult {
    Ok(())
}

async fn rest(job: LeasedJob) -> HandlerResult {
    tokio::time::sleep(Duration::from_secs_f64(job.payload().decode()?)).await;
    Ok(())
}

async fn panics(_: LeasedJob) -> HandlerResult {
    panic!("this handler panics")
}

async fn hold(job: LeasedJob) -> HandlerResult {
    Err(job.stopped().await.into())
}

/// Some workers, each with a stream and slots of its own, until they are told to end.
async fn work(options: Options) -> Done {
    let mut workers = JoinSet::new();
    for _ in 0..options.workers {
        let mut worker = Worker::builder(&options.server)
            .access(access(&options)?)
            .queue(&options.queue)
            .concurrency(options.slots)
            .name(&options.name)
            .handle_kind(summarize)
            .handle("echo", echo)
            .handle("noop", noop)
            .handle("panic", panics)
            .handle("rest", rest)
            .handle("hold", hold);
        if !options.health.is_empty() {
            worker = worker.health(&options.health);
        }
        if let Some(encodings) = encodings(&options)? {
            worker = worker.encodings(encodings);
        }
        let worker = worker.build()?;
        workers.spawn(async move { worker.run_until_signal().await });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Done {
    tracing_subscriber::fmt().with_writer(stderr).with_ansi(false).init();
    let options = options()?;
    match options.what.as_str() {
        "enqueue" => enqueue(options).await,
        "work" => work(options).await,
        other => Err(format!("{other:?} is neither enqueue nor work").into()),
    }
}
