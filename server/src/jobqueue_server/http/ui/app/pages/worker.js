// One worker and the jobs that it runs.
import { useAuth } from "../auth.js";
import { useData } from "../data.js";
import { count, duration, shortId } from "../format.js";
import { html } from "../lib.js";
import { Band, Figure, Labels, Loaded, Status, Time, useNow } from "../parts.js";
import { Link, path, url } from "../router.js";
import { Table } from "../table.js";
import { drain, mayDrain, State, takes } from "../workers.js";

/** @param {{params: Record<string, string>}} props */
export default function Worker({ params }) {
  const id = params["id"] ?? "";
  const data = useData(`v1/${path("workers", id)}`, { every: 2000 });
  const now = useNow();
  useAuth();
  const worker = data.data;
  const gone = data.error?.status === 404 && data.error.reason;
  return html`<div class="bar"><h1 tabindex="-1">${worker?.name || id}</h1>
      ${worker && mayDrain(worker) && !gone && html`<button type="button" onClick=${() => drain(worker).then(data.reload)}>Drain…</button>`}
      <${Link} to=${url("workers")}>All workers<//></div>
    ${gone && html`<${Band} tone="calm">It has gone: it ended, or it was silent for too long and its jobs went back.${worker ? " This is what it was last." : ""}<//>`}
    <${Loaded} data=${gone ? { ...data, error: null, data: worker ?? {} } : data} what="This worker">${(/** @type {any} */ it) => it.session_id && html`
      ${it.drain && html`<${Band}><b>Drains since <${Time} at=${it.drain.since} />${it.drain.by && ` by ${it.drain.by}`}${it.drain.reason && ` (${it.drain.reason})`}.</b> It gets no more jobs.<//>`}
      <dl class="figures">
        <${Figure} name="State" value=${html`<${State} worker=${it} />`} note=${html`connected <${Time} at=${it.opened_at} />`} />
        <${Figure} name="Held" value=${count(it.held ?? 0)} note="jobs now" />
        <${Figure} name="Free slots" value=${count(it.free_slots ?? 0)} note=${`of ${count(it.slots ?? 0)}`} />
      </dl>
      <dl class="facts">
        <dt>Takes</dt><dd>${takes(it) || "–"}</dd>
        <dt>Program</dt><dd>${it.client || "–"}</dd>
        <dt>Address</dt><dd>${it.address || "–"}</dd>
        <dt>Shows itself as</dt><dd>${it.principal || "–"}</dd>
        <dt>Server</dt><dd>${it.server || "–"}</dd>
        <dt>Session</dt><dd class="mono">${it.session_id}</dd>
        <dt>Labels</dt><dd><${Labels} labels=${it.labels} /></dd>
      </dl>
      <h2>${gone ? "Jobs that it had: each page says what became of it" : "Jobs that it has, the longest first"}</h2>
      ${(it.jobs ?? []).length === 0 ? html`<p class="dim">None now.</p>`
        : html`<${Table} caption="Jobs of this worker" rows=${it.jobs} columns=${columns(now)} id=${(/** @type {any} */ row) => row.job_id}
          to=${(/** @type {any} */ row) => url(path("jobs", row.job_id))} />`}`}<//>`;
}

/** @param {number} now @returns {import("../table.js").Column<any>[]} */
const columns = (now) => [
  { name: "Job", cell: (row) => html`<${Link} class="mono" title=${row.job_id} to=${url(path("jobs", row.job_id))}>${shortId(row.job_id)}<//>` },
  { name: "Queue", cell: (row) => html`<${Link} to=${url(path("queues", row.queue))}>${row.queue}<//>` },
  { name: "Kind", cell: (row) => row.kind },
  { name: "Attempt", number: true, cell: (row) => count(row.attempt ?? 1) },
  { name: "Runs for", number: true, sort: (row) => -Date.parse(row.since), cell: (row) => duration(Math.max(0, Math.round((now - Date.parse(row.since)) / 1000))) },
  { name: "Ends at the latest", cell: (row) => (row.deadline_at ? html`<${Time} at=${row.deadline_at} />` : "no timeout") },
  { name: "Cancel", cell: (row) => row.cancel_requested && html`<${Status} of="DRAINING" word="asked" />` },
];
