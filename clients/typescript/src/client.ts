/** The Client: enqueues, reads and changes jobs, kinds and queues. */

import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { CallOptions, Client as Stub } from "@connectrpc/connect";

import { connect } from "./access.js";
import type { AccessOptions, Connection } from "./access.js";
import { batches, rebased } from "./batches.js";
import { BulkCalls } from "./bulk.js";
import type {
  BulkOptions,
  CancelJobsOptions,
  JobFilter,
  RetryJobsOptions,
  UpdateJobsOptions,
} from "./bulk.js";
import { labelList } from "./calling.js";
import type { Calling } from "./calling.js";
import { call } from "./calls.js";
import type { Call } from "./calls.js";
import { now, timers } from "./clock.js";
import * as convert from "./convert.js";
import { JobQueueError, NotSupported, WaitTimeout } from "./errors.js";
import { fromEnvironment } from "./environment.js";
import { FirstUse } from "./firstUse.js";
import { Insight } from "./gen/jobqueue/v1/insight_pb.js";
import { JobView, PayloadFormat } from "./gen/jobqueue/v1/job_pb.js";
import type * as pb from "./gen/jobqueue/v1/job_pb.js";
import { JobQueue, ListJobsRequestSchema, WatchJobsRequestSchema } from "./gen/jobqueue/v1/jobqueue_pb.js";
import { ListQueueKeysRequest_Only, QueueAdmin } from "./gen/jobqueue/v1/queue_admin_pb.js";
import type { Encodings, Waiter } from "./encodings/encodings.js";
import { demandOf, explanationOf } from "./insight.js";
import type { Explanation, QueueDemand } from "./insight.js";
import { wanted } from "./enqueuer.js";
import { Job, newJob } from "./job.js";
import type { JobOptions, NewJob } from "./job.js";
import type {
  Cancellation,
  EnqueueResult,
  JobPage,
  KeyPolicy,
  Kind,
  Limits,
  Queue,
  Retention,
  Status,
  SyncedKind,
} from "./jobs.js";
import type { NamedOptions, PayloadOf, TypedJobOptions } from "./kinds/declaration.js";
import type { JobKind } from "./kinds/kind.js";
import { isPromise } from "./kinds/maybe.js";
import type { Maybe } from "./kinds/maybe.js";
import { enqueueThrough, listed } from "./middleware.js";
import type { Middleware } from "./middleware.js";
import { OperationCalls } from "./operations.js";
import type { Operation, WaitOperationOptions } from "./operations.js";
import type { JobCount, Overview, ServerInfo, Stats } from "./overview.js";
import { OverviewCalls } from "./overviewCalls.js";
import type { CountJobsOptions, StatsOptions } from "./overviewCalls.js";
import type { JsonText } from "./payload.js";
import { queueKeyOf } from "./queueKeys.js";
import type { KeyFilter, QueueKey, QueueKeyChange } from "./queueKeys.js";
import { fromRpc } from "./rpcErrors.js";
import { Schedules } from "./scheduleCalls.js";
import { uniqueAction } from "./unique.js";
import type { UniqueAction } from "./unique.js";
import { Watch } from "./watch.js";
import { Window } from "./window.js";
import type { Turn } from "./window.js";
import { Observations } from "./worker/observer.js";
import type { Observer } from "./worker/observer.js";
import { WorkerCalls } from "./workerSessions.js";
import type { ListWorkersOptions, WorkerSession } from "./workerSessions.js";

const JSON_FORMAT = PayloadFormat.JSON;
// The longest that one call of WaitJob waits; more is done by calling again.
const ONE_WAIT_MS = 30_000;
// A wait of so long that ends without an end of the job asks why, for so long.
const WORTH_ASKING_MS = 1000;
const TO_SAY_WHY_MS = 1000;
// After so many jobs of a page that are decoded the loop goes on with what else it has.
const AT_ONCE = 100;

/** How to reach a server, and how long a call may take. */
export interface ClientOptions extends AccessOptions {
  /** For calls without their own. Default 30 s. */
  deadlineMs?: number;
  /**
   * Whether enqueues wait for their turns within the client while the server says that it is nearly full. At most 64 are
   * in flight at first: hints and refusals make that fewer, answers without them more, up to 1000. The client refuses
   * nothing by itself, and the wait is part of the call's deadline. Default false: nothing waits.
   */
  adaptive?: boolean | undefined;
  /** Is told of jobs that were enqueued, for metrics. */
  observer?: Observer;
  /** What goes around enqueues, the outermost first. Default: nothing. */
  middleware?: readonly Middleware[];
  /**
   * What payloads go through before they are sent, within all middleware; payloads and outputs that are read are decoded.
   * Default: nothing is encoded or decoded.
   */
  encodings?: Encodings | undefined;
}

/** Which jobs to list. What is given must all match. */
export interface ListOptions extends Call {
  /** Only of this queue. */
  queue?: string;
  /** Only of this kind. */
  kind?: string;
  /** Only with this status, or one of these. */
  status?: Status | readonly Status[];
  /** Only with all of these labels. */
  labels?: Readonly<Record<string, string>>;
  /** Only enqueued then or later. */
  createdAfter?: Date;
  /** Only enqueued before. */
  createdBefore?: Date;
  /** With payloads, outputs, headers and failed attempts. */
  full?: boolean;
  /** At most so many in a page; default 50, above 1000 is 1000. */
  pageSize?: number;
}

