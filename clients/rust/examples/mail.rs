//! Sends mails: declares a kind, runs a worker of it, enqueues a job and reads its output.

use std::time::Duration;

use jobqueue::{Client, Error, HandlerResult, JobKind, Kind, LeasedJob, NewJob, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Mail {
    to: String,
    #[serde(default)]
    cc: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Sent {
    message_id: String,
}

impl JobKind for Mail {
    const NAME: &'static str = "send-mail";
    type Output = Sent;

    fn settings(&self, job: NewJob) -> NewJob {
        job.max_attempts(5).timeout(Duration::from_secs(120))
    }
}

async fn deliver(mail: Mail, _: LeasedJob) -> HandlerResult<Sent> {
    Ok(Sent { message_id: format!("{} for {}", mail.cc.len() + 1, mail.to) })
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or("127.0.0.1:50051".into());
    let worker = Worker::builder(&server).handle_kind(deliver).build()?;
    tokio::spawn(async move { worker.run_until_signal().await });
    let client = Client::new(server)?;
    client.put_kind(Kind::of::<Mail>()).await?;
    let mail = Mail { to: "ada@example.org".into(), cc: vec!["bob@example.org".into()] };
    let job = client.enqueue(NewJob::of(&mail)?.priority(3)).await?;
    let done = client.wait(&job.id, Duration::from_secs(60)).await?;
    println!("{} {}", Mail::output_of(&done)?.message_id, done.max_attempts);
    Ok(())
}
