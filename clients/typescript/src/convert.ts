/** From values to messages: what a caller gives, checked where a message could not hold it. */

import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

import { Job_Status, RetryPolicySchema } from "./gen/jobqueue/v1/job_pb.js";
import type * as pb from "./gen/jobqueue/v1/job_pb.js";
import {
  KeyOrder,
  KeyPolicySchema,
  KindSchema,
  LimitsSchema,
  OnKeyFailure,
  RateSchema,
  RetentionSchema,
} from "./gen/jobqueue/v1/queue_admin_pb.js";
import type * as admin from "./gen/jobqueue/v1/queue_admin_pb.js";
import { holdName, msOf, retentionOf, retryPolicyOf, statusName } from "./jobs.js";
import type {
  Hold,
  HoldDepth,
  KeyPolicy,
  Kind,
  Limits,
  Queue,
  QueueDepth,
  Rate,
  Retention,
  RetryPolicy,
  Status,
} from "./jobs.js";
import { decode, encode } from "./payload.js";

/** Milliseconds as a Duration. */
export function duration(ms: number, name: string): Duration {
  if (!Number.isFinite(ms)) throw new TypeError(`${name} is ${ms}; it is a number of milliseconds`);
  return durationFromMs(Math.round(ms));
}

/** A Date as a Timestamp. */
export function timestamp(date: Date, name: string): Timestamp {
  if (!(date instanceof Date) || Number.isNaN(date.getTime())) {
    throw new TypeError(`${name} is ${String(date)}; it is a valid Date`);
  }
  return timestampFromDate(date);
}

/** The number of a status that was given by name. */
export function statusNumber(name: Status): Job_Status {
  const number = Job_Status[name] as Job_Status | undefined;
  if (!number) throw new TypeError(`${String(name)} is no status; one is "QUEUED", for example`);
  return number;
}

/** A policy as a message. */
export function retryPolicy(policy: RetryPolicy): pb.RetryPolicy {
  const message = create(RetryPolicySchema);
  if (policy.minBackoffMs !== undefined) message.minBackoff = duration(policy.minBackoffMs, "minBackoffMs");
  if (policy.maxBackoffMs !== undefined) message.maxBackoff = duration(policy.maxBackoffMs, "maxBackoffMs");
  return message;
}

/** A kind as a message. */
export function kindMessage(kind: Kind): admin.Kind {
  const message = create(KindSchema, {
    name: kind.name,
    maxAttempts: kind.maxAttempts ?? 0,
    slotWeight: kind.slotWeight ?? 0,
    version: kind.version ?? 0,
    annotations: { ...kind.annotations },
  });
  if (kind.outputSchema !== undefined) {
    const value = encode(kind.outputSchema, "the schema of outputs");
    message.outputDefinition = { case: "outputSchemaJson", value };
  }
  if (kind.schema !== undefined) {
    message.definition = { case: "schemaJson", value: encode(kind.schema, "the schema") };
  }
  if (kind.retryPolicy !== undefined) message.retryPolicy = retryPolicy(kind.retryPolicy);
  if (kind.timeoutMs !== undefined) message.timeout = duration(kind.timeoutMs, "timeoutMs");
  if (kind.limits !== undefined) message.limits = limitsMessage(kind.limits);
  return message;
}

/** A kind of a message. */
export function kindOf(message: admin.Kind | undefined): Kind {
  if (!message) throw new TypeError("the server answered no kind");
  const { definition, outputDefinition: output } = message;
  return {
    name: message.name,
    schema: definition.case === "schemaJson" ? decode(definition.value) : undefined,
    retryPolicy: retryPolicyOf(message.retryPolicy),
    maxAttempts: message.maxAttempts || undefined,
    timeoutMs: msOf(message.timeout),
    limits: limitsOf(message.limits),
    slotWeight: message.slotWeight || undefined,
    version: message.version || undefined,
    outputSchema: output.case === "outputSchemaJson" ? decode(output.value) : undefined,
    annotations: Object.keys(message.annotations).length > 0 ? message.annotations : undefined,
  };
}

