/** How the queues are doing, and what happened to jobs, as values. */

import { Warning_WarningCode } from "./gen/jobqueue/v1/overview_pb.js";
import type * as pb from "./gen/jobqueue/v1/overview_pb.js";
import type * as stats from "./gen/jobqueue/v1/stats_pb.js";
import { dateOf, msOf } from "./jobs.js";

/** What is wrong, or may be. `WARNING_CODE_UNSPECIFIED`: something that this version does not know. */
export type WarningCode = keyof typeof Warning_WarningCode;

/** What happens to jobs, each as a number per second; the names are those of `StatTotals`. */
export interface Flow {
  readonly enqueued: number;
  readonly started: number;
  readonly succeeded: number;
  readonly retried: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly lost: number;
  readonly timedOut: number;
  readonly released: number;
}

/** How many jobs have not ended. */
export interface Depth {
  /** Those that wait and did not fail yet. */
  readonly queued: number;
  /** Those that wait for another attempt. */
  readonly retrying: number;
  readonly running: number;
  /** Of those that wait, the ones that are held back. */
  readonly held: number;
  /** Whether the server stopped counting somewhere, so that there may be more. */
  readonly capped: boolean;
  /** For how long the first of the waiting jobs has been due. Undefined: none is due. */
  readonly oldestDueAgeMs: number | undefined;
}

/** Who paused a queue, when and why. */
export interface QueuePause {
  readonly since: Date | undefined;
  readonly by: string;
  readonly reason: string;
}

/** How a queue is doing. */
export interface QueueOverview {
  readonly queue: string;
  readonly paused: boolean;
  /** Who paused it. Undefined: it is not paused. */
  readonly pause: QueuePause | undefined;
  readonly depth: Depth;
  readonly flow: Flow;
  readonly workers: number;
  readonly slots: number;
  readonly freeSlots: number;
}

/** The sessions of workers of all servers. */
export interface WorkersOverview {
  readonly sessions: number;
  /** Of these, those that are not connected, and may come back. */
  readonly silent: number;
  readonly draining: number;
  readonly slots: number;
  readonly freeSlots: number;
}

/** A server that runs on the database. */
export interface ServerInfo {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly level: number;
  readonly startedAt: Date | undefined;
  readonly heardAt: Date | undefined;
  readonly heartbeatAgeMs: number | undefined;
  /** Whether it is the one that answered. */
  readonly self: boolean;
  readonly sessions: number;
  readonly slots: number;
  readonly freeSlots: number;
}

/** Something that is wrong, or may be, and what would end it. */
export interface OverviewWarning {
  readonly code: WarningCode;
  readonly message: string;
  /** The queue. Empty: it is of no single one. */
  readonly queue: string;
  readonly since: Date | undefined;
  readonly remedy: string;
}

/** How the queues are doing, at most 2 s ago. */
export interface Overview {
  /** When it was so, by the database's clock. */
  readonly readAt: Date | undefined;
  /** Over how much time flows are counted. */
  readonly windowMs: number | undefined;
  /** Of all queues together, as `depth`. */
  readonly flow: Flow;
  readonly depth: Depth;
  /** At most 200, the one whose job has been due for longest first. */
  readonly queues: readonly QueueOverview[];
  /** How many more there are. */
  readonly queuesLeftOut: number;
  readonly workers: WorkersOverview;
  /** All that have not signed off. */
  readonly servers: readonly ServerInfo[];
  /** What is wrong, the worst first. */
  readonly warnings: readonly OverviewWarning[];
}

/** How many jobs or attempts went which way, and how long half and 99 of 100 of them waited and ran at most. */
export interface StatTotals {
  /** Jobs that were stored. */
  readonly enqueued: number;
  /** Attempts that began. */
  readonly started: number;
  /** Jobs that succeeded. */
  readonly succeeded: number;
  /** Attempts that failed, and whose job waits for another one. */
  readonly retried: number;
  /** Jobs that failed for good. */
  readonly failed: number;
  /** Jobs that were cancelled. */
  readonly cancelled: number;
  /** Attempts that were lost with their worker. */
  readonly lost: number;
  /** Attempts that ran into their timeout. */
  readonly timedOut: number;
  /** Attempts that were given back, or never reached a worker. */
  readonly released: number;
  /** Right within a factor of two, as the others. Undefined: there are none. */
  readonly waitP50Ms: number | undefined;
  readonly waitP99Ms: number | undefined;
  readonly runP50Ms: number | undefined;
  readonly runP99Ms: number | undefined;
}

/** A step: where it begins, and what happened in it. */
export interface Point {
  readonly at: Date | undefined;
  readonly totals: StatTotals;
}

/** Statistics of a queue, of a kind, of both, or of all. Steps in which nothing happened are left out. */
export interface Series {
  readonly queue: string;
  readonly kind: string;
  readonly points: readonly Point[];
  readonly totals: StatTotals;
}

