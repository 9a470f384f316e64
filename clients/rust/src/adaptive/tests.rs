//! A client that is asked to slows down by the server's hints and speeds up again, and refuses nothing by itself. The
//! server is a few frames of HTTP/2, which wait until the test sends them.

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::client::Client;
use crate::errors::ErrorKind;
use crate::job::NewJob;
use crate::jobs::new_idempotency_key;

/// How a call is answered.
#[derive(Clone, Copy)]
enum Says {
    Room,
    Pressure,
    /// The queue is full.
    Refusal,
    /// The same, and the call may come again at once.
    Again,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

type StreamId = [u8; 4];

fn frame(kind: u8, flags: u8, stream: StreamId, payload: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = payload.len().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream, payload].concat()
}

/// A header as HPACK writes it without a table.
fn header(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| match u8::try_from(bytes.len()).unwrap() {
        short @ ..127 => vec![short],
        long => vec![127, long - 127],
    };
    [&[0][..], &length(name.as_bytes()), name.as_bytes(), &length(value), value].concat()
}

/// The frames of one answer. An empty message is an answer of both methods.
fn answer(stream: StreamId, says: Says) -> Vec<u8> {
    let ok = [0x88];
    let (mut trailers, full) = (header("grpc-status", b"0"), |details: ErrorDetails| {
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details).into_http::<()>();
        let headers = status.headers().iter().flat_map(|(name, value)| header(name.as_str(), value.as_bytes()));
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &ok.into_iter().chain(headers).collect::<Vec<_>>())
    });
    let mut details = ErrorDetails::with_error_info("QUEUE_FULL", "jobqueue", [("of".to_owned(), "a".to_owned())]);
    match says {
        Says::Room => {}
        Says::Pressure => trailers.extend(header(PRESSURE, b"0.83")),
        Says::Refusal => return full(details),
        Says::Again => {
            details.set_retry_info(Some(Duration::ZERO));
            return full(details);
        }
    }
    [
        frame(HEADERS, END_HEADERS, stream, &ok),
        frame(DATA, 0, stream, &[0; 5]),
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers),
    ]
    .concat()
}

#[derive(Default)]
struct Inside {
    /// The calls that wait, the oldest first.
    calls: VecDeque<StreamId>,
    /// How many ever came.
    came: usize,
}

/// A server of one connection whose calls wait until the test answers them.
struct Gate {
    address: String,
    inside: watch::Sender<Inside>,
    writes: UnboundedSender<Vec<u8>>,
}

impl Gate {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (inside, (writes, mut written)) = (watch::Sender::new(Inside::default()), unbounded_channel::<Vec<u8>>());
        let (at, replies) = (inside.clone(), writes.clone());
        tokio::spawn(async move {
            let (reader, mut peer) = listener.accept().await.unwrap().0.into_split();
            tokio::spawn(async move { read(reader, &at, &replies).await });
            while let Some(frames) = written.recv().await {
                if peer.write_all(&frames).await.is_err() {
                    break;
                }
            }
        });
        // MAX_CONCURRENT_STREAMS is 1000.
        writes.send(frame(SETTINGS, 0, [0; 4], &[0, 3, 0, 0, 3, 232])).unwrap();
        Self { address, inside, writes }
    }

    fn client(&self) -> Client {
        Client::builder(&self.address).adaptive(true).build().unwrap()
    }

    /// Returns once so many calls wait here.
    async fn has(&self, calls: u32) {
        let mut inside = self.inside.subscribe();
        let has = inside.wait_for(|inside| inside.calls.len() == calls as usize);
        let came = timeout(Duration::from_secs(10), has).await;
        assert!(came.is_ok(), "{} wait, not {calls}", self.inside.borrow().calls.len());
    }

    /// How many calls ever came.
    fn came(&self) -> usize {
        self.inside.borrow().came
    }

    /// Answers the calls that have waited longest.
    fn answers(&self, calls: u32, says: Says) {
        for _ in 0..calls {
            self.inside.send_modify(|inside| {
                let stream = inside.calls.pop_front().unwrap();
                self.writes.send(answer(stream, says)).unwrap();
            });
        }
    }
}

