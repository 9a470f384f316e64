/** Keeps a worker's session on a stream: connects, reconnects for ever, moves when it is asked to, and leaves. */

import { now, timers } from "../clock.js";
import { Backoff } from "../backoff.js";
import {
  InvalidRequest,
  NotAllowed,
  NotSupported,
  SessionUnknown,
  TooLarge,
  Unauthenticated,
  Unavailable,
} from "../errors.js";
import type { JobQueueError } from "../errors.js";
import type { GoAway, Welcome } from "../gen/jobqueue/v1/lease_pb.js";
import { msOf } from "../jobs.js";
import { hintOf } from "../firstUse.js";
import { fromRpc } from "../rpcErrors.js";
import { Bell } from "./bell.js";
import type { Settings } from "./options.js";
import type { Session } from "./session.js";
import type { StatusBook } from "./status.js";
import { Stream } from "./stream.js";

const WELCOME_WITHIN_MS = 10_000;
// After a stream that lived this long, the next reconnect is fast again.
const GOOD_AFTER_MS = 5000;
// How long a handler that was told to stop at the end of the grace may take for it.
const UNWIND_MS = 2000;
// How long a server is left alone that does not take the credentials: an administrator mends it, or a new token does.
const UNAUTHENTICATED_WAIT_MS = 30_000;
// How often that is said.
const SAY_UNAUTHENTICATED_EVERY_MS = 60_000;
// How long the last answers, and then Goodbye, are waited for.
const ANSWERS_WITHIN_MS = 5000;

// What no other try will mend. Only before the first Welcome: later it is a fault of one server among several, or of a
// token that is being renewed.
const HOPELESS = [InvalidRequest, NotAllowed, NotSupported];

/** The session's connection. */
export class Link {
  readonly #settings: Settings;
  readonly #session: Session;
  readonly #book: StatusBook;
  readonly #backoff = new Backoff(100, 5000);
  readonly #wake = new Bell();
  readonly #end = new Bell();
  #ended = false;
  #nextTarget = 0;
  #opening: Stream | undefined;
  #moveAt: number | undefined;
  #welcomed = false;
  #saidLost = false;
  #saidUnauthenticated = -Infinity;
  #graceEnds: number | undefined;

  constructor(settings: Settings, session: Session, book: StatusBook) {
    this.#settings = settings;
    this.#session = session;
    this.#book = book;
  }

  /**
   * Holds the session until `leave` is through.
   *
   * @throws JobQueueError The first server refused the worker for what no other try will mend.
   */
  async run(): Promise<void> {
    const end = this.#ended ? Promise.resolve() : this.#end.wait();
    try {
      await Promise.race([this.#keep(), end]);
    } finally {
      this.#finish();
    }
  }

  /** Drains, and lets `run` return. A second call can only shorten the grace. */
  leave(graceMs: number, reason: string): void {
    const ends = now() + graceMs;
    if (this.#graceEnds !== undefined) {
      this.#graceEnds = Math.min(this.#graceEnds, ends);
      this.#session.changed();
      return;
    }
    this.#graceEnds = ends;
    this.#drain(reason)
      .catch((error: unknown) => {
        this.#log.error(
          `the drain failed; jobs not settled run again when the session ends: ${String(error)}`,
        );
      })
      .finally(() => this.#finish());
  }

  #finish(): void {
    this.#ended = true;
    this.#session.stream?.cancel();
    this.#opening?.cancel();
    this.#end.ring();
    this.#wake.ring();
  }

  async #keep(): Promise<void> {
    while (!this.#ended) {
      // A session that has drained and ended is not opened again, though handlers of it may run on.
      const wanted = this.#session.stream === undefined || this.#moveAt !== undefined;
      if (wanted && !this.#session.finished) await this.#connect();
      else await this.#wake.wait();
    }
  }

  /** No new jobs, finish what is held within the grace, give the rest back, wait for the answers. */
  async #drain(reason: string): Promise<void> {
    const session = this.#session;
    const within = (ms: number): (() => number) => {
      const ends = now() + ms;
      return () => ends;
    };
    session.drain(reason);
    this.#book.draining();
    this.#wake.ring();
    // A session that is just being opened may have been given jobs: it is drained as well.
    await session.until(() => !session.opening, within(ANSWERS_WITHIN_MS));
    const idle = (): boolean => session.alive().length === 0;
    if (!(await session.until(idle, () => this.#graceEnds ?? 0))) {
      this.#log.warn(
        `${session.alive().length} handlers still run at the end of the grace; they are stopped`,
      );
      session.stopAll("the worker is shutting down");
      await session.until(idle, within(UNWIND_MS));
      session.releaseAll();
    }
    if (!(await session.until(() => session.unanswered === 0, within(ANSWERS_WITHIN_MS)))) {
      this.#log.error(
        `${session.unanswered} outcomes were not answered; their jobs run again when the session ends`,
      );
    } else if (
      session.stream !== undefined &&
      !(await session.until(() => session.finished, within(ANSWERS_WITHIN_MS)))
    ) {
      this.#log.warn("the server said no Goodbye");
    }
  }

