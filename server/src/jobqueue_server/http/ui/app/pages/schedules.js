// Schedules: what enqueues jobs by the clock.
import { useAuth } from "../auth.js";
import { useData } from "../data.js";
import { count } from "../format.js";
import { html } from "../lib.js";
import { NameFilter } from "../name_filter.js";
import { Empty, Loaded, Status, Time } from "../parts.js";
import { Link, path, url } from "../router.js";
import { Actions, when } from "../schedules.js";
import { Table } from "../table.js";

/** @param {{query: Record<string, string>}} props */
export default function Schedules({ query }) {
  const name = query["name"] ?? "";
  const data = useData("v1/schedules", { query: { page_size: 500, page_token: query["page"], queue: query["queue"], kind: query["kind"] }, every: 5000 });
  useAuth();
  return html`<div class="bar"><h1 tabindex="-1">Schedules</h1>
      <${NameFilter} name=${name} /></div>
    <${Loaded} data=${data} what="The list of schedules">${(/** @type {any} */ answer) => {
      const all = answer.schedules ?? [];
      const rows = all.filter((/** @type {any} */ each) => each.name.startsWith(name));
      if (!all.length && !query["page"]) return html`<${Empty} title="No schedule yet" code=${"jobqueue schedules create nightly hello --cron '0 3 * * *'"}>A schedule enqueues a job at times that you give:<//>`;
      return html`<${Table} caption="Schedules" rows=${rows} id=${(/** @type {any} */ row) => row.name} columns=${columns(data.reload)}
          to=${(/** @type {any} */ row) => url(path("schedules", row.name))} mark=${(/** @type {any} */ row) => (row.paused ? "trouble" : "")} />
        ${answer.next_page_token && html`<p><${Link} to=${url("schedules", { ...query, page: answer.next_page_token })}>More schedules<//></p>`}`;
    }}<//>`;
}

/** @param {() => void} reload @returns {import("../table.js").Column<any>[]} */
const columns = (reload) => [
  { name: "Schedule", sort: (row) => row.name, cell: (row) => html`<${Link} to=${url(path("schedules", row.name))}>${row.name}<//>` },
  { name: "State", sort: (row) => (row.paused ? 0 : 1), cell: (row) => html`<${Status} of=${row.paused ? "PAUSED" : "OK"} word=${row.paused ? "paused" : "on"} />` },
  { name: "When", cell: (row) => html`<span class="mono">${when(row.spec)}</span>` },
  { name: "Kind", sort: (row) => row.job?.kind ?? "", cell: (row) => row.job?.kind },
  { name: "Queue", sort: (row) => row.job?.queue ?? "", cell: (row) => row.job?.queue || "default" },
  { name: "Next", sort: (row) => row.next_at ?? null, cell: (row) => html`<${Time} at=${row.next_at} />` },
  { name: "Last", sort: (row) => row.last_at ?? null, cell: (row) => html`<${Time} at=${row.last_at} />` },
  { name: "Fired", number: true, sort: (row) => Number(row.fired ?? 0), cell: (row) => count(row.fired ?? 0) },
  { name: "Failed in a row", number: true, sort: (row) => row.failures_in_a_row ?? 0, cell: (row) => count(row.failures_in_a_row ?? 0) },
  { name: "Change", cell: (row) => html`<${Actions} schedule=${row} reload=${reload} />` },
];
