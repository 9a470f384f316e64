// Pages of jobs, and the newest state of those in view.
import { call } from "./api.js";
import { useStream } from "./data.js";
import { useEffect, useMemo, useState } from "./lib.js";
import { ended } from "./timeline.js";

/** @typedef {Record<string, any> & {id: string, status: string, kind: string, queue: string, created_at: string}} Job */
/**
 * @typedef {{jobs: Job[], next: string, edge: number | null, rare: boolean}} Page `edge`: how far back was looked, in ms; null:
 *   not known. `rare`: it took several calls or a second, so the list is not read again by itself.
 */

export const PAGE = 50;
const MOST_MS = 1000;

/**
 * Reads a page of jobs. One call looks for a bounded time. A page without a job goes on by itself until there is one, or none
 * is left; one with a few does for a second.
 * @param {string} path @param {import("./api.js").Options} options
 * @param {(edge: number | null) => void} onEdge Told how far back it looked while there is no job yet.
 * @returns {Promise<Page>}
 */
export async function readPage(path, options, onEdge) {
  /** @type {Job[]} */
  const jobs = [];
  const until = Date.now() + MOST_MS;
  let next = String(options.query?.["page_token"] ?? "");
  for (let calls = 1; ; calls += 1) {
    const query = { ...options.query, page_size: PAGE - jobs.length, page_token: next };
    const answer = await call(path, { ...options, query });
    jobs.push(...answer.jobs);
    next = answer.next_page_token;
    const edge = next ? timeOf(next, jobs) : null;
    const late = Date.now() >= until;
    if (!next || jobs.length >= PAGE || (jobs.length && late)) return { jobs, next, edge, rare: calls > 1 || late };
    if (!jobs.length) onEdge(edge);
  }
}

/**
 * How far back a token goes on. Its last 16 octets are an id, which begins with its time; this page comes with the server
 * that makes the tokens. A server whose tokens are others is shown without a time.
 * @param {string} token @param {Job[]} jobs
 */
function timeOf(token, jobs) {
  try {
    const octets = atob(token.replaceAll("-", "+").replaceAll("_", "/"));
    const id = octets.slice(-16);
    // The version of the id stands in its seventh octet.
    if (octets.length === 27 && (id.charCodeAt(6) >> 4 === 7)) {
      return [...id.slice(0, 6)].reduce((sum, octet) => sum * 256 + octet.charCodeAt(0), 0);
    }
  } catch {
    // Not base64.
  }
  const last = jobs.at(-1);
  return last ? Date.parse(last.created_at) : null;
}

/**
 * The rows as they are now: one watch of those that have not ended, while the tab is shown.
 * @param {Job[]} jobs @param {boolean} live
 * @returns {Job[]} Of a deleted one the status is DELETED.
 */
export function useLive(jobs, live) {
  const [changes, setChanges] = useState(/** @type {Record<string, Job>} */ ({}));
  const ids = useMemo(() => jobs.filter((job) => !ended(job)).map(({ id }) => id), [jobs]);
  useEffect(() => setChanges({}), [jobs]);
  // The stream ends by itself when all have ended; then it is not opened again.
  const open = live && ids.some((id) => !(changes[id] && gone(changes[id])));
  useStream(open ? "v1/jobs:watch" : null, { ids }, ({ job }) => {
    if (!job) return;
    const known = job.status === "STATUS_UNSPECIFIED" ? { ...job, status: "DELETED" } : job;
    setChanges((/** @type {Record<string, Job>} */ last) => ({ ...last, [job.id]: known }));
  });
  return useMemo(() => jobs.map((job) => merged(job, changes[job.id])), [jobs, changes]);
}

/** @param {Job} job */
const gone = (job) => job.status === "DELETED" || ended(job);

/** @param {Job} job @param {Job | undefined} change @returns {Job} */
function merged(job, change) {
  if (!change) return job;
  if (change.status === "DELETED") return { ...job, status: "DELETED" };
  // A watch may begin with an older state than the list has.
  return change["updated_at"] < job["updated_at"] ? job : change;
}
