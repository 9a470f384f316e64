/** Why a job waits, and what a queue wants. */

import { Reason_Code } from "./gen/jobqueue/v1/insight_pb.js";
import type * as pb from "./gen/jobqueue/v1/insight_pb.js";
import { dateOf, msOf, statusName } from "./jobs.js";
import type { Status } from "./jobs.js";

/** Why a job waits. `CODE_UNSPECIFIED`: something that this version does not know. */
export type ReasonCode = keyof typeof Reason_Code;

/** One reason why a job waits. */
export interface Reason {
  readonly code: ReasonCode;
  /** The same for people. */
  readonly message: string;
  /** What would end it, each enough by itself, such as `ResumeQueue reports`. */
  readonly unblockedBy: readonly string[];
  /** What is known of it, by its `case`; as in the contract. */
  readonly detail: pb.Reason["detail"];
}

/** Why a job waits, or how it runs or ended. */
export interface Explanation {
  readonly jobId: string;
  readonly status: Status;
  /** One sentence: why it waits, and what would start it. */
  readonly summary: string;
  /** What holds it now comes first, then what would hold it next. At least one. */
  readonly reasons: readonly Reason[];
  /** When it can start, if nothing but time is awaited. Undefined: not known. */
  readonly couldStartAt: Date | undefined;
  /** When this was so, by the database's clock. */
  readonly readAt: Date | undefined;
  /** The servers that were not heard. Their workers are left out. */
  readonly unknown: readonly string[];
  /**
   * When it may start, where it waits for its turn alone. Undefined: it waits for something else, or no job of the queue
   * ended in the last minute.
   */
  readonly estimate: Estimate | undefined;
}

/** When a job may start, if the jobs of its queue go on ending as they did in the last minute. */
export interface Estimate {
  /** The jobs that go before it. */
  readonly ahead: number;
  /** Whether the server stopped counting `ahead` at its bound, so that there may be more. */
  readonly capped: boolean;
  /** How many jobs ended in each second of the last minute. */
  readonly endsPerSecond: number;
  /** It hardly starts before this. */
  readonly earliestAt: Date | undefined;
  /** It hardly starts after this. Undefined: too few jobs ended to say so, or `capped`. */
  readonly latestAt: Date | undefined;
}

/** How many slots of workers a queue wants. */
export interface QueueDemand {
  /** The jobs that could start now if there were slots. */
  readonly runnable: number;
  /** Whether the server stopped counting `runnable` at its bound, so that there may be more. */
  readonly capped: boolean;
  /** The jobs that run. */
  readonly running: number;
  /** The jobs that are held back. */
  readonly held: number;
  /** Of these, the jobs that wait for their key. */
  readonly heldByKey: number;
  /** The jobs that are due later. */
  readonly later: number;
  /** The jobs that are due, while the queue is paused. */
  readonly paused: number;
  /** The jobs that are due, and more than the queue lets run. */
  readonly beyondLimit: number;
  /** The sessions that take jobs of the queue. */
  readonly workers: number;
  /** Their slots. */
  readonly slots: number;
  /** Of these, the free ones. */
  readonly freeSlots: number;
  /** For how long the first runnable job has been due. Undefined: there is none. */
  readonly oldestRunnableAgeMs: number | undefined;
  /** How many slots it wants: `running` and `runnable` together. */
  readonly wantedSlots: number;
  /** Whether jobs could run now and no slot is free for them. */
  readonly moreWorkersWouldHelp: boolean;
  /** Why, for people. */
  readonly why: string;
  /** When this was so, by the database's clock. */
  readonly readAt: Date | undefined;
  /** The servers that were not heard. Their workers are left out. */
  readonly unknown: readonly string[];
  /** How many jobs were enqueued in each second of the last minute. */
  readonly arrivalsPerSecond: number;
  /** How many jobs ended in each second of the last minute. */
  readonly endsPerSecond: number;
}

/** The explanation in an answer. */
export function explanationOf(message: pb.ExplainJobResponse): Explanation {
  const { jobId, status, summary, couldStartAt, readAt, unknown } = message;
  const reasons = message.reasons.map(({ code, message, unblockedBy, detail }) => {
    const name = (Reason_Code[code] as ReasonCode | undefined) ?? "CODE_UNSPECIFIED";
    return { code: name, message, unblockedBy, detail };
  });
  return {
    jobId,
    status: statusName(status),
    summary,
    reasons,
    couldStartAt: dateOf(couldStartAt),
    readAt: dateOf(readAt),
    unknown,
    estimate: message.estimate && estimateOf(message.estimate),
  };
}

function estimateOf(message: pb.Estimate): Estimate {
  const { ahead, capped, endsPerSecond, earliestAt, latestAt } = message;
  return { ahead, capped, endsPerSecond, earliestAt: dateOf(earliestAt), latestAt: dateOf(latestAt) };
}

/** The demand in an answer. */
export function demandOf(message: pb.GetQueueDemandResponse): QueueDemand {
  const { runnable, capped, running, held, heldByKey, later, paused, workers, slots, freeSlots } = message;
  const { beyondLimit, oldestRunnableAge, wantedSlots, moreWorkersWouldHelp, why, readAt, unknown } = message;
  const { arrivalsPerSecond, endsPerSecond } = message;
  return {
    runnable,
    capped,
    running,
    held,
    heldByKey,
    later,
    paused,
    beyondLimit,
    workers,
    slots,
    freeSlots,
    oldestRunnableAgeMs: msOf(oldestRunnableAge),
    wantedSlots,
    moreWorkersWouldHelp,
    why,
    readAt: dateOf(readAt),
    unknown,
    arrivalsPerSecond,
    endsPerSecond,
  };
}
