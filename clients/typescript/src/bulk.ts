/** Changes of many jobs at once: which ones, and the calls that make the operations. */

import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { CallOptions, Client as Stub, Transport } from "@connectrpc/connect";

import { labelList } from "./calling.js";
import type { Calling } from "./calling.js";
import type { Call } from "./calls.js";
import { duration, statusNumber, timestamp } from "./convert.js";
import { Bulk, JobFilterSchema } from "./gen/jobqueue/v1/bulk_pb.js";
import type * as pb from "./gen/jobqueue/v1/bulk_pb.js";
import type { Status } from "./jobs.js";
import { operationOf } from "./operations.js";
import type { Operation } from "./operations.js";

/** Which jobs to change. What is given must all match; a filter of which nothing is given is refused. */
export interface JobFilter {
  /** These jobs, 1000 at most. An empty list is no condition. */
  readonly ids?: readonly string[] | undefined;
  /** Of this queue. */
  readonly queue?: string | undefined;
  /** Of this kind. */
  readonly kind?: string | undefined;
  /**
   * With this status, or one of these. Default: for a retry FAILED_PERMANENT or CANCELLED, for a cancel any that has not
   * ended, for a delete any that has, for an update QUEUED or RETRYING.
   */
  readonly status?: Status | readonly Status[] | undefined;
  /** With all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Enqueued at this time or later. */
  readonly createdAfter?: Date | undefined;
  /** Enqueued before this time. */
  readonly createdBefore?: Date | undefined;
  /** Ended at this time or later. */
  readonly endedAfter?: Date | undefined;
  /** Ended before this time. */
  readonly endedBefore?: Date | undefined;
  /** Ended for this reason, or one of these, such as ATTEMPTS_EXHAUSTED. */
  readonly reason?: string | readonly string[] | undefined;
  /** The last attempt that failed did so with an error of this type. */
  readonly errorType?: string | undefined;
  /** All jobs, if nothing else is given. Default false. */
  readonly everything?: boolean | undefined;
}

/** How to change many jobs. */
export interface BulkOptions extends Call {
  /** Do it. Without it nothing changes, and the answer has how many match and some of them. Default false. */
  force?: boolean | undefined;
  /** How many jobs a second. Default: as fast as the service takes it. */
  perSecond?: number | undefined;
  /** After so many it is done. Default: after all. */
  maxJobs?: number | undefined;
  /**
   * A text of your own: the same call again is answered the operation of the first. Without one a call with `force` is not
   * tried again when the server is away.
   */
  requestId?: string | undefined;
  /** How many should match, as the dry run said. More than a tenth off, nothing is changed. Default: any number. */
  expected?: number | undefined;
}

/** When changed jobs may start. */
interface StartOptions {
  /** The earliest time at which they start. Not together with `delayMs`. */
  runAt?: Date | undefined;
  /** How long after the change each may start. 0: now. */
  delayMs?: number | undefined;
  /** Draws each start evenly from so long after the earliest. */
  spreadMs?: number | undefined;
}

/** How to cancel many jobs. */
export interface CancelJobsOptions extends BulkOptions {
  /** Why, for workers and people. At most 255 characters. */
  reason?: string | undefined;
}

/** How to retry many jobs. */
export interface RetryJobsOptions extends BulkOptions, StartOptions {
  /** The queue in which they wait from now on, which must exist. Default: each stays in its own. */
  toQueue?: string | undefined;
  /** Each starts from the beginning, without the checkpoint that its attempts left. Default false. */
  resetCheckpoint?: boolean | undefined;
  /** One whose name another job holds is skipped; the others take theirs again. Default false. */
  respectUnique?: boolean | undefined;
}

/** What to change of many jobs that wait, and how. What is undefined stays. */
export interface UpdateJobsOptions extends BulkOptions, StartOptions {
  /** Theirs from now on, -10 to 10. */
  priority?: number | undefined;
  /** They wait in this queue, which must exist. */
  toQueue?: string | undefined;
  /** Theirs from now on; one more than a job's failures at least. */
  maxAttempts?: number | undefined;
}

