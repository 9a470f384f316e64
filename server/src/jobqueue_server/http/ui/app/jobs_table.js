// The columns of a list of jobs.
import { headOf } from "./error_text.js";
import { toggled } from "./filter_api.js";
import { html } from "./lib.js";
import { Status, Time } from "./parts.js";
import { Link, path, url } from "./router.js";
import { ended } from "./timeline.js";

/** @typedef {import("./jobs_data.js").Job} Job */

/** @type {Record<string, string>} */
const HELD = { KEY: "waits for its key", TIME: "waits for its time", HAND: "held back" };

/** The state of a job in words: what was asked of it and what holds it count too. @param {{job: Job}} props */
export function JobStatus({ job }) {
  if (job.status === "DELETED") return html`<${Status} of="CANCELLED" word="deleted" />`;
  if (job.status === "RUNNING" && job["cancel_requested"]) return html`<${Status} of="DRAINING" word="cancel asked" />`;
  if (!ended(job) && HELD[job["hold"]]) return html`<${Status} of="HELD" word=${HELD[job["hold"]]} />`;
  return html`<${Status} of=${job.status} />`;
}

/** @param {Job} job */
const notDue = (job) => !ended(job) && job.status !== "RUNNING" && Date.parse(job["run_at"]) > Date.now() + 1000;

/** The link to a job. In a table the row itself is what the keyboard opens. @param {{id: string, tab?: number, children?: unknown}} props */
export const JobLink = ({ id, tab, children }) =>
  html`<${Link} to=${url(path("jobs", id))} class="mono" tabindex=${tab} title=${id}>${children ?? id}<//>`;

/** The newest word on a job: its error, its progress, or its labels. @param {{job: Job}} props */
function Note({ job }) {
  const { progress, last_error: error, labels, reason, losses } = job;
  if (job.status === "RUNNING" && progress) {
    const { fraction, message } = progress;
    return html`${fraction !== undefined && html`<progress max="1" value=${fraction} aria-label="Progress"></progress> ${Math.round(fraction * 100)} % `}${message}`;
  }
  const marks = Object.entries(labels ?? {}).map(([name, value]) => html`<span class="label" key=${name}>${name}=${value}</span>`);
  const [line] = headOf(job.status === "SUCCEEDED" ? "" : String(error ?? ""));
  const due = notDue(job) && html`<span class="dim">due <${Time} at=${job["run_at"]} /> </span>`;
  const lost = !ended(job) && losses > 0 && html`<span class="warn">lost its worker${losses > 1 ? ` ${losses} times` : ""} </span>`;
  return html`${due}${marks}${lost}${line ? html`<span title=${error}>${line}</span>` : reason && html`<span class="dim">${reason}</span>`}`;
}

/** A value of a row, which a click puts into the filter or takes off. @param {string} line @param {string} field @param {string} value */
const Value = (line, field, value) =>
  html`<${Link} to=${url("jobs", { q: toggled(line, field, value) })} class="plain" tabindex=${-1} title=${`${field}:${value} in the filter`}>${value}<//>`;

/** @param {string} line The filter. @returns {import("./table.js").Column<Job>[]} */
export const columns = (line) => [
  { name: "Status", cell: (job) => html`<${JobStatus} job=${job} />` },
  { name: "Kind", cell: (job) => Value(line, "kind", job.kind) },
  { name: "Queue", cell: (job) => Value(line, "queue", job.queue) },
  { name: "Job", cell: (job) => html`<${JobLink} id=${job.id} tab=${-1}>…${job.id.slice(-12)}<//>` },
  { name: "Enqueued", cell: (job) => html`<${Time} at=${job.created_at} />` },
  { name: "Changed", hint: "When its state last changed", cell: (job) => html`<${Time} at=${job["updated_at"]} />` },
  {
    name: "Failures", number: true, hint: "Failed attempts, and after how many the job ends",
    cell: (job) => `${job["failures"] ?? 0}/${job["max_attempts"] ?? "?"}`,
  },
  { name: "Last error, progress, labels", cell: (job) => html`<div class="note-cell"><${Note} job=${job} /></div>` },
];
