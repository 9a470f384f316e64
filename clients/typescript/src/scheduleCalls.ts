/** The calls about schedules: `client.schedules`. */

import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { Client as Stub, Transport } from "@connectrpc/connect";

import { Backoff } from "./backoff.js";
import { labelList } from "./calling.js";
import type { Calling } from "./calling.js";
import { pause } from "./calls.js";
import type { Call } from "./calls.js";
import { marked } from "./encoded.js";
import { timestamp } from "./convert.js";
import type { Encodings, Waiter } from "./encodings/encodings.js";
import { EtagMismatch, ScheduleExists, ScheduleNotFound } from "./errors.js";
import { PayloadFormat } from "./gen/jobqueue/v1/job_pb.js";
import type * as job from "./gen/jobqueue/v1/job_pb.js";
import { ScheduleSchema, Schedules as Service } from "./gen/jobqueue/v1/schedule_pb.js";
import type * as pb from "./gen/jobqueue/v1/schedule_pb.js";
import type { NewJob } from "./job.js";
import { operationOf } from "./operations.js";
import type { Operation } from "./operations.js";
import {
  OWNER_LABEL,
  overlapNumber,
  policyMessage,
  runOf,
  scheduleOf,
  specMessage,
  templateMessage,
  tickOf,
} from "./schedules.js";
import type {
  Applied,
  AppliedSchedule,
  NewSchedule,
  Overlap,
  Schedule,
  SchedulePolicy,
  ScheduleRun,
  ScheduleSpec,
  ScheduleTick,
} from "./schedules.js";

const JSON_FORMAT = PayloadFormat.JSON;
const APPLY_TRIES = 10;

/** What can be said of a schedule that is made, beside its spec and its job. */
export interface CreateScheduleOptions extends Call {
  /** What becomes of ticks that can't simply fire. Default: the defaults. */
  policy?: SchedulePolicy | undefined;
  /** By which schedules can be listed; those of its jobs stand in `job`. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Whether it has no ticks until `resume`. Default false. */
  paused?: boolean | undefined;
}

/** Which schedules to list. What is given must all match. */
export interface ListSchedulesOptions extends Call {
  /** Only those whose jobs are of this kind. */
  kind?: string | undefined;
  /** Only those whose jobs go into this queue. */
  queue?: string | undefined;
  /** Only those that are paused, or those that are not. Default: both. */
  paused?: boolean | undefined;
  /** Only those with all of these labels. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** At most so many in a page; default 50, above 1000 is 1000. */
  pageSize?: number | undefined;
}

/** What to change of a schedule. What is undefined stays. */
export interface ScheduleChange {
  /** When it is due, as a whole. */
  spec?: ScheduleSpec | undefined;
  /** What each tick enqueues, as a whole. It must have a payload; one of null is `payload: null`. */
  job?: NewJob | undefined;
  /** What becomes of ticks that can't simply fire. */
  policy?: SchedulePolicy | undefined;
  /** All its labels. */
  labels?: Readonly<Record<string, string>> | undefined;
}

/** How to change a schedule. */
export interface UpdateScheduleOptions extends Call {
  /** The fields of `policy` that are changed, as the contract calls them, such as `overlap`. Default: all; without it, none. */
  policyFields?: readonly string[] | undefined;
  /** `Schedule.etag`: the schedule is changed only if it still has it. Default: whatever was changed since. */
  etag?: string | undefined;
  /** Whether a schedule that does not exist is made, of `spec` and `job`. Default false. */
  allowMissing?: boolean | undefined;
}

/** Whose the schedules are that a program declares. */
export interface ApplySchedulesOptions extends Call {
  /** Such as the program's name: a label, `jobqueue.owner`. A schedule of another owner, or of none, is never changed. */
  owner: string;
  /** Whether schedules of this owner that are not declared are deleted. Default false. */
  prune?: boolean | undefined;
}

/** How to fire a schedule by hand. */
export interface RunScheduleOptions extends Call {
  /** What becomes of it while a job of the schedule has not ended. Default: as the policy has it. */
  overlap?: Overlap | undefined;
  /**
   * A text of your own: the same call again is answered the run of the first. Without one the call is not tried again when
   * the server is away.
   */
  requestId?: string | undefined;
}

