/** Traces of handlers and calls by OpenTelemetry, whose API is loaded where it is asked for and there. */

import type * as OpenTelemetry from "@opentelemetry/api";

import type { LeasedJob } from "./job.js";
import { VERSION } from "./version.js";
import type { Ending } from "./worker/ending.js";
import * as names from "./worker/traceNames.js";

const HEADER = "traceparent";
// The last bit of the flags says who is sampled, which stand behind version, trace and span.
const FLAGS_END = 55;
const SAMPLED = "13579bdf";
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-|$)/;

const OUTCOMES = {
  success: "succeeded",
  failure: "failed",
  cancellation: "cancelled",
  snooze: "snoozed",
  release: "released",
} as const;

/** The span of one attempt. */
export interface HandlerSpan {
  /** What follow-ups carry. */
  readonly traceparent: string;
  /** Runs the handler with the span as the current one. */
  run<T>(handler: () => T): T;
  /** The handler has ended. Revoked: its outcome is dropped, since the lease was another's by then. */
  ended(ending: Ending, revoked: boolean): void;
}

/** What makes spans, and says what calls carry. */
export interface Traces {
  /** The span of an attempt; undefined where the job's producer was not sampled, as nearly all are not. */
  begin(job: LeasedJob, lease: bigint): HandlerSpan | undefined;
  /** What a call made here carries. Undefined: no span is current. */
  traceparent(): string | undefined;
}

/** Whether OpenTelemetry's own variables ask for traces. */
export function tracesWanted(environment: NodeJS.ProcessEnv): boolean {
  const { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: traces, OTEL_EXPORTER_OTLP_ENDPOINT: all } = environment;
  if (environment["OTEL_SDK_DISABLED"]?.trim().toLowerCase() === "true") return false;
  if (environment["OTEL_TRACES_EXPORTER"]?.trim().toLowerCase() === "none") return false;
  return Boolean(traces) || Boolean(all);
}

let loaded: Promise<Traces | undefined> | undefined;

/** The traces of this process. Undefined: @opentelemetry/api is not installed. */
export function tracesOfProcess(): Promise<Traces | undefined> {
  loaded ??= import("@opentelemetry/api").then(
    (api) => tracesBy(api),
    () => undefined,
  );
  return loaded;
}

/** Traces by this API; the program sets its SDK up. */
function tracesBy(api: typeof OpenTelemetry): Traces {
  const asParent = process.env["JOBQUEUE_TRACE_PARENT"] === "parent";
  return {
    begin(job, lease) {
      const producer = contextOf(job.headers[HEADER] ?? "");
      if (producer === undefined || !api.isSpanContextValid(producer)) return undefined;
      const { ROOT_CONTEXT, trace } = api;
      const span = trace.getTracer("@jobqueue/client", VERSION).startSpan(
        `${names.PROCESS} ${job.queue}`,
        {
          kind: api.SpanKind.CONSUMER,
          links: [{ context: producer }],
          attributes: {
            [names.MESSAGING_SYSTEM]: names.SYSTEM,
            [names.MESSAGING_OPERATION]: names.PROCESS,
            [names.MESSAGING_OPERATION_TYPE]: names.PROCESS,
            [names.MESSAGING_DESTINATION]: job.queue,
            [names.MESSAGING_MESSAGE_ID]: job.id,
            [names.KIND]: job.kind,
            [names.ATTEMPT]: job.attempt,
            [names.LEASE]: Number(lease),
            [names.WAIT]: Math.max(0, Date.now() - (job.createdAt?.getTime() ?? Date.now())),
          },
        },
        asParent ? trace.setSpanContext(ROOT_CONTEXT, producer) : ROOT_CONTEXT,
      );
      return {
        traceparent: textOf(span.spanContext()),
        run: (handler) => api.context.with(trace.setSpan(api.context.active(), span), handler),
        ended: ({ outcome }, revoked) => {
          const how = outcome?.outcome ?? { case: "success" };
          span.setAttribute(names.OUTCOME, revoked ? "revoked" : OUTCOMES[how.case ?? "success"]);
          if (how.case === "failure") {
            const { errorType, error, stack } = how.value;
            span.addEvent(names.EXCEPTION, {
              [names.EXCEPTION_TYPE]: errorType,
              [names.EXCEPTION_MESSAGE]: error,
              ...(stack === "" ? {} : { [names.EXCEPTION_STACK]: stack }),
            });
            span.setAttribute(names.ERROR_TYPE, errorType);
            span.setStatus({ code: api.SpanStatusCode.ERROR, message: error });
          }
          span.end();
        },
      };
    },
    traceparent() {
      const current = api.trace.getActiveSpan()?.spanContext();
      return current !== undefined && api.isSpanContextValid(current) ? textOf(current) : undefined;
    },
  };
}

/** That of a sampled producer; undefined for all others, by a look at one character. */
function contextOf(traceparent: string): OpenTelemetry.SpanContext | undefined {
  if (traceparent.length < FLAGS_END || !SAMPLED.includes(traceparent[FLAGS_END - 1]!)) return undefined;
  const found = TRACEPARENT.exec(traceparent);
  if (found === null) return undefined;
  return { traceId: found[1]!, spanId: found[2]!, traceFlags: parseInt(found[3]!, 16), isRemote: true };
}

function textOf({ traceId, spanId, traceFlags }: OpenTelemetry.SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
}
