//! A mail that servers can't read, as its handler is tested.

use jobqueue::testing::{Outcome, TestJob, perform};
use jobqueue::{AesGcm, EncodingRule, Encodings, Error, HandlerResult, JobKind, LeasedJob, Worker, Zstd};
use serde::{Deserialize, Serialize};

fn encodings() -> Result<Encodings, Error> {
    let keys = [("2026-10", [0xaa; 32]), ("2026-11", [0xbb; 32])];
    let encrypts = AesGcm::new(keys, "2026-11")?;
    Encodings::builder().add(Zstd::new().over(2048)).add(encrypts).build()
}

#[derive(Serialize, Deserialize)]
struct Mail {
    to: String,
}

impl JobKind for Mail {
    const NAME: &'static str = "send_mail";
    const ENCODINGS: EncodingRule = EncodingRule::Required;
    type Output = ();
}

async fn deliver(mail: Mail, job: LeasedJob) -> HandlerResult {
    job.save_checkpoint("half of it")?;
    assert_eq!(mail.to, "ada@example.org");
    Ok(())
}

#[tokio::test]
async fn a_mail_is_delivered() -> HandlerResult {
    let worker = Worker::builder("127.0.0.1:50051").encodings(encodings()?).handle_kind(deliver).build()?;
    let job = TestJob::of(&Mail { to: "ada@example.org".into() })?;
    let done = perform(&worker, job).await?;
    assert_eq!(done.outcome, Outcome::Succeeded);
    assert_eq!(done.checkpoints, ["half of it"]);
    Ok(())
}
