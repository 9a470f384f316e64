/** Progress on its way to the server: the newest of each lease, ten times a second at most. */

import { create } from "@bufbuild/protobuf";

import { timers } from "../clock.js";
import { ProgressSchema } from "../gen/jobqueue/v1/lease_pb.js";
import type { Progress } from "../gen/jobqueue/v1/lease_pb.js";
import type { Report } from "./context.js";

const INTERVAL_MS = 100;

/** Gathers what handlers say, so that a chatty one costs no more than a quiet one. */
export class ProgressReports {
  readonly #send: (progress: Progress) => void;
  #newest = new Map<bigint, Progress>();

  constructor(send: (progress: Progress) => void) {
    this.#send = send;
  }

  /** Takes a report; what it does not say stays as it was. */
  put(leaseId: bigint, report: Report): void {
    if (this.#newest.size === 0) timers.setTimeout(() => this.#flush(), INTERVAL_MS);
    let progress = this.#newest.get(leaseId);
    if (progress === undefined) {
      progress = create(ProgressSchema, { leaseId });
      this.#newest.set(leaseId, progress);
    }
    if (report.fraction !== undefined) progress.fraction = report.fraction;
    if (report.message) progress.message = report.message;
    if (report.checkpoint !== undefined) progress.checkpoint = report.checkpoint;
  }

  /** Sends a checkpoint that waits: behind the outcome it would come too late for the next attempt. */
  beforeSettling(leaseId: bigint): void {
    const progress = this.#newest.get(leaseId);
    if (progress?.checkpoint === undefined) return;
    this.#newest.delete(leaseId);
    this.#send(progress);
  }

  #flush(): void {
    const newest = this.#newest;
    this.#newest = new Map();
    for (const progress of newest.values()) this.#send(progress);
  }
}
