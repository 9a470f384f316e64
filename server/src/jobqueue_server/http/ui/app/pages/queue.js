// One queue: what waits and why, how fast it drains, its limits, its keys, and the same by kind.
import { can, useAuth } from "../auth.js";
import { Runs, Throughput, Waits } from "../charts.js";
import { useData } from "../data.js";
import { count, duration, percent, rate, seconds, sentence, words } from "../format.js";
import { html } from "../lib.js";
import { drainTime, ended, useOverview } from "../overview.js";
import { Band, Failed, Figure, Loaded, Time } from "../parts.js";
import { pause, resume } from "../queues.js";
import { Link, path, url } from "../router.js";
import { lines, Ranges, rangeOf, summary, useStats } from "../stats.js";
import { Table } from "../table.js";

/** @param {{params: Record<string, string>, query: Record<string, string>}} props */
export default function Queue({ params, query }) {
  const name = params["name"] ?? "";
  const data = useData(`v1/${path("queues", name)}`, { every: 3000 });
  useAuth();
  const live = (useOverview().overview?.queues ?? []).find((/** @type {any} */ each) => each.queue === name);
  const range = rangeOf(query);
  const paused = data.data?.paused;
  return html`<div class="bar"><h1 tabindex="-1">${name}</h1><${Ranges} range=${range} />
      ${data.data && can("OPERATE", name) && (paused
        ? html`<button type="button" class="primary" onClick=${() => resume(name).then(data.reload)}>Resume</button>`
        : html`<button type="button" onClick=${() => pause(name).then(data.reload)}>Pause…</button>`)}
      <${Link} to=${url("jobs", { q: `queue:${name}` })}>Its jobs<//></div>
    <${Loaded} data=${data} what=${`The queue ${name}`}>${(/** @type {any} */ queue) => html`
      ${queue.paused && html`<${Paused} pause=${live?.pause} />`}
      <${Figures} queue=${queue} live=${live} />
      <${Limited} queue=${queue} />
      <${Charts} name=${name} range=${range} />
      <${Demand} name=${name} />
      ${queue.key_policy && html`<${Keys} name=${name} />`}`}<//>`;
}

/** @param {{pause: any}} props */
const Paused = ({ pause: detail }) => html`<${Band}><b>Paused${detail?.since && html` <${Time} at=${detail.since} />`}${
  detail?.by && ` by ${detail.by}`}${detail?.reason && ` (${detail.reason})`}.</b> No job of it starts until it is resumed.<//>`;

/** @type {Record<string, string>} */
const HELD = { KEY: "for their key", TIME: "until they are due", HAND: "by hand" };

/** @param {{queue: any, live: any}} props */
function Figures({ queue, live }) {
  const of = (/** @type {string} */ status) => (queue.depths ?? []).find((/** @type {any} */ each) => each.status === status) ?? {};
  const [queued, retrying, running] = [of("QUEUED"), of("RETRYING"), of("RUNNING")];
  const held = (queue.held ?? []).map((/** @type {any} */ each) => `${count(each.jobs, each.capped)} ${HELD[each.hold] ?? words(each.hold)}`).join(", ");
  const drains = drainTime(live?.depth, live?.flow);
  return html`<dl class="figures">
    <${Figure} name="Queued" value=${count(queued.jobs ?? 0, queued.capped)} note=${held ? `held back: ${held}` : "now"} />
    <${Figure} name="Retrying" value=${count(retrying.jobs ?? 0, retrying.capped)} note="wait after a failure" />
    <${Figure} name="Running" value=${count(running.jobs ?? 0, running.capped)} note=${running.oldest_age ? `the first for ${duration(seconds(running.oldest_age))}` : "now"} />
    <${Figure} name="Oldest due" value=${duration(seconds(queued.oldest_age))} note="has waited so long" />
    ${live && html`<${Figure} name="In and done" value=${`${rate(live.flow?.enqueued ?? 0)}, ${rate(ended(live.flow))}`} note="of the last seconds" />
      <${Figure} name="Empty in" value=${drains === null ? "–" : drains === Infinity ? "grows" : duration(drains)} note="at this rate" />
      <${Figure} name="Workers" value=${count(live.workers ?? 0)} note=${`${count(live.free_slots ?? 0)} of ${count(live.slots ?? 0)} slots free`} />`}
  </dl>`;
}

/** @param {any} given */
const perTime = (given) => (given ? `${count(given.count)} each ${duration(seconds(given.period))}` : "");