  /** One try to open a stream. What fails is followed by a wait. */
  async #connect(): Promise<void> {
    const session = this.#session;
    if (this.#moveAt !== undefined) {
      await this.#end.wait(this.#moveAt - now());
      if (this.#ended || session.finished) return;
    }
    const { targets, access } = this.#settings;
    const stream = new Stream(targets[this.#nextTarget++ % targets.length] ?? "", access);
    let welcome: Welcome;
    this.#opening = stream;
    try {
      welcome = await this.#open(stream);
    } catch (raised) {
      stream.cancel();
      if (!this.#ended) await this.#notOpened(stream, raised);
      return;
    } finally {
      this.#opening = undefined;
    }
    const how = session.opening ? "opened" : "resumed";
    this.#leaveStream();
    session.welcome(welcome, stream);
    this.#book.welcomed(welcome.server, Number(welcome.sessionId), session.ttlMs, welcome.unknownKinds);
    this.#log.info(`session ${session.id} ${how} at ${stream.target} (${welcome.server})`);
    this.#welcomed = true;
    this.#saidLost = false;
    this.#moveAt = undefined;
    void this.#pump(stream);
  }

  async #open(stream: Stream): Promise<Welcome> {
    stream.send(this.#session.hello());
    let late = false;
    const timer = timers.setTimeout(() => {
      late = true;
      stream.cancel();
    }, WELCOME_WITHIN_MS);
    try {
      for (;;) {
        const { frame } = await stream.receive();
        if (frame.case === "welcome") return frame.value;
        if (frame.case === "goAway" || frame.case === "goodbye") {
          throw new Unavailable("the server is leaving", { code: "UNAVAILABLE" });
        }
      }
    } catch (error) {
      if (!late) throw error;
      throw new Unavailable(`no Welcome within ${WELCOME_WITHIN_MS} ms`, { code: "UNAVAILABLE" });
    } finally {
      timers.clearTimeout(timer);
    }
  }

  async #notOpened(stream: Stream, raised: unknown): Promise<void> {
    const error = fromRpc(raised);
    if (error instanceof SessionUnknown) {
      this.#sessionGone(error);
      return;
    }
    this.#session.stay();
    const hopeless = HOPELESS.some((type) => error instanceof type);
    if (this.#session.stream === undefined) this.#book.failing(wordsOf(error), hopeless);
    if (!this.#welcomed && hopeless) throw error;
    // One that still has its old stream soon tries again: a new token may be on its way.
    if (this.#session.stream === undefined) {
      if (error instanceof Unauthenticated) {
        this.#sayUnauthenticated(stream.target, error);
        await this.#end.wait(UNAUTHENTICATED_WAIT_MS);
        return;
      }
      const hint = this.#welcomed ? "" : hintOf(error, stream.target, false);
      this.#sayLost(`can't reach ${stream.target}: ${error.message}${hint}`);
    }
    await this.#end.wait(this.#backoff.next());
  }

  #sayUnauthenticated(target: string, error: Unauthenticated): void {
    const at = now();
    if (at - this.#saidUnauthenticated < SAY_UNAUTHENTICATED_EVERY_MS) return;
    this.#saidUnauthenticated = at;
    const every = `trying again each ${UNAUTHENTICATED_WAIT_MS / 1000} s`;
    this.#log.warn(`${target} does not take the credentials: ${error.reason}: ${error.message}; ${every}`);
  }

  /** Hands the frames of one stream to the session, until it ends or another has taken its place. */
  async #pump(stream: Stream): Promise<void> {
    const session = this.#session;
    const opened = now();
    const heart = timers.setInterval(() => this.#beat(stream), session.heartbeatIntervalMs);
    let why: JobQueueError;
    try {
      for (;;) {
        const response = await stream.receive();
        if (stream !== session.stream) continue;
        this.#book.heard();
        const { frame } = response;
        if (frame.case === "goAway") {
          this.#move(frame.value);
        } else if (frame.case === "goodbye") {
          this.#endSession();
          // Or a server that always says so would be asked without a pause.
          this.#moveAt = now() + this.#backoff.next();
        } else {
          session.handle(response);
        }
      }
    } catch (raised) {
      why = fromRpc(raised);
    } finally {
      timers.clearInterval(heart);
      stream.cancel();
    }
    const good = now() - opened > GOOD_AFTER_MS;
    if (good) this.#backoff.reset();
    if (stream === session.stream && !this.#ended) {
      this.#streamEnded(why);
      // Or a server that welcomes and then hangs up, or knows no session, would be asked without a pause.
      if (!good) this.#moveAt = now() + this.#backoff.next();
    }
    this.#wake.ring();
  }

  /** The session's stream has ended, and not by us. */
  #streamEnded(why: JobQueueError): void {
    if (why instanceof SessionUnknown) {
      this.#sessionGone(why);
      return;
    }
    if (this.#moveAt === undefined) {
      this.#lost(wordsOf(why));
    } else {
      this.#log.info(`the stream that was to be left has ended: ${why.message}`);
      this.#dropStream();
      this.#book.lost();
    }
    if (why instanceof TooLarge) this.#session.tooLarge(why);
  }

  #sessionGone(error: SessionUnknown): void {
    this.#log.warn(`the server has no such session any more: ${error.message}`);
    this.#endSession();
  }

  #lost(why: string): void {
    this.#dropStream();
    this.#book.lost(why);
    this.#sayLost(`the stream was lost: ${why}`);
  }

  #dropStream(): void {
    this.#session.lost();
    this.#moveAt = undefined;
  }

