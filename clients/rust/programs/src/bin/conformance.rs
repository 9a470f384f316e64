//! The Rust client as the worker under test of tests/conformance; docs/conformance.md specifies its lines.

use std::collections::HashMap;
use std::io::{BufRead, Write, stderr, stdin, stdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobqueue::{
    Access, AesGcm, Encodings, HandlerError, HandlerResult, JobKind, JsonText, LeasedJob, NewJob, Stop, UpcastError,
    Worker, discard, failed, retry, snooze,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

// As the driver writes it.
#[allow(clippy::struct_excessive_bools)]
#[derive(Deserialize)]
struct Start {
    addresses: Vec<String>,
    queues: Vec<String>,
    kinds: Vec<String>,
    slots: u32,
    slots_by_kind: HashMap<String, u32>,
    name: String,
    labels: HashMap<String, String>,
    session_ttl_s: f64,
    shutdown_grace_s: f64,
    stop_when_lost: bool,
    tokens: bool,
    #[serde(default)]
    typed: bool,
    #[serde(default)]
    encrypted: bool,
}

/// The payload of the typed kind, and its output.
#[derive(Serialize, Deserialize)]
struct Amount {
    number: i64,
    #[serde(default = "one")]
    unit: String,
}

fn one() -> String {
    "one".to_owned()
}

impl JobKind for Amount {
    const NAME: &'static str = "typed";
    type Output = Self;
    const VERSION: u32 = 2;
    const ALIASES: &'static [&'static str] = &["typed-old"];

    fn upcast(from: u32, payload: JsonText) -> Result<JsonText, UpcastError> {
        match from {
            1 => Ok(json!({"number": payload.decode::<Value>()?["count"]}).into()),
            _ => Err(UpcastError::none()),
        }
    }
}

async fn double(amount: Amount, job: LeasedJob) -> HandlerResult<Amount> {
    say_started(&job);
    say(&json!({"event": "handler_ended", "job": job.id(), "attempt": job.attempt()}));
    Ok(Amount { number: 2 * amount.number, ..amount })
}

#[derive(Deserialize)]
struct Command {
    r#do: String,
    #[serde(default)]
    job: String,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    on_cancel: String,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Step {
    Hold,
    Succeed {
        #[serde(default, deserialize_with = "present")]
        output: Option<Value>,
    },
    Fail {
        error: String,
        retry_after_s: Option<f64>,
        #[serde(default)]
        pause_key: bool,
    },
    Discard {
        error: String,
    },
    Snooze {
        delay_s: f64,
    },
    Progress {
        fraction: f64,
        #[serde(default)]
        message: String,
    },
    Checkpoint {
        data_base64: String,
    },
    Die,
    FollowUp {
        kind: String,
        payload: String,
    },
}

/// `null` is an output, and no field is none.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// One line for the driver, at once and whole.
fn say(event: &Value) {
    let mut out = stdout().lock();
    let written = writeln!(out, "{event}").and_then(|()| out.flush());
    written.expect("the driver is gone");
}

/// Gates by job id, open once they are released.
#[derive(Default)]
struct Holds(Mutex<HashMap<String, CancellationToken>>);

impl Holds {
    fn gate(&self, job: &str) -> CancellationToken {
        self.0.lock().unwrap().entry(job.to_owned()).or_default().clone()
    }
}

fn say_started(job: &LeasedJob) {
    let text = job.payload().as_bytes();
    say(&json!({
        "event": "handler_started", "job": job.id(), "attempt": job.attempt(), "kind": job.kind(),
        "queue": job.queue(), "payload_sha256": format!("{:x}", Sha256::digest(text)), "payload_bytes": text.len(),
        "checkpoint_base64": STANDARD.encode(job.checkpoint()),
    }));
}

async fn handle(holds: Arc<Holds>, job: LeasedJob) -> HandlerResult<Option<JsonText>> {
    say_started(&job);
    let ended = steps(&holds, &job).await;
    say(&json!({"event": "handler_ended", "job": job.id(), "attempt": job.attempt()}));
    ended
}

async fn steps(holds: &Holds, job: &LeasedJob) -> HandlerResult<Option<JsonText>> {
    let payload: Payload = job.decode()?;
    let mut answer = None;
    for step in payload.steps {
        match step {
            Step::Hold => hold(holds, job, &payload.on_cancel).await?,
            Step::Succeed { output } => answer = output.map(JsonText::from),
            Step::Fail { error, retry_after_s: None, .. } => return Err(failed(error)),
            Step::Fail { error, retry_after_s: Some(after), pause_key } => {
                let retry = retry(failed(error), seconds(after));
                return Err(if pause_key { retry.pause_key() } else { retry });
            }
            Step::Discard { error } => return Err(discard(failed(error))),
            Step::Snooze { delay_s } => return Err(snooze(seconds(delay_s))),
            Step::Progress { fraction, message } => job.progress(fraction, &message)?,
            Step::Checkpoint { data_base64 } => job.save_checkpoint(STANDARD.decode(data_base64)?)?,
            Step::Die => std::process::abort(),
            Step::FollowUp { kind, payload } => {
                job.follow_up(NewJob::new(kind).payload(JsonText::new(payload)))?;
            }
        }
    }
    Ok(answer)
}

async fn hold(holds: &Holds, job: &LeasedJob, on_cancel: &str) -> Result<(), HandlerError> {
    let gate = holds.gate(job.id());
    let stop = tokio::select! {
        () = gate.cancelled() => return Ok(()),
        stop = job.stopped() => stop,
    };
    let reason = match stop {
        Stop::CancelRequested(_) => "cancel",
        Stop::Shutdown => "shutdown",
        Stop::Lost => "lost",
        _ => "revoked",
    };
    say(&json!({
        "event": "handler_cancelled", "job": job.id(), "attempt": job.attempt(), "reason": reason,
        "words": stop.to_string(),
    }));
    match on_cancel {
        "succeed" => Ok(()),
        "ignore" => {
            gate.cancelled().await;
            Ok(())
        }
        _ => Err(stop.into()),
    }
}

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

/// Does what the driver says, until it is gone.
fn listen(worker: &Worker, holds: &Holds) {
    for line in stdin().lock().lines().map_while(Result::ok) {
        let Ok(command) = serde_json::from_str::<Command>(&line) else { continue };
        match command.r#do.as_str() {
            "release" => holds.gate(&command.job).cancel(),
            "pause" => worker.pause(),
            "resume" => worker.resume(),
            "status" => {
                let mut status = worker.status().as_json();
                status["event"] = json!("status");
                say(&status);
            }
            _ => {}
        }
    }
    std::process::exit(3); // no driver, no worker
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    let start: Start = serde_json::from_str(&line)?;
    let mut addresses = start.addresses.into_iter();
    let mut builder = Worker::builder(addresses.next().unwrap_or_default())
        .concurrency(start.slots)
        .name(start.name)
        .session_ttl(seconds(start.session_ttl_s))
        .shutdown_grace(seconds(start.shutdown_grace_s))
        .stop_when_lost(start.stop_when_lost);
    if start.tokens {
        let asked = AtomicU64::new(0);
        builder = builder.access(Access::new().token_source(move || {
            let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Ok(format!("token-{number}")) }
        }));
    }
    if start.encrypted {
        let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap_or_default());
        let encrypts = AesGcm::new([("conformance", key)], "conformance")?;
        builder = builder.encodings(Encodings::builder().add(encrypts).build()?);
    }
    for target in addresses {
        builder = builder.target(target);
    }
    for queue in start.queues {
        builder = builder.queue(queue);
    }
    for (name, value) in start.labels {
        builder = builder.label(name, value);
    }
    for (kind, slots) in start.slots_by_kind {
        builder = builder.slots(kind, slots);
    }
    let holds = Arc::new(Holds::default());
    for kind in start.kinds {
        let holds = holds.clone();
        builder = builder.handle(kind, move |job| handle(holds.clone(), job));
    }
    if start.typed {
        builder = builder.handle_kind(double);
    }
    let worker = builder.build()?;
    let told = worker.clone();
    std::thread::spawn(move || listen(&told, &holds));
    Ok(worker.run_until_signal().await?)
}

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_writer(stderr).with_ansi(false).init();
    if let Err(error) = run().await {
        say(&json!({"event": "ended", "error": error.to_string()}));
        std::process::exit(1);
    }
    say(&json!({"event": "ended", "error": null}));
}
