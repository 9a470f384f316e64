/** The calls that ask how the queues are doing, and what happened to jobs. */

import { createClient } from "@connectrpc/connect";
import type { Client as Stub, Transport } from "@connectrpc/connect";

import { Backoff } from "./backoff.js";
import { labelList } from "./calling.js";
import type { Calling } from "./calling.js";
import { givenUp, pause, pauseAfter } from "./calls.js";
import type { Call } from "./calls.js";
import { now, timers } from "./clock.js";
import { duration, statusNumber, timestamp } from "./convert.js";
import { Unavailable } from "./errors.js";
import type { JobQueueError } from "./errors.js";
import { Insight } from "./gen/jobqueue/v1/insight_pb.js";
import { GroupBy as Groups } from "./gen/jobqueue/v1/stats_pb.js";
import type { Status } from "./jobs.js";
import { countOf, overviewOf, serverOf, statsOf } from "./overview.js";
import type { JobCount, Overview, ServerInfo, Stats } from "./overview.js";
import { fromRpc } from "./rpcErrors.js";

// The server answers every 2 s.
const SILENCE_MS = 30_000;

/** By what statistics are split into series. */
export type GroupBy = "QUEUE" | "KIND" | "QUEUE_AND_KIND";

/** Which statistics to ask for. */
export interface StatsOptions extends Call {
  /** Only of this queue. */
  queue?: string | undefined;
  /** Only of this kind. */
  kind?: string | undefined;
  /** From then on, at most 90 days ago. Default: an hour before `until`. */
  since?: Date | undefined;
  /** Until then. Default: now. */
  until?: Date | undefined;
  /**
   * How much time a point stands for, a multiple of 10 s. Default: what makes at most 360 points. The answer has the step
   * that was taken, which is longer where what is kept of that time is coarser.
   */
  stepMs?: number | undefined;
  /** By what it is split into series. Default: one series of all. */
  groupBy?: GroupBy | undefined;
}

/** Which jobs to count. What is given must all match. */
export interface CountJobsOptions extends Call {
  /** Only of this queue. */
  queue?: string | undefined;
  /** Only of this kind. */
  kind?: string | undefined;
  /** Only with this status, or one of these. */
  status?: Status | readonly Status[] | undefined;
  /** Only with all of these labels. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Only enqueued then or later. */
  createdAfter?: Date | undefined;
  /** Only enqueued before then. */
  createdBefore?: Date | undefined;
}

/** The calls about what happens. The methods of `Client` with these names say what they do. */
export class OverviewCalls {
  readonly #stub: Stub<typeof Insight>;
  readonly #calling: Calling;
  readonly #deadlineMs: number;

  constructor(transport: Transport, calling: Calling, deadlineMs: number) {
    this.#stub = createClient(Insight, transport);
    this.#calling = calling;
    this.#deadlineMs = deadlineMs;
  }

  async overview(options: Call): Promise<Overview> {
    const answer = await this.#calling(options, true, (call) => this.#stub.getOverview({}, call));
    return overviewOf(answer.overview);
  }

  async *watch({ deadlineMs = this.#deadlineMs, signal }: Call): AsyncGenerator<Overview, void> {
    const backoff = new Backoff(50, 2000);
    let awaySince: number | undefined;
    for (;;) {
      signal?.throwIfAborted();
      const end = new AbortController();
      const both = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
      let error: JobQueueError;
      try {
        const answers = this.#stub.watchOverview({}, { signal: both, timeoutMs: 0 })[Symbol.asyncIterator]();
        for (;;) {
          const { done, value } = await heard(answers.next(), end);
          if (done) break;
          const overview = overviewOf(value.overview);
          awaySince = undefined;
          backoff.reset();
          yield overview;
        }
        error = new Unavailable("the stream has ended", { code: "UNAVAILABLE" });
      } catch (raised) {
        signal?.throwIfAborted();
        // An answer without an overview: the next stream would bring no other.
        if (raised instanceof TypeError) throw raised;
        error = fromRpc(raised);
      } finally {
        end.abort();
      }
      const wait = pauseAfter(error, backoff);
      awaySince ??= now();
      if (wait === undefined) throw error;
      if (now() + wait >= awaySince + deadlineMs) throw givenUp(error, deadlineMs);
      await pause(wait, signal);
    }
  }

  async stats(options: StatsOptions): Promise<Stats> {
    const { queue = "", kind = "", since, until, stepMs, groupBy } = options;
    const group: unknown = groupBy === undefined ? Groups.UNSPECIFIED : Groups[groupBy];
    if (typeof group !== "number") {
      throw new TypeError(`groupBy is ${String(groupBy)}; it is "QUEUE", "KIND" or "QUEUE_AND_KIND"`);
    }
    const request = {
      queue,
      kind,
      groupBy: group as Groups,
      ...(since && { since: timestamp(since, "since") }),
      ...(until && { until: timestamp(until, "until") }),
      ...(stepMs !== undefined && { step: duration(stepMs, "stepMs") }),
    };
    return statsOf(await this.#calling(options, true, (call) => this.#stub.queryStats(request, call)));
  }

  async countJobs(options: CountJobsOptions): Promise<JobCount> {
    const { queue = "", kind = "", status = [], labels, createdAfter, createdBefore } = options;
    const request = {
      queue,
      kind,
      status: (typeof status === "string" ? [status] : status).map(statusNumber),
      labels: labelList(labels),
      ...(createdAfter && { createdAfter: timestamp(createdAfter, "createdAfter") }),
      ...(createdBefore && { createdBefore: timestamp(createdBefore, "createdBefore") }),
    };
    return countOf(await this.#calling(options, true, (call) => this.#stub.countJobs(request, call)));
  }

  async listServers(options: Call): Promise<ServerInfo[]> {
    const answer = await this.#calling(options, true, (call) => this.#stub.listServers({}, call));
    return answer.servers.map(serverOf);
  }
}

/** The next answer; where none comes for long, the stream is ended. */
async function heard<T>(answer: Promise<T>, end: AbortController): Promise<T> {
  const silence = timers.setTimeout(() => {
    const words = `nothing was heard of the server for ${SILENCE_MS} ms`;
    end.abort(new Unavailable(words, { code: "UNAVAILABLE" }));
  }, SILENCE_MS);
  try {
    return await answer;
  } finally {
    timers.clearTimeout(silence);
  }
}