/** What limits it, where something does. @param {{queue: any}} props */
function Limited({ queue }) {
  const policy = queue.key_policy ?? {};
  const facts = [
    ["Run at once", queue.limits?.max_running], ["Start", perTime(queue.limits?.rate)], ["May wait", queue.max_waiting],
    ["Of one key run at once", policy.max_running], ["Of one key start", perTime(policy.rate)],
    ["Order of one key", policy.order && words(policy.order.replace("KEY_ORDER_", ""))], ["Keys take turns", policy.fair && "yes"],
  ].filter(([, value]) => value);
  if (!facts.length) return null;
  return html`<h2>Limits</h2><dl class="facts">${facts.map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${typeof value === "number" ? count(value) : value}</dd>`)}</dl>`;
}

/** @param {{name: string, range: string}} props */
function Charts({ name, range }) {
  const whole = useStats(range, { queue: name });
  const kinds = useStats(range, { queue: name, group_by: "GROUP_BY_KIND" });
  if (whole.error) return html`<${Failed} error=${whole.error} what="What happened in this queue" />`;
  if (!whole.data) return null;
  const made = lines(whole.data, whole.data.series?.[0]);
  const rows = kinds.data?.series ?? [];
  return html`<div class="charts"><${Throughput} lines=${made} /><${Waits} lines=${made} /><${Runs} lines=${made} /></div>
    ${rows.length > 0 && html`<h2>By kind, in this time</h2><${Table} caption="Kinds of this queue" rows=${rows} id=${(/** @type {any} */ row) => row.kind} columns=${BY_KIND} />`}`;
}

/** @type {import("../table.js").Column<any>[]} */
export const BY_KIND = [
  { name: "Kind", sort: (row) => row.kind, cell: (row) => html`<${Link} to=${url("kinds", { name: row.kind })}>${row.kind}<//>` },
  { name: "Enqueued", number: true, sort: (row) => Number(row.totals?.enqueued ?? 0), cell: (row) => count(row.totals?.enqueued ?? 0) },
  { name: "Ended", number: true, sort: (row) => summary(row.totals).ended, cell: (row) => count(summary(row.totals).ended) },
  { name: "Failing", number: true, hint: "Of attempts that ended", sort: (row) => summary(row.totals).failing, cell: (row) => percent(summary(row.totals).failing) },
  { name: "Wait p50", number: true, sort: (row) => seconds(row.totals?.wait_p50), cell: (row) => duration(seconds(row.totals?.wait_p50)) },
  { name: "Wait p99", number: true, sort: (row) => seconds(row.totals?.wait_p99), cell: (row) => duration(seconds(row.totals?.wait_p99)) },
  { name: "Run p50", number: true, sort: (row) => seconds(row.totals?.run_p50), cell: (row) => duration(seconds(row.totals?.run_p50)) },
  { name: "Run p99", number: true, sort: (row) => seconds(row.totals?.run_p99), cell: (row) => duration(seconds(row.totals?.run_p99)) },
];

/** How many slots it wants. @param {{name: string}} props */
function Demand({ name }) {
  const { data } = useData(`v1/${path("queues", name)}:demand`, { every: 10_000 });
  if (!data) return null;
  return html`<h2>What it wants of workers</h2><p>${sentence(data.why)} It could fill ${count(data.wanted_slots ?? 0)} slots; its workers have
    ${" "}${count(data.slots ?? 0)}, ${count(data.free_slots ?? 0)} of them free.${data.more_workers_would_help ? html` <b>More workers would help.</b>` : ""}</p>`;
}

/** The keys for which most jobs wait. @param {{name: string}} props */
function Keys({ name }) {
  const data = useData(`v1/${path("queues", name)}/keys`, { query: { order_by: "waiting desc", page_size: 20 }, every: 10_000 });
  return html`<h2>Keys for which most jobs wait</h2><${Loaded} data=${data} what="The list of keys">${(/** @type {any} */ answer) =>
    (answer.keys ?? []).length === 0
      ? html`<p class="dim">No job waits for its key.</p>`
      : html`<${Table} caption="Keys" rows=${answer.keys} id=${(/** @type {any} */ row) => row.key} columns=${KEYS} />`}<//>`;
}

/** @type {import("../table.js").Column<any>[]} */
const KEYS = [
  { name: "Key", wide: true, cell: (row) => html`<span class="mono">${row.key}</span>` },
  { name: "Waiting", number: true, cell: (row) => count(row.waiting ?? 0) },
  { name: "In line or running", number: true, cell: (row) => count(row.taken ?? 0) },
  { name: "Limit", number: true, cell: (row) => (row.limit ? count(row.limit) : "none") },
  { name: "State", cell: (row) => (row.paused ? "‖ paused" : "") },
];
