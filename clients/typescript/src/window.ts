/** How many enqueues may be in flight at once, as the server's hints say: more by one a round, less by a part. */

import { raced } from "./calls.js";
import { now } from "./clock.js";
import { DeadlineExceeded, Unavailable } from "./errors.js";
import type { JobQueueError } from "./errors.js";

const PRESSURE = "jobqueue-pressure";
const REFUSALS: ReadonlySet<string> = new Set(["QUEUE_FULL", "QUEUE_BACKLOG_FULL"]);
const FIRST = 64;
const LEAST = 1;
const MOST = 1000;
// What is left of the bound after a hint, and after a refusal.
const HINTED = 0.8;
const REFUSED = 0.5;

/** One call in the line. */
interface Place {
  readonly enter: () => void;
  readonly fail: (error: unknown) => void;
  /** `in`: it has its turn. `gone`: it has given up. */
  state: "waits" | "in" | "gone";
  /** The call behind it. */
  next: Place | undefined;
}

/**
 * Lets so many calls go at once; the others wait for their turns, first come first.
 *
 * The bound grows by one for each round of calls that were answered without a hint, while callers wait or the bound is
 * reached. A round that brings hints or refusals makes it smaller, once however many it brings: they tell of the same.
 */
export class Window {
  /** How many may be in flight; of a fraction the whole part counts. */
  bound = FIRST;
  /** How many are in flight. */
  inFlight = 0;
  /** Grows when the bound gets smaller: what began before tells nothing of the new one. */
  round = 0;
  #first: Place | undefined;
  #last: Place | undefined;

  /**
   * Makes a call in its turn. The wait is part of its deadline.
   *
   * @param deadlineMs For the wait and the call together.
   * @param signal Ends the wait: it then rejects with the signal's reason, and the place goes to the next.
   * @param make Makes the call, in the milliseconds that are left.
   * @throws DeadlineExceeded Its turn did not come in time.
   * @throws Unavailable The client was closed before its turn came.
   */
  async run<T>(
    deadlineMs: number,
    signal: AbortSignal | undefined,
    make: (leftMs: number, turn: Turn) => Promise<T>,
  ): Promise<T> {
    const ends = now() + deadlineMs;
    const turn = await this.turn(deadlineMs, signal);
    try {
      return await make(Math.max(1, Math.ceil(ends - now())), turn);
    } finally {
      this.leave();
    }
  }

  /** Waits until one more call may go, for so many milliseconds at most; `leave` when the call is over. */
  async turn(ms: number, signal?: AbortSignal): Promise<Turn> {
    if (this.#first === undefined && this.#hasRoom()) {
      this.inFlight += 1;
      return new Turn(this, this.round);
    }
    let place!: Place;
    const entered = new Promise<void>((enter, fail) => {
      place = { enter, fail, state: "waits", next: undefined };
    });
    if (this.#first === undefined) this.#first = place;
    else this.#last!.next = place;
    this.#last = place;
    try {
      await raced(entered, ms, signal, () => this.#late(ms));
    } catch (error) {
      // It was let in at the same moment.
      if (place.state === "in") this.leave();
      place.state = "gone";
      throw error;
    }
    return new Turn(this, this.round);
  }

  /** A call is over: the next may go. */
  leave(): void {
    this.inFlight -= 1;
    while (this.#first !== undefined && this.#hasRoom()) {
      const place = this.#first;
      this.#first = place.next;
      if (place.state === "gone") continue;
      this.inFlight += 1;
      place.state = "in";
      place.enter();
    }
  }

  /** A call was answered without a hint. */
  grow(): void {
    if (!this.#hasRoom()) this.bound = Math.min(this.bound + 1 / this.bound, MOST);
  }

  /** A call that began in this round was told to slow down: this part of the bound is left. */
  shrink(part: number, began: number): void {
    if (began !== this.round) return;
    this.round += 1;
    this.bound = Math.max(this.bound * part, LEAST);
  }

  /** The client is closed: the calls that wait fail. */
  close(): void {
    for (let place = this.#first; place !== undefined; place = place.next) {
      place.fail(
        new Unavailable("the call was not sent: the client was closed before", { code: "UNAVAILABLE" }),
      );
    }
    this.#first = undefined;
  }

  #hasRoom(): boolean {
    return this.inFlight < Math.floor(this.bound);
  }

  #late(ms: number): DeadlineExceeded {
    return new DeadlineExceeded(
      `the call was not sent: for ${ms / 1000} s the server had no room for more than the ${this.inFlight} enqueues ` +
        "in flight",
      { code: "DEADLINE_EXCEEDED" },
    );
  }
}

/** One call's turn. */
export class Turn {
  readonly #window: Window;
  #began: number;

  /** @param began The round in which the call begins. */
  constructor(window: Window, began: number) {
    this.#window = window;
    this.#began = began;
  }

  /** The call was answered, with these trailers. */
  answered(trailers: Headers): void {
    if (trailers.has(PRESSURE)) this.#window.shrink(HINTED, this.#began);
    else this.#window.grow();
  }

  /** The call was refused; it may be sent again within the same turn. */
  refused(error: JobQueueError): void {
    if (!REFUSALS.has(error.reason)) return;
    this.#window.shrink(REFUSED, this.#began);
    this.#began = this.#window.round;
  }
}
