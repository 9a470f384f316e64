/** One lease in this process: from its delivery until its outcome was answered and its handler has ended. */

import { create } from "@bufbuild/protobuf";

import { now } from "../clock.js";
import { HeldLeaseSchema } from "../gen/jobqueue/v1/lease_pb.js";
import type { HeldLease, LeasedJob as Message } from "../gen/jobqueue/v1/lease_pb.js";
import type { JobContext } from "./context.js";
import type { Ending } from "./ending.js";
import type { Attempt } from "./observer.js";

/** Where a lease stands on the way of its outcome. */
export type Place =
  /** No outcome yet. */
  | "running"
  /** Goes with the next Settle frame. */
  | "waiting"
  /** In a Settle frame that was not answered yet. */
  | "sent"
  /** Was told TRY_AGAIN, and waits for its turn. */
  | "heldBack"
  /** Answered, or dropped. */
  | "done";

/** A lease. Only the session changes it. */
export class Lease {
  readonly message: Message;
  readonly context: JobContext;
  ending: Ending | undefined;
  place: Place = "running";
  /** Whether the handler still runs, and so takes up a slot, whatever became of the lease. */
  alive = true;
  /** When it was delivered, as of `now()`, and how long its handler ran, once it has ended. */
  readonly startedAt = now();
  tookMs = 0;
  /** What the handler threw. */
  error: unknown;
  /** The attempt as an observer is told of it. Undefined: there is none. */
  observed: Attempt | undefined;
  /** How often the server has called an outcome of it INVALID. */
  corrections = 0;

  constructor(message: Message, context: JobContext) {
    this.message = message;
    this.context = context;
  }

  get id(): bigint {
    return this.message.leaseId;
  }

  /** Its three numbers, for Resume. */
  held(): HeldLease {
    const { leaseId, id, attempt } = this.message;
    return create(HeldLeaseSchema, { leaseId, jobId: id, attempt });
  }

  /** For logs. */
  toString(): string {
    return `${this.message.kind} ${this.message.id} attempt ${this.message.attempt}`;
  }
}
