//! Jobs of the seed crate through their life: `seed WORKLOAD JOBS PAYLOAD`, or `seed own JOBS WORKERS SAMPLES`.
//!
//! `rest_enqueue` and `rest` start the crate's HTTP interface, and for `rest` its worker runtime, as processes of their
//! own, which is how the crate runs them; this process is the client, and asks the database when all jobs have ended.

mod load;
mod own;
mod parts;

use std::error::Error;
use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut runtime = match words[..] {
        // One thread does for a client that only writes and reads.
        ["rest" | "rest_enqueue", ..] => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    match words[..] {
        ["api"] => runtime.block_on(parts::api()),
        ["work"] => runtime.block_on(parts::work()),
        ["rest", jobs, payload] => runtime.block_on(rest(jobs.parse()?, payload.parse()?, true)),
        ["rest_enqueue", jobs, payload] => runtime.block_on(rest(jobs.parse()?, payload.parse()?, false)),
        ["own", jobs, workers, samples] => {
            runtime.block_on(own::run(jobs.parse()?, workers.parse()?, samples.parse()?))
        }
        _ => Err("seed rest|rest_enqueue JOBS PAYLOAD, or seed own JOBS WORKERS SAMPLES".into()),
    }
}

async fn rest(jobs: usize, payload: usize, to_the_end: bool) -> Outcome<()> {
    let (_api, port) = part("api").await?;
    let _worker = if to_the_end { Some(part("work").await?) } else { None };
    let pool = parts::pool(1).await?;
    let text = "x".repeat(payload.saturating_sub(r#"{"text":""}"#.len()));
    let body = json!({"kind": "summarize_text", "payload": {"text": text}}).to_string();
    let lanes = load::connect(&port).await?;
    say(json!({"stage": "ready"}));
    let started = Instant::now();
    load::post(lanes, "/jobs", &body, jobs).await?;
    let answered = started.elapsed().as_secs_f64();
    if to_the_end {
        parts::succeeded(&pool, jobs).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    say(json!({"stage": "ended", "seconds": seconds, "answered_after": answered, "connections": load::CONNECTIONS}));
    Ok(())
}

/// A process of this program, and the line that it said when it was up. It ends with this one.
async fn part(name: &str) -> Outcome<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(name)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let line = BufReader::new(output).lines().next_line().await?;
    Ok((child, line.ok_or_else(|| format!("{name} did not come up"))?))
}

fn say(line: serde_json::Value) {
    println!("{line}");
}
