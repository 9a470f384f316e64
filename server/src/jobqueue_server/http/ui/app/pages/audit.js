// Who did what, and who was refused. For administrators.
import { useAuth } from "../auth.js";
import { useData } from "../data.js";
import { count } from "../format.js";
import { html } from "../lib.js";
import { mayRead } from "../may.js";
import { Band, Empty, Loaded, Time } from "../parts.js";
import { Link, setQuery, url } from "../router.js";
import { Table } from "../table.js";

const FILTERS = /** @type {const} */ ([
  ["action", "Action", "RetryJobs"],
  ["principal", "Who", "key:0123456789"],
  ["object", "Object", "queue:mail"],
  ["outcome", "Outcome", "NOT_ALLOWED"],
]);

/** @param {{query: Record<string, string>}} props */
export default function Audit({ query }) {
  const { access } = useAuth();
  const admin = mayRead(access, "audit");
  const wanted = Object.fromEntries(FILTERS.map(([name]) => [name, query[name] ?? ""]));
  const data = useData(admin ? "v1/audit" : null, { query: { ...wanted, page_size: 100, page_token: query["page"] ?? "" } });
  const head = html`<div class="bar"><h1 tabindex="-1">Audit</h1></div>`;
  if (access && !admin) return html`${head}<${Band} tone="calm">The audit log is for administrators: it takes ADMIN.<//>`;
  return html`${head}
    <form class="bar" role="search" onSubmit=${submit}>
      ${FILTERS.map(([name, label, example], index) => html`<label key=${name}>${label}
        <input name=${name} data-filter=${index === 0} placeholder=${example} defaultValue=${query[name] ?? ""} /></label>`)}
      <button type="submit">Show</button>
    </form>
    <${Loaded} data=${data} what="The audit log">${(/** @type {any} */ answer) => {
      if (!answer.records.length && !answer.next_page_token) return html`<${Empty} title="Nothing of the kind is in the log" />`;
      return html`<${Table} caption="Audit log, newest first" rows=${answer.records} id=${(/** @type {any} */ row) => row.id} columns=${COLUMNS} />
        ${answer.next_page_token && html`<p><${Link} to=${url("audit", { ...wanted, page: answer.next_page_token })}>Older<//></p>`}`;
    }}<//>`;
}

/** @param {any} event */
function submit(event) {
  event.preventDefault();
  const given = new FormData(event.target);
  setQuery({ ...Object.fromEntries(FILTERS.map(([name]) => [name, String(given.get(name) ?? "").trim()])), page: "" });
}

/** @type {import("../table.js").Column<any>[]} */
const COLUMNS = [
  { name: "When", cell: (row) => html`<${Time} at=${row.occurred_at} full />` },
  { name: "Who", cell: (row) => html`<span class="mono">${row.principal}</span>` },
  { name: "Action", cell: (row) => html`${row.action}${Number(row.count) > 1 ? ` × ${count(row.count)}` : ""}` },
  { name: "Object", cell: (row) => html`<div class="note-cell short mono" title=${row.object}>${row.object}</div>` },
  { name: "Outcome", cell: (row) => (row.outcome === "OK" || !row.outcome ? html`<span class="good">✓ done</span>` : html`<span class="bad">✕ ${row.outcome}</span>`) },
  { name: "Why, what", cell: (row) => html`<div class="note-cell half" title=${detail(row)}>${row.reason ? `${row.reason} ` : ""}${detail(row)}</div>` },
  { name: "From", cell: (row) => `${row.address} ${row.transport}` },
];

/** @param {any} row */
const detail = (row) => Object.entries(row.details ?? {}).map(([name, value]) => `${name}: ${value}`).join(", ");
