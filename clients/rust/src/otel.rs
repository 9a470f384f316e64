//! Traces of handlers and calls by OpenTelemetry, which is called for sampled jobs alone.

use std::env;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};

use crate::outcomes::Stop;
use crate::trace_names as names;
use crate::v1;
use crate::v1::outcome::Outcome;
use crate::worker::LeasedJob;

pub(crate) const HEADER: &str = "traceparent";
/// `parent`: a handler's span is a child of its producer's.
const PARENT_VARIABLE: &str = "JOBQUEUE_TRACE_PARENT";
/// The last bit of the flags says who is sampled, which stand behind version, trace and span.
const FLAGS_END: usize = 55;

/// Makes spans of a worker's attempts, and says which trace a call belongs to.
///
/// For [`Access::traces`](crate::Access::traces), of a worker, a client or both. The program sets OpenTelemetry's SDK up.
/// A span is made where the job's producer was sampled; of all others OpenTelemetry hears nothing. In a handler's task its
/// span is the current one. A task that it spawns has it by `FutureExt::with_current_context`.
#[derive(Clone)]
pub struct OpenTelemetry {
    tracer: Arc<BoxedTracer>,
    parent: bool,
}

impl OpenTelemetry {
    /// Spans by the provider that `opentelemetry::global` has now.
    pub fn new() -> Self {
        Self::of(global::tracer_with_scope(scope()))
    }

    /// Spans by a provider of the program's own.
    pub fn provider<P>(provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        Self::of(BoxedTracer::new(Box::new(provider.tracer_with_scope(scope()))))
    }

    /// Whether a handler's span is a child of its producer's, beside the link to it: a job may run days after its producer
    /// has ended. Default: as the variable `JOBQUEUE_TRACE_PARENT` says, `parent` or not.
    #[must_use]
    pub fn parent(mut self, parent: bool) -> Self {
        self.parent = parent;
        self
    }

    fn of(tracer: BoxedTracer) -> Self {
        Self { tracer: Arc::new(tracer), parent: env::var(PARENT_VARIABLE).is_ok_and(|value| value == "parent") }
    }

    /// The span of an attempt. `None`: the job's producer was not sampled, as nearly all are not.
    pub(crate) fn begin(&self, job: &LeasedJob, lease: i64) -> Option<HandlerSpan> {
        let producer = sampled(job.headers().get(HEADER)?)?;
        let root = Context::new();
        let parent = if self.parent { root.with_remote_span_context(producer.clone()) } else { root };
        let waited = job.created_at().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
        let made = self
            .tracer
            .span_builder(format!("{} {}", names::PROCESS, job.queue()))
            .with_kind(SpanKind::Consumer)
            .with_links(vec![Link::with_context(producer)])
            .with_attributes([
                KeyValue::new(names::MESSAGING_SYSTEM, names::SYSTEM),
                KeyValue::new(names::MESSAGING_OPERATION, names::PROCESS),
                KeyValue::new(names::MESSAGING_OPERATION_TYPE, names::PROCESS),
                KeyValue::new(names::MESSAGING_DESTINATION, job.queue().to_owned()),
                KeyValue::new(names::MESSAGING_MESSAGE_ID, job.id().to_owned()),
                KeyValue::new(names::KIND, job.kind().to_owned()),
                KeyValue::new(names::ATTEMPT, i64::from(job.attempt())),
                KeyValue::new(names::LEASE, lease),
                KeyValue::new(names::WAIT, i64::try_from(waited.as_millis()).unwrap_or(i64::MAX)),
            ]);
        let span = self.tracer.build_with_context(made, &parent);
        job.follow(text(span.span_context()));
        Some(HandlerSpan { context: Context::current_with_span(span) })
    }
}

impl Default for OpenTelemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for OpenTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTelemetry").field("parent", &self.parent).finish_non_exhaustive()
    }
}

/// The span of one attempt.
pub(crate) struct HandlerSpan {
    /// The handler's, with the span as the current one.
    pub(crate) context: Context,
}

impl HandlerSpan {
    /// The handler has ended. `None`: it succeeded without an output.
    pub(crate) fn ended(self, job: &LeasedJob, outcome: Option<&v1::Outcome>) {
        let span = self.context.span();
        let how = outcome.and_then(|outcome| outcome.outcome.as_ref());
        let word = match (job.stop_reason(), how) {
            // Its outcome is dropped, since the lease is another's by now.
            (Some(Stop::LeaseRevoked(_) | Stop::TimedOut), _) => "revoked",
            (_, None | Some(Outcome::Success(_))) => "succeeded",
            (_, Some(Outcome::Failure(_))) => "failed",
            (_, Some(Outcome::Cancellation(_))) => "cancelled",
            (_, Some(Outcome::Snooze(_))) => "snoozed",
            (_, Some(Outcome::Release(_))) => "released",
        };
        span.set_attribute(KeyValue::new(names::OUTCOME, word));
        if let Some(Outcome::Failure(failed)) = how {
            let mut event = vec![
                KeyValue::new(names::EXCEPTION_TYPE, failed.error_type.clone()),
                KeyValue::new(names::EXCEPTION_MESSAGE, failed.error.clone()),
            ];
            if !failed.stack.is_empty() {
                event.push(KeyValue::new(names::EXCEPTION_STACK, failed.stack.clone()));
            }
            span.add_event(names::EXCEPTION, event);
            span.set_attribute(KeyValue::new(names::ERROR_TYPE, failed.error_type.clone()));
            span.set_status(Status::error(failed.error.clone()));
        }
        span.end();
    }
}

/// What a call made here carries. `None`: no span is current.
pub(crate) fn traceparent() -> Option<String> {
    let current = Context::current();
    let span = current.span();
    let context = span.span_context();
    context.is_valid().then(|| text(context))
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("jobqueue").with_version(crate::VERSION).build()
}

/// That of a sampled producer; `None` for all others, by a look at one character.
fn sampled(traceparent: &str) -> Option<SpanContext> {
    let flag = *traceparent.as_bytes().get(FLAGS_END - 1)?;
    if !b"13579bdf".contains(&flag) {
        return None;
    }
    let parts: Vec<&str> = traceparent.splitn(5, '-').collect();
    let [version, trace, span, flags, ..] = parts[..] else { return None };
    let lengths = [version.len(), trace.len(), span.len(), flags.len()];
    let is_text = |text: &str| text.bytes().all(|each| matches!(each, b'0'..=b'9' | b'a'..=b'f'));
    if lengths != [2, 32, 16, 2] || ![version, trace, span, flags].into_iter().all(is_text) || version == "ff" {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

fn text(of: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", of.trace_id(), of.span_id(), of.trace_flags().to_u8())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn who_is_sampled_is_read_off_the_traceparent_and_what_is_none_has_no_span() {
        let found = sampled(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(text(&found), format!("00-{TRACE}-00f067aa0ba902b7-01"));
        assert!(found.is_remote());
        assert!(sampled(&format!("01-{TRACE}-00f067aa0ba902b7-03-of-later")).is_some());
        for none in [
            String::new(),
            "01".to_owned(),
            format!("00-{TRACE}-00f067aa0ba902b7-00"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-00f067aa0ba902b-701"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}+00f067aa0ba902b7-01"),
            "\u{e4}".repeat(40),
        ] {
            assert!(sampled(&none).is_none(), "{none}");
        }
    }
}
