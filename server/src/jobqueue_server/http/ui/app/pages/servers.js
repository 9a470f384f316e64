// The servers of this queue: their versions, whether they are heard, and what they hold.
import { useData } from "../data.js";
import { count, duration, seconds } from "../format.js";
import { html } from "../lib.js";
import { Loaded, Status, Time } from "../parts.js";
import { Table } from "../table.js";

// A server beats each 2 s or so; after this long it looks dead.
const LATE_S = 5;

export default function Servers() {
  const data = useData("v1/servers", { every: 2000 });
  return html`<div class="bar"><h1 tabindex="-1">Servers</h1></div>
    <${Loaded} data=${data} what="The list of servers">${(/** @type {any} */ answer) => html`
      <${Table} caption="Servers" rows=${answer.servers ?? []} columns=${COLUMNS} id=${(/** @type {any} */ row) => row.id}
        mark=${(/** @type {any} */ row) => ((seconds(row.heartbeat_age) ?? 0) > LATE_S ? "trouble" : "")} />`}<//>`;
}

/** @type {import("../table.js").Column<any>[]} */
const COLUMNS = [
  { name: "Server", sort: (row) => row.name, cell: (row) => html`${row.name || row.id}${row.self && html` <span class="label" title="The one that answers this page">this one</span>`}` },
  {
    name: "State", sort: (row) => -(seconds(row.heartbeat_age) ?? 0),
    cell: (row) => {
      const age = seconds(row.heartbeat_age) ?? 0;
      return age > LATE_S ? html`<${Status} of="SILENT" word=${`heartbeat ${duration(Math.floor(age))} old`} />` : html`<${Status} of="OK" word="heard" />`;
    },
  },
  { name: "Version", sort: (row) => row.version, cell: (row) => row.version || "–" },
  { name: "Level", number: true, hint: "What of the schema it knows", cell: (row) => count(row.level ?? 0) },
  { name: "Started", sort: (row) => row.started_at, cell: (row) => html`<${Time} at=${row.started_at} />` },
  { name: "Workers", number: true, sort: (row) => row.sessions ?? 0, cell: (row) => count(row.sessions ?? 0) },
  { name: "Free slots", number: true, sort: (row) => row.free_slots ?? 0, cell: (row) => `${count(row.free_slots ?? 0)} of ${count(row.slots ?? 0)}` },
];
