//! What encodings promise: by the vectors of all languages, and by the code that clients and workers run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::client::Client;
use crate::encoded::envelope_in;
use crate::enqueue::Enqueue;
use crate::errors::ErrorKind;
use crate::job::{Job, NewJob, new_job_message};
use crate::jobs::{EncodingRule, Status};
use crate::json::JsonText;
use crate::outcomes::{HandlerResult, Stop, retry};
use crate::schedules::{changed_template_message, schedule_of, template_message};
use crate::testing::{Outcome, Performed, RecordingClient, TestJob, perform};
use crate::typed::{JobKind, KindDeclaration};
use crate::unique::Unique;
use crate::v1;
use crate::worker::{LeasedJob, Worker, attempt};

const KEY: [u8; 32] = [7; 32];
const NEXT: [u8; 32] = [8; 32];
const SECRET: &str = "the eagle has landed";

fn cipher() -> AesGcm {
    AesGcm::new([("a", KEY)], "a").unwrap()
}

fn encrypts() -> Encodings {
    Encodings::builder().add(cipher()).build().unwrap()
}

fn packs(over: usize) -> Encodings {
    Encodings::builder().add(Zstd::new().over(over)).build().unwrap()
}

fn both() -> Encodings {
    Encodings::builder().add(Zstd::new()).add(cipher()).build().unwrap()
}

/// With another key.
fn elsewhere() -> Encodings {
    Encodings::builder().add(AesGcm::new([("b", NEXT)], "b").unwrap()).build().unwrap()
}

fn long() -> Bytes {
    format!("\"{}\"", "to be or not to be ".repeat(200)).into()
}

async fn sealed(encodings: &Encodings, text: impl Into<Bytes>, keyed: Option<&str>) -> Result<Bytes, Error> {
    encodings.sealer().await?.sealed(text.into(), Place::payload("mail"), keyed)
}

async fn opened(encodings: &Encodings, text: &Bytes) -> Result<Bytes, Error> {
    encodings.opened(text.clone(), Place::payload("mail"), false).await
}

fn members(text: &[u8]) -> Value {
    assert!(envelope_in(text).is_some(), "{}", String::from_utf8_lossy(text));
    serde_json::from_slice(text).unwrap()
}

#[derive(Deserialize)]
struct Vectors {
    keys: std::collections::HashMap<String, String>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    purpose: String,
    kind: String,
    job_id: String,
    key_id: String,
    idempotency_key: Option<String>,
    content: String,
    envelope: String,
    write: bool,
    required: bool,
    error: Option<String>,
}

impl Row {
    fn place(&self) -> Place<'_> {
        match &*self.purpose {
            "payload" => Place { job_id: &self.job_id, ..Place::payload(&self.kind) },
            "output" => Place::output(&self.kind, &self.job_id),
            "checkpoint" => Place::checkpoint(&self.kind, &self.job_id),
            other => panic!("{other}"),
        }
    }

    fn content(&self) -> Bytes {
        URL_SAFE_NO_PAD.decode(&self.content).unwrap().into()
    }
}

fn vectors() -> Vectors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/encodings.json");
    let found: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(found.rows.len() >= 40);
    found
}

impl Vectors {
    fn encodings(&self, primary: &str) -> Encodings {
        let key = |hex: &String| -> [u8; 32] {
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..32).map(|number| byte(2 * number)).collect::<Vec<_>>().try_into().unwrap()
        };
        let keys = self.keys.iter().map(|(name, hex)| (name, key(hex)));
        Encodings::builder().add(Zstd::new()).add(AesGcm::new(keys, primary).unwrap()).build().unwrap()
    }
}

#[tokio::test]
async fn an_envelope_of_the_vectors_is_read_as_its_row_says() {
    let vectors = vectors();
    let encodings = vectors.encodings("2026-10");
    for row in &vectors.rows {
        let text = Bytes::from(row.envelope.clone());
        match (encodings.opened(text, row.place(), row.required).await, &row.error) {
            (Ok(found), None) => assert_eq!(found, row.content(), "{}", row.name),
            (Err(error), Some(wanted)) => assert_eq!(&format!("{:?}", error.kind()), wanted, "{}", row.name),
            (found, wanted) => panic!("{}: {found:?}, and not {wanted:?}", row.name),
        }
    }
}

#[tokio::test]
async fn an_envelope_of_the_vectors_is_written_byte_for_byte() {
    let vectors = vectors();
    let rows: Vec<&Row> = vectors.rows.iter().filter(|row| row.write).collect();
    assert!(rows.len() >= 8);
    for row in rows {
        let sealer = vectors.encodings(&row.key_id).sealer().await.unwrap();
        let made = sealer.sealed(row.content(), row.place(), row.idempotency_key.as_deref()).unwrap();
        assert_eq!(made, row.envelope.as_bytes(), "{}", row.name);
    }
}

#[tokio::test]
async fn what_a_row_of_the_vectors_holds_is_written_and_read_again() {
    let vectors = vectors();
    let encodings = vectors.encodings("2026-10");
    let sealer = encodings.sealer().await.unwrap();
    for row in vectors.rows.iter().filter(|row| row.error.is_none()) {
        let content = row.content();
        let made = sealer.sealed(content.clone(), row.place(), None).unwrap();
        let names = if content.len() > 2048 { json!(["zstd", "aes256gcm"]) } else { json!(["aes256gcm"]) };
        assert_eq!(members(&made)["encodings"], names, "{}", row.name);
        assert_eq!(encodings.opened(made, row.place(), false).await.unwrap(), content, "{}", row.name);
    }
}

#[tokio::test]
async fn two_calls_without_an_idempotency_key_have_other_bytes_and_with_one_the_same() {
    let encodings = both();
    assert_ne!(sealed(&encodings, "{}", None).await.unwrap(), sealed(&encodings, "{}", None).await.unwrap());
    assert_eq!(sealed(&encodings, "{}", Some("k")).await.unwrap(), sealed(&encodings, "{}", Some("k")).await.unwrap());
}

