/** Jobs to enqueue, read back from their messages. */

import type * as pb from "./gen/jobqueue/v1/job_pb.js";
import { Unique_Field, Unique_OnConflict, Unique_Scope, Unique_Until } from "./gen/jobqueue/v1/job_pb.js";
import type { NewJob } from "./job.js";
import { dateOf, msOf, retryPolicyOf } from "./jobs.js";
import { textOf } from "./payload.js";
import type { Unique } from "./unique.js";

/** The job that a message enqueues, with what it says alone; its payload is JSON text. */
export function newJobOf(message: pb.NewJob): NewJob {
  const { start, content, retryPolicy, unique, labels, headers } = message;
  const said: NewJob = {
    kind: message.kind,
    payloadJson: content.case === "payloadJson" ? textOf(content.value) : "null",
    queue: message.queue || undefined,
    priority: message.priority || undefined,
    runAt: start.case === "runAt" ? dateOf(start.value) : undefined,
    delayMs: start.case === "delay" ? msOf(start.value) : undefined,
    maxAttempts: message.maxAttempts || undefined,
    timeoutMs: msOf(message.timeout),
    retryPolicy: retryPolicyOf(retryPolicy),
    idempotencyKey: message.idempotencyKey || undefined,
    labels: Object.keys(labels).length > 0 ? { ...labels } : undefined,
    headers: Object.keys(headers).length > 0 ? { ...headers } : undefined,
    hold: message.hold || undefined,
    key: message.key || undefined,
    unique: unique && uniqueOf(unique),
  };
  return withoutUndefined(said);
}

function uniqueOf(message: pb.Unique): Unique {
  const name = <T>(names: object, number: number, other: string): T | undefined => {
    const found = (names as Record<number, string>)[number];
    return found === other ? undefined : (found as T);
  };
  const replace = message.replace.map((each) => Unique_Field[each] as NonNullable<Unique["replace"]>[number]);
  return withoutUndefined<Unique>({
    key: message.key || undefined,
    payloadFields: message.payloadFields.length > 0 ? [...message.payloadFields] : undefined,
    scope: name(Unique_Scope, message.scope, "KIND"),
    until: name(Unique_Until, message.until, "STARTS"),
    periodMs: msOf(message.period),
    onConflict: name(Unique_OnConflict, message.onConflict, "KEEP"),
    replace: replace.length > 0 ? replace : undefined,
    maxDelayMs: msOf(message.maxDelay),
  });
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}
