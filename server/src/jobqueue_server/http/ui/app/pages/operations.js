// Bulk actions, newest first: how far each is, and a stop.
import { canAnywhere, useAuth } from "../auth.js";
import { useData } from "../data.js";
import { confirm, say } from "../dialog.js";
import { count, words } from "../format.js";
import { html } from "../lib.js";
import { mayRead } from "../may.js";
import { progressOf, resumeOperation, stopOperation } from "../operation.js";
import { Band, Empty, Loaded, Status, Time } from "../parts.js";
import { Link, url } from "../router.js";
import { Table } from "../table.js";

/** @typedef {import("../operation.js").Progress} Progress */

const AGAIN_MS = 2000;
/** @type {Record<string, string>} */
const SIGNS = { WAITING: "QUEUED", RUNNING: "RUNNING", SUCCEEDED: "SUCCEEDED", CANCELLED: "CANCELLED", FAILED: "FAILED_PERMANENT" };

/** @param {{query: Record<string, string>}} props */
export default function Operations({ query }) {
  const { access } = useAuth();
  const may = mayRead(access, "operations");
  const token = query["page"] ?? "";
  const data = useData(may ? "v1/operations" : null, { query: { page_size: 50, page_token: token }, every: token ? 0 : AGAIN_MS });
  const stop = async (/** @type {Progress} */ operation) => {
    const done = await confirm({
      title: "Stop this operation?",
      text: html`<p>${operation.verb}: ${count(operation.changed)} jobs were changed, and stay changed. The others stay as they are.</p>`,
      action: "Stop it",
      danger: true,
      run: () => stopOperation(operation.name),
    });
    if (!done) return;
    say("It stops after the step that it is in");
    data.reload();
  };
  const resume = async (/** @type {Progress} */ operation) => {
    const done = await confirm({
      title: "Take this operation over?",
      text: html`<p>${operation.verb} rests (${operation.restsFor}), since who made it may not do this any more. It goes on in your name.</p>`,
      action: "Take it over",
      danger: true,
      run: () => resumeOperation(operation.name),
    });
    if (!done) return;
    say("It goes on");
    data.reload();
  };
  const head = html`<div class="bar"><h1 tabindex="-1">Operations</h1></div>`;
  if (access && !may) return html`${head}<${Band} tone="calm">Operations are shown to those who may change jobs: it takes OPERATE.<//>`;
  return html`${head}
    <p class="dim">Changes of many jobs that you asked for; an administrator sees those of all.</p>
    <${Loaded} data=${data} what="The list of operations">${(/** @type {any} */ answer) => {
      const rows = answer.operations.map(progressOf);
      if (!rows.length) return html`<${Empty} title="No operation yet"><p>Select jobs on the page <${Link} to=${url("jobs")}>Jobs<//>, or a group on <${Link} to=${url("dead")}>Dead jobs<//>.</p><//>`;
      return html`<${Table} caption="Operations" rows=${rows} id=${(/** @type {Progress} */ row) => row.name} columns=${columns(canAnywhere("OPERATE") ? { stop, resume } : null)} />
        ${answer.next_page_token && html`<p><${Link} to=${url("operations", { page: answer.next_page_token })}>Older operations<//></p>`}`;
    }}<//>`;
}

/** @typedef {(operation: Progress) => void} Change */
/** @param {{stop: Change, resume: Change} | null} may @returns {import("../table.js").Column<Progress>[]} */
const columns = (may) => [
  {
    name: "State",
    cell: (row) =>
      row.restsFor ? html`<${Status} of="QUEUED" word="rests" /> ${row.restsFor}` : html`<${Status} of=${SIGNS[row.state] ?? row.state} word=${words(row.state)} />`,
  },
  { name: "What", cell: (row) => row.verb },
  {
    name: "Progress",
    cell: (row) => html`${!row.done && html`<progress max=${Math.max(1, row.mostJobs || row.estimate)} value=${row.changed + row.skipped} aria-label="Jobs changed"></progress> `}
      ${count(row.changed)} of ${count(row.mostJobs || row.estimate, row.capped && !row.mostJobs)}${row.skipped ? `, ${count(row.skipped)} skipped` : ""}`,
  },
  { name: "Rate", number: true, cell: (row) => (row.perSecond ? `${count(row.perSecond)}/s` : "free") },
  { name: "Which", cell: (row) => html`<div class="note-cell" title=${JSON.stringify(row.filter)}>${filterWords(row.filter)}</div>` },
  { name: "Asked for", cell: (row) => html`<${Time} at=${row.createdAt} />` },
  { name: "Ended", cell: (row) => html`<${Time} at=${row.endedAt} />` },
  { name: "Change", cell: (row) => may && !row.done && html`<button type="button" class="small danger" onClick=${() => may.stop(row)}>Stop…</button>
    ${row.restsFor && html`<button type="button" class="small" onClick=${() => may.resume(row)}>Take over…</button>`}` },
];

/** @param {Record<string, any>} filter */
function filterWords(filter) {
  const parts = Object.entries(filter)
    .filter(([, value]) => (Array.isArray(value) ? value.length : value))
    .map(([name, value]) => (name === "ids" ? `${value.length} ids` : `${name}: ${Array.isArray(value) ? value.join(", ") : value}`));
  return parts.join("; ");
}
