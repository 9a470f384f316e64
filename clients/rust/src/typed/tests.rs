//! What a typed kind promises its producers, its readers and its worker.

use serde::Deserialize;

use super::*;
use crate::convert::status_message;
use crate::job::job_of;
use crate::outcomes::Ending;
use crate::v1;
use crate::worker::Worker;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Item {
    name: String,
    #[serde(default)]
    count: u128,
}

/// Of version 3: the first one had the name alone, the second called the items things.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Order {
    items: Vec<Item>,
    #[serde(default)]
    weight: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct OrderV2 {
    things: Vec<Item>,
}

impl JobKind for Order {
    const NAME: &'static str = "order";
    type Output = Option<Item>;
    const VERSION: u32 = 3;
    const ALIASES: &'static [&'static str] = &["purchase"];

    fn upcast(from: u32, payload: JsonText) -> Result<JsonText, UpcastError> {
        match from {
            1 => {
                let name = payload.decode::<String>()?;
                Ok(JsonText::of(&OrderV2 { things: vec![Item { name, count: 1 }] })?)
            }
            2 => Ok(JsonText::of(&Order { items: payload.decode::<OrderV2>()?.things, weight: None })?),
            _ => Err(UpcastError::none()),
        }
    }

    fn settings(&self, job: NewJob) -> NewJob {
        job.queue("orders").max_attempts(7).key(&self.items[0].name).header("team", "a")
    }

    #[cfg(feature = "schema")]
    fn payload_schema() -> Option<Value> {
        Some(schema_of::<Self>())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Ping;

impl JobKind for Ping {
    const NAME: &'static str = "ping";
    type Output = ();
    const VERSION: u32 = 3;
    const OLDEST: u32 = 2;

    fn payload_schema() -> Option<Value> {
        Some(json!({"type": "null"}))
    }

    fn older_schema(version: u32) -> Value {
        json!({"const": version})
    }
}

const LONG: u128 = 271_828_182_845_904_523_536_028_747_135;

fn order() -> Order {
    Order { items: vec![Item { name: "tea".into(), count: LONG }], weight: Some(1.5) }
}

fn read_job(status: Status, kind: &str, payload: &str, version: &str) -> Job {
    let headers = if version.is_empty() { HashMap::new() } else { [(VERSION_HEADER.into(), version.into())].into() };
    job_of(v1::Job {
        id: "7".into(),
        kind: kind.into(),
        status: status_message(status).into(),
        content: Some(v1::job::Content::PayloadJson(payload.to_owned().into())),
        headers,
        ..v1::Job::default()
    })
}

fn refused<T>(read: Result<T, Error>) -> (ErrorKind, String) {
    let error = read.err().expect("it is read");
    (error.kind(), error.message().to_owned())
}

#[test]
fn a_job_of_a_kind_has_what_the_kind_says_and_what_is_said_later_wins() {
    let job = NewJob::of(&order()).unwrap().max_attempts(2).header("by", "me");
    assert_eq!((job.kind.as_str(), job.queue.as_str(), job.key.as_str()), ("order", "orders", "tea"));
    assert_eq!(job.max_attempts, Some(2));
    let headers = [("team", "a"), ("by", "me"), (VERSION_HEADER, "3")];
    assert_eq!(job.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let text = format!(r#"{{"items":[{{"name":"tea","count":{LONG}}}],"weight":1.5}}"#);
    assert_eq!(job.payload, Some(JsonText::new(text)));
}

#[test]
fn a_payload_that_its_own_type_does_not_read_is_refused_where_it_is_made() {
    #[derive(Serialize, Deserialize)]
    struct Sizes(HashMap<String, f64>);
    impl JobKind for Sizes {
        const NAME: &'static str = "sizes";
        type Output = ();
    }
    #[derive(Serialize, Deserialize)]
    struct Keyed(std::collections::BTreeMap<(u8, u8), u8>);
    impl JobKind for Keyed {
        const NAME: &'static str = "keyed";
        type Output = ();
    }
    let error = NewJob::of(&Sizes([("a".to_owned(), f64::NAN)].into())).unwrap_err();
    assert!(error.is(ErrorKind::PayloadInvalid) && error.is(ErrorKind::InvalidRequest));
    assert_eq!(error.to_string(), "PAYLOAD_INVALID: payload.a: must be a number");
    assert_eq!(error.violations()[0].field, "payload.a");
    let error = NewJob::of(&Keyed([((1, 2), 3)].into())).unwrap_err();
    assert_eq!(error.message(), "payload: must be what JSON has a form for");
    assert_eq!(NewJob::of(&Sizes(HashMap::new())).unwrap().headers, HashMap::new());
}

#[test]
fn a_payload_is_read_from_every_version_that_is_known_with_all_its_digits() {
    let now = format!(r#"{{"items":[{{"name":"tea","count":{LONG}}}],"weight":1.5,"later":[{{}}]}}"#);
    assert_eq!(Order::payload_of(&read_job(Status::Queued, "order", &now, "3")).unwrap(), order());
    let before = format!(r#"{{"things":[{{"name":"tea","count":{LONG}}}]}}"#);
    let found = Order::payload_of(&read_job(Status::Running, "purchase", &before, "2")).unwrap();
    assert_eq!(found, Order { weight: None, ..order() });
    let first = Order::payload_of(&read_job(Status::Running, "order", r#""tea""#, "")).unwrap();
    assert_eq!(first.items, [Item { name: "tea".into(), count: 1 }]);
}

#[test]
fn a_payload_that_is_not_what_its_version_says_is_refused_without_its_value() {
    use ErrorKind::{InvalidRequest, PayloadTooNew, PayloadUnreadable};
    let of =
        |payload: &str, version: &str| refused(Order::payload_of(&read_job(Status::Queued, "order", payload, version)));
    assert_eq!(
        of(r#"{"items":[{"name":271828}]}"#, "3"),
        (PayloadUnreadable, "payload.items[0].name: must be a string".to_owned())
    );
    let wrong = "the payload has version 2, and its upcaster from 2 on failed with serde_json::error::Error";
    assert_eq!(of(r#"{"things":271828}"#, "2"), (PayloadUnreadable, wrong.to_owned()));
    for version in ["0", "-1", "+3", "three", "12345678901", " 3"] {
        let words = "headers.x-payload-version: must be the number of a version, from 1";
        assert_eq!(of("{}", version), (PayloadUnreadable, words.to_owned()));
    }
    let newer = "the payload has version 4; this program knows 3";
    assert_eq!(of("{}", "4"), (PayloadTooNew, newer.to_owned()));
    let other = refused(Order::payload_of(&read_job(Status::Queued, "orders", "{}", "3")));
    assert_eq!(other, (InvalidRequest, "job: the job 7 is of the kind orders, not order".to_owned()));
    let unread = Job { payload: None, ..read_job(Status::Queued, "order", "{}", "3") };
    let words = "job: the job 7 was read without its payload: use get, or the filter's full";
    assert_eq!(refused(Order::payload_of(&unread)), (InvalidRequest, words.to_owned()));
    for (version, from) in [("1", 1), ("2", 2)] {
        let none = format!("the payload has version {version}, and the kind has no upcaster from {from} on");
        let found = refused(Ping::payload_of(&read_job(Status::Queued, "ping", "null", version)));
        assert_eq!(found, (PayloadUnreadable, none));
    }
}

#[test]
fn an_output_is_read_of_a_job_that_succeeded_and_of_no_other() {
    let with = |kind: &str, text: &str| Job {
        output: Some(JsonText::new(text.to_owned())),
        ..read_job(Status::Succeeded, kind, "null", "")
    };
    let found = Order::output_of(&with("purchase", &format!(r#"{{"name":"tea","count":{LONG}}}"#)));
    assert_eq!(found.unwrap(), Some(Item { name: "tea".into(), count: LONG }));
    assert_eq!(Order::output_of(&with("order", "null")).unwrap(), None);
    Ping::output_of(&read_job(Status::Succeeded, "ping", "null", "")).unwrap();
    let wrong = (ErrorKind::PayloadUnreadable, "output.name: must be a string".to_owned());
    assert_eq!(refused(Order::output_of(&with("order", r#"{"name":7}"#))), wrong);
    let unread = refused(Order::output_of(&read_job(Status::Succeeded, "order", "null", "")));
    assert_eq!(unread.0, ErrorKind::InvalidRequest);
    let mut failed = read_job(Status::FailedPermanent, "order", "null", "");
    (failed.reason, failed.last_error) = ("NOT_RETRYABLE".into(), "no tea".into());
    let error = Order::output_of(&failed).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobNotSucceeded);
    assert_eq!(error.message(), "the job 7 is FAILED_PERMANENT (NOT_RETRYABLE: no tea)");
    assert_eq!((error.metadata()["job_id"].as_str(), error.metadata()["status"].as_str()), ("7", "FAILED_PERMANENT"));
}

fn leased(payload: &str, version: &str, attempt: i32, failures: i32) -> LeasedJob {
    let message = v1::LeasedJob {
        kind: "order".into(),
        attempt,
        failures,
        headers: [(VERSION_HEADER.into(), version.into())].into(),
        content: Some(v1::leased_job::Content::PayloadJson(payload.to_owned().into())),
        ..v1::LeasedJob::default()
    };
    LeasedJob::new(message, Box::new(|_| {}))
}

#[test]
fn a_payload_that_is_too_new_waits_twenty_times_and_then_fails() {
    let waits = |attempt, failures| match payload_in::<Order>(&leased("{}", "4", attempt, failures)).unwrap_err().0 {
        Ending::Snoozed(wait) => wait.as_secs_f64() / 15.0,
        other => panic!("{other:?}"),
    };
    for (attempt, failures, most) in [(1, 0, 1.0), (3, 1, 2.0), (8, 0, 8.0), (20, 0, 8.0), (22, 2, 8.0)] {
        let spread: Vec<f64> = (0..50).map(|_| waits(attempt, failures)).collect();
        assert!(spread.iter().all(|wait| (0.75 * most..=1.25 * most).contains(wait)), "{spread:?}");
        assert!(spread.windows(2).any(|pair| (pair[0] - pair[1]).abs() > f64::EPSILON));
    }
    match payload_in::<Order>(&leased("{}", "4", 21, 0)).unwrap_err().0 {
        Ending::Failed(failed) => {
            assert_eq!((failed.error_type, failed.permanent), ("PayloadTooNew", false));
            assert_eq!(failed.error.to_string(), "the payload has version 4; this program knows 3");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_payload_that_can_not_be_read_ends_its_job() {
    match payload_in::<Order>(&leased(r#"{"items":7}"#, "3", 1, 0)).unwrap_err().0 {
        Ending::Failed(failed) => {
            assert_eq!((failed.error_type, failed.permanent), ("PayloadUnreadable", true));
            assert_eq!(failed.error.to_string(), "payload.items: must be an array");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_output_that_its_own_type_does_not_read_is_a_failure() {
    #[derive(Serialize, Deserialize)]
    struct Weigh;
    impl JobKind for Weigh {
        const NAME: &'static str = "weigh";
        type Output = f64;
    }
    assert_eq!(output_text::<Weigh>(&1.5).unwrap(), Some(JsonText::new("1.5")));
    assert_eq!(output_text::<Ping>(&()).unwrap(), None);
    let error = output_text::<Weigh>(&f64::INFINITY).unwrap_err();
    assert_eq!(error.to_string(), "the handler of weigh returned what it may not: output: must be a number");
}

async fn takes(_: Order, _: LeasedJob) -> Result<Option<Item>, HandlerError> {
    Ok(None)
}

#[test]
fn a_typed_handler_is_that_of_the_older_names_too_and_no_other_may_be() {
    let worker = Worker::builder("127.0.0.1:1").handle_kind(takes).build().unwrap();
    assert_eq!(worker.status().kinds, ["order", "purchase"]);
    let twice = Worker::builder("127.0.0.1:1").handle_kind(takes).handle("purchase", async |_| Ok(())).build();
    assert!(twice.unwrap_err().to_string().contains("kind \"purchase\" has a handler already"));
}

#[test]
fn a_schema_takes_every_version_that_can_be_read() {
    let schema: Value = Ping::schema().unwrap().decode().unwrap();
    let wanted = json!({
        "anyOf": [{"type": "null", "x-payload-version": 3}, {"const": 2, "x-payload-version": 2}],
        "$defs": {},
    });
    assert_eq!(schema, wanted);
    assert_eq!(Kind::of::<Ping>(), Kind { schema: Ping::schema(), ..Kind::new("ping") });
}

#[cfg(feature = "schema")]
#[test]
fn a_schema_of_a_type_says_what_serde_reads() {
    let schema: Value = Order::schema().unwrap().decode().unwrap();
    let current = &schema["anyOf"][0];
    assert_eq!(current["required"], json!(["items"]));
    assert_eq!(current["properties"]["items"]["items"], json!({"$ref": "#/$defs/Item.0"}));
    assert_eq!(schema["$defs"]["Item.0"]["required"], json!(["name"]));
    assert_eq!(schema["anyOf"][1], json!({"type": "object", "x-payload-version": 2}));
    assert_eq!(schema["anyOf"].as_array().unwrap().len(), 3);
    assert!(!schema.to_string().contains("additionalProperties") && !schema.to_string().contains("$schema"));
    assert_eq!(schema_of::<u8>()["maximum"], json!(255));
}
