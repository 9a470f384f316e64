// What is going on: four numbers, what is wrong, three charts, and the queues with those in trouble first.
import { Chart } from "../chart.js";
import { Throughput, Waits } from "../charts.js";
import { firstJob } from "../first.js";
import { count, duration, percent, rate, seconds, sentence } from "../format.js";
import { html } from "../lib.js";
import { ended, failing, oldest, useOverview, waiting } from "../overview.js";
import { Band, Empty, Failed, Figure, Status, Time } from "../parts.js";
import { Link, path, url } from "../router.js";
import { lines, NONE, Ranges, rangeOf, useStats, withLive } from "../stats.js";
import { Table } from "../table.js";

const SHOWN = 3;

/** @param {{query: Record<string, string>}} props */
export default function Overview({ query }) {
  const { overview, past, error } = useOverview();
  const range = rangeOf(query);
  const stats = useStats(range);
  const series = stats.data ? lines(stats.data, stats.data.series?.[0]) : NONE;
  const shown = range === "1h" ? withLive(series, past) : series;
  if (!overview) {
    return html`<div class="bar"><h1 tabindex="-1">Overview</h1></div>
      ${error ? html`<${Failed} error=${error} what="The overview" />` : html`<p class="dim loading">Loading…</p>`}
      ${error?.missing && html`<p>The <${Link} to=${url("queues")}>list of queues<//> has what waits and runs.</p>`}`;
  }
  const queues = overview.queues ?? [];
  return html`
    <div class="bar"><h1 tabindex="-1">Overview</h1><${Ranges} range=${range} /></div>
    ${error && error.status !== 0 && html`<${Failed} error=${error} what="The newest overview" />`}
    <${Figures} overview=${overview} />
    <${Warnings} warnings=${overview.warnings ?? []} />
    ${queues.length === 0 && html`<${Empty} title="No jobs yet" code=${firstJob()}>Enqueue one, and it appears here by itself:<//>`}
    ${queues.length > 0 && html`
      ${stats.error && html`<${Failed} error=${stats.error} what="What happened before" />`}
      <div class="charts">
        <${Throughput} lines=${shown} />
        <${Waits} lines=${series} />
        <${Chart} title="Jobs that wait, since this page is open" times=${past.map((each) => each.at / 1000)} show=${count}
          lines=${[{ name: "waiting", tone: "live", values: past.map((each) => waiting(each.depth)) }]} />
      </div>
      <h2>Queues, those in trouble first</h2>
      <${Table} caption="Queues, those in trouble first" rows=${queues} columns=${COLUMNS} id=${(/** @type {any} */ row) => row.queue}
        to=${(/** @type {any} */ row) => url(path("queues", row.queue))} mark=${(/** @type {any} */ row) => (row.paused ? "trouble" : "")} />
      ${overview.queues_left_out > 0 && html`<p class="dim">${count(overview.queues_left_out)} more are <${Link} to=${url("queues")}>in the list of all<//>.</p>`}`}`;
}

/** @param {{overview: any}} props */
function Figures({ overview }) {
  const { depth = {}, flow = {}, workers = {} } = overview;
  const window = `of the last ${duration(seconds(overview.window))}`;
  const held = Number(depth.held ?? 0);
  return html`<dl class="figures">
    <${Figure} name="Waiting" value=${count(waiting(depth), depth.capped)} note=${held ? `now, ${count(held)} of them held back` : "now"} />
    <${Figure} name="Running" value=${count(depth.running ?? 0)} note=${`now, ${count(workers.free_slots ?? 0)} of ${count(workers.slots ?? 0)} slots free`} />
    <${Figure} name="Done" value=${rate(ended(flow))} note=${window} />
    <${Figure} name="Attempts that fail" value=${percent(failing(flow))} note=${window} />
    <${Figure} name="Workers" value=${count(workers.sessions ?? 0)} note=${workers.silent ? `now, ${count(workers.silent)} silent` : "now"} />
  </dl>`;
}

/** Those beyond the third are folded, so that they don't push away what they are about. @param {{warnings: any[]}} props */
function Warnings({ warnings }) {
  const rest = warnings.slice(SHOWN);
  return html`<div class="warnings">${warnings.slice(0, SHOWN).map(warning)}
    ${rest.length > 0 && html`<details><summary>${rest.length} more</summary>${rest.map(warning)}</details>`}</div>`;
}

/** @param {any} each */
const warning = (each) => html`<${Band} key=${each.code + (each.queue ?? "")}>
  <b>${sentence(each.message)}</b>${each.since && html` It began <${Time} at=${each.since} />.`}
  ${" "}${each.queue && html`<${Link} to=${url(path("queues", each.queue))}>${each.queue}<//>`}
  ${each.remedy && html`<span class="rest"> What helps: ${each.remedy}</span>`}<//>`;

/** @type {import("../table.js").Column<any>[]} */
const COLUMNS = [
  { name: "Queue", sort: (row) => row.queue, cell: (row) => html`<${Link} to=${url(path("queues", row.queue))}>${row.queue}<//>` },
  { name: "State", sort: (row) => (row.paused ? 0 : 1), cell: (row) => html`<${Status} of=${row.paused ? "PAUSED" : "OK"} word=${row.paused ? "paused" : "open"} />` },
  { name: "Waiting", number: true, sort: (row) => waiting(row.depth), cell: (row) => count(waiting(row.depth), row.depth?.capped) },
  { name: "Running", number: true, sort: (row) => Number(row.depth?.running ?? 0), cell: (row) => count(row.depth?.running ?? 0) },
  { name: "Oldest due", number: true, hint: "How long the first due job has waited", sort: (row) => oldest(row.depth), cell: (row) => duration(oldest(row.depth)) },
  { name: "In", number: true, hint: "Jobs enqueued a second", sort: (row) => row.flow?.enqueued ?? 0, cell: (row) => rate(row.flow?.enqueued ?? 0) },
  { name: "Done", number: true, hint: "Jobs that ended, a second", sort: (row) => ended(row.flow), cell: (row) => rate(ended(row.flow)) },
  { name: "Failing", number: true, hint: "Of attempts that ended", sort: (row) => failing(row.flow), cell: (row) => percent(failing(row.flow)) },
  { name: "Workers", number: true, sort: (row) => row.workers ?? 0, cell: (row) => count(row.workers ?? 0) },
  { name: "Free slots", number: true, sort: (row) => row.free_slots ?? 0, cell: (row) => (row.slots ? `${count(row.free_slots ?? 0)} of ${count(row.slots)}` : "–") },
];