/** How to change a queue. */
export interface UpdateQueueOptions extends Call {
  /**
   * The fields of the policy that are changed, as the contract calls them, such as `max_running`. Default: all. Without a
   * policy they change nothing.
   */
  fields?: readonly string[] | undefined;
  /** How many of its jobs may wait before enqueues are refused, 1..1000000. 0: any number. Default: as it is. */
  maxWaiting?: number | undefined;
  /** What it allows of all its jobs together. `{}`: anything. Default: as it is. */
  limits?: Limits | undefined;
  /** The fields of `limits` that are changed, as the contract calls them, such as `rate`. Default: all; without it, none. */
  limitFields?: readonly string[] | undefined;
  /** How long its jobs can be read after their end. `{}`: as those of every queue. Default: as it is. */
  retention?: Retention | undefined;
  /**
   * The fields of `retention` that are changed, as the contract calls them, such as `succeeded`. Default: all; without it,
   * none.
   */
  retentionFields?: readonly string[] | undefined;
  /** `Queue.etag`: the queue is changed only if it still has it. Default: whatever was changed since. */
  etag?: string | undefined;
  /** Whether a queue that was never used is made. Default false. */
  allowMissing?: boolean | undefined;
}

/** Which keys of a queue to list. */
export interface ListQueueKeysOptions extends Call {
  /** Default: all. */
  only?: KeyFilter | undefined;
  /** Whether those that most jobs wait for come first. Default false: by name. */
  mostWaitingFirst?: boolean | undefined;
  /** How many keys at most. Default 1000. */
  most?: number | undefined;
}

/** How to change a key. */
export interface UpdateQueueKeyOptions extends Call {
  /** `QueueKey.etag`: the key is changed only if it still has it. Default: whatever was changed since. */
  etag?: string | undefined;
}

/** Which jobs to watch. What is given must all match. */
export interface WatchOptions {
  /** Only these jobs, at most 1000. */
  ids?: readonly string[];
  /** Only of this queue. */
  queue?: string;
  /** Only of this kind. */
  kind?: string;
  /** Only with all of these labels. */
  labels?: Readonly<Record<string, string>>;
  /** With payloads, outputs, headers and failed attempts. */
  full?: boolean;
  /** `Watch.resumeToken` of an earlier watch, to go on after it. */
  resumeToken?: string;
  /** For how long no server may answer. Default: the client's. */
  deadlineMs?: number;
  /** Ends the watch: the loop then throws the signal's reason. */
  signal?: AbortSignal;
}

/**
 * A connection to a JobQueue server. Make one and keep it; it may be used by many callers at once.
 *
 * Every method may throw a `JobQueueError`; its class says what to do about it. Reads, and what changes nothing when
 * done twice, are tried again while no server answers; so is an enqueue that carries an idempotency key, and no other.
 */
export class Client {
  readonly #connection: Connection;
  readonly #deadlineMs: number;
  readonly #firstUse: FirstUse;
  readonly #window: Window | undefined;
  readonly #observations: Observations | undefined;
  readonly #middleware: readonly Middleware[];
  readonly #encodings: Encodings | undefined;
  readonly #jobs: Stub<typeof JobQueue>;
  readonly #admin: Stub<typeof QueueAdmin>;
  readonly #insight: Stub<typeof Insight>;
  readonly #bulk: BulkCalls;
  readonly #operations: OperationCalls;
  readonly #overview: OverviewCalls;
  readonly #workers: WorkerCalls;
  readonly #calling: Calling = (options, retry, method) => this.#call(options, retry, method);
  #schedules: Schedules | undefined;

  /**
   * @param target The server's address, for example `127.0.0.1:50051` or `dns:///jobs.internal:50051`.
   * @throws InvalidRequest The address has no port, or begins with `http://`.
   */
  constructor(target: string, options: ClientOptions = {}) {
    this.#connection = connect(target, options);
    this.#deadlineMs = options.deadlineMs ?? 30_000;
    this.#firstUse = new FirstUse(target);
    this.#window = options.adaptive ? new Window() : undefined;
    this.#middleware = listed(options.middleware);
    this.#encodings = options.encodings;
    this.#observations =
      options.observer &&
      new Observations(options.observer, (line) => console.error(`jobqueue: error: ${line}`));
    this.#jobs = createClient(JobQueue, this.#connection.transport);
    this.#admin = createClient(QueueAdmin, this.#connection.transport);
    this.#insight = createClient(Insight, this.#connection.transport);
    this.#bulk = new BulkCalls(this.#connection.transport, this.#calling);
    this.#workers = new WorkerCalls(this.#connection.transport, this.#calling);
    this.#overview = new OverviewCalls(this.#connection.transport, this.#calling, this.#deadlineMs);
    this.#operations = new OperationCalls(this.#connection.transport, this.#calling, this.#deadlineMs);
  }

