//! Traces of handlers and calls, as an exporter in memory sees them.

use opentelemetry::trace::{SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

use super::tests::Scene;
use super::{LeasedJob, Worker};
use crate::access::Access;
use crate::job::NewJob;
use crate::otel::OpenTelemetry;
use crate::outcomes::{HandlerResult, cancelled, discard, failed, retry};
use crate::v1;
use crate::v1::lease_response::Frame as Said;
use crate::v1::outcome::Outcome;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A program's SDK, whose sampler takes all that it is asked for.
struct Sdk {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
}

impl Sdk {
    fn new() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        Self { exporter, provider }
    }

    fn worker(&self, parent: bool) -> Worker {
        let access = Access::new().traces(OpenTelemetry::provider(&self.provider).parent(parent));
        Worker::builder("127.0.0.1:1").access(access).handle("k", ends).build().unwrap()
    }

    fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }
}

fn sampled() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

fn attribute(span: &SpanData, name: &str) -> Value {
    span.attributes.iter().find(|each| each.key.as_str() == name).unwrap().value.clone()
}

/// What the handler of a job sees as its current span is what it enqueues.
async fn ends(job: LeasedJob) -> HandlerResult {
    let current = Context::current().span().span_context().span_id().to_string();
    tokio::task::yield_now().await;
    match job.id() {
        "job-2" => Err(discard(failed("it is broken"))),
        "job-3" => Err(cancelled()),
        "job-4" => panic!("it panics"),
        "job-5" => Err(retry(failed("again"), std::time::Duration::ZERO)),
        _ => {
            job.follow_up(NewJob::new("next"))?;
            Ok(job.follow_up(NewJob::new(current).header("traceparent", "its own"))?)
        }
    }
}

async fn follow_ups(scene: &mut Scene) -> Vec<v1::NewJob> {
    match scene.outcome().await {
        Outcome::Success(success) => success.follow_ups,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_handler_has_a_span_that_is_linked_to_its_producer_and_current_and_follow_ups_carry_it() {
    let sdk = Sdk::new();
    let mut scene = Scene::new(&sdk.worker(false));
    scene.delivers_with(1, &[("traceparent", &sampled()), ("x-request-id", "r1")]);
    let [next, own] = &follow_ups(&mut scene).await[..] else { panic!("two were enqueued") };
    let [span] = &sdk.spans()[..] else { panic!("{:?}", sdk.spans()) };
    assert_eq!((&*span.name, &span.span_kind), ("process default", &SpanKind::Consumer));
    assert_eq!(span.links.len(), 1);
    assert_eq!(span.links[0].span_context.span_id().to_string(), SPAN);
    assert_ne!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), "0".repeat(16));
    for (name, value) in [
        ("messaging.system", "jobqueue"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "default"),
        ("messaging.message.id", "job-1"),
        ("jobqueue.kind", "k"),
        ("jobqueue.outcome", "succeeded"),
    ] {
        assert_eq!(attribute(span, name).as_str(), value, "{name}");
    }
    assert_eq!((attribute(span, "jobqueue.attempt"), attribute(span, "jobqueue.lease_id")), (1.into(), 1.into()));
    let (trace, id) = (span.span_context.trace_id(), span.span_context.span_id());
    assert_eq!(next.headers["traceparent"], format!("00-{trace}-{id}-01"));
    assert_eq!(next.headers["x-request-id"], "r1");
    assert_eq!((own.headers["traceparent"].as_str(), &own.kind), ("its own", &id.to_string()));
}

#[tokio::test]
async fn on_demand_it_is_a_child_of_its_producer() {
    let sdk = Sdk::new();
    let mut scene = Scene::new(&sdk.worker(true));
    scene.delivers_with(1, &[("traceparent", &sampled())]);
    scene.outcome().await;
    let [span] = &sdk.spans()[..] else { panic!("{:?}", sdk.spans()) };
    assert_eq!(
        (span.span_context.trace_id().to_string(), span.parent_span_id.to_string()),
        (TRACE.into(), SPAN.into())
    );
    assert_eq!(span.links.len(), 1);
}

#[tokio::test]
async fn of_who_is_not_sampled_opentelemetry_hears_nothing_and_follow_ups_carry_what_the_job_has() {
    let sdk = Sdk::new();
    let mut scene = Scene::new(&sdk.worker(true));
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    scene.delivers_with(1, &[("traceparent", &unsampled)]);
    assert_eq!(follow_ups(&mut scene).await[0].headers["traceparent"], unsampled);
    scene.delivers_with(1, &[]);
    assert!(!follow_ups(&mut scene).await[0].headers.contains_key("traceparent"));
    assert!(sdk.spans().is_empty());
}

#[tokio::test]
async fn how_a_handler_ended_is_said_by_its_span() {
    let sdk = Sdk::new();
    let mut scene = Scene::new(&sdk.worker(false));
    for lease in 2..=5 {
        scene.delivers_with(lease, &[("traceparent", &sampled())]);
        scene.outcome().await;
    }
    scene.delivers_with(6, &[("traceparent", &sampled())]);
    let revoke = v1::RevokeLeases { lease_ids: vec![6], reason: "TIMED_OUT".into(), ..v1::RevokeLeases::default() };
    scene.says(Said::Control(v1::Control { action: Some(v1::control::Action::Revoke(revoke)) }));
    while sdk.spans().len() < 5 {
        tokio::task::yield_now().await;
    }
    let outcomes: Vec<String> =
        sdk.spans().iter().map(|span| attribute(span, "jobqueue.outcome").as_str().into_owned()).collect();
    assert_eq!(outcomes, ["failed", "cancelled", "failed", "failed", "revoked"]);
    let [failed, cancelled, panicked, ..] = &sdk.spans()[..] else { unreachable!() };
    assert_eq!(failed.status, Status::error("it is broken"));
    let [event] = &failed.events.events[..] else { panic!("{:?}", failed.events) };
    assert_eq!(event.name, "exception");
    let said: Vec<_> = event.attributes.iter().map(|each| (each.key.as_str(), each.value.as_str())).collect();
    assert_eq!(said[1], ("exception.message", "it is broken".into()));
    assert_eq!((said[0].0, said[0].1.clone()), ("exception.type", attribute(failed, "error.type").as_str()));
    assert_eq!((&cancelled.status, cancelled.events.len()), (&Status::Unset, 0));
    assert_eq!(attribute(panicked, "error.type").as_str(), "panic");
}

#[tokio::test]
async fn a_call_carries_the_current_span_sampled_or_not_where_traces_are_asked_for() {
    use opentelemetry::trace::Tracer;

    let sdk = Sdk::new();
    let access = Access::new().traces(OpenTelemetry::provider(&sdk.provider));
    let carried = async |access: &Access| {
        let mut request = tonic::Request::new(());
        access.authorize(&mut request).await.unwrap();
        request.metadata().get("traceparent").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(carried(&access).await, None);
    let span = sdk.provider.tracer("a program").start("POST /orders");
    let current = Context::current_with_span(span).attach();
    let of = Context::current().span().span_context().clone();
    assert_eq!(carried(&access).await, Some(format!("00-{}-{}-01", of.trace_id(), of.span_id())));
    assert_eq!(carried(&Access::new()).await, None);
    drop(current);
}
