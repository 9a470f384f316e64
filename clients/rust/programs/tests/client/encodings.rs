//! What is encoded goes from its producer to its worker and back, and a server reads none of it.

use futures_util::TryStreamExt;
use jobqueue::{
    AesGcm, Client, EncodingRule, Encodings, Error, ErrorKind, Filter, HandlerResult, JobKind, JsonText, Kind,
    KindDeclaration, LeasedJob, NewJob, NewSchedule, ScheduleChange, ScheduleFilter, ScheduleSpec, Status, WatchFilter,
    Worker, Zstd, new_idempotency_key,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Done, WITHIN, beside, client, echoes, of_queue, own, server, told};

fn encodings(name: &str) -> Result<Encodings, Error> {
    Encodings::builder().add(Zstd::new().over(200)).add(AesGcm::new([(name, [7; 32])], name)?).build()
}

fn encoding() -> Result<Client, Error> {
    Client::builder(server()).encodings(encodings("a")?).build()
}

fn envelope(text: Option<&JsonText>) -> Value {
    let value: Value = serde_json::from_slice(text.expect("it has none").as_bytes()).expect("it is no JSON");
    assert_eq!(value["$jobqueue.encoded"], 1);
    value
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_payload_is_read_by_every_call_and_only_where_its_key_is() -> Done {
    let (plain, encoding, queue) = (client()?, encoding()?, own());
    plain.put_kind(Kind::new("rust-encoded")).await?;
    let payload = Some(JsonText::new(r#"{ "text": 12345678901234567890 }"#));
    let new = NewJob::new("rust-encoded").queue(&queue).payload(payload.clone().expect("it is above"));
    let made = encoding.enqueue(new).await?;
    assert_eq!(made.payload, payload);
    assert_eq!(encoding.get(&made.id).await?.payload, payload);
    let listed: Vec<_> = encoding.list(Filter { full: true, ..of_queue(&queue) }).try_collect().await?;
    assert_eq!(listed[0].payload, payload);
    let mut watch = encoding.watch(WatchFilter { ids: vec![made.id.clone()], full: true, ..WatchFilter::default() });
    watch.begin().await?;
    assert_eq!(told(&mut watch).await?.payload, payload);
    assert_eq!(encoding.cancel(&made.id).await?.job.payload, payload);
    assert_eq!(encoding.wait(&made.id, WITHIN).await?.payload, payload);
    assert_eq!(encoding.retry(&made.id).await?.payload, payload);
    let stored = plain.get(&made.id).await?;
    assert_eq!(envelope(stored.payload.as_ref())["key_id"], "a");
    assert!(stored.payload.ok_or("none")?.decode::<Value>().unwrap_err().to_string().contains("key a"));
    let other = Client::builder(server()).encodings(encodings("b")?).build()?;
    let why = other.get(&made.id).await?.payload.ok_or("none")?.encoded().ok_or("it is decoded")?.why;
    assert!(why.starts_with("KeyUnknown"), "{why}");
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn an_encoded_job_goes_from_its_producer_to_its_worker_and_back() -> Done {
    let (plain, encoding, queue) = (client()?, encoding()?, own());
    plain.put_kind(Kind::new("rust-encoded")).await?;
    let worker = Worker::builder(server()).queue(&queue).handle("rust-encoded", echoes).encodings(encodings("a")?);
    let long = json!({"text": "to be or not to be ".repeat(200)});
    let new = |kind: &str| NewJob::new(kind).queue(&queue).payload(long.clone());
    plain.put_kind(Kind::new("rust-other")).await?;
    let elsewhere = plain.get(&encoding.enqueue(new("rust-other")).await?.id).await?.payload.ok_or("none")?;
    let moved = plain.enqueue(NewJob::new("rust-encoded").queue(&queue).payload(elsewhere.clone())).await?;
    let was_there = plain.enqueue(new("rust-encoded")).await?;
    let done = Box::pin(beside(worker.build()?, async {
        let job = encoding.enqueue(new("rust-encoded")).await?;
        assert_eq!(encoding.wait(&was_there.id, WITHIN).await?.status, Status::Succeeded);
        let moved = plain.wait(&moved.id, WITHIN).await?;
        assert_eq!((moved.status, &moved.payload), (Status::FailedPermanent, &Some(elsewhere)));
        assert_eq!(moved.failed_attempts[0].error_type, "PayloadUnreadable");
        encoding.wait(&job.id, WITHIN).await
    }))
    .await?;
    assert_eq!(done.output.ok_or("none")?.decode::<Value>()?, long);
    let stored = plain.get(&done.id).await?;
    assert_eq!(envelope(stored.payload.as_ref())["encodings"], json!(["zstd", "aes256gcm"]));
    envelope(stored.output.as_ref());
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn the_same_keyed_call_of_two_clients_is_one_job_and_another_payload_is_refused() -> Done {
    let (plain, queue, key) = (client()?, own(), new_idempotency_key());
    plain.put_kind(Kind::new("rust-encoded")).await?;
    let new = |text: &str| {
        let payload = json!({"text": text.repeat(500)});
        NewJob::new("rust-encoded").queue(&queue).payload(payload).idempotency_key(&key)
    };
    let first = encoding()?.enqueue(new("x")).await?;
    let second = encoding()?.enqueue(new("x")).await?;
    assert_eq!((&second.id, second.replayed, &second.payload), (&first.id, true, &first.payload));
    let third = &encoding()?.enqueue_many([new("x")]).await?[0];
    assert_eq!((&third.id, third.replayed), (&first.id, true));
    assert!(encoding()?.enqueue(new("y")).await.unwrap_err().is(ErrorKind::IdempotencyKeyReused));
    assert_eq!(envelope(plain.get(&first.id).await?.payload.as_ref())["encodings"], json!(["aes256gcm"]));
    Ok(())
}

/// A payload that takes encryption.
#[derive(Serialize, Deserialize)]
struct Sealed {
    text: String,
}

impl JobKind for Sealed {
    const NAME: &'static str = "rust-sealed";
    const ENCODINGS: EncodingRule = EncodingRule::Required;
    type Output = String;
}

async fn reads(payload: Sealed, _: LeasedJob) -> HandlerResult<String> {
    Ok(payload.text)
}

/// One that may be encoded.
#[derive(Serialize, Deserialize)]
struct Told {
    text: String,
}

impl JobKind for Told {
    const NAME: &'static str = "rust-told";
    type Output = ();

    fn payload_schema() -> Option<Value> {
        Some(json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}))
    }
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_server_takes_what_the_kind_says() -> Done {
    let (plain, encoding, queue) = (client()?, encoding()?, own());
    encoding.sync_kinds([KindDeclaration::of::<Sealed>()]).await?;
    let new = |kind: &str| NewJob::new(kind).queue(&queue).payload(json!({"text": "x"}));
    assert!(plain.enqueue(new("rust-sealed")).await.unwrap_err().is(ErrorKind::PayloadInvalid));
    let worker = Worker::builder(server()).queue(&queue).handle_kind(reads).encodings(encodings("a")?);
    let done = Box::pin(beside(worker.build()?, async {
        let job = encoding.enqueue(NewJob::of(&Sealed { text: "x".into() })?.queue(&queue)).await?;
        encoding.wait(&job.id, WITHIN).await
    }))
    .await?;
    assert_eq!(Sealed::output_of(&done)?, "x");
    assert!(Sealed::output_of(&plain.get(&done.id).await?).unwrap_err().is(ErrorKind::Encoded));

    plain.sync_kinds([KindDeclaration::of::<Told>()]).await?;
    assert!(encoding.enqueue(new("rust-told")).await.unwrap_err().is(ErrorKind::PayloadInvalid));
    assert!(encoding.sync_kinds([KindDeclaration::of::<Told>()]).await?[0].changed);
    assert!(!encoding.sync_kinds([KindDeclaration::of::<Told>()]).await?[0].changed);
    encoding.enqueue(new("rust-told")).await?;
    plain.enqueue(new("rust-told")).await?;
    assert!(
        plain.enqueue(new("rust-told").payload(json!({"text": 7}))).await.unwrap_err().is(ErrorKind::PayloadInvalid)
    );
    Ok(())
}

#[tokio::test]
#[ignore = "wants a server"]
async fn a_schedule_is_encoded_and_applied_again_it_does_not_change() -> Done {
    let (plain, encoding, name) = (client()?, encoding()?, own());
    plain.put_kind(Kind::new("rust-encoded")).await?;
    let (plain, schedules) = (plain.schedules(), encoding.schedules());
    let text = Some(JsonText::new(json!({"text": "to be or not to be ".repeat(200)}).to_string()));
    let job = NewJob::new("rust-encoded").queue(&name).payload(text.clone().ok_or("none")?);
    let new = NewSchedule::new(&name, ScheduleSpec::cron("0 0 1 1 *"), job);
    let made = schedules.create(new).await?;
    let stored = plain.get(&name).await?;
    assert_eq!(envelope(stored.job.payload.as_ref())["encodings"], json!(["aes256gcm"]));
    let again = || ScheduleChange { job: Some(made.job.clone()), ..ScheduleChange::default() };
    let same = schedules.update(&name, again()).await?;
    assert_eq!(plain.get(&name).await?.job.payload, stored.job.payload);
    let (paused, read) = (schedules.pause(&name, "").await?, schedules.get(&name).await?);
    for each in [&made, &same, &paused, &read, &schedules.resume(&name).await?] {
        assert_eq!(each.job.payload, text);
    }
    let worker = Worker::builder(server()).queue(&name).handle("rust-encoded", echoes).encodings(encodings("a")?);
    let done = Box::pin(beside(worker.build()?, async {
        let run = schedules.run(&name).await?;
        encoding.wait(&run.job_id, WITHIN).await
    }))
    .await?;
    assert_eq!((done.status, done.output), (Status::Succeeded, text));

    let stranger = Client::builder(server()).encodings(encodings("b")?).build()?.schedules();
    let unread = stranger.get(&name).await?.job;
    let why = unread.payload.as_ref().and_then(JsonText::encoded).ok_or("it is decoded")?.why;
    assert!(why.starts_with("KeyUnknown"), "{why}");
    assert!(stored.job.payload.as_ref().and_then(JsonText::encoded).is_some());
    for job in [unread, stored.job.clone()] {
        let change = ScheduleChange { job: Some(job), ..ScheduleChange::default() };
        for each in [&stranger, &schedules] {
            assert!(each.update(&name, change.clone()).await.unwrap_err().is(ErrorKind::Encoded));
        }
    }
    let mut listed = schedules.list(ScheduleFilter { queue: name.clone(), ..ScheduleFilter::default() });
    let listed = listed.try_next().await?.ok_or("it is not listed")?.job;
    let change = ScheduleChange { job: Some(listed), ..ScheduleChange::default() };
    assert!(schedules.update(&name, change).await.unwrap_err().is(ErrorKind::InvalidRequest));
    assert_eq!(plain.get(&name).await?.job.payload, stored.job.payload);
    schedules.delete(&name, "").await?;
    Ok(())
}
