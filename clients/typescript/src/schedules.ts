/** Schedules, their ticks and their runs, and how they are read from messages and written into them. */

import { create } from "@bufbuild/protobuf";

import { duration, timestamp } from "./convert.js";
import type * as job from "./gen/jobqueue/v1/job_pb.js";
import {
  SchedulePolicySchema,
  SchedulePolicy_CatchUp,
  SchedulePolicy_Overlap,
  ScheduleRun_Cause,
  ScheduleRun_RunOutcome,
  ScheduleSpecSchema,
  ScheduleTick_Rule,
} from "./gen/jobqueue/v1/schedule_pb.js";
import type * as pb from "./gen/jobqueue/v1/schedule_pb.js";
import { newJob } from "./job.js";
import type { NewJob } from "./job.js";
import { dateOf, msOf } from "./jobs.js";
import { newJobOf } from "./newJobs.js";

/**
 * What becomes of a tick while a job of the schedule has not ended. ALLOW: it fires, beside the other. SKIP: it is left
 * out. BUFFER_ONE: it waits for the end of the job, and a later one takes its place.
 */
export type Overlap = "ALLOW" | "SKIP" | "BUFFER_ONE";

/**
 * What becomes of ticks that were missed, since no server or no database was there. LATEST: the newest of them fires. ALL:
 * all of them fire, one after the other; not together with SKIP. NONE: none fires.
 */
export type CatchUp = "LATEST" | "ALL" | "NONE";

/**
 * What clocks that are changed mean for a tick. AFTER_GAP: it is due at a time of day that is left out, and so right after
 * it. FIRST_OF_TWO, SECOND_OF_TWO: its time of day comes twice, and this is the first or the second one. RULE_UNSPECIFIED:
 * nothing, or something that this version does not know.
 */
export type TickRule = keyof typeof ScheduleTick_Rule;

/**
 * What became of a tick, or of a run by hand. FIRED: the job was enqueued, or found by its `unique`. SKIPPED_OVERLAP: a job
 * of the schedule had not ended. SKIPPED_CATCH_UP: it was missed, and is not caught up. SKIPPED_PAUSED_BY_FAILURES: the
 * schedule has been paused by its failures before it came to it. BUFFERED: it waits for the end of a job.
 * REPLACED_IN_BUFFER: it waited, and a later one took its place. REFUSED: the job does not fit any more, for example the
 * schema of its kind; `note` says why. RUN_OUTCOME_UNSPECIFIED: something that this version does not know.
 */
export type RunOutcome = keyof typeof ScheduleRun_RunOutcome;

/**
 * What a run came from. BY_TIME: the time of the schedule itself. BY_HAND: `run`. BY_BACKFILL: `backfill`.
 * CAUSE_UNSPECIFIED: it is by hand or of a backfill, and the server did not tell them apart yet.
 */
export type RunCause = keyof typeof ScheduleRun_Cause;

/** When a schedule is due: by `cron` or by `everyMs`, one of them. */
export interface ScheduleSpec {
  /** A line of cron such as `30 2 * * *`, or up to 20 of them, whose union is meant. Read back: always a list. */
  readonly cron?: string | readonly string[] | undefined;
  /** A tick each time this span is over, 1 s to 400 days, counted from 1970-01-01T00:00:00Z. */
  readonly everyMs?: number | undefined;
  /** Shifts the ticks of `everyMs`, by less than it. */
  readonly phaseMs?: number | undefined;
  /** The time zone of `cron`, such as `Europe/Berlin`. Default: `Etc/UTC`. */
  readonly timeZone?: string | undefined;
  /** It has no tick before. Default: from now on. */
  readonly startsAt?: Date | undefined;
  /** It has no tick at this time or later. Default: for ever. */
  readonly endsAt?: Date | undefined;
  /** Each job may start so long after its tick, at most 1 h. Default: at once. */
  readonly jitterMs?: number | undefined;
}

/** What becomes of ticks that can't simply fire. */
export interface SchedulePolicy {
  /**
   * What becomes of a tick while a job of the schedule has not ended. Default BUFFER_ONE. Undefined in what was read:
   * something that this version does not know.
   */
  readonly overlap?: Overlap | undefined;
  /** How old a tick may be that is caught up, up to 400 days. Default 1 h. */
  readonly catchUpWindowMs?: number | undefined;
  /** What becomes of ticks that were missed. Default LATEST. Undefined in what was read: as of `overlap`. */
  readonly catchUp?: CatchUp | undefined;
  /** After so many failed jobs in a row the schedule is paused, 1..1000. Default: it never is. */
  readonly pauseAfterFailures?: number | undefined;
  /** How many of its runs are kept, 1..10000. Default 100. */
  readonly keepRuns?: number | undefined;
}

/** A time at which a schedule is due. */
export interface ScheduleTick {
  readonly tickAt: Date | undefined;
  /** The same in the schedule's time zone with its offset, such as `2026-10-25T02:30:00+02:00`. */
  readonly localTime: string;
  /** Whether a change of clocks decided it. */
  readonly rule: TickRule;
}