  /**
   * A client by variables of the environment, as the command `jobqueue` reads them: JOBQUEUE_SERVER (default
   * `127.0.0.1:50051`), JOBQUEUE_TOKEN, JOBQUEUE_TLS_ROOTS (a PEM file, or `public`), JOBQUEUE_TLS_CLIENT_CERT and
   * JOBQUEUE_TLS_CLIENT_KEY. What the options say wins.
   */
  static fromEnv(options: ClientOptions = {}): Client {
    const found = fromEnvironment(options);
    const made = new Client(found.target, found.options);
    made.#firstUse.ofEnvironment = true;
    return made;
  }

  /** Closes the connection, and ends what is under way. A later call opens it again. */
  close(): void {
    this.#window?.close();
    this.#connection.close();
  }

  /**
   * Enqueues a job. When it resolves, the job is committed.
   *
   * Without a key an error may leave open whether the job was enqueued. `idempotencyKey: AUTO` lets the client repeat
   * the call safely; a key of your own lets you repeat it as well.
   *
   * @returns The job as it was enqueued; if the key was used before, the job as it is now, with `replayed` set;
   *     if another job holds the name of `unique`, that job with `uniqueAction` set, or its id alone if it may not be read.
   * @throws KindUnknown The kind is not declared.
   * @throws PayloadInvalid The payload does not satisfy the kind's schema, or is not of the type of a typed kind.
   * @throws IdempotencyKeyReused The key belongs to another request.
   * @throws Duplicate Another job holds the name, and `unique` has REJECT.
   * @throws EncodingRequired The kind takes encrypted payloads alone, and this client does not encrypt.
   * @throws KeyUnknown The primary key of its encodings is not there.
   */
  async enqueue(kind: string, payload?: unknown, options?: JobOptions & Call): Promise<Job>;
  /** Enqueues a job that is given as a whole, as `enqueueMany` takes it. */
  async enqueue(job: NewJob, options?: Call): Promise<Job>;
  /**
   * Enqueues a job of a typed kind of which the program has the type alone: `enqueue<typeof sendMail>("send-mail", ...)`,
   * with `import type { sendMail }`. Nothing of the kind's module is loaded, and nothing checked when the program runs;
   * what the kind says of its jobs is left out.
   */
  async enqueue<K extends JobKind>(
    name: K["name"],
    payload: PayloadOf<K> | JsonText,
    ...options: NamedOptions<K, JobOptions & Call>
  ): Promise<Job>;
  // Last: of a payload that fits no overload, a compiler tells why it does not fit the last one.
  /** Enqueues a job of a typed kind. What the call says wins over what the kind says. */
  async enqueue<K extends JobKind>(
    kind: K,
    payload: PayloadOf<K> | JsonText,
    options?: TypedJobOptions & Call,
  ): Promise<Job>;
  async enqueue(
    what: string | NewJob | JobKind,
    payloadOrOptions?: unknown,
    options?: JobOptions & Call,
  ): Promise<Job> {
    const { job: asked, given } = wanted(what, payloadOrOptions, options);
    const wished = isPromise(asked) ? await asked : asked;
    if (this.#middleware.length === 0) return this.#one(wished, given);
    let sent: Job | undefined;
    await enqueueThrough(this.#middleware, [wished], async ([changed]) => {
      sent = await this.#one(changed!, given);
      return [{ id: sent.id, replayed: sent.replayed, uniqueAction: sent.uniqueAction }];
    });
    return sent!;
  }

