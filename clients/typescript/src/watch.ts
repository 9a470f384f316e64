/** A watch: jobs as they change, over as many streams as it takes. */

import type { CallOptions } from "@connectrpc/connect";

import { Backoff } from "./backoff.js";
import { givenUp, pause, pauseAfter } from "./calls.js";
import { now, timers } from "./clock.js";
import { Unavailable, WatchTokenExpired } from "./errors.js";
import type { JobQueueError } from "./errors.js";
import type { FirstUse } from "./firstUse.js";
import type * as pb from "./gen/jobqueue/v1/job_pb.js";
import type { WatchJobsRequest, WatchJobsResponse } from "./gen/jobqueue/v1/jobqueue_pb.js";
import type { Job } from "./job.js";
import type { Maybe } from "./kinds/maybe.js";
import { fromRpc } from "./rpcErrors.js";

// The server answers every 10 s, also where nothing changes.
const SILENCE_MS = 60_000;

type Method = (request: WatchJobsRequest, options: CallOptions) => AsyncIterable<WatchJobsResponse>;

/**
 * Jobs as they change, for `for await`. Made by `Client.watch`.
 *
 * A stream that breaks, because a server leaves or a connection is cut, is opened anew where it ended: no change is
 * missed, and none is told again. Leaving the loop ends the stream.
 */
export class Watch implements AsyncIterableIterator<Job> {
  /** Continues after the last answer, in another process or next week's: give it to `Client.watch`. */
  resumeToken: string;
  /** Of the ids that were asked for, those of jobs that were deleted meanwhile. */
  readonly deleted = new Set<string>();

  readonly #method: Method;
  readonly #request: WatchJobsRequest;
  readonly #deadlineMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #firstUse: FirstUse;
  readonly #job: (job: pb.Job) => Maybe<Job>;
  readonly #backoff = new Backoff(50, 2000);
  #call: { answers: AsyncIterator<WatchJobsResponse>; end: AbortController } | undefined;
  #first: WatchJobsResponse | undefined;
  #over = false;
  #awaySince: number | undefined;

  constructor(
    method: Method,
    request: WatchJobsRequest,
    options: {
      deadlineMs: number;
      signal: AbortSignal | undefined;
      firstUse: FirstUse;
      read: (job: pb.Job) => Maybe<Job>;
    },
  ) {
    this.#method = method;
    this.#request = request;
    this.#deadlineMs = options.deadlineMs;
    this.#signal = options.signal;
    this.#firstUse = options.firstUse;
    this.#job = options.read;
    this.resumeToken = request.resumeToken;
  }

  /** Resolves when the watch has begun: whatever changes from then on is told. */
  async begun(): Promise<this> {
    this.#first ??= await this.#answer();
    return this;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * The next change; done when all jobs that were asked for by their ids are over.
   *
   * @throws JobNotFound One of the ids is not there.
   * @throws WatchTokenExpired The token is too old: list the jobs, then watch without it.
   * @throws Unavailable No server answered for as long as `deadlineMs`.
   */
  async next(): Promise<IteratorResult<Job, undefined>> {
    for (;;) {
      const answer = this.#first ?? (await this.#answer());
      this.#first = undefined;
      if (answer === undefined) return { done: true, value: undefined };
      this.resumeToken = answer.resumeToken;
      if (answer.job === undefined) continue;
      if (answer.job.kind) return { done: false, value: await this.#job(answer.job) };
      this.deleted.add(answer.job.id);
    }
  }

  /** Ends the stream. A later `for await` goes on where it was. */
  async return(): Promise<IteratorResult<Job, undefined>> {
    this.#endCall();
    return { done: true, value: undefined };
  }

  /** The next answer, of a new stream where one broke; undefined at the end. */
  async #answer(): Promise<WatchJobsResponse | undefined> {
    while (!this.#over) {
      try {
        return await this.#read();
      } catch (raised) {
        this.#endCall();
        this.#signal?.throwIfAborted();
        await this.#pause(fromRpc(raised));
      }
    }
    return undefined;
  }

  async #read(): Promise<WatchJobsResponse | undefined> {
    this.#signal?.throwIfAborted();
    if (this.#call === undefined) {
      // The first answer after a break comes after what was told last, whatever was read since.
      this.#request.resumeToken = this.resumeToken;
      const end = new AbortController();
      const signal = this.#signal ? AbortSignal.any([this.#signal, end.signal]) : end.signal;
      const answers = this.#method(this.#request, { signal, timeoutMs: 0 })[Symbol.asyncIterator]();
      this.#call = { answers, end };
    }
    const { answers, end } = this.#call;
    const silence = timers.setTimeout(() => {
      const words = `nothing was heard of the server for ${SILENCE_MS} ms`;
      end.abort(new Unavailable(words, { code: "UNAVAILABLE" }));
    }, SILENCE_MS);
    try {
      const { done, value } = await answers.next();
      this.#awaySince = undefined;
      this.#backoff.reset();
      this.#firstUse.answered();
      if (!done) return value;
      this.#over = true;
      return undefined;
    } finally {
      timers.clearTimeout(silence);
    }
  }

  #endCall(): void {
    this.#call?.end.abort();
    this.#call = undefined;
  }

  /** Waits before another stream; throws the error if that is of no use, or took too long. */
  async #pause(error: JobQueueError): Promise<void> {
    if (error instanceof WatchTokenExpired && this.#request.ids.length > 0) {
      // Each is told as it is now, so nothing that still holds is missed.
      this.resumeToken = "";
      return;
    }
    const wait = pauseAfter(error, this.#backoff);
    this.#awaySince ??= now();
    if (wait === undefined || now() + wait >= this.#awaySince + this.#deadlineMs) {
      if (wait !== undefined) givenUp(error, this.#deadlineMs);
      this.#firstUse.failed(error);
      throw error;
    }
    await pause(wait, this.#signal);
  }
}
