// The workers that are connected, on all servers.
import { useAuth } from "../auth.js";
import { useData } from "../data.js";
import { firstWorker } from "../first.js";
import { count } from "../format.js";
import { token } from "../filter.js";
import { html } from "../lib.js";
import { LostJobs, useLost } from "../lost.js";
import { NameFilter } from "../name_filter.js";
import { Empty, Labels, Loaded, Time } from "../parts.js";
import { Link, path, setQuery, url } from "../router.js";
import { Table } from "../table.js";
import { drain, mayDrain, State, takes } from "../workers.js";

/** @param {{query: Record<string, string>}} props */
export default function Workers({ query }) {
  const { name = "", queue = "", state = "" } = query;
  const data = useData("v1/workers", { query: { name, queue, state, page_size: 500, page_token: query["page"] }, every: 2000 });
  useAuth();
  const filtered = name || queue || state;
  const lost = useLost(data.data?.workers ?? (data.data && NONE)).filter((worker) => !state && worker.name.startsWith(name)
    && (!queue || (worker.takes ?? []).some((/** @type {any} */ each) => each.queue === queue)));
  return html`<div class="bar"><h1 tabindex="-1">Workers</h1>
      <${NameFilter} name=${name} />
      <label>Queue <input type="search" value=${queue} onChange=${(/** @type {any} */ event) => setQuery({ queue: event.target.value, page: null })} /></label>
      <label>State <select value=${state} onChange=${(/** @type {any} */ event) => setQuery({ state: event.target.value, page: null })}>
        ${["", "CONNECTED", "DRAINING", "SILENT"].map((each) => html`<option key=${each} value=${each} selected=${each === state}>${each.toLowerCase() || "any"}</option>`)}</select></label></div>
    <${Loaded} data=${data} what="The list of workers">${(/** @type {any} */ answer) => {
      const rows = [...(answer.workers ?? []), ...lost];
      if (!rows.length && filtered) return html`<p class="dim">No worker is like that now. <${Link} to=${url("workers")}>Show all<//></p>`;
      if (!rows.length) return html`<${Empty} title="No worker is connected" code=${firstWorker()}>Jobs wait until one comes. This is a whole worker:<//>`;
      return html`<${Table} caption="Workers" rows=${rows} id=${(/** @type {any} */ row) => row.session_id} columns=${columns(data.reload)}
          to=${placeOf} mark=${(/** @type {any} */ row) => (row.state === "SILENT" || row.state === "LOST" ? "trouble" : "")} />
        ${answer.next_page_token && html`<p><${Link} to=${url("workers", { ...query, page: answer.next_page_token })}>More workers<//></p>`}`;
    }}<//>`;
}

/** @type {any[]} */
const NONE = [];

/** The page of a worker; of one that was lost, the jobs of its queue. @param {any} row */
const placeOf = (row) => (row.state === "LOST" ? url("jobs", { q: row.takes?.length ? `status:waiting ${token("queue", row.takes[0].queue)}` : "status:waiting" }) : url(path("workers", row.session_id)));

/** @param {() => void} reload @returns {import("../table.js").Column<any>[]} */
const columns = (reload) => [
  { name: "Worker", sort: (row) => row.name, cell: (row) => html`<${Link} to=${placeOf(row)}>${row.name || row.session_id}<//>` },
  { name: "State", sort: (row) => row.state, cell: (row) => html`<${State} worker=${row} />` },
  { name: "Held", number: true, hint: "Jobs that it has", sort: (row) => row.held ?? 0, cell: (row) => count(row.held ?? 0) },
  { name: "Free slots", number: true, sort: (row) => row.free_slots ?? 0, cell: (row) => `${count(row.free_slots ?? 0)} of ${count(row.slots ?? 0)}` },
  { name: "Takes", wide: true, cell: (row) => takes(row) },
  { name: "Program", cell: (row) => row.client || "–" },
  { name: "Server", sort: (row) => row.server ?? "", cell: (row) => row.server || "–" },
  { name: "Connected", sort: (row) => row.opened_at, cell: (row) => html`<${Time} at=${row.opened_at} />` },
  { name: "Labels", cell: (row) => html`<${Labels} labels=${row.labels} />` },
  { name: "Change", cell: (row) => row.state === "LOST" ? html`<${LostJobs} jobs=${row.jobs} />` : mayDrain(row) && html`<button type="button" class="small" onClick=${() => drain(row).then(reload)}>Drain…</button>` },
];
