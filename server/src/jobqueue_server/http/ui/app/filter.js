// The grammar of the filter of jobs: a line of tokens, such as `status:failed queue:mail created:<2h`, and what it means for
// the API. A token that ListJobs can't serve is a problem with a sentence; nothing is left out in silence.

/** @typedef {{op: '<' | '>' | '', text: string, age?: number, from?: number, until?: number}} Created */
/** @typedef {{field: string, value: string, at: number, end: number, raw: string}} Token */
/** @typedef {{at: number, end: number, message: string}} Problem */
/**
 * @typedef {object} Filter
 * @property {string} queue
 * @property {string} kind
 * @property {string} id
 * @property {string[]} status The names of the API.
 * @property {string[]} labels Each `name=value`.
 * @property {Created[]} created
 * @property {Problem[]} problems Empty: the filter can be asked for.
 */

export const FIELDS = ["status", "queue", "kind", "label", "created", "id"];

/** What each word stands for. @type {Record<string, string[]>} */
export const STATUS_WORDS = {
  queued: ["QUEUED"],
  running: ["RUNNING"],
  retrying: ["RETRYING"],
  succeeded: ["SUCCEEDED"],
  failed: ["FAILED_PERMANENT"],
  cancelled: ["CANCELLED"],
  waiting: ["QUEUED", "RETRYING"],
  ended: ["SUCCEEDED", "FAILED_PERMANENT", "CANCELLED"],
};
const NAME = /^[a-z0-9][a-z0-9_.-]{0,127}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const DAY = /^\d{4}-\d\d-\d\d$/;
const MOMENT = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|z|[+-]\d\d:\d\d)?$/;
const UNITS = /** @type {Record<string, number>} */ ({ s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 });

/** The tokens of a line. Blanks part them, but not within double quotes. @param {string} line @returns {Token[]} */
export function tokens(line) {
  const found = [];
  for (const match of line.matchAll(/(?:"(?:\\.|[^"\\])*"?|[^\s"])+/g)) {
    const raw = match[0];
    const colon = raw.indexOf(":");
    const named = colon > 0 && /^-?[a-z_]+$/i.test(raw.slice(0, colon));
    const field = named ? raw.slice(0, colon).toLowerCase() : "";
    const value = unquoted(named ? raw.slice(colon + 1) : raw);
    found.push({ field, value, raw, at: match.index, end: match.index + raw.length });
  }
  return found;
}

/** @param {string} text */
const unquoted = (text) => text.replace(/"((?:\\.|[^"\\])*)"?/g, (_, inner) => inner.replace(/\\(.)/g, "$1"));

/** A token as it is typed. @param {string} field @param {string} value */
export const token = (field, value) =>
  `${field}:${/[\s"]/.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value}`;

/** How long a text such as `90s` or `1h30m` is, in ms; null: it is none. @param {string} text */
export function ageOf(text) {
  if (!/^(\d+(\.\d+)?[smhdw])+$/.test(text)) return null;
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)([smhdw])/g))
    sum += Number(number) * (UNITS[unit ?? ""] ?? 0);
  return sum;
}

/** What a line means. @param {string} line @returns {Filter} */
export function parse(line) {
  /** @type {Filter} */
  const filter = { queue: "", kind: "", id: "", status: [], labels: [], created: [], problems: [] };
  for (const found of tokens(line)) {
    const message = take(filter, found);
    if (message) filter.problems.push({ at: found.at, end: found.end, message });
  }
  return filter;
}