async fn read(mut reader: OwnedReadHalf, inside: &watch::Sender<Inside>, replies: &UnboundedSender<Vec<u8>>) {
    let (mut preface, mut head) = ([0; 24], [0; 9]);
    reader.read_exact(&mut preface).await.unwrap();
    while reader.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        reader.read_exact(&mut payload).await.unwrap();
        match kind {
            DATA if flags & END_STREAM > 0 => inside.send_modify(|inside| {
                inside.calls.push_back(stream);
                inside.came += 1;
            }),
            RESET => inside.send_modify(|inside| inside.calls.retain(|each| *each != stream)),
            SETTINGS if flags & ACK == 0 => drop(replies.send(frame(SETTINGS, ACK, stream, &[]))),
            PING if flags & ACK == 0 => drop(replies.send(frame(PING, ACK, stream, &payload))),
            _ => {}
        }
    }
}

type Calls = JoinSet<Result<(), Error>>;

fn enqueues(client: &Client, calls: u32) -> Calls {
    let enqueue = |client: Client| async move { client.enqueue(NewJob::new("work")).await.map(drop) };
    (0..calls).map(|_| enqueue(client.clone())).collect()
}

/// Returns once so many calls are over; answers the errors of those that failed.
async fn over(calls: &mut Calls, count: u32) -> Vec<Error> {
    let ended = async {
        let mut errors = Vec::new();
        for _ in 0..count {
            errors.extend(calls.join_next().await.unwrap().unwrap().err());
        }
        errors
    };
    timeout(Duration::from_secs(10), ended).await.expect("calls are not answered")
}

fn in_flight(client: &Client) -> u32 {
    client.window.as_ref().unwrap().lock().in_flight
}

fn assert_bound(window: &Window, wanted: f64) {
    let bound = window.lock().bound;
    assert!((bound - wanted).abs() < 1e-9, "{bound}, not {wanted}");
}

fn metadata(hinted: bool) -> MetadataMap {
    let mut made = MetadataMap::new();
    if hinted {
        made.insert(PRESSURE, "1.00".parse().unwrap());
    }
    made
}

fn refusal(reason: &str) -> Error {
    Error::new(Code::ResourceExhausted, "full").named(ErrorKind::Overloaded, reason)
}

/// So many turns, which are there.
fn turns(window: &Arc<Window>, count: usize) -> Vec<Turn> {
    (0..count).map(|_| window.turn().now_or_never().expect("there is room")).collect()
}

#[tokio::test]
async fn a_producer_slows_down_by_hints_and_refusals_and_speeds_up_again() {
    let gate = Gate::open().await;
    let client = gate.client();
    let mut calls = enqueues(&client, 400);
    gate.has(64).await;
    let steps = [
        // A hint, however many answers bring it: a fifth less.
        (64, Says::Pressure, 51),
        // A refusal: half.
        (51, Says::Refusal, 25),
        // A round of answers without a hint: one more. Two: another one.
        (25, Says::Room, 26),
        (26, Says::Room, 27),
    ];
    for (answered, says, bound) in steps {
        gate.answers(answered, says);
        let refused = over(&mut calls, answered).await;
        let wanted = if matches!(says, Says::Refusal) { answered as usize } else { 0 };
        assert!(refused.len() == wanted && refused.iter().all(|error| error.is(ErrorKind::Overloaded)), "{refused:?}");
        assert_eq!(in_flight(&client), bound);
        gate.has(bound).await;
    }
    while !calls.is_empty() {
        let left = in_flight(&client);
        gate.has(left).await;
        gate.answers(left, Says::Room);
        assert!(over(&mut calls, left).await.is_empty());
    }
    assert_eq!((gate.came(), in_flight(&client)), (400, 0));
}

