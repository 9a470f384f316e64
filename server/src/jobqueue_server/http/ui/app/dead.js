// Failed jobs in groups of one cause.
import { headOf } from "./error_text.js";

/** @typedef {import("./jobs_data.js").Job} Job */
/**
 * @typedef {object} Group
 * @property {string} key
 * @property {string} queue @property {string} kind @property {string} reason @property {string} errorType
 * @property {number} jobs How many of the sample.
 * @property {string} newest @property {string} oldest When they were enqueued.
 * @property {string} error The newest one's.
 * @property {string} example Its id.
 */

/** The type of the newest error. It is what JobFilter.error_type compares. @param {Job} job @returns {string} */
const errorTypeOf = (job) => (job["failed_attempts"] ?? []).at(-1)?.error_type ?? "";

/** @param {Job[]} jobs Newest first. @returns {Group[]} The largest first. */
export function groupsOf(jobs) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const job of jobs) {
    const errorType = errorTypeOf(job);
    const reason = String(job["reason"] ?? "");
    const key = JSON.stringify([job.queue, job.kind, reason, errorType]);
    const group = groups.get(key);
    if (group) {
      group.jobs += 1;
      group.oldest = job.created_at;
      continue;
    }
    const [error] = headOf(String(job["last_error"] ?? ""));
    groups.set(key, {
      key, queue: job.queue, kind: job.kind, reason, errorType, jobs: 1, error,
      newest: job.created_at, oldest: job.created_at, example: job.id,
    });
  }
  return [...groups.values()].sort((one, two) => two.jobs - one.jobs);
}

/**
 * Attempts by how they failed, those of most attempts first.
 * @param {Job[]} jobs Newest first.
 * @returns {{type: string, attempts: number, jobs: number, error: string, example: string}[]} `example`: the id of the newest job.
 */
export function errorsOf(jobs) {
  /** @type {Map<string, {type: string, attempts: number, jobs: number, error: string, example: string}>} */
  const found = new Map();
  for (const job of jobs) {
    const seen = new Set();
    for (const { error_type, reason, error } of job["failed_attempts"] ?? []) {
      // An attempt that was lost or ran out of time has no type of its own.
      const type = error_type || reason;
      const row = found.get(type) ?? { type, attempts: 0, jobs: 0, error: headOf(String(error ?? ""))[0], example: job.id };
      row.attempts += 1;
      row.jobs += seen.has(type) ? 0 : 1;
      seen.add(type);
      found.set(type, row);
    }
  }
  return [...found.values()].sort((one, two) => two.attempts - one.attempts);
}

/** The JobFilter of a group. @param {Group} group */
export const filterOf = ({ queue, kind, reason, errorType }) => ({
  status: ["FAILED_PERMANENT"],
  queue,
  kind,
  ...(reason && { reason: [reason] }),
  ...(errorType && { error_type: errorType }),
});

/** The same as words. @param {Group} group */
export const wordsOf = ({ queue, kind, reason, errorType }) =>
  `Failed jobs of the queue ${queue} and the kind ${kind}${reason && ` that ended by ${reason}`}${errorType ? ` with ${errorType}` : ", of any type of error"}`;