  /** Once until there is a stream again: an hour's outage is one line, not a thousand. */
  #sayLost(what: string): void {
    if (this.#saidLost) return;
    this.#saidLost = true;
    const jobs = this.#session.alive().length > 0 ? "jobs run on, " : "";
    this.#log.warn(`${what}; ${jobs}trying again until a server answers`);
  }

  /** Lets the old stream go, now that another has taken its place. */
  #leaveStream(): void {
    const stream = this.#session.stream;
    this.#session.stream = undefined;
    stream?.cancel();
  }

  /** The server has ended the session: its stream goes with it. The next one opens another, unless it drains. */
  #endSession(): void {
    this.#leaveStream();
    this.#moveAt = undefined;
    this.#session.over();
    this.#book.lost();
    this.#wake.ring();
  }

  #move(goAway: GoAway): void {
    this.#log.info(`the server asks to connect elsewhere: ${goAway.reason || "no reason given"}`);
    this.#moveAt = now() + (msOf(goAway.reconnectAfter) ?? 0);
    this.#wake.ring();
  }

  /** Sends a heartbeat on the session's stream; one that does not answer is let go. */
  #beat(stream: Stream): void {
    if (stream !== this.#session.stream || this.#session.heartbeat()) return;
    this.#lost("two heartbeats were not answered");
    stream.cancel();
    this.#wake.ring();
  }

  get #log(): Settings["logger"] {
    return this.#settings.logger;
  }
}

/** An error in a line, with the reason that a program would look for. */
function wordsOf(error: JobQueueError): string {
  return error.reason ? `${error.reason}: ${error.message}` : error.message;
}
