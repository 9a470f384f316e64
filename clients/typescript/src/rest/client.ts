/** The RestClient: enqueues, reads, waits for and cancels jobs, by `fetch`. */

import { Code, ConnectError } from "@connectrpc/connect";
import type { CallOptions } from "@connectrpc/connect";

import type { Token } from "../access.js";
import { batches, rebased } from "../batches.js";
import { call } from "../calls.js";
import type { Call } from "../calls.js";
import { now } from "../clock.js";
import { wanted } from "../enqueuer.js";
import type { Enqueuer } from "../enqueuer.js";
import { WaitTimeout } from "../errors.js";
import { newJob } from "../job.js";
import type { Job, JobOptions, NewJob } from "../job.js";
import type { Cancellation, EnqueueResult } from "../jobs.js";
import type { JobKind } from "../kinds/kind.js";
import { isPromise } from "../kinds/maybe.js";
import { fromRpc } from "../rpcErrors.js";
import { refusal } from "./errors.js";
import { actionOf, jobOf, jobText, members, spanText } from "./json.js";

// The longest that one call waits, within what proxies and platforms allow; more is done by calling again.
const ONE_WAIT_MS = 20_000;

/** How to reach a server over HTTP, and how long a call may take. */
export interface RestOptions {
  /** Sent as `authorization: Bearer <token>` with every call. A function is asked at each one. */
  token?: Token | undefined;
  /** For calls without their own. Default 30 s. */
  deadlineMs?: number | undefined;
  /** What makes the requests. Default: the global `fetch`. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
}

/** What a server answered. */
interface Answer {
  readonly text: string;
  readonly status: number;
  readonly headers: Headers;
}

/**
 * A producer of jobs that speaks HTTP/JSON. It has no connection of its own, so there is nothing to close.
 *
 * Its methods are those of `Client` with the same names: the same arguments, typed kinds, tries and errors. It has no
 * middleware and no encodings: jobs of a kind that requires encryption it refuses with `EncodingRequired`.
 */
export class RestClient implements Enqueuer {
  readonly #base: string;
  readonly #token: Token | undefined;
  readonly #deadlineMs: number;
  readonly #fetch: (url: string, init: RequestInit) => Promise<Response>;

  /**
   * @param base Where the server answers HTTP, such as `https://jobs.example.com` or `http://127.0.0.1:8080`. It may have a
   *     path, which stands before `/v1`.
   * @throws TypeError It is no URL of HTTP.
   */
  constructor(base: string, options: RestOptions = {}) {
    if (!/^https?:\/\//.test(base) || !URL.canParse(base)) {
      throw new TypeError(
        `${JSON.stringify(base)} is no URL of a server; one is "http://127.0.0.1:8080", for example`,
      );
    }
    this.#base = base.replace(/\/+$/, "");
    this.#token = options.token;
    this.#deadlineMs = options.deadlineMs ?? 30_000;
    // The global one is looked up at each call, as others may have replaced it by then, and called with no `this`.
    this.#fetch = (url, init) => (options.fetch ?? globalThis.fetch)(url, init);
  }

  /** As `Client.enqueue`. */
  readonly enqueue: Enqueuer["enqueue"] = async (
    what: string | NewJob | JobKind,
    payloadOrOptions?: unknown,
    options?: JobOptions & Call,
  ): Promise<Job> => {
    const { job: asked, given } = wanted(what, payloadOrOptions, options);
    const job = newJob(isPromise(asked) ? await asked : asked);
    const keyed = Boolean(job.idempotencyKey);
    const { text, headers } = await this.#call(given, keyed, "POST", "/v1/jobs", jobText(job));
    return jobOf(
      text,
      headers.get("idempotency-replayed") === "true",
      actionOf(headers.get("unique-action")),
    );
  };