#[tokio::test]
async fn without_the_option_nothing_waits_within_the_client() {
    let gate = Gate::open().await;
    let client = Client::new(&gate.address).unwrap();
    for says in [Says::Pressure, Says::Room] {
        let mut calls = enqueues(&client, 300);
        gate.has(300).await;
        gate.answers(300, says);
        assert!(over(&mut calls, 300).await.is_empty());
    }
}

#[tokio::test]
async fn batches_take_turns_too() {
    let gate = Gate::open().await;
    let client = gate.client();
    let batch = |client: Client| async move { client.enqueue_many([NewJob::new("work")]).await.map(drop) };
    let mut calls: Calls = (0..150).map(|_| batch(client.clone())).collect();
    gate.has(64).await;
    gate.answers(64, Says::Pressure);
    assert!(over(&mut calls, 64).await.is_empty());
    assert_eq!(in_flight(&client), 51);
    gate.has(51).await;
    gate.answers(51, Says::Room);
    assert!(over(&mut calls, 51).await.is_empty());
    gate.has(35).await;
    gate.answers(35, Says::Room);
    assert!(over(&mut calls, 35).await.is_empty());
}

#[tokio::test]
async fn other_calls_take_no_turns() {
    let gate = Gate::open().await;
    let client = gate.client();
    let _enqueues = enqueues(&client, 64);
    gate.has(64).await;
    let read = tokio::spawn(async move { client.get("1").await });
    gate.has(65).await;
    read.abort();
}

#[tokio::test]
async fn a_call_that_did_not_get_its_turn_ends_by_its_own_deadline_and_was_not_sent() {
    let gate = Gate::open().await;
    let client = gate.client();
    let mut first = enqueues(&client, 64);
    gate.has(64).await;
    let mut brief = client.clone();
    brief.deadline = Duration::from_millis(200);
    let keyed = NewJob::new("work").idempotency_key(new_idempotency_key());
    let error = timeout(Duration::from_secs(10), brief.enqueue(keyed)).await.expect("it waits for ever").unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::DeadlineExceeded, Code::DeadlineExceeded));
    let words = "the call was not sent: for 0.2 s the server had no room for more than the 64 enqueues in flight";
    assert_eq!(error.message(), words);
    let given_up = Box::pin(client.enqueue(NewJob::new("work"))).now_or_never();
    assert!(given_up.is_none(), "it waits");
    let mut last = enqueues(&client, 1);
    yield_now().await;
    gate.answers(64, Says::Room);
    assert!(over(&mut first, 64).await.is_empty());
    assert_eq!(in_flight(&client), 1);
    gate.has(1).await;
    gate.answers(1, Says::Room);
    assert!(over(&mut last, 1).await.is_empty());
    assert_eq!((gate.came(), in_flight(&client)), (65, 0));
}

#[tokio::test]
async fn a_call_that_is_dropped_in_flight_lets_the_next_one_go() {
    let gate = Gate::open().await;
    let client = gate.client();
    let mut first = enqueues(&client, 64);
    gate.has(64).await;
    let mut next = enqueues(&client, 1);
    yield_now().await;
    first.shutdown().await;
    gate.has(1).await;
    gate.answers(1, Says::Room);
    assert!(over(&mut next, 1).await.is_empty());
    assert_eq!(in_flight(&client), 0);
}

#[tokio::test]
async fn a_keyed_call_is_repeated_within_its_turn_and_each_refusal_halves_the_bound() {
    let gate = Gate::open().await;
    let client = gate.client();
    let window = Arc::clone(client.window.as_ref().unwrap());
    let others = turns(&window, 63);
    let keyed = NewJob::new("work").idempotency_key(new_idempotency_key());
    let repeats = client.clone();
    let mut repeated = Calls::new();
    repeated.spawn(async move { repeats.enqueue(keyed).await.map(drop) });
    gate.has(1).await;
    let mut waits = enqueues(&client, 1);
    yield_now().await;
    for bound in [32.0, 16.0] {
        gate.answers(1, Says::Again);
        gate.has(1).await;
        assert_bound(&window, bound);
        assert_eq!(in_flight(&client), 64);
    }
    gate.answers(1, Says::Room);
    assert!(over(&mut repeated, 1).await.is_empty());
    assert_eq!(gate.came(), 3);
    drop(others);
    gate.has(1).await;
    gate.answers(1, Says::Room);
    assert!(over(&mut waits, 1).await.is_empty());
}