/** How to fire ticks of the past. */
export interface BackfillScheduleOptions extends Call {
  /** What becomes of a tick while a job of the schedule has not ended. Default ALLOW. */
  overlap?: "ALLOW" | "SKIP" | undefined;
  /** After so many it is done. Default: after all. */
  maxTicks?: number | undefined;
  /** Fire nothing: the answer has how many ticks there are. Default false. */
  validateOnly?: boolean | undefined;
  /** How many ticks a second. Default: as fast as the service takes it. */
  perSecond?: number | undefined;
  /**
   * A text of your own: the same call again is answered the operation of the first. Without one the call is not tried again
   * when the server is away.
   */
  requestId?: string | undefined;
}

/** Which ticks to ask for. */
export interface PreviewScheduleOptions extends Call {
  /** How many ticks, 1..100. Default 10. */
  count?: number | undefined;
  /** Ticks after this time. Default: after now. */
  since?: Date | undefined;
}

/**
 * Schedules: jobs, and the times at which they are enqueued. `Client.schedules` is one.
 *
 * As every method of the client, each may throw a `JobQueueError`, and takes `deadlineMs` and `signal`.
 */
export class Schedules {
  readonly #stub: Stub<typeof Service>;
  readonly #calling: Calling;
  readonly #encodings: Encodings | undefined;
  readonly #waiter: ((call: Call) => Waiter) | undefined;

  /** For the client, whose encodings are those of the jobs that ticks enqueue. */
  constructor(
    transport: Transport,
    calling: Calling,
    encodings?: Encodings,
    waiter?: (call: Call) => Waiter,
  ) {
    this.#stub = createClient(Service, transport);
    this.#calling = calling;
    this.#encodings = encodings;
    this.#waiter = waiter;
  }

  /**
   * Makes a schedule. Its first tick is the first one after now.
   *
   * @param name Its name, such as `nightly-report`.
   * @param spec When it is due.
   * @param job What each tick enqueues, without a time and an idempotency key. Of a typed kind: `kind.new(payload)`.
   * @throws ScheduleExists A schedule has this name.
   * @throws InvalidRequest A field is malformed, such as a line of cron; `violations` says what would be right.
   * @throws KindUnknown The kind of the job is not declared.
   * @throws PayloadInvalid The payload of the job does not satisfy the kind's schema.
   * @throws SchedulesFull The namespace has as many as it may have.
   * @throws EncodingRequired The kind takes encrypted payloads alone, and the client does not encrypt.
   * @throws KeyUnknown The primary key of its encodings is not there.
   */
  async create(
    name: string,
    spec: ScheduleSpec,
    job: NewJob,
    options: CreateScheduleOptions = {},
  ): Promise<Schedule> {
    const { policy, labels = {}, paused = false } = options;
    const schedule = {
      name,
      spec: specMessage(spec),
      job: await this.#template(name, job, options),
      labels: { ...labels },
      paused,
      ...(policy && { policy: policyMessage(policy) }),
    };
    const request = { schedule, payloadFormat: JSON_FORMAT };
    const answer = await this.#calling(options, false, (call) => this.#stub.createSchedule(request, call));
    return this.#read(answer.schedule, options);
  }

  /**
   * Reads a schedule.
   *
   * @throws ScheduleNotFound No schedule has this name.
   */
  async get(name: string, options: Call = {}): Promise<Schedule> {
    const request = { name, payloadFormat: JSON_FORMAT };
    const answer = await this.#calling(options, true, (call) => this.#stub.getSchedule(request, call));
    return this.#read(answer.schedule, options);
  }

