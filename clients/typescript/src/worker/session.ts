/** A worker's session: its leases, and what each frame of the server does to them. Touches no socket but by `Stream`. */

import { create, toBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";

import { now, timers } from "../clock.js";
import { duration } from "../convert.js";
import type { TooLarge } from "../errors.js";
import { Job_Status, PayloadFormat } from "../gen/jobqueue/v1/job_pb.js";
import {
  DrainSchema,
  HeartbeatSchema,
  HelloSchema,
  OutcomeSchema,
  ResumeSchema,
  SettleResult_Verdict as Verdict,
} from "../gen/jobqueue/v1/lease_pb.js";
import type {
  Control,
  Delivery,
  LeaseResponse,
  LeasedJob as Message,
  SettleResult,
  Settled,
  Welcome,
} from "../gen/jobqueue/v1/lease_pb.js";
import { msOf } from "../jobs.js";
import { CLIENT_NAME } from "../version.js";
import { attempted } from "./attempt.js";
import { Bell } from "./bell.js";
import { CapacityBook } from "./capacity.js";
import { JobContext } from "./context.js";
import type { Report, Stop } from "./context.js";
import { failed, released } from "./ending.js";
import type { Ending } from "./ending.js";
import type { Handler, Handlers } from "./handlers.js";
import { Lease } from "./lease.js";
import { LeasedJob } from "../job.js";
import { attemptOf, outcomeOf } from "./observer.js";
import type { AttemptOutcome, Observations } from "./observer.js";
import type { Settings } from "./options.js";
import { ProgressReports } from "./progress.js";
import type { Traces } from "../traces.js";
import { Settlements } from "./settlements.js";
import type { Counts } from "./status.js";
import { RECEIPT } from "./stream.js";
import type { Frame, Stream } from "./stream.js";

// A receipt is due within 20 ms of a delivery. Some of that is for what handlers do in one go, the rest for a Settle, which
// carries it as well.
const RECEIPT_AFTER_MS = 12;
// An attempt after the first may be one that ends the process: its handler waits until its receipt is written, and no
// longer than so where the stream does not take it.
const RECEIPT_WITHIN_MS = 20;
const DEFAULT_HEARTBEAT_MS = 5000;
// Where Welcome does not say it.
const DEFAULT_TTL_MS = 30_000;
const REASON_CHARACTERS = 255;

/** The session over all its streams. */
export class Session {
  /** Where it is now. Undefined: nowhere. */
  stream: Stream | undefined;
  id = 0n;
  heartbeatIntervalMs = DEFAULT_HEARTBEAT_MS;
  ttlMs = DEFAULT_TTL_MS;

  readonly #settings: Settings;
  readonly #handlers: Handlers;
  readonly #traces: Traces | undefined;
  readonly #observations: Observations | undefined;
  readonly #leases = new Map<bigint, Lease>();
  readonly #capacity: CapacityBook;
  readonly #settlements: Settlements;
  readonly #progress = new ProgressReports((value) => this.#send({ case: "progress", value }));
  readonly #changed = new Bell();
  // What the old stream delivered after the Hello on a new one was sent. That Hello does not name it, so that the
  // server gives it to others: it is only taken if the session stays where it is.
  #crossed: Delivery[] = [];
  #moving = false;
  #drainReason: string | undefined;
  #heartbeatSeq = 0n;
  #pongSeq = 0n;
  #lastDelivery = 0n;
  #token = "";
  // The server has heard of the session after the newest frame was sent that it has answered. As of `now()`.
  #heard = 0;
  #helloSent = 0;
  #beatsSent = new Map<bigint, number>();
  #losing: NodeJS.Timeout | undefined;

  /**
   * @param traces Makes spans of handlers. Undefined: there are none.
   * @param observations Takes the calls of the observer. Undefined: there is none.
   */
  constructor(settings: Settings, handlers: Handlers, traces?: Traces, observations?: Observations) {
    this.#settings = settings;
    this.#traces = traces;
    this.#observations = observations;
    this.#handlers = handlers;
    this.#capacity = new CapacityBook(settings.concurrency, handlers.slotsByKind);
    this.#settlements = new Settlements(settings.concurrency, (value) =>
      this.#send({ case: "settle", value }),
    );
  }

  // --- the stream ---

  /** The first frame of a stream: opens the session, or resumes it where there is one. From now on it moves. */
  hello(): Frame {
    this.#moving = true;
    this.#helloSent = now();
    const { name, queues, labels, sessionTtlMs } = this.#settings;
    const kinds = this.#handlers.kinds();
    const hello = create(HelloSchema, {
      worker: name,
      subscriptions: queues.map((queue) => ({ queue, kinds })),
      capacity: this.#capacity.message(),
      labels: { ...labels },
      client: CLIENT_NAME,
      payloadFormat: PayloadFormat.JSON,
    });
    if (sessionTtlMs !== undefined) hello.sessionTtl = duration(sessionTtlMs, "sessionTtlMs");
    if (this.#token) {
      const running = [...this.#leases.values()].filter((lease) => lease.place === "running");
      hello.resume = create(ResumeSchema, {
        sessionToken: this.#token,
        lastDelivery: this.#lastDelivery,
        held: running.map((lease) => lease.held()),
        unanswered: this.#settlements.unanswered().map((lease) => lease.held()),
      });
    }
    return { case: "hello", value: hello };
  }

  /** Goes on, or begins, on this stream. */
  welcome(welcome: Welcome, stream: Stream): void {
    this.stream = stream;
    this.#moving = false;
    this.#crossed = [];
    this.id = welcome.sessionId;
    this.#token = welcome.sessionToken;
    this.heartbeatIntervalMs = msOf(welcome.heartbeatInterval) || DEFAULT_HEARTBEAT_MS;
    this.ttlMs = msOf(welcome.sessionTtl) || DEFAULT_TTL_MS;
    this.#heard = this.#helloSent;
    this.#beatsSent.clear();
    if (this.#settings.stopWhenLost) this.#losing ??= this.#lookIn(this.ttlMs);
    this.#heartbeatSeq = this.#pongSeq = 0n;
    this.#lastDelivery = 0n;
    this.#revoke(
      welcome.revoked.map((lease) => lease.leaseId),
      "the session went on without it",
    );
    this.#settlements.restart();
    // Names revoked handlers that still run, so that their slots are not given away.
    this.heartbeat();
    if (this.#drainReason !== undefined) this.#sayDrain(this.#drainReason);
    else this.#sayCapacity();
    this.#changed.ring();
  }

  /** No other stream was found: goes on with the old one, if there is one. */
  stay(): void {
    this.#moving = false;
    const crossed = this.#crossed;
    this.#crossed = [];
    // Not begun after all: the server that refused may have taken the session over, and then each of these went back and
    // may run elsewhere. A release of a lease that is over is told so, and does no harm.
    for (const delivery of crossed) this.#take(delivery, false);
    this.#settlements.flush();
    this.#changed.ring();
  }

  /** The stream is gone, and with it what it delivered but the session did not take. */
  lost(): void {
    this.stream = undefined;
    this.#crossed = [];
  }

  /** The server has ended the session, or does not know it any more: what it still held went back. */
  over(): void {
    const leases = [...this.#leases.values()];
    this.#leases.clear();
    this.#token = "";
    this.#moving = false;
    this.#crossed = [];
    // Those of revoked leases were told already.
    const lost = leases.filter((lease) => lease.place !== "done");
    if (lost.length > 0) {
      this.#log.warn(`the session is over; ${lost.length} jobs went back, their handlers are stopped`);
    }
    for (const lease of lost) this.#giveUp(lease, "the session is over");
    for (const lease of leases) if (lease.alive) this.#capacity.orphans.add(lease);
    this.#changed.ring();
  }

  /** Whether a Welcome is awaited that would begin a session. */
  get opening(): boolean {
    return this.#moving && !this.#token;
  }

  /** Whether it drains and the server keeps nothing of it: there is nothing left to say. */
  get finished(): boolean {
    return this.#drainReason !== undefined && !this.#token;
  }

  /** What a frame says is done. An unknown one is ignored. */
  handle({ frame }: LeaseResponse): void {
    if (frame.case === "delivery") this.#delivery(frame.value);
    else if (frame.case === "settled") this.#settled(frame.value);
    else if (frame.case === "control") this.#control(frame.value);
    else if (frame.case === "pong") this.#pong(frame.value.seq);
  }

  /** Sends a heartbeat. False: the last two were not answered, and the stream is as good as dead. */
  heartbeat(): boolean {
    if (this.#heartbeatSeq - this.#pongSeq >= 2n) return false;
    this.#settlements.flush();
    this.#heartbeatSeq += 1n;
    this.#beatsSent.set(this.#heartbeatSeq, now());
    // Those that are settled and wait for the answer alone are no longer held: they should free their slots.
    const held: bigint[] = [];
    for (const [id, lease] of this.#leases) if (lease.alive || lease.place !== "sent") held.push(id);
    this.#send({ case: "heartbeat", value: create(HeartbeatSchema, { seq: this.#heartbeatSeq, held }) });
    return true;
  }

  #pong(seq: bigint): void {
    if (seq > this.#pongSeq) this.#pongSeq = seq;
    for (const [beat, sent] of this.#beatsSent) {
      if (beat > this.#pongSeq) break;
      this.#heard = sent;
      this.#beatsSent.delete(beat);
    }
  }

  #lookIn(ms: number): NodeJS.Timeout {
    return timers.setTimeout(() => this.#stopIfLost(), ms).unref();
  }

  /** Stops the handlers if no server can have heard of the session for its ttl, and else looks again. */
  #stopIfLost(): void {
    this.#losing = undefined;
    if (!this.#token) return;
    const left = this.#heard + this.ttlMs - now();
    if (left > 0) {
      this.#losing = this.#lookIn(left);
      return;
    }
    const lost = this.alive().filter((lease) => lease.place === "running");
    this.#log.warn(
      `no server was heard for the session's ttl of ${this.ttlMs} ms; ${lost.length} handlers are stopped`,
    );
    for (const lease of lost) this.#stop(lease, "lost", "the worker is cut off");
  }

  #send(frame: Frame): boolean {
    // While a new stream is opened nothing is settled on the old one, so that both sides know what was said.
    if (this.stream === undefined || (this.#moving && frame.case === "settle")) return false;
    this.stream.send(frame);
    return true;
  }

  // --- leaving ---

  /** Takes no more jobs, on this stream and on those that follow. */
  drain(reason: string): void {
    this.#drainReason = reason;
    this.#sayDrain(reason);
  }

  /** Every lease whose handler runs, those of earlier sessions included. */
  alive(): Lease[] {
    return [...[...this.#leases.values()].filter((lease) => lease.alive), ...this.#capacity.orphans];
  }

  /** How many outcomes the server has not answered. */
  get unanswered(): number {
    return this.#settlements.size;
  }

  /** Tells every handler to stop; what it then throws is a release. */
  stopAll(message: string): void {
    for (const lease of this.alive()) if (lease.place === "running") this.#stop(lease, "shutdown", message);
  }

  /** Gives back what still runs; the process ends before its handlers do. */
  releaseAll(): void {
    for (const lease of this.#leases.values()) {
      if (!lease.alive || lease.place !== "running") continue;
      this.#log.warn(`${lease}: the handler did not stop in time; its job goes back`);
      lease.ending = released();
      lease.tookMs = now() - lease.startedAt;
      this.#settlements.add(lease);
    }
  }

  /** Waits until a condition on the session holds; false: it did not until `ends`, as of `now()`. */
  async until(condition: () => boolean, ends: () => number): Promise<boolean> {
    while (!condition()) {
      const left = ends() - now();
      if (left <= 0) return false;
      await this.#changed.wait(left);
    }
    return true;
  }

  /** Has `until` look again. */
  changed(): void {
    this.#changed.ring();
  }

  /** How many jobs it takes now, and how many handlers run. */
  counts(): Counts {
    const slots = this.#capacity.available;
    return { slots, running: this.alive().length, orphans: this.#capacity.orphans.size };
  }

  /** Declares no capacity, or all of it again. */
  pause(paused: boolean): void {
    this.#capacity.paused = paused;
    this.#sayCapacity();
  }

  #sayCapacity(): void {
    this.#send({ case: "capacity", value: this.#capacity.message() });
  }

  #sayDrain(reason: string): void {
    const value = create(DrainSchema, { reason: reason.slice(0, REASON_CHARACTERS) });
    this.#send({ case: "drain", value });
  }

  // --- what the server says ---

  #delivery(delivery: Delivery): void {
    const stream = this.stream;
    if (stream === undefined) return;
    if (this.#moving) {
      this.#crossed.push(delivery);
      return;
    }
    this.#take(delivery, this.#drainReason === undefined);
  }

  /** Makes leases of a delivery, and begins them or gives them back. */
  #take(delivery: Delivery, begin: boolean): void {
    const stream = this.stream;
    if (stream === undefined) return;
    stream.lastDelivery = this.#lastDelivery = delivery.seq;
    timers.setTimeout(() => {
      if (stream.receipted < stream.lastDelivery) stream.send(RECEIPT);
    }, RECEIPT_AFTER_MS);
    const later: (() => void)[] = [];
    for (const message of delivery.jobs) this.#lease(message, begin, later);
    if (later.length === 0) return;
    const runAll = (): void => {
      for (const run of later.splice(0)) run();
    };
    timers.setTimeout(runAll, RECEIPT_WITHIN_MS);
    void stream.receipt().then(runAll);
  }

  /** Runs the handler of a first attempt; that of another one it adds to those that run later. */
  #lease(message: Message, begin: boolean, later: (() => void)[]): void {
    const job = new LeasedJob(message);
    const context = new JobContext(job, (report) => this.#report(lease, report));
    const lease = new Lease(message, context);
    this.#leases.set(lease.id, lease);
    if (this.#observations !== undefined) {
      const attempt = (lease.observed = attemptOf(message));
      this.#observations.tell((observer) => observer.attemptStarted?.(attempt));
    }
    const handler = this.#handlers.get(message.kind);
    if (handler !== undefined && begin) {
      if (message.attempt === 1) void this.#run(lease, job, handler);
      else later.push(() => void this.#run(lease, job, handler));
      return;
    }
    // It crossed our Drain or a move on the wire, or is of a kind that was not asked for: it goes back unstarted.
    if (handler === undefined) {
      this.#log.error(`${lease}: delivered, but its kind has no handler here; it goes back`);
    }
    this.#ended(lease, released());
  }

  async #run(lease: Lease, job: LeasedJob, handler: Handler): Promise<void> {
    const context = lease.context;
    const span = this.#traces?.begin(job, lease.id);
    if (span !== undefined) context.traceparent = span.traceparent;
    const { ending, error } = await attempted(handler, job, context, span && ((call) => span.run(call)));
    lease.error = error;
    span?.ended(ending, context.stopReason === "revoked");
    this.#ended(lease, ending);
  }

  #ended(lease: Lease, ending: Ending): void {
    lease.alive = false;
    lease.tookMs = now() - lease.startedAt;
    if (this.#capacity.orphans.delete(lease)) {
      this.#sayCapacity(); // of a session that is over: its slot is free again
    } else if (lease.place === "done") {
      this.#leases.delete(lease.id);
    } else if (lease.place === "running") {
      lease.ending = ending;
      this.#progress.beforeSettling(lease.id);
      this.#settlements.add(lease);
    }
    this.#changed.ring();
  }

  #report(lease: Lease, report: Report): void {
    // A number is unique in one session only: an orphan's may meanwhile be another's.
    if (this.#leases.get(lease.id) === lease && lease.place === "running") {
      this.#progress.put(lease.id, report);
    }
  }

  #control({ action }: Control): void {
    if (action.case === "cancel") {
      for (const id of action.value.leaseIds) {
        const lease = this.#leases.get(id);
        if (lease?.alive && !lease.context.cancelled) {
          this.#stop(lease, "cancel", action.value.reason || "cancelled");
        }
      }
    } else if (action.case === "revoke") {
      this.#revoke(action.value.leaseIds, action.value.reason);
    }
  }

  #revoke(ids: readonly bigint[], reason: string): void {
    for (const id of ids) {
      const lease = this.#leases.get(id);
      // It is said again as long as the handler runs.
      if (lease === undefined || (lease.alive && lease.place === "done")) continue;
      this.#log.warn(`${lease}: the lease was revoked: ${reason || "no reason given"}`);
      this.#giveUp(lease, `the lease was revoked: ${reason}`);
      if (!lease.alive) this.#leases.delete(id);
    }
    this.#changed.ring();
  }

  /** Drops the outcome of a lease that is no longer ours, and stops its handler. */
  #giveUp(lease: Lease, message: string): void {
    if (lease.place !== "done") {
      this.#settlements.drop(lease);
      if (lease.alive) lease.tookMs = now() - lease.startedAt;
      this.#finish(lease, "error", new Error(message));
    }
    if (lease.alive) this.#stop(lease, "revoked", message);
  }

  #stop(lease: Lease, why: Stop, message: string): void {
    try {
      lease.context.stop(why, message);
    } catch (error) {
      // A listener of the handler's on the signal.
      this.#log.error(`${lease}: a listener on its signal failed: ${String(error)}`);
    }
  }

  #settled(settled: Settled): void {
    const again: Lease[] = [];
    for (const [lease, result] of this.#settlements.answered(settled)) {
      const verdict = result?.verdict ?? Verdict.APPLIED;
      if (verdict === Verdict.TRY_AGAIN) again.push(lease);
      else if (verdict === Verdict.INVALID) this.#correct(lease, result?.message ?? "");
      else this.#finished(lease, result);
    }
    if (again.length > 0) this.#settlements.againLater(again);
    this.#changed.ring();
  }

  /** The server called an outcome malformed: a failure says so instead, and if that is no better, a release. */
  #correct(lease: Lease, message: string): void {
    lease.corrections += 1;
    if (lease.corrections > 2) {
      this.#log.error(`${lease}: the server refuses every outcome of the lease: ${message}`);
      this.#forget(lease, "error", new Error(`the outcome was refused: ${message}`));
      return;
    }
    this.#log.error(`${lease}: the server refused the outcome: ${message}`);
    const words = `the handler's outcome was refused: ${message}`;
    lease.ending = lease.corrections === 1 ? failed("InvalidOutcome", words) : released();
    this.#settlements.add(lease);
  }

  /** The stream has ended because a frame was larger than the server takes. */
  tooLarge(error: TooLarge): void {
    const lease = this.#settlements.tooLarge();
    const outcome = lease?.ending?.outcome;
    if (lease === undefined || outcome === undefined) return;
    const { length } = toBinary(OutcomeSchema, outcome);
    this.#correct(lease, `it has ${length} bytes, more than the server takes at once (${error.message})`);
  }

  #finished(lease: Lease, result: SettleResult | undefined): void {
    const { endedIn } = lease.context;
    if (result !== undefined) {
      if (endedIn === undefined) this.#tell(lease, result);
      else endedIn.runInAsyncScope(() => this.#tell(lease, result));
    }
    const outcome = outcomeOf(lease.ending?.outcome, result);
    const error =
      outcome === "error" ? new Error(`the outcome was not taken: ${verdictOf(result)}`) : failureOf(lease);
    this.#forget(lease, outcome, error);
  }

  #forget(lease: Lease, outcome: AttemptOutcome, error: unknown): void {
    this.#settlements.drop(lease);
    if (!lease.alive) this.#leases.delete(lease.id);
    this.#finish(lease, outcome, error);
  }

  #finish(lease: Lease, outcome: AttemptOutcome, error: unknown): void {
    const { observed, tookMs } = lease;
    if (observed === undefined) return;
    const { endedIn } = lease.context;
    this.#observations?.tell((observer) => {
      const ended = (): unknown => observer.attemptEnded?.(observed, outcome, tookMs, error);
      return endedIn === undefined ? ended() : endedIn.runInAsyncScope(ended);
    });
  }

  /** A line for what an operator wants to see: failures, with their stack, and outcomes that were not taken. */
  #tell(lease: Lease, result: SettleResult): void {
    if (result.verdict !== Verdict.APPLIED && result.verdict !== Verdict.ALREADY_APPLIED) {
      this.#log.warn(`${lease}: the outcome was not taken: ${verdictOf(result)}`);
      return;
    }
    const outcome = lease.ending?.outcome?.outcome;
    if (outcome?.case !== "failure") return;
    const { errorType, error, stack } = outcome.value;
    const what = `${errorType}: ${error}${stack && `\n${stack}`}`;
    if (result.status === Job_Status.RETRYING) {
      const when = result.runAt ? ` at ${timestampDate(result.runAt).toISOString()}` : "";
      this.#log.warn(`${lease}: failed, is tried again${when}: ${what}`);
    } else {
      this.#log.error(`${lease}: failed for good: ${what}`);
    }
  }

  get #log(): Settings["logger"] {
    return this.#settings.logger;
  }
}

/** Why an attempt failed whose outcome was taken. Undefined: it did not fail. */
function failureOf(lease: Lease): unknown {
  const outcome = lease.ending?.outcome?.outcome;
  if (outcome?.case !== "failure") return undefined;
  return lease.corrections === 0 ? lease.error : new Error(outcome.value.error);
}

function verdictOf(result: SettleResult | undefined): string {
  if (result === undefined) return "";
  // A verdict of a later version has no name here.
  const name = (Verdict[result.verdict] as string | undefined) ?? `verdict ${result.verdict}`;
  return `${name} ${result.message}`;
}
