//! Typed kinds are told to a real server.

use std::collections::HashMap;
use std::time::Duration;

use jobqueue::{
    Client, Error, ErrorKind, HandlerResult, JobKind, JsonText, Kind, KindDeclaration, LeasedJob, Limits, NewJob,
    RetryPolicy, UpcastError, Worker, WorkerState,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{Done, WITHIN, beside, client, server};

fn object(of: &str) -> Value {
    json!({"type": "object", "properties": {of: {"type": "string"}}, "required": [of]})
}

/// The same kind of two programs, the older one first.
macro_rules! kinds {
    ($name:literal) => {
        #[derive(Serialize, Deserialize)]
        struct First {
            name: String,
        }

        impl JobKind for First {
            const NAME: &'static str = $name;
            type Output = ();
            const MAX_ATTEMPTS: Option<u32> = Some(4);

            fn payload_schema() -> Option<Value> {
                Some(object("name"))
            }
        }

        #[derive(Serialize, Deserialize)]
        struct Second {
            first: String,
        }

        impl JobKind for Second {
            const NAME: &'static str = $name;
            type Output = String;
            const VERSION: u32 = 2;
            const TIMEOUT: Option<Duration> = Some(Duration::from_secs(60));

            fn upcast(_: u32, payload: JsonText) -> Result<JsonText, UpcastError> {
                let older: First = payload.decode()?;
                Ok(JsonText::of(&Self { first: older.name })?)
            }

            fn payload_schema() -> Option<Value> {
                Some(object("first"))
            }

            fn older_schema(_: u32) -> Value {
                object("name")
            }

            fn output_schema() -> Option<Value> {
                Some(json!({"type": "string"}))
            }
        }
    };
}

async fn stored(client: &Client, name: &str) -> Result<Kind, Error> {
    Ok(client.list_kinds().await?.into_iter().find(|kind| kind.name == name).expect("it is not there"))
}

fn text(text: Option<&JsonText>) -> Value {
    text.map_or(Value::Null, |text| text.decode().expect("it is JSON"))
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_declared_kind_is_known_to_the_server_and_a_second_sync_changes_nothing() -> Done {
    kinds!("rust-synced");
    let client = client()?;
    let synced = client.sync_kinds([KindDeclaration::of::<Second>()]).await?;
    assert_eq!((synced.len(), synced[0].changed, synced[0].newer), (1, true, false));
    let kind = stored(&client, "rust-synced").await?;
    assert_eq!(synced[0].kind, kind);
    assert_eq!(text(kind.schema.as_ref()), text(Second::schema().as_ref()));
    assert_eq!(text(kind.output_schema.as_ref()), json!({"type": "string"}));
    assert_eq!((kind.version, kind.timeout, kind.max_attempts), (2, Some(Duration::from_secs(60)), None));
    let again = client.sync_kinds([KindDeclaration::of::<Second>()]).await?;
    assert_eq!((again[0].changed, again[0].newer, &again[0].kind), (false, false, &kind));
    let refused = client.enqueue(NewJob::new("rust-synced").payload(json!({"first": 7}))).await.unwrap_err();
    assert!(refused.is(ErrorKind::PayloadInvalid));
    let older = client.sync_kinds([KindDeclaration::of::<First>()]).await?;
    assert_eq!((older[0].changed, older[0].newer, &older[0].kind), (false, true, &kind));
    assert_eq!(NewJob::of(&First { name: "Ada".into() })?.max_attempts, Some(4));
    client.enqueue(NewJob::of(&First { name: "Ada".into() })?).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn what_a_declaration_does_not_name_stays_as_an_operator_set_it() -> Done {
    kinds!("rust-operated");
    let client = client()?;
    let policy = RetryPolicy { min_backoff: Some(Duration::from_secs(3)), max_backoff: Some(Duration::from_secs(4)) };
    let set = client
        .put_kind(Kind {
            retry_policy: Some(policy),
            max_attempts: Some(9),
            limits: Some(Limits { max_running: Some(20), rate: None }),
            slot_weight: Some(2),
            annotations: HashMap::from([("owner".into(), "post".into())]),
            ..Kind::new("rust-operated")
        })
        .await?;
    let synced = client.sync_kinds([KindDeclaration::of::<Second>()]).await?;
    let kind = &synced[0].kind;
    assert_eq!((kind.retry_policy, kind.max_attempts, kind.slot_weight), (Some(policy), Some(9), Some(2)));
    assert_eq!((kind.limits, &kind.annotations), (set.limits, &set.annotations));
    assert_eq!((kind.timeout, kind.version), (Some(Duration::from_secs(60)), 2));
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_declaration_says_how_many_slots_a_job_takes() -> Done {
    #[derive(Serialize, Deserialize)]
    struct Render;

    impl JobKind for Render {
        const NAME: &'static str = "rust-render";
        const SLOT_WEIGHT: Option<u32> = Some(4);
        type Output = ();
    }

    let client = client()?;
    client.sync_kinds([KindDeclaration::of::<Render>()]).await?;
    assert_eq!(stored(&client, "rust-render").await?.slot_weight, Some(4));
    let again = client.sync_kinds([KindDeclaration::of::<Render>()]).await?;
    assert!(!again[0].changed);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_worker_declares_its_kinds_before_it_takes_jobs_if_it_is_told_to() -> Done {
    kinds!("rust-declared");
    async fn first(mail: First, _: LeasedJob) -> HandlerResult {
        assert_eq!(mail.name, "Ada");
        Ok(())
    }
    async fn second(mail: Second, _: LeasedJob) -> HandlerResult<String> {
        Ok(mail.first)
    }
    let client = client()?;
    client.put_kind(Kind::new("rust-declared")).await?;
    let queue = crate::own();
    let job = || NewJob::new("rust-declared").queue(&queue).payload(json!({"name": "Ada"}));
    let silent = Worker::builder(server()).queue(&queue).handle_kind(first).build()?;
    let enqueued = client.enqueue(job()).await?;
    beside(silent, client.wait(&enqueued.id, WITHIN)).await?;
    assert_eq!(stored(&client, "rust-declared").await?.version, 0);
    let telling = Worker::builder(server()).queue(&queue).handle_kind(second).sync_kinds(true).build()?;
    let enqueued = client.enqueue(job()).await?;
    let done = beside(telling, client.wait(&enqueued.id, WITHIN)).await?;
    assert_eq!(Second::output_of(&done)?, "Ada");
    assert_eq!(stored(&client, "rust-declared").await?.version, 2);
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_worker_that_waits_for_a_server_to_declare_its_kinds_can_be_stopped() -> Done {
    kinds!("rust-waiting");
    async fn second(mail: Second, _: LeasedJob) -> HandlerResult<String> {
        Ok(mail.first)
    }
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let worker = Worker::builder(&nowhere).handle_kind(second).sync_kinds(true).build()?;
    let end = CancellationToken::new();
    let serving = tokio::spawn({
        let (worker, end) = (worker.clone(), end.clone());
        async move { worker.run(end).await }
    });
    end.cancel();
    timeout(WITHIN, serving).await???;
    assert_eq!(worker.status().state, WorkerState::Ended);
    assert!(First::schema().is_some());
    Ok(())
}
