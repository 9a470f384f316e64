/** Work that is to be done once. */

import { create } from "@bufbuild/protobuf";

import { duration } from "./convert.js";
import {
  UniqueSchema,
  Unique_Action,
  Unique_Field,
  Unique_OnConflict,
  Unique_Scope,
  Unique_Until,
} from "./gen/jobqueue/v1/job_pb.js";
import type * as pb from "./gen/jobqueue/v1/job_pb.js";

/** The name of work that is to be done once: while a job holds it, others of the name are not stored. */
export interface Unique {
  /** The name, 1..255 characters. Default: the payload makes it. */
  key?: string | undefined;
  /**
   * JSON pointers to the parts of the payload that make it, such as `/user/id`; at most 16. Default: all of it, which
   * may then have at most 64 KiB.
   */
  payloadFields?: readonly string[] | undefined;
  /** Among which jobs of the namespace it stands once. Default: those of the same kind, in all queues. */
  scope?: "KIND" | "QUEUE_AND_KIND" | "QUEUE" | "NAMESPACE" | undefined;
  /**
   * Until when the job holds it. STARTS, the default: until a worker gets it, so that one may wait beside one that runs.
   * ENDS: until it has ended. PERIOD: for `periodMs`, whatever becomes of it.
   */
  until?: "STARTS" | "ENDS" | "PERIOD" | undefined;
  /** At least so long, 1 s to 400 days. PERIOD wants one. */
  periodMs?: number | undefined;
  /**
   * If another job holds the name: KEEP, the default, answers that job; REJECT fails with `Duplicate`; REPLACE gives that
   * job, if it waits, what this one brings, and answers it; DEBOUNCE does so too, and it starts `delayMs` from now.
   */
  onConflict?: "KEEP" | "REJECT" | "REPLACE" | "DEBOUNCE" | undefined;
  /**
   * With REPLACE and DEBOUNCE, what of that job is changed. Default: payload, labels and headers with REPLACE, its start
   * alone with DEBOUNCE.
   */
  replace?: readonly UniqueField[] | undefined;
  /** With DEBOUNCE, that job starts at most so long after its own enqueue. Default: no such bound. */
  maxDelayMs?: number | undefined;
}

/** What of a job can be replaced. */
export type UniqueField =
  "PAYLOAD" | "RUN_AT" | "PRIORITY" | "LABELS" | "HEADERS" | "MAX_ATTEMPTS" | "TIMEOUT";

/** What was done instead of storing a unique job, with the one that holds its name. */
export type UniqueAction = "KEPT" | "REPLACED" | "DEBOUNCED";

/**
 * At most one waits: while it does, another one of the name is not stored. Once it starts the next may wait.
 *
 * @param key The name. Default: the payload makes it.
 */
export function whileWaiting(key = ""): Unique {
  return named(key);
}

/**
 * At most one waits or runs: until it has ended, another one of the name is not stored.
 *
 * @param key The name. Default: the payload makes it.
 */
export function whileLive(key = ""): Unique {
  return { ...named(key), until: "ENDS" };
}

/**
 * At most one in each period, from its enqueue: what comes meanwhile is not stored.
 *
 * @param periodMs 1 s to 400 days.
 * @param key The name. Default: the payload makes it.
 */
export function throttle(periodMs: number, key = ""): Unique {
  return { ...named(key), until: "PERIOD", periodMs };
}

/**
 * Each enqueue puts off the one that waits to its own `delayMs`, and gives it its payload.
 *
 * @param maxDelayMs It starts at most so long after the first enqueue. Default: it can be put off for ever.
 * @param key The name. Default: the payload makes it, and then there is one for each payload.
 */
export function debounce(maxDelayMs?: number, key = ""): Unique {
  const bound = maxDelayMs === undefined ? {} : { maxDelayMs };
  return { ...named(key), onConflict: "DEBOUNCE", replace: ["PAYLOAD"], ...bound };
}

function named(key: string): Unique {
  return key === "" ? {} : { key };
}

/** What this version does not know is shown as KEPT. */
export function uniqueAction(action: Unique_Action | undefined): UniqueAction | undefined {
  if (action === undefined) return undefined;
  if (action === Unique_Action.REPLACED) return "REPLACED";
  return action === Unique_Action.DEBOUNCED ? "DEBOUNCED" : "KEPT";
}

/** As a message. */
export function uniqueMessage(unique: Unique): pb.Unique {
  const message = create(UniqueSchema, {
    key: unique.key ?? "",
    payloadFields: [...(unique.payloadFields ?? [])],
    scope: Unique_Scope[unique.scope ?? "KIND"],
    until: Unique_Until[unique.until ?? "STARTS"],
    onConflict: Unique_OnConflict[unique.onConflict ?? "KEEP"],
    replace: (unique.replace ?? []).map((field) => Unique_Field[field]),
  });
  if (unique.periodMs !== undefined) message.period = duration(unique.periodMs, "unique.periodMs");
  if (unique.maxDelayMs !== undefined) message.maxDelay = duration(unique.maxDelayMs, "unique.maxDelayMs");
  return message;
}
