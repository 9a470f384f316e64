// What may be typed next in the filter of jobs: fields, then their values, of which the page knows some.

import { FIELDS, STATUS_WORDS, tokens, token } from "./filter.js";

/** @typedef {{queues: string[], kinds: string[], labels: string[]}} Known */
/** @typedef {{insert: string, text: string, hint: string}} Option */
/** @typedef {{from: number, to: number, options: Option[]}} Completion From where to where the line is replaced. */

/** @type {Record<string, string>} */
const HINTS = {
  status: "queued, running, retrying, succeeded, failed, cancelled",
  queue: "the name of a queue",
  kind: "the name of a kind",
  label: "name=value",
  created: "<2h: the last two hours; >2h: older ones; a day",
  id: "the whole id of a job",
};
/** @type {[string, string][]} */
const AGES = [
  ["<15m", "in the last 15 minutes"],
  ["<1h", "in the last hour"],
  ["<24h", "in the last 24 hours"],
  ["<7d", "in the last 7 days"],
  [">1h", "more than an hour ago"],
  [">24h", "more than 24 hours ago"],
];
const MOST = 8;

/**
 * @param {string} line @param {number} cursor Where the cursor is in it. @param {Known} known
 * @returns {Completion}
 */
export function complete(line, cursor, known) {
  const found = tokens(line).find(({ at, end }) => at <= cursor && cursor <= end);
  const from = found?.at ?? cursor;
  const to = found?.end ?? cursor;
  const typed = line.slice(from, cursor);
  const colon = typed.indexOf(":");
  const options =
    colon < 0 ? fields(typed) : values(typed.slice(0, colon).toLowerCase(), typed.slice(colon + 1), known);
  // What is there as it would be inserted needs no suggestion.
  return { from, to, options: options.filter(({ insert }) => insert.trim() !== line.slice(from, to)).slice(0, MOST) };
}

/** @param {string} typed @returns {Option[]} */
const fields = (typed) =>
  FIELDS.filter((field) => field.startsWith(typed.toLowerCase())).map((field) => ({
    insert: `${field}:`,
    text: `${field}:`,
    hint: HINTS[field] ?? "",
  }));

/** @param {string} field @param {string} typed @param {Known} known @returns {Option[]} */
function values(field, typed, known) {
  const start = typed.replace(/[*"]/g, "").toLowerCase();
  /** @param {string[]} names @param {(name: string) => string} hint */
  const named = (names, hint) =>
    // Those that begin so come first, then those that have it within.
    [
      ...names.filter((name) => begins(name, start)),
      ...names.filter((name) => !begins(name, start) && within(name, start)),
    ].map((name) => ({ insert: `${token(field, name)} `, text: name, hint: hint(name) }));
  switch (field) {
    case "status": {
      const before = start.slice(0, start.lastIndexOf(",") + 1);
      return named(
        Object.keys(STATUS_WORDS).map((word) => before + word),
        (word) => (STATUS_WORDS[word.slice(before.length)] ?? []).join(", "),
      );
    }
    case "queue":
      return named(known.queues, () => "queue");
    case "kind":
      return named(known.kinds, () => "kind");
    case "label":
      return named(known.labels, () => "label");
    case "created":
      return AGES.filter(([age]) => age.startsWith(typed)).map(([age, hint]) => ({
        insert: `created:${age} `,
        text: age,
        hint,
      }));
    default:
      return [];
  }
}

/** @param {string} name @param {string} start */
const begins = (name, start) => name.toLowerCase().startsWith(start);
/** @param {string} name @param {string} start */
const within = (name, start) => name.toLowerCase().includes(start);

/** The line and the cursor after an option was taken. @param {string} line @param {Completion} completion @param {Option} option */
export function accept(line, { from, to }, option) {
  const rest = line.slice(to);
  const insert = option.insert.endsWith(" ") && rest.startsWith(" ") ? option.insert.trimEnd() : option.insert;
  return { line: line.slice(0, from) + insert + rest, cursor: from + option.insert.length };
}