  async #one(wished: NewJob, given: Call): Promise<Job> {
    const encodings = this.#encodings;
    const waiter = this.#waiter(given);
    const job = newJob(encodings === undefined ? wished : (await encodings.jobs([wished], "", waiter))[0]!);
    const left =
      encodings === undefined ? given : { ...given, deadlineMs: Math.max(1, Math.ceil(waiter.ms())) };
    const answer = await this.#observed([job], () =>
      this.#inTurn(left, Boolean(job.idempotencyKey), (call) =>
        this.#jobs.enqueueJob({ job, payloadFormat: JSON_FORMAT }, call),
      ),
    );
    return this.#read(answer.job, waiter, answer.replayed, uniqueAction(answer.uniqueAction));
  }

  /**
   * Enqueues many jobs, in batches of up to 1000 and 3 MiB; each batch all or none. Takes any iterable. With middleware or
   * encodings all are read before the first is sent.
   *
   * @param options `deadlineMs` is for each batch.
   * @returns One result for each job, in their order.
   * @throws JobQueueError A batch was refused. `enqueued` holds the results of the batches before it, and the paths in
   *     `violations` count from the first job of all.
   */
  async enqueueMany(
    jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
    options: Call = {},
  ): Promise<EnqueueResult[]> {
    if (this.#middleware.length === 0 && this.#encodings === undefined) return this.#many(jobs, options);
    const wished: NewJob[] = [];
    for await (const each of jobs) wished.push(each);
    let sent: EnqueueResult[] = [];
    if (wished.length > 0) {
      await enqueueThrough(this.#middleware, wished, async (changed) => {
        const sealed = await this.#encodings?.jobs(changed, "", this.#waiter(options));
        sent = await this.#many(sealed ?? changed, options);
        return sent;
      });
    }
    return sent;
  }

  async #many(jobs: Iterable<NewJob> | AsyncIterable<NewJob>, options: Call): Promise<EnqueueResult[]> {
    const results: EnqueueResult[] = [];
    for await (const batch of batches(jobs)) {
      // A batch of which each has a key is tried again where one without may not be.
      const keyed = batch.every((job) => job.idempotencyKey);
      try {
        const answer = await this.#observed(batch, () =>
          this.#inTurn(options, keyed, (call) => this.#jobs.batchEnqueueJobs({ jobs: batch }, call)),
        );
        for (const each of answer.results) {
          results.push({
            id: each.id,
            replayed: each.replayed,
            uniqueAction: uniqueAction(each.uniqueAction),
          });
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        throw rebased(fromRpc(error), results);
      }
    }
    return results;
  }

  /**
   * Reads a job, in full.
   *
   * @throws JobNotFound No job has this id.
   * @throws InvalidRequest The id is no UUID.
   */
  async get(id: string, options: Call = {}): Promise<Job> {
    const waiter = this.#waiter(options);
    const answer = await this.#call(options, true, (call) =>
      this.#jobs.getJob({ id, payloadFormat: JSON_FORMAT }, call),
    );
    return this.#read(answer.job, waiter);
  }

  /** Reads one page of jobs, newest first. `pageToken`: `nextPageToken` of the page before. */
  async listPage(options: ListOptions & { pageToken?: string } = {}): Promise<JobPage> {
    const request = create(ListJobsRequestSchema, {
      ...listFilter(options),
      pageSize: options.pageSize ?? 0,
      pageToken: options.pageToken ?? "",
    });
    const waiter = this.#waiter(options);
    const answer = await this.#call(options, true, (call) => this.#jobs.listJobs(request, call));
    const jobs: Job[] = [];
    for (const each of answer.jobs) {
      const job = this.#read(each, waiter);
      jobs.push(isPromise(job) ? await job : job);
      // Others go on meanwhile.
      if (this.#encodings !== undefined && jobs.length % AT_ONCE === 0) {
        await new Promise((resolve) => timers.setImmediate(resolve));
      }
    }
    return { jobs, nextPageToken: answer.nextPageToken };
  }

  /** Reads all jobs that match, newest first, page by page as they are asked for: `for await (const job of ...)`. */
  async *list(options: ListOptions = {}): AsyncGenerator<Job, void> {
    let pageToken = "";
    do {
      const page = await this.listPage({ ...options, pageToken });
      yield* page.jobs;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /**
   * Cancels a job: a waiting job at once; of a running one the server asks its worker.
   *
   * @param options `reason`: why, for people; told to the worker.
   * @throws JobTerminal The job has ended.
   * @throws JobNotFound No job has this id.
   */
  async cancel(id: string, options: Call & { reason?: string } = {}): Promise<Cancellation> {
    const request = { id, reason: options.reason ?? "", payloadFormat: JSON_FORMAT };
    const waiter = this.#waiter(options);
    const answer = await this.#call(options, false, (call) => this.#jobs.cancelJob(request, call));
    return { job: await this.#read(answer.job, waiter), pending: answer.pending };
  }

  /**
   * Makes a terminal job QUEUED again. It keeps its history; its failures and losses become 0.
   *
   * @throws JobNotTerminal The job has not ended.
   * @throws JobNotFound No job has this id.
   */
  async retry(id: string, options: Call = {}): Promise<Job> {
    const waiter = this.#waiter(options);
    const answer = await this.#call(options, false, (call) =>
      this.#jobs.retryJob({ id, payloadFormat: JSON_FORMAT }, call),
    );
    return this.#read(answer.job, waiter);
  }

  /**
   * Lets a job go that was enqueued with `hold`: it waits for its `runAt` and a worker, as any job.
   *
   * @throws JobNotHeld The job is not held back: it was released before, enqueued without `hold`, or has ended.
   * @throws JobNotFound No job has this id.
   */
  async release(id: string, options: Call = {}): Promise<Job> {
    const waiter = this.#waiter(options);
    const answer = await this.#call(options, false, (call) =>
      this.#jobs.releaseJob({ id, payloadFormat: JSON_FORMAT }, call),
    );
    return this.#read(answer.job, waiter);
  }

  /**
   * Deletes a terminal job and its history.
   *
   * @throws JobNotTerminal The job has not ended: cancel it first.
   * @throws JobNotFound No job has this id.
   */
  async delete(id: string, options: Call = {}): Promise<void> {
    await this.#call(options, false, (call) => this.#jobs.deleteJob({ id }, call));
  }

  /**
   * Waits until a job has ended.
   *
   * @param options `timeoutMs`: how long at most; undefined: for as long as it takes.
   * @returns The job, in full, with a terminal status.
   * @throws WaitTimeout It was not over in time; `job` is how it stood, `summary` says why.
   * @throws JobNotFound No job has this id.
   */
  async wait(id: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<Job> {
    const ends = performance.now() + (options.timeoutMs ?? Infinity);
    for (;;) {
      const waitMs = Math.min(Math.max(0, ends - performance.now()), ONE_WAIT_MS);
      const timeout = convert.duration(waitMs, "timeoutMs");
      // A server that restarts meanwhile costs a retry, not the wait.
      const deadlineMs = waitMs + this.#deadlineMs;
      const answer = await this.#call({ deadlineMs, signal: options.signal }, true, (call) =>
        this.#jobs.waitJob({ id, timeout, payloadFormat: JSON_FORMAT }, call),
      );
      const job = await this.#read(answer.job, this.#waiter({ signal: options.signal }));
      if (job.isTerminal) return job;
      if (performance.now() >= ends) {
        const { timeoutMs = 0, signal } = options;
        const why = timeoutMs >= WORTH_ASKING_MS ? await this.#why(id, signal) : "";
        throw new WaitTimeout(`job ${id} is ${job.status} and not over after ${timeoutMs} ms`, job, why);
      }
    }
  }

  /** Why a job has not ended, where a server says so soon. */
  async #why(id: string, signal: AbortSignal | undefined): Promise<string> {
    try {
      const deadlineMs = Math.min(this.#deadlineMs, TO_SAY_WHY_MS);
      return (await this.explain(id, { deadlineMs, signal })).summary;
    } catch {
      signal?.throwIfAborted();
      return "";
    }
  }

  /**
   * Asks why a job waits, and what would start it.
   *
   * @throws JobNotFound No job has this id.
   */
  async explain(id: string, options: Call = {}): Promise<Explanation> {
    return explanationOf(await this.#call(options, true, (call) => this.#insight.explainJob({ id }, call)));
  }

  /**
   * Watches jobs: `for await (const job of client.watch({ queue: "mail" }))`.
   *
   * Each change of a job is followed by the job as it then is, or as it is later: steps may be skipped, a terminal
   * status is not, unless the job was retried or deleted meanwhile. With ids each job is answered as it is,
   * then whenever it changes, and the loop ends when all are over; without, it goes on for ever, and tells what changes
   * from its beginning on: `await watch.begun()` waits for that.
   */
  watch(options: WatchOptions = {}): Watch {
    const request = create(WatchJobsRequestSchema, {
      ids: [...(options.ids ?? [])],
      queue: options.queue ?? "",
      kind: options.kind ?? "",
      labels: labelList(options.labels),
      resumeToken: options.resumeToken ?? "",
      view: options.full ? JobView.FULL : JobView.BASIC,
      payloadFormat: JSON_FORMAT,
    });
    return new Watch((message, call) => this.#jobs.watchJobs(message, call), request, {
      deadlineMs: options.deadlineMs ?? this.#deadlineMs,
      signal: options.signal,
      firstUse: this.#firstUse,
      read: (job) => this.#read(job, this.#waiter(options)),
    });
  }

  /**
   * Makes a kind, or replaces it as a whole: what is not given goes back to its default.
   *
   * @throws TypeError The kind was made by `defineKind`, which is for `syncKinds`.
   */
  async putKind(kind: Kind, options: Call = {}): Promise<Kind> {
    if ("declaration" in kind) {
      throw new TypeError(`${kind.name} was made by defineKind: use syncKinds, with a list of such kinds`);
    }
    const request = { kind: convert.kindMessage(kind), payloadFormat: JSON_FORMAT };
    const answer = await this.#call(options, true, (call) => this.#admin.putKind(request, call));
    return convert.kindOf(answer.kind);
  }

  /**
   * Tells the server what kinds that `defineKind` made are: for each one its schemas and its version.
   *
   * Of the rest it says `maxAttempts`, `timeoutMs`, `retryPolicy` and `slotWeight` where the declaration has them; what it
   * does not name stays as an operator set it. A kind of which the server has a higher version stays as it is. One that the server does
   * not know is made. It takes a call for each kind, one after the other. Of a client with encodings the server is told that
   * payloads may be encoded, but for kinds that say "never".
   *
   * @param options `deadlineMs` is for each call.
   * @returns What was done, in the same order.
   * @throws InvalidRequest A schema is no JSON Schema, or too large.
   * @throws NotAllowed The caller may not declare a kind: that takes OPERATE on it in all queues. Those before it are
   *     declared.
   * @throws ServersDiffer An older server runs, which would replace what is not named.
   * @throws NotSupported The server is older, and has done so.
   * @throws TypeError A schema has a part that JSON Schema has no words for.
   */
  async syncKinds(kinds: Iterable<JobKind>, options: Call = {}): Promise<SyncedKind[]> {
    const synced: SyncedKind[] = [];
    for (const each of kinds) {
      const { kind, fields } = each.declaration(this.#encodings !== undefined);
      const { version = 1 } = kind;
      const request = {
        kind: convert.kindMessage(kind),
        payloadFormat: JSON_FORMAT,
        updateMask: { paths: fields },
        onlyNewer: true,
      };
      const answer = await this.#call(options, true, (call) => this.#admin.putKind(request, call));
      const stored = convert.kindOf(answer.kind);
      const { version: has = 0 } = stored;
      if (has < version) {
        throw new NotSupported(
          `the server is older than syncKinds: it replaced all that was declared of the kind ${kind.name}; upgrade it, ` +
            "and set its settings again",
          { code: "UNIMPLEMENTED" },
        );
      }
      const changed = !answer.unchanged;
      synced.push({ kind: stored, changed, newer: !changed && has > version });
    }
    return synced;
  }

  /** Reads all kinds, in order of their names. */
  async listKinds(options: Call = {}): Promise<Kind[]> {
    const kinds: Kind[] = [];
    let pageToken = "";
    do {
      const request = { pageSize: 1000, pageToken, payloadFormat: JSON_FORMAT };
      const answer = await this.#call(options, true, (call) => this.#admin.listKinds(request, call));
      kinds.push(...answer.kinds.map(convert.kindOf));
      pageToken = answer.nextPageToken;
    } while (pageToken);
    return kinds;
  }

  /** Reads all queues, in order of their names. */
  async listQueues(options: Call = {}): Promise<Queue[]> {
    const queues: Queue[] = [];
    let pageToken = "";
    do {
      const request = { pageSize: 1000, pageToken };
      const answer = await this.#call(options, true, (call) => this.#admin.listQueues(request, call));
      queues.push(...answer.queues.map(convert.queueOf));
      pageToken = answer.nextPageToken;
    } while (pageToken);
    return queues;
  }

  /**
   * Reads a queue.
   *
   * @throws QueueNotFound No job was ever enqueued in it.
   */
  async getQueue(name: string, options: Call = {}): Promise<Queue> {
    const answer = await this.#call(options, true, (call) => this.#admin.getQueue({ name }, call));
    return convert.queueOf(answer.queue);
  }

  /**
   * Asks how many slots of workers a queue wants. The answer may be a second old.
   *
   * @throws QueueNotFound No job was ever enqueued in it.
   */
  async getQueueDemand(name: string, options: Call = {}): Promise<QueueDemand> {
    const request = { queue: name };
    return demandOf(await this.#call(options, true, (call) => this.#insight.getQueueDemand(request, call)));
  }

  /**
   * Stops the claiming of jobs from a queue. Running jobs continue.
   *
   * @param options `reason`: why, for people; `explain` tells it.
   */
  async pauseQueue(name: string, options: Call & { reason?: string } = {}): Promise<Queue> {
    const request = { name, reason: options.reason ?? "" };
    const answer = await this.#call(options, true, (call) => this.#admin.pauseQueue(request, call));
    return convert.queueOf(answer.queue);
  }

  /** Lets jobs be claimed from a queue again. */
  async resumeQueue(name: string, options: Call = {}): Promise<Queue> {
    const answer = await this.#call(options, true, (call) => this.#admin.resumeQueue({ name }, call));
    return convert.queueOf(answer.queue);
  }

  /**
   * Changes what a queue allows of its jobs, and of those of one key, and how long it keeps them. All servers know it when
   * this returns.
   *
   * @param keyPolicy The new policy. `{}`: keys limit nothing any longer. Undefined: it stays.
   * @throws QueueNotFound No job was ever enqueued in it, and `allowMissing` is not set.
   * @throws EtagMismatch It was changed since its `etag` was read.
   */
  async updateQueue(
    name: string,
    keyPolicy: KeyPolicy | undefined,
    options: UpdateQueueOptions = {},
  ): Promise<Queue> {
    const { fields = [], maxWaiting, limits, limitFields = [], etag = "", allowMissing = false } = options;
    const paths = keyPolicy ? fields.map((each) => `key_policy.${each}`) : [];
    if (keyPolicy && paths.length === 0) paths.push("key_policy");
    if (maxWaiting !== undefined) paths.push("max_waiting");
    if (limits) paths.push(...limitFields.map((each) => `limits.${each}`));
    if (limits && limitFields.length === 0) paths.push("limits");
    const { retention, retentionFields = [] } = options;
    if (retention) paths.push(...retentionFields.map((each) => `retention.${each}`));
    if (retention && retentionFields.length === 0) paths.push("retention");
    const queue = {
      name,
      etag,
      maxWaiting: maxWaiting ?? 0,
      ...(keyPolicy && { keyPolicy: convert.keyPolicyMessage(keyPolicy) }),
      ...(limits && { limits: convert.limitsMessage(limits) }),
      ...(retention && { retention: convert.retentionMessage(retention) }),
    };
    const request = { queue, updateMask: { paths }, allowMissing };
    // A change that is made twice finds the etag of the first.
    const answer = await this.#call(options, etag === "", (call) => this.#admin.updateQueue(request, call));
    return convert.queueOf(answer.queue);
  }

  /**
   * Reads the keys of a queue that have jobs, or of which something is said.
   *
   * @throws QueueNotFound No job was ever enqueued in it.
   */
  async listQueueKeys(queue: string, options: ListQueueKeysOptions = {}): Promise<QueueKey[]> {
    const { only, mostWaitingFirst = false, most = 1000 } = options;
    const keys: QueueKey[] = [];
    let pageToken = "";
    do {
      const request = {
        queue,
        only: ListQueueKeysRequest_Only[only ?? "ONLY_UNSPECIFIED"],
        orderBy: mostWaitingFirst ? "waiting desc" : "key",
        pageSize: Math.min(most - keys.length, 1000),
        pageToken,
      };
      const answer = await this.#call(options, true, (call) => this.#admin.listQueueKeys(request, call));
      keys.push(...answer.keys.map(queueKeyOf));
      pageToken = answer.nextPageToken;
    } while (pageToken && keys.length < most);
    return keys;
  }

  /**
   * Reads one key of a queue, with the jobs that hold it. Every key is there, also one without jobs.
   *
   * @throws QueueNotFound No job was ever enqueued in it.
   */
  async getQueueKey(queue: string, key: string, options: Call = {}): Promise<QueueKey> {
    const request = { queue, key };
    const answer = await this.#call(options, true, (call) => this.#admin.getQueueKey(request, call));
    return queueKeyOf(answer.queueKey);
  }

  /**
   * Gives one key of a queue a limit of its own, or pauses it.
   *
   * @throws QueueNotFound No job was ever enqueued in it.
   * @throws EtagMismatch The key was changed since its `etag` was read.
   */
  async updateQueueKey(
    queue: string,
    key: string,
    change: QueueKeyChange,
    options: UpdateQueueKeyOptions = {},
  ): Promise<QueueKey> {
    const { etag = "" } = options;
    const { maxRunning, paused } = change;
    const paths = [
      ...(maxRunning === undefined ? [] : ["max_running"]),
      ...(paused === undefined ? [] : ["paused"]),
    ];
    const request = {
      queueKey: { queue, key, etag, maxRunning: maxRunning ?? 0, paused: paused ?? false },
      updateMask: { paths },
    };
    // A change that is made twice finds the etag of the first.
    const answer = await this.#call(options, etag === "", (call) =>
      this.#admin.updateQueueKey(request, call),
    );
    return queueKeyOf(answer.queueKey);
  }

  /**
   * Lets a key of a queue go on with its next job, though one that failed or was cancelled blocks it. That job stays as
   * it ended.
   *
   * @returns The id of the job that blocked it.
   * @throws QueueNotFound No job was ever enqueued in the queue.
   * @throws KeyNotBlocked No job blocks the key.
   */
  async unblockQueueKey(queue: string, key: string, options: Call = {}): Promise<string> {
    const answer = await this.#call(options, false, (call) =>
      this.#admin.unblockQueueKey({ queue, key }, call),
    );
    return answer.blockedBy;
  }

  /** Asks how the queues are doing: what happens, what waits, who works, what is wrong. */
  async overview(options: Call = {}): Promise<Overview> {
    return this.#overview.overview(options);
  }

  /**
   * Asks so every 2 s: `for await (const each of client.watchOverview())`. A stream that breaks is opened again; leaving the
   * loop ends it.
   *
   * @param options `deadlineMs`: how long it tries while no server answers; then it throws Unavailable.
   */
  watchOverview(options: Call = {}): AsyncGenerator<Overview, void> {
    return this.#overview.watch(options);
  }

  /**
   * Asks what happened to jobs in a time, in steps.
   *
   * @throws InvalidRequest `since` is not before `until`, or the step makes more than 720 points.
   */
  async stats(options: StatsOptions = {}): Promise<Stats> {
    return this.#overview.stats(options);
  }

  /**
   * Counts jobs; the filters are those of `list`.
   *
   * The server counts for 2 s at most, and keeps the answer for a minute. It reads each job, so it is for a single question;
   * for what is shown all the time there are `overview` and `stats`.
   */
  async countJobs(options: CountJobsOptions = {}): Promise<JobCount> {
    return this.#overview.countJobs(options);
  }

  /** Reads which servers run on the database, by name. */
  async listServers(options: Call = {}): Promise<ServerInfo[]> {
    return this.#overview.listServers(options);
  }

  /** Reads the workers of all servers, those first that came last. */
  async listWorkers(options: ListWorkersOptions = {}): Promise<WorkerSession[]> {
    return this.#workers.list(options);
  }

  /**
   * Reads a worker, with the jobs that it holds.
   *
   * @throws WorkerNotFound No open session has this number.
   */
  async getWorker(sessionId: string, options: Call = {}): Promise<WorkerSession> {
    return this.#workers.get(sessionId, options);
  }

  /**
   * Gives a worker no more jobs, for good. It finishes what it holds; then its operator stops it.
   *
   * @param sessionId The number of its session.
   * @param options `reason`: why, for people.
   * @throws WorkerNotFound No open session has this number.
   * @throws NotAllowed It takes something on which these credentials permit no OPERATE.
   * @throws ServersDiffer An older server runs, which would give it jobs all the same.
   */
  async drainWorker(
    sessionId: string,
    options: Call & { reason?: string | undefined } = {},
  ): Promise<WorkerSession> {
    return this.#workers.drain(sessionId, options.reason ?? "", options);
  }

  /** The calls about schedules: jobs, and the times at which they are enqueued. */
  get schedules(): Schedules {
    this.#schedules ??= new Schedules(this.#connection.transport, this.#calling, this.#encodings, (call) =>
      this.#waiter(call),
    );
    return this.#schedules;
  }

  /**
   * Makes many jobs that have ended QUEUED again, by an operation that goes on without this program.
   *
   * @param options `force`: do it; without it nothing changes, and the answer has how many match and some of them.
   * @throws FilterChanged Not about as many as `expected` match.
   * @throws QueueNotFound No job was ever enqueued in `toQueue`.
   */
  async retryJobs(filter: JobFilter, options: RetryJobsOptions = {}): Promise<Operation> {
    return this.#bulk.retry(filter, options);
  }

  /**
   * Cancels many jobs that have not ended, by an operation that goes on without this program.
   *
   * @param options `force`: do it; without it nothing changes, and the answer has how many match and some of them.
   * @throws FilterChanged Not about as many as `expected` match.
   */
  async cancelJobs(filter: JobFilter, options: CancelJobsOptions = {}): Promise<Operation> {
    return this.#bulk.cancel(filter, options);
  }

  /**
   * Deletes many jobs that have ended, by an operation that goes on without this program.
   *
   * @param options `force`: do it; without it nothing changes, and the answer has how many match and some of them.
   * @throws FilterChanged Not about as many as `expected` match.
   */
  async deleteJobs(filter: JobFilter, options: BulkOptions = {}): Promise<Operation> {
    return this.#bulk.delete(filter, options);
  }

  /**
   * Changes many jobs that wait, by an operation that goes on without this program.
   *
   * @param filter Which jobs, of those that are QUEUED or RETRYING.
   * @param options What to change. `force`: do it; without it nothing changes, and the answer has how many match and some of
   *     them.
   * @throws FilterChanged Not about as many as `expected` match.
   * @throws QueueNotFound No job was ever enqueued in `toQueue`.
   * @throws ServersDiffer An older server runs, which does not know such operations.
   */
  async updateJobs(filter: JobFilter, options: UpdateJobsOptions = {}): Promise<Operation> {
    return this.#bulk.update(filter, options);
  }

  /**
   * Reads an operation.
   *
   * @throws OperationNotFound There is none of this name.
   */
  async getOperation(name: string, options: Call = {}): Promise<Operation> {
    return this.#operations.get(name, options);
  }

  /** Reads the operations that are kept, newest first: your own, or with ADMIN those of the namespace. */
  async listOperations(options: Call = {}): Promise<Operation[]> {
    return this.#operations.list(options);
  }

  /**
   * Waits until an operation is done.
   *
   * @returns The operation; where `timeoutMs` is over first, as it then is.
   * @throws OperationNotFound There is none of this name.
   */
  async waitOperation(name: string, options: WaitOperationOptions = {}): Promise<Operation> {
    return this.#operations.wait(name, options);
  }

  /**
   * Asks an operation to stop after the step that it is in. What it has done stays done.
   *
   * @throws OperationNotFound There is none of this name.
   */
  async cancelOperation(name: string, options: Call = {}): Promise<void> {
    await this.#operations.cancel(name, options);
  }

  /**
   * Deletes an operation that is done.
   *
   * @throws OperationNotDone It is not.
   * @throws OperationNotFound There is none of this name.
   */
  async deleteOperation(name: string, options: Call = {}): Promise<void> {
    await this.#operations.delete(name, options);
  }

  /** The job in an answer. */
  #read(job: pb.Job | undefined, waiter: Waiter, replayed = false, action?: UniqueAction): Maybe<Job> {
    if (!job) throw new TypeError("the server answered no job");
    if (this.#encodings === undefined) return new Job(job, replayed, action);
    return this.#encodings.job(job, replayed, action, waiter);
  }

  /** Who waits for keys until a call that begins now is to end. */
  #waiter({ deadlineMs = this.#deadlineMs, signal }: Call): Waiter {
    const ends = now() + deadlineMs;
    return { ms: () => ends - now(), signal: () => signal };
  }

  /** Makes a call that enqueues, in its turn where the client is adaptive. */
  #inTurn<T>(options: Call, retry: boolean, method: (call: CallOptions) => Promise<T>): Promise<T> {
    if (this.#window === undefined) return this.#call(options, retry, method);
    const { deadlineMs = this.#deadlineMs, signal } = options;
    return this.#window.run(deadlineMs, signal, (leftMs, turn) =>
      this.#call({ deadlineMs: leftMs, signal }, retry, method, turn),
    );
  }

  async #call<T>(
    options: Call,
    retry: boolean,
    method: (call: CallOptions) => Promise<T>,
    turn?: Turn,
  ): Promise<T> {
    const { deadlineMs = this.#deadlineMs, signal } = options;
    try {
      const answer = await call(method, { deadlineMs, signal, retry, turn });
      this.#firstUse.answered();
      return answer;
    } catch (error) {
      if (error instanceof JobQueueError) this.#firstUse.failed(error);
      throw error;
    }
  }

  /** Tells the observer, if there is one, what became of an enqueue. */
  async #observed<T>(jobs: readonly pb.NewJob[], enqueue: () => Promise<T>): Promise<T> {
    const observations = this.#observations;
    if (observations === undefined) return enqueue();
    const began = now();
    try {
      const answer = await enqueue();
      observations.enqueued(jobs, now() - began, undefined);
      return answer;
    } catch (error) {
      observations.enqueued(jobs, now() - began, error);
      throw error;
    }
  }
}

function listFilter(options: ListOptions): MessageInitShape<typeof ListJobsRequestSchema> {
  const status = typeof options.status === "string" ? [options.status] : (options.status ?? []);
  return {
    queue: options.queue ?? "",
    kind: options.kind ?? "",
    status: status.map(convert.statusNumber),
    labels: labelList(options.labels),
    view: options.full ? JobView.FULL : JobView.BASIC,
    payloadFormat: JSON_FORMAT,
    ...(options.createdAfter && { createdAfter: convert.timestamp(options.createdAfter, "createdAfter") }),
    ...(options.createdBefore && {
      createdBefore: convert.timestamp(options.createdBefore, "createdBefore"),
    }),
  };
}
