// A job as a request that would enqueue one like it: as JSON, as a line of curl, as a line of the command `jobqueue`.
// What belongs to that one job is left out: its idempotency key, its unique name, its run_at, and headers of its call.

/**
 * @typedef {object} Source
 * @property {string} kind @property {string} queue @property {number} [priority] @property {number} [max_attempts]
 * @property {string} [timeout] @property {{min_backoff?: string, max_backoff?: string}} [retry_policy]
 * @property {Record<string, string>} [labels] @property {Record<string, string>} [headers] @property {string} [key]
 */

const OF_THE_CALL = ["x-request-id", "traceparent", "tracestate"];

/** The headers that the producer gave. @param {Record<string, string>} [headers] @returns {[string, string][]} */
const given = (headers) => Object.entries(headers ?? {}).filter(([name]) => !OF_THE_CALL.includes(name.toLowerCase()));

/** The body of POST /v1/jobs. The payload is put in as its text, so that no digit is lost. @param {Source} job @param {string} payload */
export function bodyOf(job, payload) {
  /** @type {Record<string, unknown>} */
  const rest = {
    kind: job.kind,
    queue: job.queue,
    priority: job.priority || undefined,
    max_attempts: job.max_attempts || undefined,
    timeout: job.timeout,
    retry_policy: job.retry_policy,
    labels: Object.keys(job.labels ?? {}).length ? job.labels : undefined,
    headers: given(job.headers).length ? Object.fromEntries(given(job.headers)) : undefined,
    key: job.key || undefined,
  };
  const members = Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  members.splice(1, 0, `"payload": ${payload || "null"}`);
  return `{${members.join(", ")}}`;
}

/** A text as one word of a shell. @param {string} text */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/**
 * @param {Source} job @param {string} payload @param {string} root The server's address, with a slash at its end.
 * @param {boolean} key Whether the server asks for a key. The key itself is never shown.
 */
export function asCurl(job, payload, root, key) {
  const auth = key ? ' -H "Authorization: Bearer $JOBQUEUE_KEY"' : "";
  return `curl ${quoted(`${root}v1/jobs`)}${auth} --json ${quoted(bodyOf(job, payload))}`;
}

/** @param {Source} job @param {string} payload */
export function asCommand(job, payload) {
  const words = ["jobqueue", "enqueue", job.kind, quoted(payload || "null"), "--queue", job.queue];
  if (job.priority) words.push(`--priority=${job.priority}`);
  if (job.max_attempts) words.push("--max-attempts", String(job.max_attempts));
  if (job.timeout) words.push("--timeout", job.timeout);
  if (job.retry_policy?.min_backoff) words.push("--min-backoff", job.retry_policy.min_backoff);
  if (job.retry_policy?.max_backoff) words.push("--max-backoff", job.retry_policy.max_backoff);
  if (job.key) words.push("--job-key", quoted(job.key));
  for (const [name, value] of Object.entries(job.labels ?? {})) words.push("--label", quoted(`${name}=${value}`));
  for (const [name, value] of given(job.headers)) words.push("--header", quoted(`${name}=${value}`));
  return words.join(" ");
}
