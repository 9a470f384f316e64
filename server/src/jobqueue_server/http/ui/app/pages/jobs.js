// The list of jobs: found by a filter, followed as they change, changed many at once.
import { canAnywhere, useAuth } from "../auth.js";
import { BulkBar } from "../bulk_bar.js";
import { useData } from "../data.js";
import { parse } from "../filter.js";
import { jobFilter, lineOf, listQuery, sentence } from "../filter_api.js";
import { FilterBox } from "../filter_box.js";
import { absolute } from "../format.js";
import { readPage, useLive } from "../jobs_data.js";
import { columns } from "../jobs_table.js";
import { useKey } from "../keys.js";
import { html, useEffect, useMemo, useState } from "../lib.js";
import { Empty, Loaded } from "../parts.js";
import { setting, useSetting } from "../prefs.js";
import { go, Link, path, url } from "../router.js";
import { SavedViews } from "../saved_views.js";
import { Table } from "../table.js";

const AGAIN_MS = 4000;

/** @typedef {import("../jobs_data.js").Job} Job */

/** The names that the page can complete. @param {Job[]} jobs */
function useKnown(jobs) {
  const queues = useData("v1/queues", { query: { page_size: 1000 } }).data;
  const kinds = useData("v1/kinds", { query: { page_size: 1000 } }).data;
  return useMemo(() => {
    const labels = jobs.flatMap((job) => Object.entries(job["labels"] ?? {}).map(([name, value]) => `${name}=${value}`));
    // Kinds need not be declared, so those of the rows count too.
    const named = (/** @type {any[] | undefined} */ list, /** @type {string[]} */ more) =>
      [...new Set([...(list ?? []).map(({ name }) => name), ...more])].sort();
    return {
      queues: named(queues?.queues, jobs.map(({ queue }) => queue)),
      kinds: named(kinds?.kinds, jobs.map(({ kind }) => kind)),
      labels: [...new Set(labels)].sort(),
    };
  }, [queues, kinds, jobs]);
}

/** @param {{query: Record<string, string>}} props */
export default function Jobs({ query }) {
  useAuth();
  const line = lineOf(new URLSearchParams(location.search));
  const token = query["page"] ?? "";
  const filter = useMemo(() => parse(line), [line]);
  // Ages are from one moment on, so that all pages of a list are of the same one.
  const now = useMemo(() => Number(query["at"]) || Date.now(), [line, token]);
  const live = useSetting("live") !== "off";
  const utc = useSetting("utc") === "on";
  const [selected, select] = useState(/** @type {Set<string>} */ (new Set()));
  useEffect(() => select(new Set()), [line, token]);
  useEffect(() => {
    if (filter.id) go(url(path("jobs", filter.id)), { replace: true });
  }, [filter.id]);
  useKey(".", () => setting("live", live ? "off" : ""));

  const ask = filter.problems.length || filter.id ? null : "v1/jobs";
  const wanted = useMemo(() => ({ ...grouped(listQuery(filter, now)), page_token: token }), [filter, now, token]);
  // Rows don't move under a hand that selects, nor on an older page; and what took several calls is not asked for again.
  const [rare, setRare] = useState(false);
  const every = live && !token && !selected.size && !rare ? AGAIN_MS : 0;
  // How far back it looked for the first job of the page.
  const [edge, setEdge] = useState(/** @type {number | null} */ (null));
  useEffect(() => setEdge(null), [wanted]);
  const data = useData(ask, { query: wanted, every, read: (path, options) => readPage(path, options, setEdge) });
  const page = data.data;
  useEffect(() => setRare(page?.rare ?? false), [page?.rare]);
  const jobs = useLive(page?.jobs ?? NONE, live);
  const known = useKnown(jobs);
  const what = sentence(filter, now);
  return html`<article><div class="bar"><h1 tabindex="-1">Jobs</h1>
      <button type="button" class="small" aria-pressed=${live} title="Key: ." onClick=${() => setting("live", live ? "off" : "")}>
        Live ${live ? "on" : "off"}</button></div>
    <${SavedViews} line=${line} />
    <${FilterBox} line=${line} known=${known} onApply=${(/** @type {string} */ next) => go(url("jobs", { q: next }))} />
    <p class="dim" data-jobs="what">${filter.problems.length ? "The filter can't be asked for as it is." : `${what}.`}</p>
    ${ask && !page && !data.error && edge && html`<p class="dim" role="status">No such job since ${absolute(new Date(edge).toISOString(), utc)}. Looking further back.</p>`}
    ${ask && html`<${Loaded} data=${data} what="The list of jobs">${() => html`
      <div><${BulkBar} selected=${selected} filter=${jobFilter(filter, now)} what=${what} onClear=${() => select(new Set())} onDone=${data.reload} /></div>
      <div>${jobs.length ? html`<${Table} caption="Jobs" rows=${jobs} columns=${columns(line)} id=${idOf} to=${linkOf}
          ...${canAnywhere("OPERATE") ? { selected, onSelect: select } : {}} />`
        : html`<${Nothing} line=${line} />`}</div>
      <${Pager} page=${page} line=${line} token=${token} now=${now} />`}<//>`}</article>`;
}

/** @type {Job[]} */
const NONE = [];
const idOf = (/** @type {Job} */ job) => job.id;
const linkOf = (/** @type {Job} */ job) => url(path("jobs", job.id));

/** Parameters that come several times become lists. @param {[string, string][]} pairs */
function grouped(pairs) {
  /** @type {Record<string, string[]>} */
  const made = {};
  for (const [name, value] of pairs) (made[name] ??= []).push(value);
  return made;
}

/** @param {{line: string}} props */
function Nothing({ line }) {
  if (line) return html`<${Empty} title="No job fits the filter"><p>Take a word off, or look at <${Link} to=${url("jobs")}>all jobs<//>.</p><//>`;
  const root = new URL("../", document.baseURI);
  return html`<${Empty} title="No jobs yet" code=${`curl ${root}v1/jobs --json '{"kind": "summarize_text", "payload": {"text": "One says. Two do."}}'`}>
    <p>Enqueue one:</p><//>`;
}

/** Where the list goes on, and how far back it looked. @param {{page: import("../jobs_data.js").Page, line: string, token: string, now: number}} props */
function Pager({ page, line, token, now }) {
  const utc = useSetting("utc") === "on";
  const edge = page.edge && absolute(new Date(page.edge).toISOString(), utc);
  return html`<nav class="pager" aria-label="Pages of the list">
    ${token && html`<${Link} to=${url("jobs", { q: line })}>Newest jobs<//>`}
    ${page.next && html`<${Link} to=${url("jobs", { q: line, page: page.next, at: now })}>Older jobs<//>`}
    <span class="dim">${page.next ? `Looked back to ${edge || "a bound; go on by Older jobs"}` : "There are no older ones."}</span>
  </nav>`;
}