#[tokio::test]
async fn a_keyed_job_is_compressed_where_that_is_asked_for_and_its_nonce_is_of_the_compressed_bytes() {
    let of = |level| {
        let list = Encodings::builder().add(Zstd::new().level(level)).add(cipher());
        list.keyed_compression(true).build().unwrap()
    };
    let (first, second) =
        (sealed(&of(3), long(), Some("k")).await.unwrap(), sealed(&of(19), long(), Some("k")).await.unwrap());
    let plain = sealed(&both(), long(), Some("k")).await.unwrap();
    assert!(first.len() < long().len() / 10 && plain.len() > long().len());
    assert_ne!(first, second);
    // The same text, compressed in another way: with one nonce for both, their difference would be readable.
    let nonce = |text: &Bytes| members(text)["data"].as_str().unwrap()[..16].to_owned();
    assert_ne!(nonce(&first), nonce(&second));
    for text in [first, second] {
        assert_eq!(opened(&both(), &text).await.unwrap(), long());
    }
}

#[tokio::test]
async fn what_is_short_or_does_not_shrink_is_not_compressed() {
    let encodings = packs(10);
    let noise: Bytes = format!("\"{}\"", ('#'..'\\').collect::<String>()).into();
    for text in [Bytes::from("\"short\""), noise] {
        assert_eq!(sealed(&encodings, text.clone(), None).await.unwrap(), text);
    }
    members(&sealed(&encodings, long(), None).await.unwrap());
}

#[tokio::test]
async fn what_is_no_json_is_neither_encoded_nor_decoded_but_for_a_checkpoint() {
    for wrong in [&b"{"[..], b"", b"1 2", b"NaN", b"\"\xff\""] {
        let error = sealed(&both(), wrong, None).await.unwrap_err();
        assert!(error.is(ErrorKind::InvalidRequest) && error.message() == "payload: is no JSON", "{error}");
        let place = Place::payload("mail");
        let authenticated = place.authenticated(&["aes256gcm"], "a");
        let made = cipher().encode(wrong, &KEY, &authenticated, None).unwrap().unwrap();
        let text = Bytes::from(envelope::written(&["aes256gcm"], "a", &made, "application/json"));
        let error = opened(&both(), &text).await.unwrap_err();
        assert!(error.is(ErrorKind::Undecodable) && error.message() == "what was encoded is no JSON", "{error}");
        let message =
            v1::Job { kind: "mail".into(), content: Some(v1::job::Content::PayloadJson(text)), ..v1::Job::default() };
        let shown = both().read(message).await.payload.unwrap().encoded().unwrap();
        assert_eq!(shown.why, "Undecodable: what was encoded is no JSON");
        let sealer = both().sealer().await.unwrap();
        sealer.sealed(Bytes::from_static(wrong), Place::output("k", "1"), None).unwrap_err();
        let place = Place::checkpoint("k", "1");
        let made = sealer.sealed(Bytes::from_static(wrong), place, None).unwrap();
        assert_eq!(both().opened(made, place, false).await.unwrap(), wrong);
    }
    let halves = Bytes::from_static(br#""\ud800""#);
    assert_eq!(opened(&both(), &sealed(&both(), halves.clone(), None).await.unwrap()).await.unwrap(), halves);
}

#[tokio::test]
async fn an_envelope_of_very_many_names_is_read_at_once() {
    let names: Vec<String> = (0..60_000).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = Bytes::from(envelope::written(&names, "", b"", "application/json"));
    let begun = std::time::Instant::now();
    assert!(opened(&both(), &text).await.unwrap_err().is(ErrorKind::EncodingUnknown));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn more_than_zstd_takes_is_refused_on_both_sides() {
    let small = Encodings::builder().add(Zstd::new().over(10).most(1000)).build().unwrap();
    let error = sealed(&small, long(), None).await.unwrap_err();
    assert!(error.message().contains("more than Zstd takes"), "{error}");
    let error = opened(&small, &sealed(&packs(10), long(), None).await.unwrap()).await.unwrap_err();
    assert!(error.is(ErrorKind::Undecodable) && error.message().contains("at most 1000"), "{error}");
}

#[test]
fn a_frame_has_nothing_behind_it_and_no_less_than_it_says() {
    let frame = ::zstd::bulk::compress(&long(), 3).unwrap();
    let none = ::zstd::bulk::compress(b"", 3).unwrap();
    let decode = |frame: &[u8]| Zstd::new().decode(frame, b"", b"");
    assert_eq!(decode(&frame).unwrap(), long());
    for wrong in [[&*frame, &*none].concat(), [&*frame, &*frame].concat(), frame[..frame.len() - 1].to_vec(), none] {
        assert!(decode(&wrong).is_err());
    }
}

#[tokio::test]
async fn each_envelope_that_a_key_decrypts_is_read_also_where_another_one_is_the_primary() {
    let new = Encodings::builder().add(AesGcm::new([("a", KEY), ("b", NEXT)], "b").unwrap()).build().unwrap();
    let text = sealed(&encrypts(), "1", None).await.unwrap();
    assert_eq!(opened(&new, &text).await.unwrap(), "1");
    let error = opened(&encrypts(), &sealed(&new, "1", None).await.unwrap()).await.unwrap_err();
    assert!(error.is(ErrorKind::KeyUnknown));
    assert_eq!(error.metadata()["key_id"], "b");
}

#[tokio::test]
async fn a_function_is_asked_for_a_key_once_by_all_that_wait_for_it() {
    let (asked, going) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counts, waits) = (asked.clone(), going.clone());
    let ask = move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
        let waits = waits.clone();
        async move {
            waits.notified().await;
            Ok::<_, Error>(Some(KEY))
        }
    };
    let encodings = Encodings::builder().add(AesGcm::asking(ask, "a").unwrap()).build().unwrap();
    let wait = || {
        let encodings = encodings.clone();
        tokio::spawn(async move { sealed(&encodings, "1", None).await })
    };
    let mut waiting: Vec<_> = (0..50).map(|_| wait()).collect();
    while asked.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    // One that waits no longer does not end it for the others.
    let first = waiting.remove(0);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    going.notify_one();
    for each in waiting {
        members(&each.await.unwrap().unwrap());
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

async fn panics(_: String) -> Result<Option<[u8; 32]>, Error> {
    panic!("a function")
}

#[tokio::test]
async fn what_a_function_for_keys_fails_with_is_the_error_and_it_is_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = asked.clone();
    let ask = move |_| {
        let first = counts.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if first { Err("the key service is away") } else { Ok(Some(KEY)) } }
    };
    let encodings = Encodings::builder().add(AesGcm::asking(ask, "a").unwrap()).build().unwrap();
    let error = sealed(&encodings, "1", None).await.unwrap_err();
    assert!(error.message().contains("the key service is away"), "{error}");
    members(&sealed(&encodings, "1", None).await.unwrap());
    let encodings = Encodings::builder().add(AesGcm::asking(panics, "a").unwrap()).build().unwrap();
    for _ in 0..2 {
        assert!(sealed(&encodings, "1", None).await.unwrap_err().message().contains("has failed"));
    }
}