  /** Reads all schedules that match, in order of their names, page by page as they are asked for: `for await (const ...)`. */
  async *list(options: ListSchedulesOptions = {}): AsyncGenerator<Schedule, void> {
    const { kind = "", queue = "", paused, labels, pageSize = 0 } = options;
    let pageToken = "";
    do {
      const request = {
        kind,
        queue,
        labels: labelList(labels),
        pageSize,
        pageToken,
        ...(paused !== undefined && { paused }),
      };
      const answer = await this.#calling(options, true, (call) => this.#stub.listSchedules(request, call));
      for (const each of answer.schedules) yield this.#read(each, options);
      pageToken = answer.nextPageToken;
    } while (pageToken);
  }

  /**
   * Changes a schedule. What is undefined stays. A change fires nothing by itself, and catches nothing up.
   *
   * @throws ScheduleNotFound No schedule has this name, and `allowMissing` is not set.
   * @throws EtagMismatch The schedule was changed since its `etag` was read.
   * @throws InvalidRequest A field is malformed, or nothing is to be changed.
   * @throws KindUnknown The kind of the job is not declared.
   * @throws PayloadInvalid The payload of the job does not satisfy the kind's schema.
   * @throws Encoded The payload of the job was not decoded when the schedule was read.
   * @throws EncodingRequired The kind takes encrypted payloads alone, and the client does not encrypt.
   * @throws KeyUnknown The primary key of its encodings is not there.
   */
  async update(name: string, change: ScheduleChange, options: UpdateScheduleOptions = {}): Promise<Schedule> {
    const { spec, job, policy, labels } = change;
    const { policyFields = [], etag = "", allowMissing = false } = options;
    const schedule = create(ScheduleSchema, { name, etag, labels: { ...labels } });
    const paths: string[] = [];
    if (spec !== undefined) {
      paths.push("spec");
      schedule.spec = specMessage(spec);
    }
    if (job !== undefined) {
      paths.push("job");
      // So are jobs that were listed. The server refuses it, and the schedule keeps the payload that it has.
      if (job.payload === undefined && job.payloadJson === undefined) {
        schedule.job = templateMessage({ ...job, encodings: undefined });
        schedule.job.content = { case: undefined };
      } else {
        schedule.job = await this.#template(name, job, options);
      }
    }
    if (policy !== undefined) {
      paths.push(...(policyFields.length > 0 ? policyFields.map((each) => `policy.${each}`) : ["policy"]));
      schedule.policy = policyMessage(policy);
    }
    if (labels !== undefined) paths.push("labels");
    const request = { schedule, updateMask: { paths }, allowMissing, payloadFormat: JSON_FORMAT };
    // A change that is made twice finds the etag of the first.
    const answer = await this.#calling(options, etag === "", (call) =>
      this.#stub.updateSchedule(request, call),
    );
    return this.#read(answer.schedule, options);
  }

  /**
   * Makes the schedules of a program what the program declares, as it does when it starts.
   *
   * One that is missing is created, one that is another is changed, and one that is as declared stays untouched. A schedule
   * that an operator has paused stays paused. Programs of one owner may do so at once. The calls are made one after the
   * other: where one of them fails, what was done before stays.
   *
   * @param options `deadlineMs` is for each call.
   * @returns What was done, in the order in which they are declared, and then what was deleted.
   * @throws ScheduleExists A schedule has this name and is not of this owner: `metadata.owner` says whose it is.
   * @throws TypeError Two of them have one name, or the owner is empty. Nothing was done.
   * @throws InvalidRequest As of `create`, as are KindUnknown, PayloadInvalid and SchedulesFull.
   */
  async apply(declared: Iterable<NewSchedule>, options: ApplySchedulesOptions): Promise<AppliedSchedule[]> {
    const { owner, prune = false, deadlineMs, signal } = options;
    const call = { deadlineMs, signal };
    const all = [...declared];
    const wanted = new Set(all.map((each) => each.name));
    if (!owner) throw new TypeError("owner is empty");
    if (wanted.size !== all.length) throw new TypeError("two schedules have one name");
    const applied: AppliedSchedule[] = [];
    for (const each of all) applied.push(await this.#applied(each, owner, call));
    if (!prune) return applied;
    const left: Schedule[] = [];
    for await (const each of this.list({ ...call, labels: { [OWNER_LABEL]: owner }, pageSize: 1000 })) {
      if (!wanted.has(each.name)) left.push(each);
    }
    for (const schedule of left) {
      try {
        await this.delete(schedule.name, { ...call, etag: schedule.etag });
        applied.push({ schedule, done: "DELETED" });
      } catch (error) {
        // One that was changed since is another program's by now, or the same program's of another version.
        if (!(error instanceof ScheduleNotFound || error instanceof EtagMismatch)) throw error;
      }
    }
    return applied;
  }

  /** One of them, again where another program changed it meanwhile. */
  async #applied(declared: NewSchedule, owner: string, call: Call): Promise<AppliedSchedule> {
    const backoff = new Backoff(20, 500);
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#applyOne(declared, owner, call);
      } catch (error) {
        const between =
          error instanceof EtagMismatch ||
          error instanceof ScheduleNotFound ||
          (error instanceof ScheduleExists && error.metadata["owner"] === undefined);
        if (!between || tries === APPLY_TRIES) throw error;
      }
      await pause(backoff.next(), call.signal);
    }
  }

  async #applyOne(declared: NewSchedule, owner: string, call: Call): Promise<AppliedSchedule> {
    const { name, spec, policy = {} } = declared;
    const labels = { ...declared.labels, [OWNER_LABEL]: owner };
    // What is declared is the whole job: to `update` one without a payload would be one that was listed.
    const none = declared.job.payload === undefined && declared.job.payloadJson === undefined;
    const job = none ? { ...declared.job, payload: null } : declared.job;
    let before: Schedule;
    try {
      before = await this.get(name, call);
    } catch (error) {
      if (!(error instanceof ScheduleNotFound)) throw error;
      return { schedule: await this.create(name, spec, job, { ...call, policy, labels }), done: "CREATED" };
    }
    const of = before.labels[OWNER_LABEL] ?? "";
    if (of !== owner) {
      const whose = of ? `the schedule ${name} is of ${of}` : `the schedule ${name} has no owner`;
      const facts = { code: "ALREADY_EXISTS", reason: "SCHEDULE_EXISTS" };
      throw new ScheduleExists(whose, { ...facts, metadata: { schedule: name, owner: of } });
    }
    const schedule = await this.update(name, { spec, job, policy, labels }, { ...call, etag: before.etag });
    const done: Applied = schedule.etag === before.etag ? "UNCHANGED" : "CHANGED";
    return { schedule, done };
  }

  /**
   * Deletes a schedule with its runs. Its jobs stay.
   *
   * @param options `etag`: `Schedule.etag`; it is deleted only if it still has it. Default: whatever was changed since.
   * @throws ScheduleNotFound No schedule has this name.
   * @throws EtagMismatch The schedule was changed since its `etag` was read.
   */
  async delete(name: string, options: Call & { etag?: string | undefined } = {}): Promise<void> {
    const request = { name, etag: options.etag ?? "" };
    await this.#calling(options, false, (call) => this.#stub.deleteSchedule(request, call));
  }

  /**
   * Stops a schedule until `resume`: it has no ticks meanwhile. Its jobs go on.
   *
   * @param options `note`: why, for people; at most 255 characters.
   * @throws ScheduleNotFound No schedule has this name.
   */
  async pause(name: string, options: Call & { note?: string | undefined } = {}): Promise<Schedule> {
    const request = { name, note: options.note ?? "", payloadFormat: JSON_FORMAT };
    const answer = await this.#calling(options, true, (call) => this.#stub.pauseSchedule(request, call));
    return this.#read(answer.schedule, options);
  }

  /**
   * Lets a paused schedule go on with the first tick after now. What it missed is for `backfill`.
   *
   * @throws ScheduleNotFound No schedule has this name.
   */
  async resume(name: string, options: Call = {}): Promise<Schedule> {
    const request = { name, payloadFormat: JSON_FORMAT };
    const answer = await this.#calling(options, true, (call) => this.#stub.resumeSchedule(request, call));
    return this.#read(answer.schedule, options);
  }

  /**
   * Fires a schedule now, also a paused one. Its ticks stay as they are.
   *
   * @returns What became of it. It may not have fired: look at its `outcome`.
   * @throws ScheduleNotFound No schedule has this name.
   */
  async run(name: string, options: RunScheduleOptions = {}): Promise<ScheduleRun> {
    const { overlap, requestId = "" } = options;
    const request = { name, overlap: overlapNumber(overlap), requestId };
    const answer = await this.#calling(options, requestId !== "", (call) =>
      this.#stub.runSchedule(request, call),
    );
    if (!answer.run) throw new TypeError("the server answered no run");
    return runOf(answer.run);
  }

  /**
   * Fires all ticks of a span of the past, by an operation that goes on without this program.
   *
   * Those that have fired before fire again. `Client.waitOperation` waits for its end.
   *
   * @param startAt Ticks at this time and later.
   * @param endAt Ticks before this time, which is not in the future.
   * @throws ScheduleNotFound No schedule has this name.
   * @throws InvalidRequest A field is malformed, such as an `endAt` in the future.
   * @throws RequestIdReused Another request was made with this `requestId`.
   * @throws ServersDiffer An older server runs, which does not know this operation.
   */
  async backfill(
    name: string,
    startAt: Date,
    endAt: Date,
    options: BackfillScheduleOptions = {},
  ): Promise<Operation> {
    const { overlap, maxTicks = 0, validateOnly = false, perSecond = 0, requestId = "" } = options;
    const request = {
      name,
      startAt: timestamp(startAt, "startAt"),
      endAt: timestamp(endAt, "endAt"),
      overlap: overlapNumber(overlap),
      maxTicks: BigInt(maxTicks),
      validateOnly,
      perSecond,
      requestId,
    };
    const answer = await this.#calling(options, validateOnly || requestId !== "", (call) =>
      this.#stub.backfillSchedule(request, call),
    );
    return operationOf(answer.operation);
  }

  /**
   * Reads what became of the ticks of a schedule and of its runs by hand: those that were decided last first.
   *
   * @param options `pageSize`: at most so many in a page; default 50, above 1000 is 1000.
   * @throws ScheduleNotFound No schedule has this name.
   */
  async *runs(
    name: string,
    options: Call & { pageSize?: number | undefined } = {},
  ): AsyncGenerator<ScheduleRun, void> {
    const { pageSize = 0 } = options;
    let pageToken = "";
    do {
      const request = { name, pageSize, pageToken };
      const answer = await this.#calling(options, true, (call) => this.#stub.listScheduleRuns(request, call));
      for (const each of answer.runs) yield runOf(each);
      pageToken = answer.nextPageToken;
    } while (pageToken);
  }

  /**
   * Asks which ticks a spec has, without making a schedule.
   *
   * @returns The ticks in their order. Fewer than were asked for: the spec has no more of them within 10 years.
   * @throws InvalidRequest A field is malformed, such as a line of cron.
   */
  async preview(spec: ScheduleSpec, options: PreviewScheduleOptions = {}): Promise<ScheduleTick[]> {
    const { count = 0, since } = options;
    const request = {
      spec: specMessage(spec),
      count,
      ...(since && { since: timestamp(since, "since") }),
    };
    const answer = await this.#calling(options, true, (call) => this.#stub.previewSchedule(request, call));
    return answer.ticks.map(tickOf);
  }

  /** The job as it is sent. The same job has the same bytes, so that it is no change. */
  async #template(name: string, job: NewJob, options: Call): Promise<job.NewJob> {
    if (this.#encodings === undefined) return templateMessage(job);
    const [sealed] = await this.#encodings.jobs([job], `schedule ${name}`, this.#waiter?.(options));
    return templateMessage(sealed!);
  }

  async #read(message: pb.Schedule | undefined, options: Call): Promise<Schedule> {
    // The server has done what it was asked for: a key that is missing must not say otherwise.
    const unread = message?.job && (await this.#encodings?.readPayload(message.job, this.#waiter?.(options)));
    const found = scheduleOf(message);
    if (this.#encodings === undefined) return { ...found, job: marked(found.job) };
    return unread === undefined ? found : { ...found, job: { ...found.job, payload: unread } };
  }
}
