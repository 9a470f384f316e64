// One schedule: its next ticks, what became of the last ones, and the job that it enqueues.
import { callText } from "../api.js";
import { useAuth } from "../auth.js";
import { useData } from "../data.js";
import { absolute, count, duration, seconds, shortId, words } from "../format.js";
import { html } from "../lib.js";
import { member, pretty } from "../json.js";
import { Band, Code, Labels, Loaded, Status, Time } from "../parts.js";
import { Link, path, url } from "../router.js";
import { Actions, when } from "../schedules.js";
import { Table } from "../table.js";

/** With the text of the payload as it is stored. @param {string} at @param {any} options */
async function read(at, options) {
  const text = await callText(at, options);
  return { ...JSON.parse(text), payloadText: member(text, "job", "payload") };
}

/** @param {{params: Record<string, string>}} props */
export default function Schedule({ params }) {
  const name = params["name"] ?? "";
  const data = useData(`v1/${path("schedules", name)}`, { every: 5000, read });
  useAuth();
  const schedule = data.data;
  return html`<div class="bar"><h1 tabindex="-1">${name}</h1>
      ${schedule && html`<${Actions} schedule=${schedule} reload=${data.reload} />`}<${Link} to=${url("schedules")}>All schedules<//></div>
    <${Loaded} data=${data} what="This schedule">${(/** @type {any} */ it) => html`
      ${it.paused && html`<${Band}><b>Paused${it.pause_note && ` (${it.pause_note})`}.</b> No tick fires until it is resumed.<//>`}
      <dl class="facts">
        <dt>When</dt><dd class="mono">${when(it.spec)}</dd>
        <dt>Job</dt><dd>${it.job?.kind} in <${Link} to=${url(path("queues", it.job?.queue || "default"))}>${it.job?.queue || "default"}<//></dd>
        ${it.spec?.jitter && html`<dt>Jitter</dt><dd>up to ${duration(seconds(it.spec.jitter))}</dd>`}
        ${words(it.policy?.overlap) && html`<dt>While one runs</dt><dd>${words(it.policy.overlap)}</dd>`}
        ${words(it.policy?.catch_up) && html`<dt>After an outage</dt><dd>${words(it.policy.catch_up)}</dd>`}
        <dt>Fired</dt><dd>${count(it.fired ?? 0)} ${it.fired === "1" ? "time" : "times"}${it.skipped_in_a_row ? `, the last ${count(it.skipped_in_a_row)} ticks were skipped` : ""}</dd>
        <dt>Labels</dt><dd><${Labels} labels=${it.labels} /></dd>
      </dl>
      <h2>Next ticks</h2>
      ${(it.upcoming ?? []).length === 0 ? html`<p class="dim">${it.paused ? "None while it is paused." : "None: it has ended."}</p>`
        : html`<ol>${it.upcoming.map((/** @type {any} */ tick) => html`<li key=${tick.tick_at}><${Time} at=${tick.tick_at} /> – ${tick.local_time || absolute(tick.tick_at)}
          ${words(tick.rule) && html` <span class="label">${words(tick.rule)}</span>`}</li>`)}</ol>`}
      <${Runs} name=${name} />
      ${it.payloadText && html`<h2>Payload</h2><${Code} text=${pretty(it.payloadText)} label="payload" />`}`}<//>`;
}

/** @param {{name: string}} props */
function Runs({ name }) {
  const data = useData(`v1/${path("schedules", name)}/runs`, { query: { page_size: 50 }, every: 5000 });
  return html`<h2>Last ticks</h2><${Loaded} data=${data} what="The list of ticks">${(/** @type {any} */ answer) =>
    (answer.runs ?? []).length === 0 ? html`<p class="dim">None yet.</p>`
      : html`<${Table} caption="Last ticks" rows=${answer.runs} columns=${RUNS} id=${(/** @type {any} */ row) => `${row.tick_at} ${row.nth ?? 0} ${row.outcome}`} />`}<//>`;
}

/** @type {import("../table.js").Column<any>[]} */
const RUNS = [
  { name: "Tick", cell: (row) => html`<${Time} at=${row.tick_at} full />` },
  { name: "Outcome", cell: (row) => html`<${Status} of=${row.outcome} />` },
  { name: "Job", cell: (row) => row.job_id && html`<${Link} class="mono" to=${url(path("jobs", row.job_id))}>${shortId(row.job_id)}<//>` },
  { name: "Ticks", number: true, hint: "More than one: these passed together", cell: (row) => count(row.ticks || 1) },
  { name: "Note", wide: true, cell: (row) => row.note },
];