  /** As `Client.enqueueMany`. */
  readonly enqueueMany: Enqueuer["enqueueMany"] = async (jobs, options = {}) => {
    const results: EnqueueResult[] = [];
    for await (const batch of batches(jobs)) {
      // A batch of which each has a key is tried again where one without may not be.
      const keyed = batch.every((job) => job.idempotencyKey);
      const body = `{"jobs":[${batch.map(jobText).join(",")}]}`;
      try {
        const { text } = await this.#call(options, keyed, "POST", "/v1/jobs:batchEnqueue", body);
        const answer = JSON.parse(text) as {
          results: { id: string; replayed?: boolean; unique_action?: string }[];
        };
        for (const { id, replayed = false, unique_action: action } of answer.results) {
          results.push({ id, replayed, uniqueAction: actionOf(action) });
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        throw rebased(fromRpc(error), results);
      }
    }
    return results;
  };

  /**
   * Reads a job, in full.
   *
   * @throws JobNotFound No job has this id.
   */
  async get(id: string, options: Call = {}): Promise<Job> {
    return jobOf((await this.#call(options, true, "GET", pathOf(id))).text);
  }

  /**
   * Waits until a job has ended.
   *
   * @param options `timeoutMs`: how long at most; undefined: for as long as it takes.
   * @returns The job, in full, with a terminal status.
   * @throws WaitTimeout It was not over in time; `job` is how it stood.
   * @throws JobNotFound No job has this id.
   */
  async wait(
    id: string,
    options: { timeoutMs?: number | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<Job> {
    const { timeoutMs = Infinity, signal } = options;
    const ends = now() + timeoutMs;
    for (;;) {
      const waitMs = Math.min(Math.max(0, ends - now()), ONE_WAIT_MS);
      const path = `${pathOf(id)}:wait?timeout=${spanText(waitMs, "timeoutMs")}`;
      // A server that restarts meanwhile costs a retry, not the wait.
      const deadlineMs = waitMs + this.#deadlineMs;
      const job = jobOf((await this.#call({ deadlineMs, signal }, true, "GET", path)).text);
      if (job.isTerminal) return job;
      if (now() >= ends) {
        throw new WaitTimeout(`job ${id} is ${job.status} and not over after ${timeoutMs} ms`, job);
      }
    }
  }

  /**
   * Cancels a job: a waiting job at once; of a running one the server asks its worker.
   *
   * @param options `reason`: why, for people; told to the worker.
   * @throws JobTerminal The job has ended.
   * @throws JobNotFound No job has this id.
   */
  async cancel(id: string, options: Call & { reason?: string | undefined } = {}): Promise<Cancellation> {
    const body = JSON.stringify({ reason: options.reason ?? "" });
    const { text } = await this.#call(options, false, "POST", `${pathOf(id)}:cancel`, body);
    const answer = members(text);
    return { job: jobOf(answer.get("job") ?? "{}"), pending: answer.get("pending") === "true" };
  }

  #call(options: Call, retry: boolean, method: string, path: string, body?: string): Promise<Answer> {
    const { deadlineMs = this.#deadlineMs, signal } = options;
    return call((each) => this.#once(method, path, body, each), { deadlineMs, signal, retry });
  }

  async #once(
    method: string,
    path: string,
    body: string | undefined,
    { timeoutMs = 0, signal }: CallOptions,
  ): Promise<Answer> {
    const timeout = AbortSignal.timeout(timeoutMs);
    const token = typeof this.#token === "function" ? await this.#token() : this.#token;
    const init: RequestInit = {
      method,
      headers: {
        // What is not taken back in time is of no use, so the server may end it.
        "x-server-timeout": String(timeoutMs / 1000),
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(token && { authorization: `Bearer ${token}` }),
      },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      // The token is for this server alone.
      redirect: "manual",
      ...(body !== undefined && { body }),
    };
    let answer: Answer;
    try {
      const response = await this.#fetch(this.#base + path, init);
      answer = { text: await response.text(), status: response.status, headers: response.headers };
    } catch (cause) {
      if (timeout.aborted)
        throw new ConnectError("the call's time ended before its answer", Code.DeadlineExceeded);
      throw new ConnectError(
        `nothing answers at ${this.#base}: ${wordsOf(cause)}`,
        Code.Unavailable,
        {},
        [],
        cause,
      );
    }
    if (answer.status >= 200 && answer.status < 300 && isJson(answer.text)) return answer;
    throw refusal(answer.status, answer.headers, answer.text);
  }
}

function pathOf(id: string): string {
  return `/v1/jobs/${encodeURIComponent(id)}`;
}

function isJson(text: string): boolean {
  return text.startsWith("{");
}

/** Of a failed `fetch` the cause says what happened. */
function wordsOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string; code?: string } };
  return cause?.message || cause?.code || message || String(error);
}
