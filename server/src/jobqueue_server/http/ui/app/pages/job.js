// One job: what it is, what became of it, why it waits, and what can be done.
import { callText } from "../api.js";
import { getKey, useAuth } from "../auth.js";
import { useData, useStream } from "../data.js";
import { Explain } from "../explain.js";
import { duration, seconds } from "../format.js";
import { JobActions } from "../job_actions.js";
import { asCommand, asCurl } from "../job_copy.js";
import { CopyDialog } from "../job_copy_dialog.js";
import { JobStatus } from "../jobs_table.js";
import { member } from "../json.js";
import { JsonView } from "../json_view.js";
import { useKey } from "../keys.js";
import { html, useEffect, useState } from "../lib.js";
import { Band, Code, Copy, Failed, Labels, Time, useNow } from "../parts.js";
import { useSetting, setting } from "../prefs.js";
import { Link, path, url } from "../router.js";
import { ended } from "../timeline.js";
import { Timeline } from "../timeline_view.js";

const RUNNING_MS = 1000;
const SLOW_MS = 10_000;
/** In characters. */
const LARGE = 65_536;

/** @typedef {import("../jobs_data.js").Job} Job */
/** @typedef {{job: Job, payload: string, output: string}} Whole `payload`, `output`: as text. */

/** @param {string} at @param {import("../api.js").Options} options @returns {Promise<Whole>} */
async function readJob(at, options) {
  const text = await callText(at, options);
  return { job: JSON.parse(text), payload: member(text, "payload") ?? "", output: member(text, "output") ?? "" };
}

