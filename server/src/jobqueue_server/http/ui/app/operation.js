// Bulk actions as the API has them: the count, the start, how far it is, the stop.
import { call } from "./api.js";

/** @typedef {"retry" | "cancel" | "update" | "delete"} Verb */
/**
 * @typedef {object} Progress An operation, read.
 * @property {string} name Such as `operations/0192...`; "" of a count.
 * @property {string} verb Such as `RetryJobs`.
 * @property {boolean} done
 * @property {string} state Such as `RUNNING`.
 * @property {number} changed @property {number} skipped @property {number} looked
 * @property {number} estimate How many matched when they were counted.
 * @property {boolean} capped Whether there may be more.
 * @property {number} perSecond 0: no limit.
 * @property {number} mostJobs 0: no limit.
 * @property {string[]} sample
 * @property {Record<string, any>} filter
 * @property {string} createdAt @property {string} endedAt
 * @property {string} error
 * @property {string} restsFor Why it has no steps until a principal resumes it; "": it has.
 */

/** @param {any} operation As the API answers it. @returns {Progress} */
export function progressOf(operation) {
  const metadata = operation.metadata ?? {};
  const number = (/** @type {string} */ name) => Number(metadata[name] ?? 0);
  return {
    name: operation.name ?? "",
    verb: metadata.verb ?? (metadata["@type"] ?? "").split(".").at(-1)?.replace("Metadata", "") ?? "",
    done: Boolean(operation.done),
    state: (metadata.state ?? "").replace("BULK_STATE_", ""),
    // A backfill of a schedule counts its ticks.
    changed: number("changed") || number("fired"),
    skipped: number("skipped"),
    looked: number("looked"),
    estimate: number("estimate"),
    capped: Boolean(metadata.estimate_capped),
    perSecond: number("per_second"),
    mostJobs: number("max_jobs"),
    sample: metadata.sample_ids ?? [],
    filter: metadata.filter ?? {},
    restsFor: metadata.rests_for ?? "",
    createdAt: metadata.created_at ?? "",
    endedAt: metadata.ended_at ?? "",
    error: operation.error && metadata.state !== "BULK_STATE_CANCELLED" ? (operation.error.message ?? "") : "",
  };
}

/**
 * How many jobs match, and some of them. Nothing changes.
 * @param {Verb} verb @param {object} filter
 * @param {Record<string, unknown>} more What is to change, which the server checks.
 * @param {AbortSignal} signal
 */
export async function countMatching(verb, filter, more, signal) {
  return progressOf(await call(`v1/jobs:${verb}`, { method: "POST", body: { filter, ...more }, signal }));
}

/**
 * Starts it.
 * @param {Verb} verb @param {object} filter
 * @param {Record<string, unknown>} more `per_second`, `expected` and the like.
 * @param {string} requestId Sent again with it, the request is answered the same operation.
 */
export async function start(verb, filter, more, requestId) {
  const body = { filter, force: true, request_id: requestId, ...more };
  return progressOf(await call(`v1/jobs:${verb}`, { method: "POST", body }));
}

/** Stops it before its next step. What it has done stays done. @param {string} name */
export const stopOperation = (name) => call(`v1/${name}:cancel`, { method: "POST", body: {} });

/** Lets it go on as the caller's own, who may do all that it does. @param {string} name */
export const resumeOperation = (name) => call(`v1/${name}:resume`, { method: "POST", body: {} });

/** A name for a request. @returns {string} */
export function requestName() {
  const octets = crypto.getRandomValues(new Uint8Array(12));
  return `dashboard-${[...octets].map((octet) => octet.toString(16).padStart(2, "0")).join("")}`;
}

/** What each verb does, for people. */
export const VERBS = /** @type {const} */ ({
  retry: { title: "Retry jobs", will: "will run again", did: "queued again", button: "Retry" },
  cancel: { title: "Cancel jobs", will: "will be cancelled", did: "cancelled", button: "Cancel them" },
  update: { title: "Change jobs that wait", will: "will be changed", did: "changed", button: "Change them" },
  delete: { title: "Delete jobs", will: "will be deleted, with their history", did: "deleted", button: "Delete" },
});

/** What is left of the typed number, for a comparison. @param {string} typed */
export const plainNumber = (typed) => typed.replace(/[\s,.']/g, "");
