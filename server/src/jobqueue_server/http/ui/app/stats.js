// What happened in the last hours, from QueryStats, as lines of charts.
import { call } from "./api.js";
import { useData } from "./data.js";
import { seconds } from "./format.js";
import { html } from "./lib.js";
import { ended } from "./overview.js";
import { setQuery } from "./router.js";

/** @type {Record<string, [string, number]>} Name, and how many seconds back. */
export const RANGES = { "1h": ["hour", 3600], "6h": ["6 hours", 21600], "24h": ["day", 86400], "7d": ["week", 604800] };

/** @param {{range: string}} props */
export const Ranges = ({ range }) => html`<label>Time <select value=${range} onChange=${(/** @type {any} */ event) => setQuery({ range: event.target.value })}>
  ${Object.entries(RANGES).map(([key, [name]]) => html`<option key=${key} value=${key} selected=${key === range}>the last ${name}</option>`)}</select></label>`;

/** The range that the URL names. @param {Record<string, string>} query */
export const rangeOf = (query) => (query["range"] && query["range"] in RANGES ? query["range"] : "1h");

/**
 * @typedef {{times: number[], enqueued: number[], done: number[], failed: number[], wait_p50: (number | null)[], wait_p99: (number | null)[], run_p50: (number | null)[], run_p99: (number | null)[]}} Lines
 * @param {string} range
 * @param {{queue?: string, kind?: string, group_by?: string, step?: string}} [of]
 */
export function useStats(range, of = {}) {
  const back = RANGES[range]?.[1] ?? 3600;
  return useData("v1/stats", {
    // The default of the server is the last hour. A time would make each call another one, so it is told when it is read.
    query: { ...of, back },
    every: 10_000,
    read: async (path, options) => {
      const { back: before, ...query } = /** @type {any} */ (options.query);
      const since = before === 3600 ? undefined : new Date(Date.now() - before * 1000).toISOString();
      return call(path, { ...options, query: { ...query, since } });
    },
  });
}

/** One series with a point for each step: those in which nothing happened are zero, and have no quantiles.
 * @param {any} answer @param {any} series @returns {Lines} */
export function lines(answer, series) {
  const step = seconds(answer.step) ?? 10;
  const first = Date.parse(answer.since) / 1000;
  const last = Date.parse(answer.read_at) / 1000;
  const points = new Map((series?.points ?? []).map((/** @type {any} */ each) => [Math.round((Date.parse(each.at) / 1000 - first) / step), each.totals]));
  /** @type {Lines} */
  const made = { times: [], enqueued: [], done: [], failed: [], wait_p50: [], wait_p99: [], run_p50: [], run_p99: [] };
  // The newest step has not ended: it would look like a fall.
  for (let index = 0; first + (index + 1) * step <= last && index < 2000; index += 1) {
    /** @type {any} */
    const totals = points.get(index) ?? {};
    made.times.push(first + index * step);
    made.enqueued.push(Number(totals.enqueued ?? 0) / step);
    made.done.push(Number(totals.succeeded ?? 0) / step);
    made.failed.push((Number(totals.failed ?? 0) + Number(totals.retried ?? 0)) / step);
    for (const name of /** @type {const} */ (["wait_p50", "wait_p99", "run_p50", "run_p99"])) made[name].push(seconds(totals[name]));
  }
  return made;
}

/** Of a series: the same, with what came live after its last point. @param {Lines} stats @param {{at: number, flow: any}[]} past @returns {Lines} */
export function withLive(stats, past) {
  const after = stats.times.at(-1) ?? 0;
  const fresh = past.filter((each) => each.at / 1000 > after + 10);
  const none = fresh.map(() => null);
  return {
    times: [...stats.times, ...fresh.map((each) => each.at / 1000)],
    enqueued: [...stats.enqueued, ...fresh.map((each) => each.flow.enqueued ?? 0)],
    done: [...stats.done, ...fresh.map((each) => each.flow.succeeded ?? 0)],
    failed: [...stats.failed, ...fresh.map((each) => (each.flow.failed ?? 0) + (each.flow.retried ?? 0))],
    wait_p50: [...stats.wait_p50, ...none], wait_p99: [...stats.wait_p99, ...none],
    run_p50: [...stats.run_p50, ...none], run_p99: [...stats.run_p99, ...none],
  };
}

/** @type {Lines} */
export const NONE = { times: [], enqueued: [], done: [], failed: [], wait_p50: [], wait_p99: [], run_p50: [], run_p99: [] };

/** Numbers of a whole series. @param {any} totals */
export function summary(totals) {
  const flow = { succeeded: Number(totals?.succeeded ?? 0), failed: Number(totals?.failed ?? 0), retried: Number(totals?.retried ?? 0), cancelled: Number(totals?.cancelled ?? 0) };
  const attempts = flow.succeeded + flow.failed + flow.retried;
  return { ended: ended(flow), failing: attempts ? ((flow.failed + flow.retried) / attempts) * 100 : null, attempts };
}