/** A queue of a message. */
export function queueOf(message: admin.Queue | undefined): Queue {
  if (!message) throw new TypeError("the server answered no queue");
  const depths: Partial<Record<Status, QueueDepth>> = {};
  for (const each of message.depths) {
    const { jobs, capped, oldestAge } = each;
    depths[statusName(each.status)] = { jobs, capped, oldestAgeMs: msOf(oldestAge) };
  }
  const held: Partial<Record<Hold, HoldDepth>> = {};
  for (const { hold, jobs, capped } of message.held) held[holdName(hold)] = { jobs, capped };
  const { name, paused, running, etag } = message;
  const keyPolicy = keyPolicyOf(message.keyPolicy);
  return {
    name,
    paused,
    running,
    depths,
    held,
    keyPolicy,
    maxWaiting: message.maxWaiting || undefined,
    limits: limitsOf(message.limits),
    retention: retentionOf(message.retention),
    etag,
  };
}

function keyPolicyOf(message: admin.KeyPolicy | undefined): KeyPolicy | undefined {
  if (!message) return undefined;
  return {
    maxRunning: message.maxRunning || undefined,
    rate: rateOf(message.rate),
    maxWaiting: message.maxWaiting || undefined,
    requireKey: message.requireKey,
    order: message.order === undefined ? undefined : (KeyOrder[message.order] as keyof typeof KeyOrder),
    onFailure:
      message.onFailure === undefined
        ? undefined
        : (OnKeyFailure[message.onFailure] as keyof typeof OnKeyFailure),
    fair: message.fair,
  };
}

function limitsOf(message: admin.Limits | undefined): Limits | undefined {
  return message && { maxRunning: message.maxRunning || undefined, rate: rateOf(message.rate) };
}

function rateOf(message: admin.Rate | undefined): Rate | undefined {
  if (!message) return undefined;
  const { count, period, burst, mostInAPeriod } = message;
  return { count, periodMs: msOf(period) ?? 0, burst: burst || undefined, mostInAPeriod };
}

/** A policy of keys as a message. */
export function keyPolicyMessage(policy: KeyPolicy): admin.KeyPolicy {
  const message = create(KeyPolicySchema, {
    maxRunning: policy.maxRunning ?? 0,
    maxWaiting: policy.maxWaiting ?? 0,
    requireKey: policy.requireKey ?? false,
    ...(policy.order && { order: KeyOrder[policy.order] }),
    ...(policy.onFailure && { onFailure: OnKeyFailure[policy.onFailure] }),
    ...(policy.fair && { fair: true }),
  });
  const { rate } = policy;
  if (rate !== undefined) message.rate = rateMessage(rate);
  return message;
}

/** Limits as a message. */
export function limitsMessage({ maxRunning, rate }: Limits): admin.Limits {
  const message = create(LimitsSchema, { maxRunning: maxRunning ?? 0 });
  if (rate !== undefined) message.rate = rateMessage(rate);
  return message;
}

/** How long a queue keeps jobs that ended, as a message. */
export function retentionMessage(retention: Retention): admin.Retention {
  const { succeededMs, failedPermanentMs, cancelledMs } = retention;
  const message = create(RetentionSchema);
  if (succeededMs !== undefined) message.succeeded = duration(succeededMs, "retention.succeededMs");
  if (failedPermanentMs !== undefined) {
    message.failedPermanent = duration(failedPermanentMs, "retention.failedPermanentMs");
  }
  if (cancelledMs !== undefined) message.cancelled = duration(cancelledMs, "retention.cancelledMs");
  return message;
}

function rateMessage(rate: Rate): admin.Rate {
  const period = duration(rate.periodMs, "periodMs");
  return create(RateSchema, { count: rate.count, period, burst: rate.burst ?? 0 });
}
