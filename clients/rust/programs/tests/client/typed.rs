//! Typed jobs go from their producer to their worker and back.

use jobqueue::{ErrorKind, HandlerResult, JobKind, JsonText, Kind, LeasedJob, NewJob, UpcastError, Worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Done, WITHIN, beside, client, own, server};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Ask {
    number: u128,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    twice: u128,
}

impl JobKind for Ask {
    const NAME: &'static str = "rust-ask";
    type Output = Answer;
    const VERSION: u32 = 2;
    const ALIASES: &'static [&'static str] = &["rust-ask-old"];

    fn upcast(from: u32, payload: JsonText) -> Result<JsonText, UpcastError> {
        match from {
            1 => Ok(JsonText::of(&Ask { number: payload.decode()? })?),
            _ => Err(UpcastError::none()),
        }
    }

    fn settings(&self, job: NewJob) -> NewJob {
        job.max_attempts(7).label("asked", "yes")
    }

    fn payload_schema() -> Option<Value> {
        let number = json!({"type": "integer"});
        Some(json!({"type": "object", "properties": {"number": number}, "required": ["number"]}))
    }

    fn older_schema(_: u32) -> Value {
        json!({"type": "integer"})
    }
}

async fn doubles(ask: Ask, _: LeasedJob) -> HandlerResult<Answer> {
    Ok(Answer { twice: 2 * ask.number })
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_typed_job_goes_from_its_producer_to_its_worker_and_back_with_all_its_digits() -> Done {
    let (client, queue) = (client()?, own());
    client.put_kind(Kind::of::<Ask>()).await?;
    client.put_kind(Kind::new("rust-ask-old")).await?;
    let number = 271_828_182_845_904_523_536_028_747_135;
    let worker = Worker::builder(server()).queue(&queue).handle_kind(doubles).build()?;
    let older = JsonText::new(number.to_string());
    let text = |kind: &str, text: &JsonText| NewJob::new(kind).queue(&queue).payload(text.clone());
    let jobs = [
        NewJob::of(&Ask { number })?.queue(&queue),
        text("rust-ask", &older),
        text("rust-ask-old", &older),
        text("rust-ask-old", &JsonText::new("\"no number\"")),
    ];
    let found = beside(worker, async {
        let mut found = Vec::new();
        for each in client.enqueue_many(jobs).await? {
            found.push(client.wait(&each.id, WITHIN).await?);
        }
        Ok(found)
    })
    .await?;
    for job in &found[..3] {
        assert_eq!(Ask::payload_of(job)?, Ask { number });
        assert_eq!(Ask::output_of(job)?, Answer { twice: 2 * number });
    }
    assert_eq!((found[0].max_attempts, found[0].labels["asked"].as_str()), (7, "yes"));
    let error = Ask::output_of(&found[3]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobNotSucceeded);
    assert_eq!(found[3].failed_attempts[0].error_type, "PayloadUnreadable");
    assert_eq!((found[3].attempts, found[3].reason.as_str()), (1, "NOT_RETRYABLE"));
    let refused = client.enqueue(text("rust-ask", &JsonText::new(r#"{"count":1}"#))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PayloadInvalid);
    Ok(())
}
