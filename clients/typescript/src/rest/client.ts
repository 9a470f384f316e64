/** The RestClient: enqueues, reads, waits for and cancels jobs, by `fetch`. */

import type { JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { CallOptions } from "@connectrpc/connect";

import type { Token } from "../access.js";
import { batches, rebased } from "../batches.js";
import { LONGEST_TIMER_MS, call, raced } from "../calls.js";
import type { Call } from "../calls.js";
import { now } from "../clock.js";
import { wanted } from "../enqueuer.js";
import type { Enqueuer } from "../enqueuer.js";
import { InvalidRequest, Unauthenticated, WaitTimeout } from "../errors.js";
import { newJob } from "../job.js";
import type { Job, JobOptions, NewJob } from "../job.js";
import type { Cancellation, EnqueueResult } from "../jobs.js";
import type { JobKind } from "../kinds/kind.js";
import { isPromise } from "../kinds/maybe.js";
import { fromRpc } from "../rpcErrors.js";
import { cutOff, refusal } from "./errors.js";
import { actionOf, isObject, jobOf, jobText, members, resultsOf, spanText } from "./json.js";

// The longest that one call waits, within what proxies and platforms allow; more is done by calling again.
const ONE_WAIT_MS = 20_000;
// A wait of so long that ends without an end of the job asks why, for so long.
const WORTH_ASKING_MS = 1000;
const TO_SAY_WHY_MS = 1000;

/** How to reach a server over HTTP, and how long a call may take. */
export interface RestOptions {
  /** Sent as `authorization: Bearer <token>` with every call. A function is asked at each one. */
  token?: Token | undefined;
  /** For calls without their own, at most 24 days. Default 30 s. */
  deadlineMs?: number | undefined;
  /** What makes the requests. Default: the global `fetch`. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
}

/** What a server answered. */
interface Answer {
  readonly text: string;
  /** Of the text. */
  readonly value: JsonObject;
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
   *     path, which stands before `/v1`, and nothing after that.
   * @throws TypeError It is no URL of HTTP, or has a user, a password, a query or a fragment. Or the deadline is none.
   */
  constructor(base: string, options: RestOptions = {}) {
    if (!/^https?:\/\//.test(base) || !URL.canParse(base)) {
      // It may have a password.
      throw new TypeError(
        `${base.includes("@") ? "what was given" : JSON.stringify(base)} is no URL of a server; one is "http://127.0.0.1:8080", for example`,
      );
    }
    const { username, password } = new URL(base);
    if (username || password || /[?#]/.test(base)) {
      throw new TypeError(
        "the URL of a server has no user, no password, no query and no fragment: give the token as an option",
      );
    }
    this.#base = base.replace(/\/+$/, "");
    this.#token = options.token;
    this.#deadlineMs = checkedDeadline(options.deadlineMs ?? 30_000);
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
    const { text, value, headers } = await this.#call(given, keyed, "POST", "/v1/jobs", jobText(job));
    return jobOf(
      text,
      value,
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
      try {
        const texts = batch.map((job, number) => jobText(job, `jobs[${number}]`));
        const body = `{"jobs":[${texts.join(",")}]}`;
        const { value } = await this.#call(options, keyed, "POST", "/v1/jobs:batchEnqueue", body);
        results.push(...resultsOf(value, batch.length));
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
    const { text, value } = await this.#call(options, true, "GET", pathOf(id));
    return jobOf(text, value);
  }

  /**
   * Waits until a job has ended.
   *
   * @param options `timeoutMs`: how long at most; undefined: for as long as it takes.
   * @returns The job, in full, with a terminal status.
   * @throws WaitTimeout It was not over in time; `job` is how it stood, `summary` says why.
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
      const deadlineMs = Math.min(waitMs + this.#deadlineMs, LONGEST_TIMER_MS);
      const { text, value } = await this.#call({ deadlineMs, signal }, true, "GET", path);
      const job = jobOf(text, value);
      if (job.isTerminal) return job;
      if (now() >= ends) {
        const why = timeoutMs >= WORTH_ASKING_MS ? await this.#why(id, signal) : "";
        throw new WaitTimeout(`job ${id} is ${job.status} and not over after ${timeoutMs} ms`, job, why);
      }
    }
  }

  /** Why a job has not ended, where a server says so soon. */
  async #why(id: string, signal: AbortSignal | undefined): Promise<string> {
    try {
      const deadlineMs = Math.min(this.#deadlineMs, TO_SAY_WHY_MS);
      const { value } = await this.#call({ deadlineMs, signal }, true, "GET", `${pathOf(id)}:explain`);
      return typeof value["summary"] === "string" ? value["summary"] : "";
    } catch {
      signal?.throwIfAborted();
      return "";
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
    const { text, value } = await this.#call(options, false, "POST", `${pathOf(id)}:cancel`, body);
    const job = jobOf(members(text).get("job") ?? "", value["job"]);
    return { job, pending: value["pending"] === true };
  }

  async #call(options: Call, retry: boolean, method: string, path: string, body?: string): Promise<Answer> {
    const { deadlineMs = this.#deadlineMs, signal } = options;
    checkedDeadline(deadlineMs);
    return call((each) => this.#once(method, path, body, each), { deadlineMs, signal, retry });
  }

  async #once(
    method: string,
    path: string,
    body: string | undefined,
    { timeoutMs = 0, signal }: CallOptions,
  ): Promise<Answer> {
    const timeout = AbortSignal.timeout(timeoutMs);
    const headers = new Headers({
      // What is not taken back in time is of no use, so the server may end it.
      "x-server-timeout": String(timeoutMs / 1000),
      ...(body !== undefined && { "content-type": "application/json" }),
    });
    const token = await this.#tokenWithin(timeoutMs, signal);
    if (token) authorize(headers, token);
    const init: RequestInit = {
      method,
      headers,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      // The token is for this server alone.
      redirect: "manual",
      ...(body !== undefined && { body }),
    };
    let answer: Omit<Answer, "value">;
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
    if (answer.status >= 200 && answer.status < 300 && answer.text.trimStart().startsWith("{")) {
      const value = objectOf(answer.text);
      if (value === undefined) throw cutOff(answer.status, answer.headers);
      return { ...answer, value };
    }
    throw refusal(answer.status, answer.headers, answer.text);
  }

  async #tokenWithin(ms: number, signal: AbortSignal | undefined): Promise<string | undefined> {
    if (typeof this.#token !== "function") return this.#token;
    return raced(
      Promise.resolve(this.#token()),
      ms,
      signal,
      () => new ConnectError("the call's time ended before there was a token", Code.DeadlineExceeded),
    );
  }
}

/** @throws Unauthenticated No header can have the token. The error shows nothing of it, as that of `Headers` would. */
function authorize(headers: Headers, token: string): void {
  try {
    headers.set("authorization", `Bearer ${token}`);
  } catch {
    throw new Unauthenticated(
      "the token has a character that no header can have, such as the end of a line",
      {
        code: "UNAUTHENTICATED",
      },
    );
  }
}

function checkedDeadline(ms: number): number {
  if (typeof ms === "number" && ms >= 0 && ms <= LONGEST_TIMER_MS) return ms;
  throw new TypeError(
    `deadlineMs is ${String(ms)}; it is a number of milliseconds, at most ${LONGEST_TIMER_MS}`,
  );
}

function pathOf(id: string): string {
  // Of these a URL would make another path.
  if (id === "" || id === "." || id === "..") {
    const violation = { field: "id", description: "must be the id of a job" };
    const facts = { code: "INVALID_ARGUMENT", violations: [violation] };
    throw new InvalidRequest(`id: ${violation.description}`, facts);
  }
  return `/v1/jobs/${encodeURIComponent(id)}`;
}

/** Undefined: it is none, or no JSON. */
function objectOf(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Of a failed `fetch` the cause says what happened. */
function wordsOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string; code?: string } };
  return cause?.message || cause?.code || message || String(error);
}
