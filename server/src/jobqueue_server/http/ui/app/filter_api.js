// What a filter is for ListJobs, for the JobFilter of bulk actions, in the address of the page, and as a sentence.

import { token, tokens, STATUS_WORDS } from "./filter.js";

/** @typedef {import('./filter.js').Filter} Filter */
/** @typedef {{created_after?: string, created_before?: string}} Bounds */

/** The times of a filter. Of several bounds the narrowest counts. @param {Filter} filter @param {number} now ms @returns {Bounds} */
export function bounds(filter, now) {
  let after = -Infinity;
  let before = Infinity;
  for (const { op, age, from = 0, until = 0 } of filter.created) {
    // An age that is less than 2 h is a time that is later than 2 h ago.
    if (age !== undefined && op === "<") after = Math.max(after, now - age);
    else if (age !== undefined) before = Math.min(before, now - age);
    else {
      if (op !== "<") after = Math.max(after, op === ">" ? until : from);
      if (op !== ">") before = Math.min(before, op === "<" ? from : until);
    }
  }
  return {
    ...(after > -Infinity && { created_after: new Date(after).toISOString() }),
    ...(before < Infinity && { created_before: new Date(before).toISOString() }),
  };
}

/** The query of ListJobs, without its page. @param {Filter} filter @param {number} now @returns {[string, string][]} */
export function listQuery(filter, now) {
  /** @type {[string, string][]} */
  const query = [];
  if (filter.queue) query.push(["queue", filter.queue]);
  if (filter.kind) query.push(["kind", filter.kind]);
  for (const status of filter.status) query.push(["status", status]);
  for (const label of filter.labels) query.push(["labels", label]);
  for (const [name, value] of Object.entries(bounds(filter, now))) query.push([name, value]);
  return query;
}

/**
 * The JobFilter of a bulk action: all jobs of the list. Null: the filter has no condition, and a bulk action needs one.
 * @param {Filter} filter @param {number} now @returns {Record<string, unknown> | null}
 */
export function jobFilter(filter, now) {
  const made = {
    ...(filter.id && { ids: [filter.id] }),
    ...(filter.queue && { queue: filter.queue }),
    ...(filter.kind && { kind: filter.kind }),
    ...(filter.status.length && { status: filter.status }),
    ...(filter.labels.length && { labels: filter.labels }),
    ...bounds(filter, now),
  };
  return Object.keys(made).length ? made : null;
}

/** The line of an address: its `q`, or the parameters of ListJobs, so that other pages can link to a list. @param {URLSearchParams} search */
export function lineOf(search) {
  const line = search.get("q");
  if (line !== null) return line;
  const words = [];
  for (const status of search.getAll("status")) words.push(token("status", statusWord(status)));
  for (const field of ["queue", "kind", "id"])
    for (const value of search.getAll(field)) words.push(token(field, value));
  for (const label of [...search.getAll("label"), ...search.getAll("labels")]) words.push(token("label", label));
  for (const value of search.getAll("created")) words.push(token("created", value));
  return words.join(" ");
}

/** The query of the page for a line: the line as it was typed. @param {string} line */
export const searchOf = (line) => (line.trim() ? `?q=${encodeURIComponent(line.trim())}` : "");

/** The word for a status of the API. @param {string} name */
export const statusWord = (name) =>
  Object.entries(STATUS_WORDS).find(([, names]) => names.length === 1 && names[0] === name.toUpperCase())?.[0] ??
  name.toLowerCase();

/** What the filter means, as a sentence without a full stop. @param {Filter} filter @param {number} now */
export function sentence(filter, now) {
  if (filter.id) return `The job ${filter.id}`;
  const parts = [filter.status.length ? `${oneOf(filter.status.map(statusWord))} jobs` : "jobs"];
  if (filter.queue) parts.push(`of the queue ${filter.queue}`);
  if (filter.kind) parts.push(`of the kind ${filter.kind}`);
  if (filter.labels.length) parts.push(`with ${filter.labels.join(" and ")}`);
  const { created_after: after, created_before: before } = bounds(filter, now);
  if (after) parts.push(`enqueued at ${short(after)} or later`);
  if (before) parts.push(`${after ? "and before" : "enqueued before"} ${short(before)}`);
  const text = parts.join(" ");
  return (text === "jobs" ? "all jobs" : text).replace(/^./, (letter) => letter.toUpperCase()) + ", newest first";
}

/** @param {string[]} words */
const oneOf = (words) => (words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`);

/** @param {string} time RFC 3339 in UTC. */
const short = (time) => `${time.slice(0, 10)} ${time.slice(11, 19)} UTC`;

/** The line with one token more or less, as a click on a value of a row asks. @param {string} line @param {string} field @param {string} value */
export function toggled(line, field, value) {
  const typed = token(field, value);
  const words = tokens(line).map(({ raw }) => raw);
  if (words.includes(typed)) return words.filter((word) => word !== typed).join(" ");
  const many = field === "label" || field === "status";
  return [...words.filter((word) => many || !word.startsWith(`${field}:`)), typed].join(" ");
}