#[tokio::test]
async fn a_function_is_not_asked_for_what_is_no_name() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keeps = asked.clone();
    let ask = move |name: String| {
        let found = (name == "a").then_some(KEY);
        keeps.lock().unwrap().push(name);
        async move { Ok::<_, Error>(found) }
    };
    let keys = super::keys::Keys::asking(ask);
    for name in ["", "a b", "a\n", "\0", "../\\", &"a".repeat(256), "%2e", "a'"] {
        assert!(keys.get(name).await.unwrap_err().is(ErrorKind::KeyUnknown));
    }
    assert!(asked.lock().unwrap().is_empty());
    for name in ["vault:mail/2026-10", &"k".repeat(255)] {
        for _ in 0..2 {
            assert!(keys.get(name).await.unwrap_err().is(ErrorKind::KeyUnknown));
        }
    }
    assert_eq!(keys.get("a").await.unwrap(), &KEY[..]);
    assert_eq!(asked.lock().unwrap().len(), 3);
    assert!(AesGcm::asking(|_| async { Ok::<_, Error>(None) }, "a b").is_err());
}

#[tokio::test]
async fn a_key_is_in_no_words_about_what_holds_it() {
    let shown = format!("{:?} {:?} {:?}", cipher(), both(), Encodings::builder().add(cipher()));
    let client = Client::builder("127.0.0.1:1").encodings(both()).build().unwrap();
    let shown = format!("{shown} {client:?}");
    assert!(shown.contains("aes256gcm") && !shown.contains("7, 7"), "{shown}");
}

/// Can't encode what has a certain text in it, and turns the rest around.
struct Broken;

impl Encoding for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn key_id(&self) -> &'static str {
        "a"
    }

    fn encode(&self, data: &[u8], _: &[u8], _: &[u8], _: Option<&str>) -> Result<Option<Vec<u8>>, Boxed> {
        if data.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()) {
            return Err("no key today".into());
        }
        Ok(Some(data.iter().rev().copied().collect()))
    }

    fn decode(&self, data: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Undecodable> {
        Ok(data.iter().rev().copied().collect())
    }
}

fn broken() -> Encodings {
    Encodings::builder().add(Broken).build().unwrap()
}

/// Encrypts nothing.
struct Forgetful;

impl Encoding for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }

    fn key_id(&self) -> &'static str {
        "a"
    }

    fn encode(&self, _: &[u8], _: &[u8], _: &[u8], _: Option<&str>) -> Result<Option<Vec<u8>>, Boxed> {
        Ok(None)
    }

    fn decode(&self, data: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Undecodable> {
        Ok(data.to_vec())
    }
}

#[tokio::test]
async fn an_encoding_that_should_encrypt_and_leaves_plain_text_is_an_error() {
    let encodings = Encodings::builder().add(Forgetful).build().unwrap();
    let error = sealed(&encodings, "1", None).await.unwrap_err();
    assert!(error.message().contains("unencrypted"), "{error}");
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    let wrong = [
        (Encodings::builder(), "one at least"),
        (Encodings::builder().add(Zstd::new()).add(Zstd::new()), "different"),
        (Encodings::builder().add(cipher()).add(Zstd::new()), "last"),
    ];
    for (list, words) in wrong {
        let error = list.build().unwrap_err();
        assert!(error.is(ErrorKind::InvalidRequest) && error.message().contains(words), "{error}");
    }
    assert!(AesGcm::new([("a", KEY)], "b").unwrap_err().is(ErrorKind::KeyUnknown));
    assert!(AesGcm::new([("", KEY)], "").unwrap_err().is(ErrorKind::InvalidRequest));
}

#[test]
fn no_two_places_are_authenticated_as_the_same() {
    let mut found = HashSet::new();
    let lists: [&[&str]; 3] = [&["a"], &["a", "b"], &["ab"]];
    for purpose in [Purpose::Payload, Purpose::Output] {
        for kind in ["a", "ab", "abc"] {
            for job_id in ["", "b", "bc", "c"] {
                for (key_id, names) in ["", "b", "c"].into_iter().flat_map(|key| lists.map(|names| (key, names))) {
                    found.insert(Place { purpose, kind, job_id }.authenticated(names, key_id));
                }
            }
        }
    }
    assert_eq!(found.len(), 2 * 3 * 4 * 3 * 3);
}

#[tokio::test]
async fn a_job_that_its_payload_makes_unique_is_refused() {
    for unique in [Unique::default(), Unique { payload_fields: vec!["/to".into()], ..Unique::default() }] {
        let error = both().job(NewJob::new("mail").unique(unique)).await.unwrap_err();
        assert_eq!(error.violations()[0].field, "unique.key");
    }
    members(
        both()
            .job(NewJob::new("mail").unique(Unique { key: "a".into(), ..Unique::default() }))
            .await
            .unwrap()
            .payload
            .unwrap()
            .as_bytes(),
    );
}

