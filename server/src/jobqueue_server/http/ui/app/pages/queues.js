// All queues: what waits, what runs, who works; pause and resume.
import { can, useAuth } from "../auth.js";
import { useData } from "../data.js";
import { count, duration, rate, seconds } from "../format.js";
import { html } from "../lib.js";
import { NameFilter } from "../name_filter.js";
import { ended, useOverview } from "../overview.js";
import { Empty, Loaded, Status } from "../parts.js";
import { pause, resume } from "../queues.js";
import { Link, path, url } from "../router.js";
import { Table } from "../table.js";
import { firstJob } from "../first.js";
import { Spark } from "../chart.js";
import { lines, useStats } from "../stats.js";

/** @param {any} queue @param {string} status */
const depth = (queue, status) => (queue.depths ?? []).find((/** @type {any} */ each) => each.status === status) ?? {};

/** @param {{query: Record<string, string>}} props */
export default function Queues({ query }) {
  const data = useData("v1/queues", { query: { page_size: 1000 }, every: 5000 });
  useAuth();
  const live = new Map((useOverview().overview?.queues ?? []).map((/** @type {any} */ each) => [each.queue, each]));
  const hour = useHour();
  const named = query["name"] ?? "";
  return html`<div class="bar"><h1 tabindex="-1">Queues</h1>
      <${NameFilter} name=${named} /></div>
    <${Loaded} data=${data} what="The list of queues">${(/** @type {any} */ answer) => {
      const all = answer.queues ?? [];
      const shown = all.filter((/** @type {any} */ each) => each.name.startsWith(named));
      if (!all.length) {
        return html`<${Empty} title="No queue yet" code=${firstJob()}>A queue is there from its first job on. Enqueue one:<//>`;
      }
      return html`<${Table} caption="Queues" rows=${shown} id=${(/** @type {any} */ row) => row.name}
          to=${(/** @type {any} */ row) => url(path("queues", row.name))} columns=${columns(live, hour, data.reload)}
          mark=${(/** @type {any} */ row) => (row.paused ? "trouble" : "")} />
        ${!shown.length && html`<p class="dim">No queue's name begins with ${named}.</p>`}
        ${answer.next_page_token && html`<p class="dim">The first 1,000 queues by name are shown.</p>`}`;
    }}<//>`;
}

/** What ended in each minute of the last hour, by queue: one read for all rows, of the 20 queues with most jobs. */
function useHour() {
  const { data } = useStats("1h", { group_by: "GROUP_BY_QUEUE", step: "60s" });
  return new Map((data?.series ?? []).map((/** @type {any} */ each) => [each.queue, lines(data, each).done]));
}

/** @param {Map<any, any>} live @param {Map<string, number[]>} hour @param {() => void} reload @returns {import("../table.js").Column<any>[]} */
function columns(live, hour, reload) {
  const of = (/** @type {any} */ row) => live.get(row.name);
  const deep = (/** @type {string} */ name, /** @type {string} */ status) => ({
    name,
    number: true,
    sort: (/** @type {any} */ row) => depth(row, status).jobs ?? 0,
    cell: (/** @type {any} */ row) => count(depth(row, status).jobs ?? 0, depth(row, status).capped),
  });
  return [
    { name: "Queue", sort: (row) => row.name, cell: (row) => html`<${Link} to=${url(path("queues", row.name))}>${row.name}<//>` },
    { name: "State", sort: (row) => (row.paused ? 0 : 1), cell: (row) => html`<${Status} of=${row.paused ? "PAUSED" : "OK"} word=${row.paused ? "paused" : "open"} />` },
    deep("Queued", "QUEUED"),
    deep("Retrying", "RETRYING"),
    deep("Running", "RUNNING"),
    {
      name: "Oldest due", number: true, hint: "How long the first due job has waited",
      sort: (row) => seconds(depth(row, "QUEUED").oldest_age), cell: (row) => duration(seconds(depth(row, "QUEUED").oldest_age)),
    },
    { name: "In", number: true, hint: "Jobs enqueued, of the last seconds", sort: (row) => of(row)?.flow?.enqueued ?? null, cell: (row) => rate(of(row) && (of(row).flow?.enqueued ?? 0)) },
    { name: "Done", number: true, hint: "Jobs that ended, of the last seconds", sort: (row) => of(row) ? ended(of(row).flow) : null, cell: (row) => rate(of(row) && ended(of(row).flow)) },
    { name: "Last hour", hint: "Jobs that succeeded in each minute, of the 20 queues with most jobs", cell: (row) => html`<${Hour} values=${hour.get(row.name)} />` },
    { name: "Workers", number: true, sort: (row) => of(row)?.workers ?? null, cell: (row) => count(of(row) && (of(row).workers ?? 0)) },
    {
      name: "Change",
      cell: (row) => can("OPERATE", row.name) && (row.paused
        ? html`<button type="button" class="small" onClick=${() => resume(row.name).then(reload)}>Resume</button>`
        : html`<button type="button" class="small" onClick=${() => pause(row.name).then(reload)}>Pause…</button>`),
    },
  ];
}

/** @param {{values: number[] | undefined}} props Jobs a second, by the minute. */
function Hour({ values }) {
  if (!values) return html`<span class="dim">–</span>`;
  return html`<${Spark} values=${values} label=${`${count(values.reduce((sum, each) => sum + each * 60, 0))} succeeded, at most ${rate(Math.max(0, ...values))}`} />`;
}