/** Adds a token to the filter, or says why it can't be. @param {Filter} filter @param {Token} found @returns {string} */
function take(filter, { field, value, raw }) {
  if (raw.startsWith("-")) return `${raw}: jobs can't be listed by what they are not; name the statuses that you want`;
  if (!field && UUID.test(value.toLowerCase())) return one(filter, "id", value.toLowerCase());
  if (!field) return `${raw}: say what it is: queue:${raw}, kind:${raw}, label:name=${raw} or id:${raw}`;
  if (!FIELDS.includes(field)) return unknown(field);
  if (!value) return `${field}: has no value yet`;
  switch (field) {
    case "status":
      return takeStatus(filter, value);
    case "label":
      return takeLabel(filter, value);
    case "created":
      return takeCreated(filter, value);
    case "id":
      if (UUID.test(value.toLowerCase())) return one(filter, "id", value.toLowerCase());
      return `id:${value}: an id is whole, such as 01a20e73-0f01-7256-8792-b71999e1b2bb; jobs are not found by parts of it`;
    default:
      return takeName(filter, field === "queue" ? "queue" : "kind", value);
  }
}

/** @param {string} field */
function unknown(field) {
  if (["reason", "error", "error_type"].includes(field))
    return `${field}: jobs can't be listed by it; the page Dead groups failed jobs by reason and error`;
  if (["payload", "output", "key", "worker", "priority"].includes(field))
    return `${field}: no index serves it, so jobs can't be listed by it; give the job a label when it is enqueued`;
  return `${field}: is not a field; there are ${FIELDS.join(", ")}`;
}

/** @param {Filter} filter @param {'queue' | 'kind' | 'id'} field @param {string} value */
function one(filter, field, value) {
  if (filter[field] && filter[field] !== value)
    return `${field}:${value}: jobs are listed by one ${field} at a time, and ${field}:${filter[field]} is there already`;
  filter[field] = value;
  return "";
}

/** @param {Filter} filter @param {'queue' | 'kind'} field @param {string} value */
function takeName(filter, field, value) {
  if (value.includes("*"))
    return `${field}:${value}: jobs are listed by a whole ${field}, not by its beginning; choose one of the suggestions`;
  if (!NAME.test(value)) return `${field}:${value}: a ${field} has small letters, digits, and _ . - after the first`;
  return one(filter, field, value);
}

/** @param {Filter} filter @param {string} value */
function takeStatus(filter, value) {
  for (const word of value.toLowerCase().split(",").filter(Boolean)) {
    const names = STATUS_WORDS[word] ?? Object.values(STATUS_WORDS).find(([name]) => name?.toLowerCase() === word);
    if (!names) return `status:${word}: is not a status; there are ${Object.keys(STATUS_WORDS).join(", ")}`;
    for (const name of names) if (!filter.status.includes(name)) filter.status.push(name);
  }
  return "";
}

/** @param {Filter} filter @param {string} value */
function takeLabel(filter, value) {
  if (value.indexOf("=") < 1) return `label:${value}: a label is name=value, such as label:tenant=7`;
  if (filter.labels.length >= 32 && !filter.labels.includes(value)) return `label:${value}: at most 32 labels`;
  if (!filter.labels.includes(value)) filter.labels.push(value);
  return "";
}

/** @param {Filter} filter @param {string} value */
function takeCreated(filter, value) {
  const op = /** @type {'<' | '>' | ''} */ (/^[<>]/.exec(value)?.[0] ?? "");
  const text = value.slice(op.length).replace(/^=/, "");
  const age = ageOf(text);
  if (age !== null && !op)
    return `created:${value}: write created:<${text} for the last ${text}, or created:>${text} for older jobs`;
  if (age !== null) {
    filter.created.push({ op, text, age });
    return "";
  }
  const day = DAY.test(text);
  const from = momentOf(text);
  if (Number.isNaN(from) || (!op && !day))
    return `created:${value}: write an age such as <2h or >3d, a day such as 2026-11-27, or < or > and a time such as 2026-11-27T10:00Z`;
  filter.created.push({ op, text, from, until: day ? from + 864e5 : from });
  return "";
}

/** A day or a time, in ms; NaN: it is none. Without a zone it is of UTC. @param {string} text */
export function momentOf(text) {
  if (DAY.test(text)) return Date.parse(text);
  if (!MOMENT.test(text)) return NaN;
  const joined = text.toUpperCase().replace(" ", "T");
  return Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(joined) ? joined : `${joined}Z`);
}
