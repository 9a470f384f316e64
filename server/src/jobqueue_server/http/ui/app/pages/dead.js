// Jobs that failed for good, in groups of one cause, to be run again when the cause is gone.
import { can, canAnywhere, useAuth } from "../auth.js";
import { BulkDialog } from "../bulk.js";
import { useData } from "../data.js";
import { filterOf, wordsOf } from "../dead.js";
import { readSample } from "../dead_sample.js";
import { say } from "../dialog.js";
import { count } from "../format.js";
import { html, useState } from "../lib.js";
import { Empty, Loaded, Time } from "../parts.js";
import { Link, url } from "../router.js";
import { token } from "../filter.js";
import { Table } from "../table.js";

/** @typedef {import("../dead.js").Group} Group */
/** @typedef {import("../operation.js").Verb} Verb */
/** @typedef {{verb: Verb, filter: object, what: string}} Asked */

const EVERYTHING = { filter: { status: ["FAILED_PERMANENT"] }, what: "All jobs that failed for good, of every queue and kind" };

export default function Dead() {
  useAuth();
  const data = useData("v1/jobs", { read: readSample });
  const [asked, ask] = useState(/** @type {Asked | null} */ (null));
  const closed = (/** @type {import("../operation.js").Progress | null} */ done) => {
    ask(null);
    if (!done) return;
    say(done.done ? `${count(done.changed)} jobs were changed` : "The operation goes on; see the page of operations");
    data.reload();
  };
  const operate = canAnywhere("OPERATE");
  return html`<div class="bar"><h1 tabindex="-1">Dead jobs</h1>
      <button type="button" onClick=${data.reload}>Look again</button>
      ${operate && html`<${Link} to=${url("operations")}>Operations<//>`}</div>
    <${Loaded} data=${data} what="The list of failed jobs">${(/** @type {import("../dead_sample.js").Sample} */ sample) => {
      if (!sample.looked && !sample.more) return html`<${Empty} title="No job has failed for good"><p>Jobs come here when they have no attempts left, or must not be tried again.</p><//>`;
      return html`<p data-dead="looked">${scope(sample)}</p>
        <${Table} caption="Failed jobs by cause" rows=${sample.groups} id=${(/** @type {Group} */ group) => group.key}
          to=${listOf} columns=${columns(ask)} />
        ${operate && html`<p><button type="button" onClick=${() => ask({ verb: "retry", ...EVERYTHING })}>Retry all failed jobs…</button></p>`}`;
    }}<//>
    <div>${asked && html`<${BulkDialog} ...${asked} onClose=${closed} />`}</div>`;
}

/** How many were looked at. @param {import("../dead_sample.js").Sample} sample */
function scope({ looked, more, oldest }) {
  if (!more) return html`All ${count(looked)} failed jobs were looked at.`;
  return html`The newest ${count(looked)} failed jobs were looked at, back to <${Time} at=${oldest} full />; there are older ones.
    The counts are of these. What is done to a group is done to all of it, and is counted first.`;
}

/** @param {Group} group */
const listOf = ({ queue, kind }) => url("jobs", { q: `status:failed ${token("queue", queue)} ${token("kind", kind)}` });

/** @param {(asked: Asked) => void} ask @returns {import("../table.js").Column<Group>[]} */
const columns = (ask) => [
  { name: "Jobs", number: true, hint: "Of those that were looked at", sort: (group) => group.jobs, cell: (group) => count(group.jobs) },
  { name: "Queue", sort: (group) => group.queue, cell: (group) => group.queue },
  { name: "Kind", sort: (group) => group.kind, cell: (group) => html`<${Link} to=${listOf(group)} tabindex=${-1}>${group.kind}<//>` },
  { name: "Reason", sort: (group) => group.reason, cell: (group) => group.reason },
  { name: "Error", sort: (group) => group.errorType, cell: (group) => html`<div class="note-cell" title=${group.error}><b>${group.errorType}</b> ${group.error}</div>` },
  { name: "Newest", hint: "When the newest was enqueued", sort: (group) => group.newest, cell: (group) => html`<${Time} at=${group.newest} />` },
  {
    name: "Change",
    cell: (group) => can("OPERATE", group.queue, group.kind) && html`
      <button type="button" class="small" aria-label=${`Retry: ${wordsOf(group)}`}
        onClick=${() => ask({ verb: "retry", filter: filterOf(group), what: wordsOf(group) })}>Retry…</button>
      <button type="button" class="small danger" aria-label=${`Delete: ${wordsOf(group)}`}
        onClick=${() => ask({ verb: "delete", filter: filterOf(group), what: wordsOf(group) })}>Delete…</button>`,
  },
];