/** What became of a tick, or of several that were skipped together. */
export interface ScheduleRun {
  /** The tick. Of a run by hand: when it was asked for. Of several: the last of them. */
  readonly tickAt: Date | undefined;
  /** 0: it is of the schedule itself. 1 and more: by hand or of a backfill. */
  readonly nth: number;
  readonly decidedAt: Date | undefined;
  readonly outcome: RunOutcome;
  /** The job that it enqueued. Empty: none. */
  readonly jobId: string;
  /** Why, for people. Empty: the outcome says it all. */
  readonly note: string;
  /** How many ticks it stands for. */
  readonly ticks: number;
  readonly cause: RunCause;
}

/** A job, and the times at which it is enqueued, as it was when it was read. */
export interface Schedule {
  readonly name: string;
  readonly spec: ScheduleSpec;
  /**
   * What each tick enqueues. Its payload is in `payloadJson`; undefined: the caller may not see it, or it was read by `list`.
   * Its headers are left out then as well, and `update` refuses it.
   * Where a client with encodings can't decode it, `payload` is an `Encoded`, which says why, and `payloadJson` the envelope.
   */
  readonly job: NewJob;
  readonly policy: SchedulePolicy;
  /** By which schedules can be listed. */
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it has no ticks. */
  readonly paused: boolean;
  /** Why, for people. */
  readonly pauseNote: string;
  /** Its next tick. Undefined: it is paused, or has none any more. */
  readonly nextAt: Date | undefined;
  /** The last tick that was decided. Undefined: there was none yet. */
  readonly lastAt: Date | undefined;
  /** The next 5 ticks, as if it were not paused. Empty in lists. */
  readonly upcoming: readonly ScheduleTick[];
  /** What was decided last. Undefined: nothing, or it is not kept any more. */
  readonly lastRun: ScheduleRun | undefined;
  /** How many jobs it has enqueued. */
  readonly fired: number;
  /** How many ticks in a row did not fire, up to now. */
  readonly skippedInARow: number;
  /** How many of its jobs in a row failed for good, where `policy.pauseAfterFailures` is set. */
  readonly failuresInARow: number;
  /** Its newest jobs, 100 at most, that had not ended at its last tick. */
  readonly openJobIds: readonly string[];
  /** The tick that waits for the end of a job. Undefined: none does. */
  readonly bufferedAt: Date | undefined;
  /** Stands for this version of what callers set. A tick does not change it. */
  readonly etag: string;
  readonly createdAt: Date | undefined;
  /** When a caller changed it last. */
  readonly updatedAt: Date | undefined;
}

/** The label of schedules that `apply` has made: whose they are. */
export const OWNER_LABEL = "jobqueue.owner";

