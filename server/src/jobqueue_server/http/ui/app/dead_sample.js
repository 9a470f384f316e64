// Samples of the newest failed jobs, since to read or count all of them would cost the database too much.
import { call } from "./api.js";
import { errorsOf, groupsOf } from "./dead.js";

/** @typedef {import("./jobs_data.js").Job} Job */
/** @typedef {{looked: number, more: string, oldest: string, groups: import("./dead.js").Group[]}} Sample `more`: the token of what was not looked at. */

/** Jobs with all their attempts come in pages of at most 3 MiB. */
const PAGE = 200;
const MOST = 1000;
const MOST_MS = 4000;

/**
 * Reads the newest jobs of a filter, for a few seconds.
 * @param {string} path @param {import("./api.js").Options} options @param {number} most How many, about.
 */
async function newest(path, options, most) {
  /** @type {Job[]} */
  const jobs = [];
  const until = Date.now() + MOST_MS;
  let more = "";
  do {
    const query = { ...options.query, view: "JOB_VIEW_FULL", page_size: PAGE, page_token: more };
    const answer = await call(path, { ...options, query });
    // Payloads are let go at once: only what a group shows is kept.
    for (const { payload: _, output: __, ...job } of answer.jobs) jobs.push(job);
    more = answer.next_page_token;
  } while (more && jobs.length < most && Date.now() < until);
  return { jobs, more };
}

/** The newest failed jobs, in groups. @param {string} path @param {import("./api.js").Options} options @returns {Promise<Sample>} */
export async function readSample(path, options) {
  const { jobs, more } = await newest(path, { ...options, query: { ...options.query, status: "FAILED_PERMANENT" } }, MOST);
  return { looked: jobs.length, more, oldest: jobs.at(-1)?.created_at ?? "", groups: groupsOf(jobs) };
}

/** The errors of the newest jobs of a kind that wait after a failure or have failed for good. @param {string} path @param {import("./api.js").Options} options */
export async function readErrors(path, options) {
  const { jobs, more } = await newest(path, { ...options, query: { ...options.query, status: ["RETRYING", "FAILED_PERMANENT"] } }, PAGE);
  return { looked: jobs.length, more, errors: errorsOf(jobs) };
}