/** @param {{params: Record<string, string>}} props */
export default function JobPage({ params }) {
  useAuth();
  const id = params["id"] ?? "";
  const live = useSetting("live") !== "off";
  const [every, setEvery] = useState(0);
  const data = useData(`v1/${path("jobs", id)}`, { read: readJob, every: live ? every : 0 });
  const [copying, setCopying] = useState(false);
  const whole = data.data;
  const job = whole?.job;
  useKey(".", () => setting("live", live ? "off" : ""));
  const [gone, setGone] = useState(false);
  // A watch tells of changes of state. Progress is none: while the job runs it is read again, a large payload less often.
  const running = job?.status === "RUNNING";
  const pace = running ? (whole && whole.payload.length > LARGE ? SLOW_MS : RUNNING_MS) : 0;
  useEffect(() => setEvery(pace), [pace]);
  const error = useStream(job && live && !ended(job) && !gone ? "v1/jobs:watch" : null, { ids: [id] }, ({ job: change }) => {
    if (!change) return;
    if (change.status === "STATUS_UNSPECIFIED") return setGone(true);
    if (change.updated_at !== job?.["updated_at"] || change.status !== job?.status) data.reload();
  });
  if (data.error && !whole) {
    return html`<h1 tabindex="-1">Job</h1><p class="mono">${id}</p><${Failed} error=${data.error} what="The job" />
      <p><${Link} to=${url("jobs")}>All jobs<//></p>`;
  }
  // The heading is in the same place as below: it keeps the focus when the job is there.
  if (!whole || !job) return html`<article><div class="bar"><h1 tabindex="-1">Job</h1></div><p class="dim loading">Loading…</p></article>`;
  // Each part that may be missing has an element of its own: so nothing moves when it comes or goes.
  return html`<article>
    <div class="bar"><h1 tabindex="-1">${job.kind}</h1>
      <${JobActions} job=${job} onChange=${data.reload} onCopy=${() => setCopying(true)} /></div>
    <div>${gone && html`<${Band}>This job was deleted. What is shown is the last that was known.<//>`}
      ${data.error && html`<${Failed} error=${data.error} what="The newest state" />`}
      ${error && html`<${Failed} error=${error} what="Changes as they come" />`}</div>
    <${Facts} job=${job} />
    <div>${job.status === "RUNNING" && html`<${Running} job=${job} progress=${job["progress"]} />`}</div>
    <div>${!ended(job) && job.status !== "RUNNING" && html`<${Explain} id=${id} live=${live} />`}</div>
    <${Life} job=${job} />
    <section aria-labelledby="payload"><h2 id="payload">Payload</h2>
      <${JsonView} text=${whole.payload} name="payload" empty="Not shown: the key does not permit payloads." /></section>
    <div>${(whole.output || job.status === "SUCCEEDED") && html`<section aria-labelledby="output"><h2 id="output">Output</h2>
      <${JsonView} text=${whole.output} name="output" empty="The handler gave none." /></section>`}</div>
    <${Headers} headers=${job["headers"]} />
    <section aria-labelledby="again"><h2 id="again">The same again</h2>
      <details><summary>As curl</summary><${Code} text=${asCurl(named(job), whole.payload, rootOf(), getKey() !== "")} label="as curl" /></details>
      <details><summary>As a command</summary><${Code} text=${asCommand(named(job), whole.payload)} label="as a command" /></details>
    </section>
    <div>${copying && html`<${CopyDialog} job=${job} payload=${whole.payload} onClose=${() => setCopying(false)} />`}</div>
  </article>`;
}

/** @param {Job} job @returns {import("../job_copy.js").Source} */
const named = (job) => job;
const rootOf = () => new URL("../", document.baseURI).href;

/** @param {{job: Job}} props */
function Life({ job }) {
  const now = useNow();
  return html`<section aria-labelledby="timeline"><h2 id="timeline">Timeline</h2>
    <${Timeline} job=${/** @type {any} */ (job)} now=${now} /></section>`;
}

/** How far a running attempt is, and whether it is told to stop. @param {{job: Job, progress: any}} props */
function Running({ job, progress }) {
  const share = progress?.fraction;
  return html`<section aria-label="Running attempt" class="running">
    <div>${job["cancel_requested"] && html`<${Band}><span data-job="cancel-asked">Cancel asked. The worker was told, and decides how the attempt ends;
      if it says nothing within the grace, the server ends it.</span><//>`}</div>
    ${progress && html`<p>${share !== undefined && html`<progress max="1" value=${share} aria-label="Progress"></progress> <b>${Math.round(share * 100)} %</b> `}
      ${progress.message} <span class="dim"><${Time} at=${progress.updated_at} /></span></p>`}
  </section>`;
}

/** @param {{job: Job}} props */
function Facts({ job }) {
  /** @type {[string, unknown][]} */
  const facts = [
    ["Status", html`<${JobStatus} job=${job} />${job["reason"] && html` <code>${job["reason"]}</code>`}`],
    ["Id", html`<span class="mono">${job.id}</span> <${Copy} text=${job.id} label="Copy id" />`],
    ["Queue", html`<${Link} to=${url(path("queues", job.queue))}>${job.queue}<//>`],
    ["Enqueued", html`<${Time} at=${job.created_at} full /> <span class="dim">(<${Time} at=${job.created_at} />)</span>`],
    [ended(job) ? "Was due" : "Due", job["run_at"] && html`<${Time} at=${job["run_at"]} full />`],
    ["Ended", job["finished_at"] && html`<${Time} at=${job["finished_at"]} full />`],
    ["Worker", job["locked_by"]],
    ["Attempts", `${job["attempts"]}, of which ${job["failures"]} failed (the job ends at ${job["max_attempts"]})${job["losses"] ? `, ${job["losses"]} lost` : ""}`],
    ["Priority", job["priority"] || null],
    ["Timeout", job["timeout"] && duration(seconds(job["timeout"]))],
    ["Labels", Object.keys(job["labels"] ?? {}).length > 0 && html`<${Labels} labels=${job["labels"]} />`],
    ["Key", job["key"] && html`<span class="mono">${job["key"]}</span>`],
    ["Unique name", job["unique_key"] && html`<span class="mono">${job["unique_key"]}</span>`],
    ["Idempotency key", job["idempotency_key"] && html`<span class="mono">${job["idempotency_key"]}</span>`],
  ];
  return html`<dl class="facts">
    ${facts.filter(([, value]) => value).map(([name, value]) => html`<dt key=${`t${name}`}>${name}</dt><dd key=${name} data-fact=${name}>${value}</dd>`)}
  </dl>`;
}

/** @param {{headers?: Record<string, string>}} props */
function Headers({ headers = {} }) {
  const all = Object.entries(headers);
  if (!all.length) return null;
  return html`<section aria-labelledby="headers"><h2 id="headers">Headers</h2>
    <dl class="facts">${all.map(([name, value]) => html`<dt key=${`t${name}`} class="mono">${name}</dt><dd key=${name} class="mono">${value}</dd>`)}</dl>
  </section>`;
}