#[tokio::test]
async fn a_job_says_whether_it_is_encoded() {
    let job = |rule| NewJob::new("mail").payload(json!(1)).encodings(rule);
    let plain = both().job(job(EncodingRule::Never)).await.unwrap();
    assert_eq!(plain.payload.unwrap().as_bytes(), b"1");
    assert!(packs(0).job(job(EncodingRule::Required)).await.unwrap_err().is(ErrorKind::EncodingRequired));
    assert!(new_job_message(job(EncodingRule::Required)).unwrap_err().is(ErrorKind::InvalidRequest));
    for rule in [EncodingRule::Unsaid, EncodingRule::Allowed, EncodingRule::Required] {
        let sealed = new_job_message(both().job(job(rule)).await.unwrap()).unwrap();
        let Some(v1::new_job::Content::PayloadJson(text)) = sealed.content else { panic!() };
        assert_eq!(opened(&both(), &text).await.unwrap(), "1");
    }
}

#[tokio::test]
async fn an_envelope_that_a_producer_gives_is_encoded_as_any_payload_is() {
    let inner = sealed(&packs(10), long(), None).await.unwrap();
    let job = both().job(NewJob::new("mail").payload(JsonText::new(inner.clone()))).await.unwrap();
    assert_eq!(opened(&both(), &job.payload.unwrap().into_bytes()).await.unwrap(), inner);
}

#[tokio::test]
async fn what_was_read_and_not_decoded_is_not_encoded_again() {
    let text = JsonText::read(sealed(&elsewhere(), "1", None).await.unwrap());
    assert!(both().job(NewJob::new("mail").payload(text)).await.unwrap_err().is(ErrorKind::Encoded));
}

#[tokio::test]
async fn the_job_of_a_schedule_has_the_same_bytes_each_time_and_other_bytes_in_another_schedule() {
    let job = || NewJob::new("mail").payload(JsonText::new(long()));
    let (both, other) = (both(), elsewhere());
    let made = template_message(job(), "s", Some(&both)).await.unwrap();
    assert_eq!(changed_template_message(job(), "s", Some(&both)).await.unwrap(), made);
    assert_ne!(template_message(job(), "t", Some(&both)).await.unwrap(), made);
    let Some(v1::new_job::Content::PayloadJson(text)) = &made.content else { panic!() };
    let keyed = sealed(&both, long(), Some("schedule s")).await.unwrap();
    assert_eq!((text, &made.idempotency_key[..]), (&keyed, ""));

    let answer = || v1::Schedule { job: Some(made.clone()), ..v1::Schedule::default() };
    assert_eq!(schedule_of(answer(), Some(&both)).await.job.payload.unwrap().as_bytes(), long());
    for (encodings, why) in [(Some(&other), "KeyUnknown"), (None, "this program has no encodings")] {
        let unread = schedule_of(answer(), encodings).await.job;
        let payload = unread.payload.as_ref().unwrap();
        assert_eq!(payload.as_bytes(), text);
        let encoded = payload.encoded().unwrap();
        assert_eq!(encoded.key_id, "a");
        assert!(encoded.why.starts_with(why), "{}", encoded.why);
        assert!(payload.decode::<Value>().is_err());
        for each in [&both, &other] {
            let error = changed_template_message(unread.clone(), "s", Some(each)).await.unwrap_err();
            assert!(error.is(ErrorKind::Encoded));
        }
    }
}

#[tokio::test]
async fn the_job_of_a_schedule_that_can_not_be_encoded_is_not_sent_in_plain_text() {
    let job = NewJob::new("mail").payload(json!(SECRET));
    let error = template_message(job.clone(), "s", Some(&broken())).await.unwrap_err();
    assert!(error.message().contains("no key today"), "{error}");
    let strict = job.clone().encodings(EncodingRule::Required);
    for encodings in [None, Some(&packs(0))] {
        let error = changed_template_message(strict.clone(), "s", encodings).await.unwrap_err();
        assert!(error.is(ErrorKind::EncodingRequired));
    }
    let open = template_message(job.clone().encodings(EncodingRule::Never), "s", Some(&both())).await.unwrap();
    assert_eq!(open, template_message(job, "s", None).await.unwrap());
    // One that was listed has no payload: a `null` would take the place of that which is there.
    let listed = NewJob::new("mail").encodings(EncodingRule::Required);
    assert_eq!(changed_template_message(listed.clone(), "s", Some(&both())).await.unwrap().content, None);
    assert!(template_message(listed, "s", Some(&both())).await.unwrap().content.is_some());
}

#[tokio::test]
async fn what_looks_like_an_envelope_and_is_not_encoded_is_refused() {
    let stranger = sealed(&packs(10), long(), None).await.unwrap();
    assert!(stranger.len() < 2048);
    let escaped = String::from_utf8(stranger.to_vec()).unwrap().replace('$', r"\u0024");
    let encodings = packs(2048);
    for text in [stranger.clone(), escaped.into(), r#"{"$jobqueue.encoded":2}"#.into()] {
        for key in ["", "k"] {
            let job = NewJob::new("mail").payload(JsonText::new(text.clone())).idempotency_key(key);
            let error = encodings.job(job).await.unwrap_err();
            assert!(error.message().contains("payload: looks like an envelope"), "{error}");
        }
        let sealer = encodings.sealer().await.unwrap();
        let error = sealer.sealed(text, Place::output("mail", "1"), None).unwrap_err();
        assert!(error.message().contains("output: looks like an envelope"), "{error}");
    }
    let sealer = encodings.sealer().await.unwrap();
    let checkpoint = |data: &'static [u8]| sealer.checkpoint(data.into(), "mail", "1");
    assert!(checkpoint(b"{\"$jobqueue.encoded\":1,\xff").is_err());
    assert_eq!(checkpoint(b"\xff").unwrap(), &b"\xff"[..]);
    // One that is encoded comes back as it was given.
    let padded = Bytes::from([&*stranger, &[b' '; 3000]].concat());
    let text = sealed(&encodings, padded.clone(), None).await.unwrap();
    assert_eq!(opened(&encodings, &text).await.unwrap(), padded);
}

