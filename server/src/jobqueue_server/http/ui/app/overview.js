// What the whole queue does now: one stream of WatchOverview a tab, shared by all that shows something of it.
import { useStream } from "./data.js";
import { seconds } from "./format.js";
import { createContext, html, useContext, useState } from "./lib.js";

/**
 * @typedef {{queue: string, paused?: boolean, pause?: any, depth?: Depth, flow?: Flow, workers?: number, slots?: number, free_slots?: number}} QueueOverview
 * @typedef {{queued?: string, retrying?: string, running?: string, held?: string, capped?: boolean, oldest_due_age?: string}} Depth
 * @typedef {{enqueued?: number, started?: number, succeeded?: number, retried?: number, failed?: number, cancelled?: number, lost?: number, timed_out?: number, released?: number}} Flow
 * @typedef {{overview: any, at: number, error: import("./api.js").ApiError | null, past: {at: number, depth: Depth, flow: Flow}[]}} Live
 */

/** @type {Live} */
const NOTHING = { overview: null, at: 0, error: null, past: [] };
const Shared = createContext(NOTHING);
// Ten minutes of what came each 2 s.
const KEPT = 300;

/** Follows the overview for all that is in it. @param {{children?: unknown}} props */
export function Live({ children }) {
  const [state, set] = useState(NOTHING);
  const error = useStream("v1/overview:watch", {}, (message) => {
    const overview = message.overview ?? message;
    const at = Date.now();
    set((last) => ({
      ...last, overview, at,
      past: [...last.past.slice(1 - KEPT), { at, depth: overview.depth ?? {}, flow: overview.flow ?? {} }],
    }));
  });
  return html`<${Shared.Provider} value=${{ ...state, error }}>${children}<//>`;
}

/** @returns {Live} */
export const useOverview = () => useContext(Shared);

/** @param {Depth | undefined} depth Of those that wait: due, later or after a failure. */
export const waiting = (depth) => Number(depth?.queued ?? 0) + Number(depth?.retrying ?? 0);

/** @param {Flow | undefined} flow Jobs that ended, a second. */
export const ended = (flow) => (flow?.succeeded ?? 0) + (flow?.failed ?? 0) + (flow?.cancelled ?? 0);

/** Of attempts that ended, how many of a hundred failed, were lost or ran out of time; null: none ended.
 * @param {Flow | undefined} flow */
export function failing(flow) {
  const bad = (flow?.retried ?? 0) + (flow?.failed ?? 0);
  const all = bad + (flow?.succeeded ?? 0);
  return all ? (bad / all) * 100 : null;
}

/** How long a backlog lasts at this net rate, in seconds; Infinity: it grows; null: nothing waits, or it stays as it is.
 * @param {Depth | undefined} depth @param {Flow | undefined} flow */
export function drainTime(depth, flow) {
  const jobs = waiting(depth);
  const net = ended(flow) - (flow?.enqueued ?? 0);
  if (!jobs) return null;
  if (net > 0) return jobs / net;
  return -net > ended(flow) / 20 ? Infinity : null;
}

/** @param {Depth | undefined} depth How long the first due job has waited, in seconds. */
export const oldest = (depth) => seconds(depth?.oldest_due_age);