/** A schedule that a program declares, for `Schedules.apply`. */
export interface NewSchedule {
  /** Its name, such as `nightly-report`. */
  readonly name: string;
  /** When it is due. */
  readonly spec: ScheduleSpec;
  /** What each tick enqueues, without a time and an idempotency key. Of a typed kind: `kind.new(payload)`. */
  readonly job: NewJob;
  /** What becomes of ticks that can't simply fire. Default: the defaults. */
  readonly policy?: SchedulePolicy | undefined;
  /** By which schedules can be listed; those of its jobs stand in `job`. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/**
 * What `Schedules.apply` did with a schedule. UNCHANGED: it was as the program declares it. DELETED: the program does not
 * declare it any more.
 */
export type Applied = "CREATED" | "CHANGED" | "UNCHANGED" | "DELETED";

/** What `Schedules.apply` did. */
export interface AppliedSchedule {
  /** The schedule as it is now; one that was deleted, as it was listed before. */
  readonly schedule: Schedule;
  /** What was done with it. */
  readonly done: Applied;
}

/**
 * A spec as a message; an empty one too, so that the server says what it lacks.
 *
 * @throws TypeError A span is no number, or a time no Date.
 */
export function specMessage(spec: ScheduleSpec): pb.ScheduleSpec {
  const { cron = [], timeZone = "", everyMs, phaseMs, jitterMs, startsAt, endsAt } = spec;
  const message = create(ScheduleSpecSchema, {
    cron: typeof cron === "string" ? [cron] : [...cron],
    timeZone,
  });
  if (everyMs !== undefined) message.every = duration(everyMs, "spec.everyMs");
  if (phaseMs !== undefined) message.phase = duration(phaseMs, "spec.phaseMs");
  if (jitterMs !== undefined) message.jitter = duration(jitterMs, "spec.jitterMs");
  if (startsAt !== undefined) message.startsAt = timestamp(startsAt, "spec.startsAt");
  if (endsAt !== undefined) message.endsAt = timestamp(endsAt, "spec.endsAt");
  return message;
}

/** A policy as a message. */
export function policyMessage(policy: SchedulePolicy): pb.SchedulePolicy {
  const { overlap, catchUp, catchUpWindowMs, pauseAfterFailures = 0, keepRuns = 0 } = policy;
  const message = create(SchedulePolicySchema, {
    overlap: overlapNumber(overlap),
    catchUp: named(SchedulePolicy_CatchUp, catchUp, "policy.catchUp", "LATEST"),
    pauseAfterFailures,
    keepRuns,
  });
  if (catchUpWindowMs !== undefined) {
    message.catchUpWindow = duration(catchUpWindowMs, "policy.catchUpWindowMs");
  }
  return message;
}

/** The contract's number; of undefined that of the default. */
export function overlapNumber(overlap: Overlap | undefined): pb.SchedulePolicy_Overlap {
  return named(SchedulePolicy_Overlap, overlap, "overlap", "SKIP");
}

function named<Names extends Record<string, string | number>>(
  names: Names,
  name: string | undefined,
  what: string,
  known: string,
): number {
  const number = name === undefined ? 0 : names[name];
  if (typeof number === "number") return number;
  throw new TypeError(`${what} is ${String(name)}, which is none; one is "${known}", for example`);
}

/**
 * The job of a schedule as a message.
 *
 * @throws TypeError It has a time or an idempotency key, which are the tick's.
 */
export function templateMessage(of: NewJob): job.NewJob {
  if (of.runAt !== undefined || of.delayMs !== undefined) {
    throw new TypeError("job.runAt and job.delayMs can't be given: a tick is the time of its job");
  }
  if (of.idempotencyKey !== undefined) {
    throw new TypeError("job.idempotencyKey can't be given: a tick enqueues one job in any case");
  }
  return newJob(of);
}

/** The schedule in an answer. */
export function scheduleOf(message: pb.Schedule | undefined): Schedule {
  if (!message) throw new TypeError("the server answered no schedule");
  const { name, spec, policy, labels, paused, pauseNote, skippedInARow, failuresInARow, etag } = message;
  return {
    name,
    spec: specOf(spec),
    job: templateOf(message.job),
    policy: policyOf(policy),
    labels,
    paused,
    pauseNote,
    nextAt: dateOf(message.nextAt),
    lastAt: dateOf(message.lastAt),
    upcoming: message.upcoming.map(tickOf),
    lastRun: message.lastRun && runOf(message.lastRun),
    fired: Number(message.fired),
    skippedInARow,
    failuresInARow,
    openJobIds: message.openJobIds,
    bufferedAt: dateOf(message.bufferedAt),
    etag,
    createdAt: dateOf(message.createdAt),
    updatedAt: dateOf(message.updatedAt),
  };
}

/** The tick in an answer. */
export function tickOf({ tickAt, localTime, rule }: pb.ScheduleTick): ScheduleTick {
  const name = ScheduleTick_Rule[rule] as TickRule | undefined;
  return { tickAt: dateOf(tickAt), localTime, rule: name ?? "RULE_UNSPECIFIED" };
}

/** The run in an answer. */
export function runOf(message: pb.ScheduleRun): ScheduleRun {
  const { tickAt, nth, decidedAt, jobId, note, ticks } = message;
  return {
    tickAt: dateOf(tickAt),
    nth,
    decidedAt: dateOf(decidedAt),
    outcome: (ScheduleRun_RunOutcome[message.outcome] as RunOutcome | undefined) ?? "RUN_OUTCOME_UNSPECIFIED",
    jobId,
    note,
    ticks,
    cause: (ScheduleRun_Cause[message.cause] as RunCause | undefined) ?? "CAUSE_UNSPECIFIED",
  };
}

function specOf(message: pb.ScheduleSpec | undefined): ScheduleSpec {
  return {
    cron: message?.cron ?? [],
    everyMs: msOf(message?.every),
    phaseMs: msOf(message?.phase),
    timeZone: message?.timeZone || undefined,
    startsAt: dateOf(message?.startsAt),
    endsAt: dateOf(message?.endsAt),
    jitterMs: msOf(message?.jitter),
  };
}

function policyOf(message: pb.SchedulePolicy | undefined): SchedulePolicy {
  return {
    overlap:
      message && known<Overlap>(SchedulePolicy_Overlap[message.overlap], ["ALLOW", "SKIP", "BUFFER_ONE"]),
    catchUpWindowMs: msOf(message?.catchUpWindow),
    catchUp: message && known<CatchUp>(SchedulePolicy_CatchUp[message.catchUp], ["LATEST", "ALL", "NONE"]),
    pauseAfterFailures: message?.pauseAfterFailures || undefined,
    keepRuns: message?.keepRuns || undefined,
  };
}

function known<T extends string>(name: string | undefined, names: readonly T[]): T | undefined {
  return names.find((each) => each === name);
}

function templateOf(message: job.NewJob | undefined): NewJob {
  if (!message) throw new TypeError("the server answered no job of the schedule");
  const read = newJobOf(message);
  // A payload that is not shown is none of `null`.
  if (message.content.case === undefined) delete read.payloadJson;
  return read;
}
