// Kinds: what was declared, how long they run, how often they fail.
import { useData } from "../data.js";
import { Runs, Throughput } from "../charts.js";
import { readErrors } from "../dead_sample.js";
import { count, duration, percent, rate, seconds } from "../format.js";
import { html } from "../lib.js";
import { Code, Empty, Failed, Loaded } from "../parts.js";
import { NameFilter } from "../name_filter.js";
import { Link, path, url } from "../router.js";
import { lines, Ranges, rangeOf, summary, useStats } from "../stats.js";
import { Table } from "../table.js";
import { callText } from "../api.js";
import { items, member, pretty } from "../json.js";

/** Kinds with the texts of their schemas, as they are stored. @param {string} path @param {any} options */
async function readKinds(path, options) {
  const text = await callText(path, options);
  const answer = JSON.parse(text);
  const texts = items(member(text, "kinds") ?? "[]");
  for (const [index, kind] of (answer.kinds ?? []).entries()) kind.schemaText = member(texts[index] ?? "{}", "schema") ?? "";
  return answer;
}

/** @param {{query: Record<string, string>}} props */
export default function Kinds({ query }) {
  const data = useData("v1/kinds", { query: { page_size: 1000 }, every: 15_000, read: readKinds });
  const range = rangeOf(query);
  const stats = useStats(range, { group_by: "GROUP_BY_KIND" });
  const totals = new Map((stats.data?.series ?? []).map((/** @type {any} */ each) => [each.kind, each.totals]));
  const name = query["name"] ?? "";
  return html`<div class="bar"><h1 tabindex="-1">Kinds</h1><${Ranges} range=${range} />
      <${NameFilter} name=${name} /></div>
    ${stats.error && html`<${Failed} error=${stats.error} what="What happened to kinds" />`}
    <${Loaded} data=${data} what="The list of kinds">${(/** @type {any} */ answer) => {
      const all = answer.kinds ?? [];
      const shown = all.filter((/** @type {any} */ each) => each.name.startsWith(name));
      const one = all.find((/** @type {any} */ each) => each.name === name);
      if (!all.length) return html`<${Empty} title="No kind is declared" code="jobqueue kinds put hello">A kind says what payloads are right, and how often jobs are tried:<//>`;
      return html`<${Table} caption="Kinds" rows=${shown} id=${(/** @type {any} */ row) => row.name} columns=${columns(totals)}
          to=${(/** @type {any} */ row) => url("kinds", { name: row.name, range: query["range"] })} />
        ${!shown.length && html`<p class="dim">No kind's name begins with ${name}.</p>`}
        ${one && html`<${Kind} kind=${one} range=${range} />`}`;
    }}<//>`;
}

/** @param {any} policy */
function backoff(policy) {
  if (!policy) return "the default";
  const parts = [policy.min_backoff, policy.max_backoff].filter(Boolean).map((each) => duration(seconds(each)));
  return parts.join(" to ") || "of its own";
}

/** @param {Map<any, any>} totals @returns {import("../table.js").Column<any>[]} */
function columns(totals) {
  const of = (/** @type {any} */ row) => totals.get(row.name);
  return [
    { name: "Kind", sort: (row) => row.name, cell: (row) => html`<${Link} to=${url("kinds", { name: row.name })}>${row.name}<//>` },
    { name: "Payload", cell: (row) => (row.schemaText ? "schema" : "any JSON") },
    { name: "Tries", number: true, hint: "Failures after which a job has failed for good", sort: (row) => row.max_attempts ?? 3, cell: (row) => count(row.max_attempts || 3) },
    { name: "Timeout", number: true, sort: (row) => seconds(row.timeout), cell: (row) => (row.timeout ? duration(seconds(row.timeout)) : "none") },
    { name: "Backoff", cell: (row) => backoff(row.retry_policy) },
    { name: "Slots", number: true, cell: (row) => count(row.slot_weight || 1) },
    { name: "Run at once", number: true, cell: (row) => (row.limits?.max_running ? count(row.limits.max_running) : "no limit") },
    { name: "Ended", number: true, hint: "In the time that is chosen", sort: (row) => summary(of(row)).ended, cell: (row) => count(summary(of(row)).ended) },
    { name: "Failing", number: true, hint: "Of attempts that ended", sort: (row) => summary(of(row)).failing, cell: (row) => percent(summary(of(row)).failing) },
    { name: "Run p50", number: true, sort: (row) => seconds(of(row)?.run_p50), cell: (row) => duration(seconds(of(row)?.run_p50)) },
    { name: "Run p99", number: true, sort: (row) => seconds(of(row)?.run_p99), cell: (row) => duration(seconds(of(row)?.run_p99)) },
  ];
}

/** One kind, below the list. @param {{kind: any, range: string}} props */
function Kind({ kind, range }) {
  const stats = useStats(range, { kind: kind.name });
  const made = stats.data && lines(stats.data, stats.data.series?.[0]);
  const limit = kind.limits?.rate;
  return html`<h2>${kind.name}</h2>
    ${limit && html`<p>At most ${count(limit.count)} start each ${duration(seconds(limit.period))}, ${rate(limit.count / (seconds(limit.period) || 1))}.</p>`}
    ${made && html`<div class="charts"><${Throughput} lines=${made} /><${Runs} lines=${made} /></div>`}
    <p><${Link} to=${url("jobs", { q: `kind:${kind.name}` })}>Jobs of this kind<//></p>
    <${Errors} name=${kind.name} />
    ${kind.schemaText && html`<h3>Schema of its payload</h3><${Code} text=${pretty(kind.schemaText)} label="schema" />`}`;
}

/** How its attempts failed, as a sample says: no counter has types of errors. @param {{name: string}} props */
function Errors({ name }) {
  const data = useData("v1/jobs", { query: { kind: name }, read: readErrors });
  return html`<h3>How attempts fail</h3><${Loaded} data=${data} what="The list of failed jobs">${(/** @type {Awaited<ReturnType<typeof readErrors>>} */ sample) => html`
    <p class="dim">${sample.looked === 0 ? "No job of it waits after a failure or has failed for good."
      : `Of ${sample.more ? "the newest" : "all"} ${count(sample.looked)} jobs that wait after a failure or have failed for good.`}</p>
    ${sample.errors.length > 0 && html`<${Table} caption="Types of errors" rows=${sample.errors} columns=${ERRORS} id=${(/** @type {any} */ row) => row.type} />`}`}<//>`;
}

/** @type {import("../table.js").Column<any>[]} */
const ERRORS = [
  { name: "Error", sort: (row) => row.type, cell: (row) => html`<b>${row.type}</b>` },
  { name: "Attempts", number: true, sort: (row) => row.attempts, cell: (row) => count(row.attempts) },
  { name: "Jobs", number: true, sort: (row) => row.jobs, cell: (row) => count(row.jobs) },
  { name: "Newest", cell: (row) => html`<${Link} to=${url(path("jobs", row.example))}><div class="note-cell" title=${row.error}>${row.error || "the job"}</div><//>` },
];
