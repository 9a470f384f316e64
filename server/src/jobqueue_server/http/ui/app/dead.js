// Failed jobs in groups: a sample of the newest, since to count all of them would cost the database too much.
import { call } from "./api.js";
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
/** @typedef {{looked: number, more: string, oldest: string, groups: Group[]}} Sample `more`: the token of what was not looked at. */

/** Jobs with all their attempts come in pages of at most 3 MiB. */
const PAGE = 200;
export const MOST = 1000;
const MOST_MS = 4000;

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
 * Reads the newest failed jobs, at most `MOST` and for a few seconds, and groups them.
 * @param {string} path @param {import("./api.js").Options} options @returns {Promise<Sample>}
 */
export async function readSample(path, options) {
  /** @type {Job[]} */
  const jobs = [];
  const until = Date.now() + MOST_MS;
  let more = "";
  do {
    const query = { ...options.query, status: "FAILED_PERMANENT", view: "JOB_VIEW_FULL", page_size: PAGE, page_token: more };
    const answer = await call(path, { ...options, query });
    // Payloads are let go at once: only what a group shows is kept.
    for (const { payload: _, output: __, ...job } of answer.jobs) jobs.push(job);
    more = answer.next_page_token;
  } while (more && jobs.length < MOST && Date.now() < until);
  return { looked: jobs.length, more, oldest: jobs.at(-1)?.created_at ?? "", groups: groupsOf(jobs) };
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
