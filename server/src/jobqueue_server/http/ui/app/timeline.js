// The life of a job as spans of time: each wait and each attempt, labelled by what it was. Pure; timeline_view.js draws it.

/**
 * @typedef {object} Attempt
 * @property {number} attempt @property {string} reason @property {string} error_type @property {string} error
 * @property {string} worker @property {string} started_at @property {string} ended_at
 */
/**
 * @typedef {object} Life What is read of a job.
 * @property {string} status @property {string} created_at @property {string} [run_at] @property {string} [locked_at]
 * @property {string} [locked_by] @property {string} [finished_at] @property {string} [hold] @property {number} attempts
 * @property {string} [reason] @property {Attempt[]} [failed_attempts]
 */
/**
 * @typedef {object} Span
 * @property {'wait' | 'run' | 'unknown'} type `unknown`: a wait and then an attempt; when that one began isn't kept.
 * @property {string} label What it was, for people.
 * @property {number} from ms
 * @property {number} to ms; of one that is not over, now or when it is due
 * @property {boolean} open Whether it goes on.
 * @property {'good' | 'bad' | 'lost' | 'plain'} look
 * @property {number} [attempt]
 * @property {string} [worker]
 * @property {string} [error_type]
 * @property {string} [error]
 */

/** A job that may start at once is due a few ms after it was enqueued: that is no wait. */
const AT_ONCE_MS = 100;
const ENDED = ["SUCCEEDED", "FAILED_PERMANENT", "CANCELLED"];

/** @param {{status: string}} job */
export const ended = (job) => ENDED.includes(job.status);
/** @type {Record<string, string>} */
const HOLDS = { KEY: "waits for its key", TIME: "waits for its time", HAND: "held back by hand" };
/** @type {Record<string, string>} */
const WAITS = { HANDLER_FAILED: "backoff", TIMED_OUT: "backoff", SESSION_LOST: "back in line" };

/**
 * The spans, oldest first.
 * @param {Life} job @param {number} now ms, by the database's clock as near as the page knows it
 * @returns {Span[]}
 */
export function spans(job, now) {
  /** @type {Span[]} */
  const made = [];
  let at = ms(job.created_at);
  let label = "waited for a worker";
  /** @param {number} to @param {string} said */
  const wait = (to, said) => {
    if (to > at) made.push({ type: "wait", label: said, from: at, to, open: false, look: "plain" });
  };
  for (const failed of job.failed_attempts ?? []) {
    wait(ms(failed.started_at), label);
    made.push(attemptSpan(failed));
    at = ms(failed.ended_at);
    label = WAITS[failed.reason] ?? "waited";
  }
  if (job.status === "RUNNING") return [...made, ...running(job, at, label, now)];
  if (ended(job)) return [...made, ...lastSpan(job, at)];
  return [...made, ...waiting(job, at, label, now)];
}

/** @param {Attempt} failed @returns {Span} */
const attemptSpan = (failed) => ({
  type: "run",
  label: failed.reason,
  from: ms(failed.started_at),
  to: ms(failed.ended_at),
  open: false,
  look: failed.reason === "SESSION_LOST" ? "lost" : "bad",
  attempt: failed.attempt,
  worker: failed.worker,
  error_type: failed.error_type,
  error: failed.error,
});

/** @param {Life} job @param {number} at @param {string} label @param {number} now @returns {Span[]} */
function running(job, at, label, now) {
  const since = ms(job.locked_at ?? job.run_at ?? job.created_at);
  /** @type {Span} */
  const run = {
    type: "run",
    label: "running",
    from: since,
    to: Math.max(now, since),
    open: true,
    look: "plain",
    attempt: job.attempts,
  };
  if (job.locked_by) run.worker = job.locked_by;
  return since > at ? [{ type: "wait", label, from: at, to: since, open: false, look: "plain" }, run] : [run];
}

/** The span up to the end, which the failed attempts don't tell. @param {Life} job @param {number} at @returns {Span[]} */
function lastSpan(job, at) {
  const to = ms(job.finished_at ?? "");
  const tried = Math.max(0, ...(job.failed_attempts ?? []).map(({ attempt }) => attempt));
  if (!(to > at)) return [];
  if (job.status === "SUCCEEDED" || job.attempts > tried) {
    // The answer of the API has no start of an attempt that succeeded or was cancelled.
    const look = job.status === "SUCCEEDED" ? "good" : "plain";
    return [
      { type: "unknown", label: job.reason || job.status, from: at, to, open: false, look, attempt: job.attempts },
    ];
  }
  return [
    { type: "wait", label: `waited, then ${job.reason || job.status}`, from: at, to, open: false, look: "plain" },
  ];
}

/** @param {Life} job @param {number} at @param {string} label @param {number} now @returns {Span[]} */
function waiting(job, at, label, now) {
  const due = job.run_at ? ms(job.run_at) : at;
  if (job.hold && HOLDS[job.hold])
    return [{ type: "wait", label: HOLDS[job.hold] ?? "", from: at, to: Math.max(now, at), open: true, look: "plain" }];
  if (due > now) {
    const said = job.status === "RETRYING" ? label : "starts later";
    return [{ type: "wait", label: said, from: at, to: due, open: true, look: "plain" }];
  }
  /** @type {Span[]} */
  const made = [];
  if (due > at + AT_ONCE_MS)
    made.push({
      type: "wait",
      label: job.status === "RETRYING" ? label : "was not due",
      from: at,
      to: due,
      open: false,
      look: "plain",
    });
  made.push({
    type: "wait",
    label: "waits for a worker",
    from: Math.max(at, due),
    to: Math.max(now, due),
    open: true,
    look: "plain",
  });
  return made;
}

/**
 * Where each bar stands, in percent of the whole time. The bars are in proportion; one that would be too small to see is
 * drawn by the stylesheet with a smallest width.
 * @param {Span[]} all @returns {{left: number, width: number}[]}
 */
export function bars(all) {
  const first = all[0]?.from ?? 0;
  const whole = Math.max(1, ...all.map(({ to }) => to - first));
  return all.map(({ from, to }) => ({ left: percent((from - first) / whole), width: percent((to - from) / whole) }));
}

/** @param {number} share */
const percent = (share) => Math.round(share * 1e4) / 100;

/** @param {string} time RFC 3339 */
const ms = (time) => Date.parse(time);