/** The calls that change many jobs. The methods of `Client` with these names say what they do. */
export class BulkCalls {
  readonly #stub: Stub<typeof Bulk>;
  readonly #calling: Calling;

  constructor(transport: Transport, calling: Calling) {
    this.#stub = createClient(Bulk, transport);
    this.#calling = calling;
  }

  async retry(filter: JobFilter, options: RetryJobsOptions): Promise<Operation> {
    const { toQueue = "", resetCheckpoint = false, respectUnique = false } = options;
    const request = {
      ...asked(filter, options),
      ...starts(options),
      toQueue,
      resetCheckpoint,
      respectUnique,
    };
    return this.#made(options, (call) => this.#stub.retryJobs(request, call));
  }

  async cancel(filter: JobFilter, options: CancelJobsOptions): Promise<Operation> {
    const request = { ...asked(filter, options), reason: options.reason ?? "" };
    return this.#made(options, (call) => this.#stub.cancelJobs(request, call));
  }

  async delete(filter: JobFilter, options: BulkOptions): Promise<Operation> {
    const request = asked(filter, options);
    return this.#made(options, (call) => this.#stub.deleteJobs(request, call));
  }

  async update(filter: JobFilter, options: UpdateJobsOptions): Promise<Operation> {
    const { priority, toQueue = "", maxAttempts = 0 } = options;
    const request = {
      ...asked(filter, options),
      ...starts(options),
      toQueue,
      maxAttempts,
      ...(priority !== undefined && { priority }),
    };
    return this.#made(options, (call) => this.#stub.updateJobs(request, call));
  }

  async #made(
    options: BulkOptions,
    method: (call: CallOptions) => Promise<Pick<pb.RetryJobsResponse, "operation">>,
  ): Promise<Operation> {
    // A dry run changes nothing.
    const again = !options.force || Boolean(options.requestId);
    return operationOf((await this.#calling(options, again, method)).operation);
  }
}

/** The fields that the four requests have in common. */
function asked(filter: JobFilter, options: BulkOptions) {
  const { force = false, perSecond = 0, maxJobs = 0, requestId = "", expected } = options;
  return {
    filter: filterMessage(filter),
    force,
    perSecond,
    maxJobs: BigInt(maxJobs),
    requestId,
    ...(expected !== undefined && { expected: BigInt(expected) }),
  };
}

/** When the jobs start, as the fields of a request. */
function starts({ runAt, delayMs, spreadMs }: StartOptions): Pick<pb.RetryJobsRequest, "start" | "spread"> {
  if (runAt !== undefined && delayMs !== undefined) {
    throw new TypeError("runAt and delayMs exclude each other: give one of them");
  }
  const fields: Pick<pb.RetryJobsRequest, "start" | "spread"> = { start: { case: undefined } };
  if (runAt !== undefined) fields.start = { case: "runAt", value: timestamp(runAt, "runAt") };
  if (delayMs !== undefined) fields.start = { case: "delay", value: duration(delayMs, "delayMs") };
  if (spreadMs !== undefined) fields.spread = duration(spreadMs, "spreadMs");
  return fields;
}

/**
 * A filter as a message.
 *
 * @throws TypeError A time is no valid Date, or a status is none.
 */
function filterMessage(filter: JobFilter): pb.JobFilter {
  const { ids = [], queue = "", kind = "", labels, errorType = "", everything = false } = filter;
  const message = create(JobFilterSchema, {
    ids: [...ids],
    queue,
    kind,
    status: listOf(filter.status).map(statusNumber),
    labels: labelList(labels),
    reason: listOf(filter.reason),
    errorType,
    everything,
  });
  for (const name of ["createdAfter", "createdBefore", "endedAfter", "endedBefore"] as const) {
    const moment = filter[name];
    if (moment !== undefined) message[name] = timestamp(moment, name);
  }
  return message;
}

function listOf<T extends string>(given: T | readonly T[] | undefined): T[] {
  if (given === undefined) return [];
  return typeof given === "string" ? [given] : [...given];
}
