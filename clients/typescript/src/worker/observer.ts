/** Where metrics of a worker come from. */

import { Job_Status } from "../gen/jobqueue/v1/job_pb.js";
import { SettleResult_Verdict as Verdict } from "../gen/jobqueue/v1/lease_pb.js";
import type { Outcome, SettleResult } from "../gen/jobqueue/v1/lease_pb.js";

/** What became of an attempt; these are the words of the server's metrics. */
export type AttemptOutcome =
  | "succeeded"
  /** The job will run again: after a failure that it may have, a snooze or a release. */
  | "retrying"
  | "failed_permanent"
  | "cancelled"
  /** No outcome was taken: the lease was revoked or stale, or the job is gone. */
  | "error";

/** Is told of every attempt. What it throws is logged. */
export interface Observer {
  /** An attempt starts. */
  started?(kind: string): void;
  /** The server has answered the outcome of an attempt, whose handler ran for so many milliseconds. */
  finished?(kind: string, outcome: AttemptOutcome, tookMs: number): void;
}

/** What became of an outcome that was answered; undefined: applied, as it was said. */
export function outcomeOf(outcome: Outcome | undefined, result: SettleResult | undefined): AttemptOutcome {
  const verdict = result?.verdict ?? Verdict.APPLIED;
  if (verdict !== Verdict.APPLIED && verdict !== Verdict.ALREADY_APPLIED) return "error";
  switch (result?.status) {
    case Job_Status.SUCCEEDED:
      return "succeeded";
    case Job_Status.RETRYING:
    case Job_Status.QUEUED:
      return "retrying";
    case Job_Status.FAILED_PERMANENT:
      return "failed_permanent";
    case Job_Status.CANCELLED:
      return "cancelled";
  }
  switch (outcome?.outcome.case) {
    case undefined:
    case "success":
      return "succeeded";
    case "cancellation":
      return "cancelled";
    default:
      return "retrying";
  }
}
