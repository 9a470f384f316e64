// What a bulk action may be told beside its filter, as people type it and as the API has it. Pure.
import { ageOf, momentOf } from "./filter.js";

/** @typedef {import("./operation.js").Verb} Verb */
/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {string} [hint]
 * @property {string} [first] What is in it at first.
 * @property {(text: string) => Record<string, unknown> | null} read The members of the request; null: it is wrong.
 * @property {string} right What would be right, as a sentence.
 */

/** @param {string} text @param {number} least @param {number} most */
const whole = (text, least, most) => (/^-?\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : null);

/** A Duration of the API. @param {number} ms */
const span = (ms) => `${ms / 1000}s`;

/** @param {string} name @param {string} label @param {number} least @param {number} most @param {string} [hint] @returns {Field} */
const number = (name, label, least, most, hint = "") => ({
  name, label, hint, right: `It is a whole number from ${least} to ${most}.`,
  read: (text) => (whole(text, least, most) === null ? null : { [name]: whole(text, least, most) }),
});

/** @type {Field} */
const RATE = number("per_second", "At most so many a second", 1, 100_000, "empty: as fast as other callers allow");
/** @type {Field} */
const SPREAD = {
  name: "spread", label: "Spread their starts over", hint: "such as 10m; empty: not at all", right: "It is a time such as 90s or 1h30m, at most 7d.",
  read(text) {
    const ms = ageOf(text);
    return ms === null || ms > 7 * 864e5 ? null : { spread: span(ms) };
  },
};
/** @type {Field} */
const QUEUE = {
  name: "to_queue", label: "In the queue", hint: "empty: each stays in its own", right: "It is the name of a queue.",
  read: (text) => (/^[a-z0-9][a-z0-9_.-]{0,127}$/.test(text) ? { to_queue: text } : null),
};
/** @type {Field} */
const START = {
  name: "start", label: "Start", hint: "now, 10m for in ten minutes, or a time in UTC; empty: each keeps its own",
  right: "It is now, a time from now such as 10m, or a time such as 2026-11-28T10:00Z.",
  read(text) {
    const ms = text === "now" ? 0 : ageOf(text);
    if (ms !== null) return { delay: span(ms) };
    const at = momentOf(text);
    return Number.isNaN(at) ? null : { run_at: new Date(at).toISOString() };
  },
};
/** @type {Field} */
const REASON = { name: "reason", label: "Reason, for workers and people", right: "", read: (text) => ({ reason: text }) };

/** What each verb is told before jobs are counted, and then. @type {Record<Verb, {before: Field[], then: Field[]}>} */
export const FIELDS = {
  retry: { before: [], then: [{ ...RATE, first: "200" }, SPREAD, QUEUE] },
  cancel: { before: [], then: [RATE, REASON] },
  update: {
    before: [
      number("priority", "Priority", -10, 10, "-10 to 10; empty: each keeps its own"), START, SPREAD, QUEUE,
      number("max_attempts", "Failed for good after so many failures", 1, 1000, "empty: each keeps its own"),
    ],
    then: [RATE],
  },
  delete: { before: [], then: [RATE] },
};

/** What is in fields at first. @param {Field[]} fields @returns {Record<string, string>} */
export const first = (fields) => Object.fromEntries(fields.map(({ name, first: text = "" }) => [name, text]));

/**
 * The members of the request that these fields make, and what is wrong in them.
 * @param {Field[]} fields @param {Record<string, string>} given
 */
export function requestOf(fields, given) {
  /** @type {Record<string, unknown>} */
  const body = {};
  /** @type {Record<string, string>} */
  const wrong = {};
  for (const { name, read, right } of fields) {
    const text = (given[name] ?? "").trim();
    const made = text ? read(text) : {};
    if (made) Object.assign(body, made);
    else wrong[name] = right;
  }
  // The API spreads new starts, so where jobs are changed there is one.
  if ("spread" in body && fields.includes(START) && !("delay" in body || "run_at" in body)) body["delay"] = "0s";
  return { body, wrong };
}

/** What was given, in words: `priority 5, start now`. @param {Field[]} fields @param {Record<string, string>} given */
export const words = (fields, given) =>
  fields.filter(({ name }) => given[name]?.trim()).map(({ name, label }) => `${label.toLowerCase()} ${given[name]?.trim()}`).join(", ");