#[tokio::test]
async fn an_envelope_is_known_however_its_mark_is_written_and_however_deep_the_rest_is() {
    let text = String::from_utf8(sealed(&encrypts(), "1", None).await.unwrap().to_vec()).unwrap();
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for written in [
        text.clone(),
        text.replace('$', r"\u0024"),
        text.replace("jobqueue", r"\u006Aob\u0071ueue"),
        text.replacen('{', &format!("{{\"deep\":{deep},"), 1),
        text.replacen('{', r#"{"\ud800":1,"#, 1),
    ] {
        assert_eq!(opened(&encrypts(), &written.into()).await.unwrap(), "1");
    }
    for malformed in [
        format!(r#"{{"$jobqueue.encoded":1,"encodings":{deep}}}"#),
        r#"{"$jobqueue.encoded":1,"key_id":"\ud800"}"#.to_owned(),
    ] {
        assert!(opened(&encrypts(), &malformed.into()).await.unwrap_err().is(ErrorKind::Undecodable));
    }
    for other in
        [r#"{"a":"\u0024jobqueue.encoded"}"#, r#""\u0024jobqueue.encoded""#, r#"{"\u0024"#, r#"{"a":"\u00e4"}"#]
    {
        assert!(envelope_in(other.as_bytes()).is_none());
    }
}

#[test]
fn what_was_not_decoded_says_so_and_is_the_error_where_it_is_used() {
    let envelope = r#"{"$jobqueue.encoded":1,"encodings":["zstd","aes256gcm"],"key_id":"2026-10"}"#;
    let words = "encoded, zstd + aes256gcm, key 2026-10: this program has no encodings";
    let read = JsonText::read(envelope.into());
    assert_eq!(read.encoded().unwrap().to_string(), words);
    assert!(read.decode::<Value>().unwrap_err().to_string().contains(words));
    assert_eq!(read, JsonText::new(envelope));
    assert!(JsonText::new(envelope).decode::<Value>().is_ok());
}

#[tokio::test]
async fn a_job_is_read_decoded_and_what_can_not_be_decoded_says_why() {
    let answered = |payload: Bytes, output: Bytes| v1::Job {
        id: "1".into(),
        kind: "mail".into(),
        status: v1::job::Status::Succeeded.into(),
        content: Some(v1::job::Content::PayloadJson(payload)),
        result: Some(v1::job::Result::OutputJson(output)),
        ..v1::Job::default()
    };
    let sealer = both().sealer().await.unwrap();
    let output = |id| sealer.sealed("2".into(), Place::output("mail", id), None).unwrap();
    let payload = sealed(&both(), "1", None).await.unwrap();
    let job = both().read(answered(payload.clone(), output("1"))).await;
    assert_eq!((job.payload, job.output), (Some(JsonText::new("1")), Some(JsonText::new("2"))));
    let job = both().read(answered(payload.clone(), output("another"))).await;
    assert!(job.output.unwrap().encoded().unwrap().why.starts_with("Undecodable: "));
    let job = elsewhere().read(answered(payload.clone(), "2".into())).await;
    let text = job.payload.unwrap();
    assert_eq!(text.as_bytes(), payload);
    assert!(text.encoded().unwrap().why.starts_with("KeyUnknown: "));
    let looks = sealed(&both(), sealed(&packs(10), long(), None).await.unwrap(), None).await.unwrap();
    let job = both().read(answered(looks, "null".into())).await;
    assert_eq!(job.payload.unwrap().encoded(), None);
}

#[tokio::test]
async fn what_an_encoder_fails_with_fails_the_call_before_a_byte_is_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = |encodings| Client::builder(&address).encodings(encodings).build().unwrap();
    let secret = || NewJob::new("mail").payload(json!({"text": SECRET}));
    let error = client(broken()).enqueue(secret()).await.unwrap_err();
    assert!(error.message().contains("no key today"), "{error}");
    let jobs = (0..2500).map(|number| NewJob::new("mail").payload(json!(number))).chain([secret()]);
    let error = client(broken()).enqueue_many(jobs).await.unwrap_err();
    assert!(error.message().contains("no key today"), "{error}");
    let keyless = AesGcm::asking(|_| async { Ok::<_, Error>(None) }, "a").unwrap();
    let error = client(Encodings::builder().add(keyless).build().unwrap()).enqueue(secret()).await.unwrap_err();
    assert!(error.is(ErrorKind::KeyUnknown));
    let required = || secret().encodings(EncodingRule::Required);
    let plain = Client::new(&address).unwrap();
    assert!(plain.enqueue(required()).await.unwrap_err().is(ErrorKind::EncodingRequired));
    assert!(plain.enqueue_many([secret(), required()]).await.unwrap_err().is(ErrorKind::EncodingRequired));
    // Not even a connection was made.
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_client_that_records_takes_kinds_that_require_encryption() {
    let client = RecordingClient::new();
    client.enqueue(NewJob::of(&Strict { text: "x".into() }).unwrap()).await.unwrap();
    assert_eq!(client.jobs(), [NewJob::of(&Strict { text: "x".into() }).unwrap()]);
}

/// Answers what it got, after an attempt that leaves a checkpoint, with two follow-ups.
async fn handles(job: LeasedJob) -> HandlerResult<Value> {
    let payload: Value = job.decode()?;
    let text = payload["text"].as_str().unwrap_or_default();
    if payload["checkpoint"] == true {
        job.save_checkpoint(SECRET)?;
        return Ok(Value::Null);
    }
    if payload["output"] == true {
        return Ok(json!(SECRET));
    }
    if job.attempt() == 1 {
        job.save_checkpoint(format!("half of {text}"))?;
        return Err(retry(crate::failed("again"), Duration::ZERO));
    }
    job.follow_up(NewJob::new("next").payload(json!({"text": SECRET})))?;
    job.follow_up(NewJob::new("next").payload(json!("plain")).encodings(EncodingRule::Never))?;
    Ok(json!({"got": text, "checkpoint": String::from_utf8_lossy(job.checkpoint())}))
}

fn worker(encodings: Option<Encodings>) -> Worker {
    let made = Worker::builder("127.0.0.1:1").handle("k", handles);
    let made = made.handle_kind(open).handle_kind(never);
    match encodings {
        Some(encodings) => made.encodings(encodings).build().unwrap(),
        None => made.build().unwrap(),
    }
}

/// What a worker would send: the outcome, and what was reported meanwhile.
async fn sent(worker: &Worker, job: v1::LeasedJob) -> (Option<v1::Outcome>, Vec<v1::Progress>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = kept.clone();
    let handler = worker.handler_of(&job.kind).unwrap();
    let leased = LeasedJob::new(job, Box::new(move |report| keeps.lock().unwrap().push(report)));
    let outcome = attempt(leased, handler, drop).await;
    let reports = kept.lock().unwrap().clone();
    (outcome, reports)
}

async fn leased(encodings: &Encodings, payload: Value, attempt: i32) -> v1::LeasedJob {
    let sealer = encodings.sealer().await.unwrap();
    let payload = sealer.sealed(payload.to_string().into(), Place::payload("k"), None).unwrap();
    v1::LeasedJob {
        id: "1".into(),
        kind: "k".into(),
        attempt,
        max_attempts: 3,
        checkpoint: sealer.checkpoint("half".into(), "k", "1").unwrap(),
        content: Some(v1::leased_job::Content::PayloadJson(payload)),
        ..v1::LeasedJob::default()
    }
}

fn shows(message: &impl Message) -> bool {
    message.encode_to_vec().windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
}

#[tokio::test]
async fn a_handler_sees_all_and_the_wire_nothing() {
    let worker = worker(Some(both()));
    let job = leased(&both(), json!({"text": SECRET}), 2).await;
    assert!(!shows(&job));
    let (outcome, _) = sent(&worker, job).await;
    let outcome = outcome.unwrap();
    assert!(!shows(&outcome));
    let Some(v1::outcome::Outcome::Success(success)) = outcome.outcome else { panic!("{outcome:?}") };
    let Some(v1::success::Result::OutputJson(output)) = success.result else { panic!() };
    let found = both().opened(output, Place::output("k", "1"), true).await.unwrap();
    assert_eq!(found, json!({"got": SECRET, "checkpoint": "half"}).to_string());
    let payloads: Vec<&Bytes> = success
        .follow_ups
        .iter()
        .map(|each| match &each.content {
            Some(v1::new_job::Content::PayloadJson(text)) => text,
            other => panic!("{other:?}"),
        })
        .collect();
    members(payloads[0]);
    assert_eq!(payloads[1], "\"plain\"");
    let (_, reports) = sent(&worker, leased(&both(), json!({"text": SECRET}), 1).await).await;
    assert!(!shows(&reports[0]));
    let checkpoint = reports[0].checkpoint.clone().unwrap();
    let found = both().opened(checkpoint, Place::checkpoint("k", "1"), true).await.unwrap();
    assert_eq!(found, format!("half of {SECRET}"));
}

#[tokio::test]
async fn an_output_a_checkpoint_or_a_follow_up_that_is_not_encoded_is_not_sent() {
    let worker = worker(Some(broken()));
    for payload in [json!({"checkpoint": true}), json!({"output": true}), json!({"text": ""})] {
        let (outcome, reports) = sent(&worker, leased(&broken(), payload, 2).await).await;
        let outcome = outcome.unwrap();
        let Some(v1::outcome::Outcome::Failure(failure)) = &outcome.outcome else { panic!("{outcome:?}") };
        assert!(failure.error.contains("no key today") && !failure.permanent, "{failure:?}");
        assert!(!shows(&outcome) && reports.is_empty());
    }
}

#[tokio::test]
async fn a_follow_up_after_the_handlers_end_is_refused_and_not_sent_in_plain_text() {
    let worker = worker(Some(both()));
    let leased = LeasedJob::new(leased(&both(), json!({"text": "x"}), 2).await, Box::new(drop));
    worker.handler_of("k").unwrap()(leased.clone()).await.unwrap();
    // By a task that the handler has left.
    let error = leased.follow_up(NewJob::new("next").payload(json!(SECRET))).unwrap_err();
    assert!(error.is(ErrorKind::InvalidRequest) && error.message().contains("after the handler's end"), "{error}");
}

#[tokio::test]
async fn a_follow_up_whose_payload_was_not_decoded_is_not_encoded_once_more() {
    let worker = Worker::builder("127.0.0.1:1").encodings(both()).handle("k", |job: LeasedJob| async move {
        let text = sealed(&elsewhere(), "1", None).await?;
        let error = job.follow_up(NewJob::new("mail").payload(JsonText::read(text))).unwrap_err();
        assert!(error.is(ErrorKind::Encoded), "{error}");
        Ok(())
    });
    let (outcome, _) = sent(&worker.build().unwrap(), leased(&both(), json!({}), 1).await).await;
    assert_eq!(outcome, None);
}

#[tokio::test]
async fn a_worker_leaves_though_its_keys_do_not_come() {
    let asking = AesGcm::asking(|_| std::future::pending::<Result<_, Error>>(), "a").unwrap();
    let worker = worker(Some(Encodings::builder().add(asking).build().unwrap()));
    let leased = LeasedJob::new(leased(&encrypts(), json!({"text": "x"}), 1).await, Box::new(drop));
    let attempt = tokio::spawn(attempt(leased.clone(), worker.handler_of("k").unwrap(), drop));
    tokio::task::yield_now().await;
    leased.stop(Stop::Shutdown);
    let outcome = tokio::time::timeout(Duration::from_secs(20), attempt).await.unwrap().unwrap().unwrap();
    assert!(matches!(outcome.outcome, Some(v1::outcome::Outcome::Release(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_test_of_a_handler_goes_through_the_encodings_of_its_worker() {
    let worker = worker(Some(both()));
    let first = perform(&worker, TestJob::new(json!({"text": "x"})).kind("k")).await.unwrap();
    assert_eq!(first.checkpoints, ["half of x"]);
    let done = perform(&worker, first.again()).await.unwrap();
    assert_eq!(done.output_as::<Value>().unwrap(), json!({"got": "x", "checkpoint": "half of x"}));
    let payloads: Vec<Value> =
        done.follow_ups.iter().map(|job| job.payload.as_ref().unwrap().decode().unwrap()).collect();
    assert_eq!(payloads, [json!({"text": SECRET}), json!("plain")]);
}

#[tokio::test]
async fn a_job_whose_key_or_encoding_does_not_come_waits_and_then_fails_by_its_name() {
    let other = Encodings::builder().add(Reversed).build().unwrap();
    for (encodings, name) in [(elsewhere(), "KeyUnknown"), (other, "EncodingUnknown")] {
        for (attempt, waits) in [(1, true), (20, true), (21, false)] {
            let (outcome, _) =
                sent(&worker(Some(both())), leased(&encodings, json!({"text": "x"}), attempt).await).await;
            match outcome.unwrap().outcome.unwrap() {
                v1::outcome::Outcome::Snooze(_) => assert!(waits),
                v1::outcome::Outcome::Failure(failure) => {
                    assert!(!waits && !failure.permanent);
                    assert_eq!(failure.error_type, name);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Turns bytes around.
struct Reversed;

impl Encoding for Reversed {
    fn name(&self) -> &'static str {
        "reversed"
    }

    fn encode(&self, data: &[u8], _: &[u8], _: &[u8], _: Option<&str>) -> Result<Option<Vec<u8>>, Boxed> {
        Ok(Some(data.iter().rev().copied().collect()))
    }

    fn decode(&self, data: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Undecodable> {
        Ok(data.iter().rev().copied().collect())
    }
}

#[tokio::test]
async fn what_can_not_be_decoded_ends_for_good_and_its_output_is_of_its_own_job() {
    let mut moved = leased(&both(), json!({"text": "x"}), 2).await;
    moved.content = Some(v1::leased_job::Content::PayloadJson(sealed(&both(), "{}", None).await.unwrap()));
    let mut others = leased(&both(), json!({"text": "x"}), 2).await;
    others.id = "2".into(); // its checkpoint is of another job
    for job in [moved, others] {
        let (outcome, _) = sent(&worker(Some(both())), job).await;
        let Some(v1::outcome::Outcome::Failure(failure)) = outcome.unwrap().outcome else { panic!() };
        assert!(failure.permanent);
        assert_eq!(failure.error_type, "PayloadUnreadable");
    }
}

#[tokio::test]
async fn a_handler_without_encodings_is_told_by_an_error_that_its_payload_is_encoded() {
    let (outcome, _) = sent(&worker(None), leased(&both(), json!({"text": "x"}), 2).await).await;
    let Some(v1::outcome::Outcome::Failure(failure)) = outcome.unwrap().outcome else { panic!() };
    assert!(failure.error.contains("encoded, aes256gcm, key a: this program has no encodings"), "{failure:?}");
}

/// Takes encrypted payloads alone, by each of its names.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Strict {
    text: String,
}

impl JobKind for Strict {
    const NAME: &'static str = "strict";
    const ALIASES: &'static [&'static str] = &["strict.old"];
    const ENCODINGS: EncodingRule = EncodingRule::Required;
    type Output = Value;

    fn payload_schema() -> Option<Value> {
        Some(json!({"type": "object"}))
    }
}

/// Its settings begin with a job of their own.
#[derive(Serialize, Deserialize)]
struct Fresh;

impl JobKind for Fresh {
    const NAME: &'static str = "fresh";
    const ENCODINGS: EncodingRule = EncodingRule::Required;
    type Output = ();

    fn settings(&self, _: NewJob) -> NewJob {
        NewJob::new(Self::NAME).queue("mail")
    }
}

#[tokio::test]
async fn settings_of_a_kind_do_not_lose_that_it_is_encrypted() {
    let job = NewJob::of(&Fresh).unwrap();
    assert_eq!((&*job.queue, job.encodings.0), ("mail", EncodingRule::Required));
    let plain = Client::builder("127.0.0.1:1").deadline(Duration::from_millis(1)).build().unwrap();
    assert!(plain.enqueue(job).await.unwrap_err().is(ErrorKind::EncodingRequired));
}

/// What any object is one of, whatever the program has.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Open {
    text: String,
}

impl JobKind for Open {
    const NAME: &'static str = "open";
    type Output = ();

    fn payload_schema() -> Option<Value> {
        Some(json!({"type": "object"}))
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Never {
    text: String,
}

impl JobKind for Never {
    const NAME: &'static str = "never";
    const ENCODINGS: EncodingRule = EncodingRule::Never;
    type Output = ();

    fn payload_schema() -> Option<Value> {
        Some(json!({"type": "object"}))
    }
}

async fn strict(payload: Strict, _: LeasedJob) -> HandlerResult<Value> {
    Ok(json!(payload.text))
}

async fn open(_: Open, _: LeasedJob) -> HandlerResult {
    Ok(())
}

async fn never(_: Never, _: LeasedJob) -> HandlerResult {
    Ok(())
}

#[tokio::test]
async fn a_kind_that_requires_encryption_is_not_handled_in_plain_text_by_any_of_its_names() {
    let worker = Worker::builder("127.0.0.1:1").handle_kind(strict).encodings(both()).build().unwrap();
    let packed = packs(10).sealer().await.unwrap().sealed(long(), Place::payload("strict"), None).unwrap();
    let escaped = r#"{"\u0024jobqueue.encoded":1,"content_type":"application/json","encodings":["aes256gcm"],
        "key_id":"a","data":"","text":"evil"}"#;
    for kind in ["strict", "strict.old"] {
        for text in [Bytes::from(r#"{"text":"evil"}"#), escaped.into(), "null".into(), packed.clone()] {
            let mut job = leased(&both(), json!({}), 1).await;
            (job.kind, job.checkpoint) = (kind.into(), Bytes::new());
            job.content = Some(v1::leased_job::Content::PayloadJson(text));
            let (outcome, _) = sent(&worker, job).await;
            let Some(v1::outcome::Outcome::Failure(failure)) = outcome.unwrap().outcome else { panic!() };
            assert_eq!((failure.permanent, &*failure.error_type), (true, "PayloadUnreadable"));
        }
    }
    let done = perform(&worker, TestJob::of(&Strict { text: "x".into() }).unwrap()).await.unwrap();
    assert_eq!(done.output_as::<String>().unwrap(), "x");
}

#[tokio::test]
async fn a_typed_kind_does_not_take_an_envelope_for_its_payload() {
    for (worker, kind) in [(worker(None), "open"), (worker(Some(both())), "never")] {
        let sealer = both().sealer().await.unwrap();
        let made = sealer.sealed(r#"{"text":"x"}"#.into(), Place::payload(kind), None).unwrap();
        let escaped = String::from_utf8(made.to_vec()).unwrap().replace('$', r"\u0024");
        for text in [made, escaped.into()] {
            let done: Performed = perform(&worker, TestJob::new(JsonText::new(text)).kind(kind)).await.unwrap();
            assert_eq!((done.outcome, &*done.error_type), (Outcome::Discarded, "PayloadUnreadable"));
            assert!(done.error.contains("encoded, aes256gcm, key a: the worker does not decode"), "{}", done.error);
        }
    }
    // What a producer has put into an envelope may look like one.
    let looks = json!({"$jobqueue.encoded": 1, "encodings": ["zstd"], "text": "x"});
    let done = perform(&worker(Some(both())), TestJob::new(looks).kind("open")).await.unwrap();
    assert_eq!(done.outcome, Outcome::Succeeded);
}

#[test]
fn a_worker_that_does_not_encrypt_takes_no_kind_that_requires_it() {
    let made = || Worker::builder("127.0.0.1:1").handle_kind(strict);
    assert!(made().build().unwrap_err().is(ErrorKind::EncodingRequired));
    assert!(made().encodings(packs(0)).build().unwrap_err().is(ErrorKind::EncodingRequired));
    assert!(made().encodings(both()).build().is_ok());
}

#[tokio::test]
async fn a_handler_of_a_kind_that_requires_encryption_is_not_performed_without_a_worker() {
    async fn never(_: Strict, _: LeasedJob) -> HandlerResult<Value> {
        panic!("it is not performed")
    }
    let job = TestJob::of(&Strict { text: "x".into() }).unwrap();
    let error = perform(never, job.clone().catch()).await.unwrap_err();
    let words = "the kind strict takes encrypted payloads alone: give the worker encodings that encrypt";
    assert_eq!(error.downcast_ref::<crate::Error>().unwrap().kind(), ErrorKind::EncodingRequired);
    assert!(error.to_string().ends_with(words), "{error}");
    let refused = Worker::builder("127.0.0.1:1").handle_kind(never).build().unwrap_err();
    assert_eq!(error.to_string(), refused.to_string());
    let worker = Worker::builder("127.0.0.1:1").handle_kind(strict).encodings(both()).build().unwrap();
    assert_eq!(perform(&worker, job).await.unwrap().outcome, Outcome::Succeeded);
}

async fn follows_up(job: LeasedJob) -> HandlerResult {
    job.follow_up(NewJob::of(&Strict { text: SECRET.into() })?)?;
    Ok(())
}

#[tokio::test]
async fn a_worker_that_does_not_encrypt_does_not_follow_up_by_a_kind_that_requires_it() {
    let done = perform(follows_up, TestJob::new(json!(1)).catch()).await.unwrap();
    assert_eq!((done.outcome, done.follow_ups.len()), (Outcome::Failed, 0));
    for (encodings, outcome) in [(packs(0), Outcome::Failed), (both(), Outcome::Succeeded)] {
        let worker = Worker::builder("127.0.0.1:1").handle("k", follows_up).encodings(encodings).build().unwrap();
        let done = perform(&worker, TestJob::new(json!(1)).kind("k").catch()).await.unwrap();
        assert_eq!(done.outcome, outcome);
        assert!(outcome == Outcome::Succeeded || done.error_type == "EncodingRequired");
    }
}

async fn saves_much(job: LeasedJob) -> HandlerResult {
    Ok(job.save_checkpoint(vec![1; 64_000])?)
}

#[tokio::test]
async fn a_checkpoint_that_is_too_long_once_it_is_encoded_is_refused() {
    let made = || Worker::builder("127.0.0.1:1").handle("k", saves_much);
    let job = || TestJob::new(json!(1)).kind("k").catch();
    assert_eq!(perform(&made().build().unwrap(), job()).await.unwrap().outcome, Outcome::Succeeded);
    let done = perform(&made().encodings(encrypts()).build().unwrap(), job()).await.unwrap();
    assert!(done.error.contains("at most 65536"), "{}", done.error);
}

#[test]
fn a_server_is_told_by_the_rule_of_a_kind_what_its_payloads_are() {
    fn branches<K: JobKind>() -> [usize; 2] {
        let told = KindDeclaration::of::<K>();
        let plain = told.kind.schema.unwrap();
        let count = |schema: &JsonText| schema.decode::<Value>().unwrap()["anyOf"].as_array().map_or(1, Vec::len);
        [count(&plain), count(told.encoded.as_ref().unwrap_or(&plain))]
    }
    assert_eq!((branches::<Open>(), branches::<Never>(), branches::<Strict>()), ([1, 2], [1, 1], [1, 1]));
    let required: Value = Strict::schema().unwrap().decode().unwrap();
    assert_eq!(required["additionalProperties"], false);
    assert!(required["required"].as_array().unwrap().contains(&json!("key_id")));
    let allowed: Value = KindDeclaration::of::<Open>().encoded.unwrap().decode().unwrap();
    assert_eq!(allowed["anyOf"][1]["required"], json!(["$jobqueue.encoded", "content_type", "encodings", "data"]));
    assert_eq!(allowed["anyOf"][1]["x-payload-version"], 1);
}

#[test]
fn a_payload_or_an_output_that_was_not_decoded_is_none_of_a_typed_kind() {
    let envelope = r#"{"$jobqueue.encoded":1,"encodings":["aes256gcm"],"key_id":"a","text":"x"}"#;
    let job: Job = crate::job::job_of(v1::Job {
        kind: "strict".into(),
        status: v1::job::Status::Succeeded.into(),
        content: Some(v1::job::Content::PayloadJson(envelope.into())),
        result: Some(v1::job::Result::OutputJson(envelope.into())),
        ..v1::Job::default()
    });
    assert_eq!(job.status, Status::Succeeded);
    assert!(Strict::payload_of(&job).unwrap_err().is(ErrorKind::Encoded));
    assert!(Strict::output_of(&job).unwrap_err().is(ErrorKind::Encoded));
}