#[test]
fn calls_wait_in_their_order() {
    let window = Arc::new(Window::new());
    let mut before = turns(&window, 64);
    let (mut one, mut two) = (Box::pin(window.turn()), Box::pin(window.turn()));
    assert!(one.as_mut().now_or_never().is_none() && two.as_mut().now_or_never().is_none());
    before.pop();
    assert!(window.turn().now_or_never().is_none(), "the first in the line has the place, though it has not seen it");
    assert!(two.as_mut().now_or_never().is_none());
    let _one = one.now_or_never().expect("it is let in");
    before.pop();
    two.now_or_never().expect("it is let in");
}

#[test]
fn a_call_does_not_overtake_the_line_when_the_bound_has_grown() {
    let window = Arc::new(Window::new());
    let before = turns(&window, 64);
    let mut first = Box::pin(window.turn());
    assert!(first.as_mut().now_or_never().is_none());
    window.lock().bound = 65.0;
    assert!(window.turn().now_or_never().is_none());
    drop(before);
    first.now_or_never().expect("it is let in");
}

#[test]
fn what_is_let_in_as_it_gives_up_leaves_its_turn_to_the_next() {
    let window = Arc::new(Window::new());
    let mut before = turns(&window, 64);
    let (mut one, mut two) = (Box::pin(window.turn()), Box::pin(window.turn()));
    assert!(one.as_mut().now_or_never().is_none() && two.as_mut().now_or_never().is_none());
    before.pop();
    drop(one);
    let _two = two.now_or_never().expect("it is let in");
    assert_eq!(window.lock().in_flight, 64);
}

#[test]
fn a_line_of_calls_that_have_given_up_costs_no_place() {
    let window = Arc::new(Window::new());
    let before = turns(&window, 64);
    for _ in 0..100_000 {
        assert!(window.turn().now_or_never().is_none());
    }
    drop(before);
    let state = window.lock();
    assert_eq!((state.in_flight, state.line.len()), (0, 0));
}

#[test]
fn what_began_before_the_bound_got_smaller_makes_it_smaller_once() {
    let window = Arc::new(Window::new());
    let mut before = turns(&window, 3);
    before[0].answered(&metadata(true));
    before[1].answered(&metadata(true));
    before[2].refused(&refusal("QUEUE_FULL"));
    assert_bound(&window, 64.0 * 0.8);
    // It is in the new round now, as its next try is.
    before[2].refused(&refusal("QUEUE_BACKLOG_FULL"));
    assert_bound(&window, 64.0 * 0.8 * 0.5);
    turns(&window, 1)[0].answered(&metadata(true));
    assert_bound(&window, 64.0 * 0.8 * 0.5 * 0.8);
}

#[test]
fn only_a_queue_without_room_makes_the_bound_smaller() {
    let window = Arc::new(Window::new());
    for reason in ["KEY_BACKLOG_FULL", "OVERLOADED", ""] {
        turns(&window, 1)[0].refused(&refusal(reason));
    }
    assert_bound(&window, 64.0);
}

#[test]
fn the_bound_grows_only_while_it_is_what_calls_wait_for() {
    let window = Arc::new(Window::new());
    for _ in 0..1000 {
        turns(&window, 1)[0].answered(&metadata(false));
    }
    assert_bound(&window, 64.0);
}

#[test]
fn the_bound_stays_within_1_and_1000() {
    let window = Arc::new(Window::new());
    for _ in 0..100 {
        turns(&window, 1)[0].answered(&metadata(true));
    }
    assert_bound(&window, 1.0);
    window.lock().bound = 1000.0;
    turns(&window, 1000)[0].answered(&metadata(false));
    assert_bound(&window, 1000.0);
}