/** What happened from `since` on, in steps. */
export interface Stats {
  readonly since: Date | undefined;
  readonly stepMs: number | undefined;
  /** At most 20, those with most jobs first. */
  readonly series: readonly Series[];
  readonly seriesLeftOut: number;
  readonly readAt: Date | undefined;
}

/** How many jobs there are. */
export interface JobCount {
  readonly count: number;
  /** False: there are at least so many. */
  readonly exact: boolean;
  readonly readAt: Date | undefined;
}

/** The overview in an answer. */
export function overviewOf(message: pb.Overview | undefined): Overview {
  if (!message) throw new TypeError("the server answered no overview");
  const { readAt, window, queues, queuesLeftOut, workers, servers, warnings } = message;
  return {
    readAt: dateOf(readAt),
    windowMs: msOf(window),
    flow: flowOf(message.flow),
    depth: depthOf(message.depth),
    queues: queues.map(({ queue, paused, pause, depth, flow, workers, slots, freeSlots }) => ({
      queue,
      paused,
      pause: pause && { since: dateOf(pause.since), by: pause.by, reason: pause.reason },
      depth: depthOf(depth),
      flow: flowOf(flow),
      workers,
      slots,
      freeSlots,
    })),
    queuesLeftOut,
    workers: {
      sessions: workers?.sessions ?? 0,
      silent: workers?.silent ?? 0,
      draining: workers?.draining ?? 0,
      slots: workers?.slots ?? 0,
      freeSlots: workers?.freeSlots ?? 0,
    },
    servers: servers.map(serverOf),
    warnings: warnings.map(({ code, message, queue, since, remedy }) => ({
      code: (Warning_WarningCode[code] as WarningCode | undefined) ?? "WARNING_CODE_UNSPECIFIED",
      message,
      queue,
      since: dateOf(since),
      remedy,
    })),
  };
}

/** A server in an answer. */
export function serverOf(message: pb.Server): ServerInfo {
  const { id, name, version, level, startedAt, heardAt, heartbeatAge, self, sessions } = message;
  return {
    id,
    name,
    version,
    level,
    startedAt: dateOf(startedAt),
    heardAt: dateOf(heardAt),
    heartbeatAgeMs: msOf(heartbeatAge),
    self,
    sessions,
    slots: message.slots,
    freeSlots: message.freeSlots,
  };
}

/** The statistics in an answer. */
export function statsOf(message: stats.QueryStatsResponse): Stats {
  const { since, step, series, seriesLeftOut, readAt } = message;
  return {
    since: dateOf(since),
    stepMs: msOf(step),
    series: series.map(({ queue, kind, points, totals }) => ({
      queue,
      kind,
      points: points.map((each) => ({ at: dateOf(each.at), totals: totalsOf(each.totals) })),
      totals: totalsOf(totals),
    })),
    seriesLeftOut,
    readAt: dateOf(readAt),
  };
}

/** The count in an answer. */
export function countOf({ count, exact, readAt }: stats.CountJobsResponse): JobCount {
  return { count: Number(count), exact, readAt: dateOf(readAt) };
}

function flowOf(message: pb.Flow | undefined): Flow {
  return {
    enqueued: message?.enqueued ?? 0,
    started: message?.started ?? 0,
    succeeded: message?.succeeded ?? 0,
    retried: message?.retried ?? 0,
    failed: message?.failed ?? 0,
    cancelled: message?.cancelled ?? 0,
    lost: message?.lost ?? 0,
    timedOut: message?.timedOut ?? 0,
    released: message?.released ?? 0,
  };
}

function depthOf(message: pb.Depth | undefined): Depth {
  return {
    queued: message?.queued ?? 0,
    retrying: message?.retrying ?? 0,
    running: message?.running ?? 0,
    held: message?.held ?? 0,
    capped: message?.capped ?? false,
    oldestDueAgeMs: msOf(message?.oldestDueAge),
  };
}

function totalsOf(message: stats.StatTotals | undefined): StatTotals {
  return {
    enqueued: Number(message?.enqueued ?? 0),
    started: Number(message?.started ?? 0),
    succeeded: Number(message?.succeeded ?? 0),
    retried: Number(message?.retried ?? 0),
    failed: Number(message?.failed ?? 0),
    cancelled: Number(message?.cancelled ?? 0),
    lost: Number(message?.lost ?? 0),
    timedOut: Number(message?.timedOut ?? 0),
    released: Number(message?.released ?? 0),
    waitP50Ms: msOf(message?.waitP50),
    waitP99Ms: msOf(message?.waitP99),
    runP50Ms: msOf(message?.runP50),
    runP99Ms: msOf(message?.runP99),
  };
}
