/** Outcomes from the moment a handler ends until the server has answered them. */

import { create } from "@bufbuild/protobuf";

import { timers } from "../clock.js";
import { Backoff } from "../backoff.js";
import { SettleSchema } from "../gen/jobqueue/v1/lease_pb.js";
import type { Settle, SettleResult, Settled } from "../gen/jobqueue/v1/lease_pb.js";
import type { Lease } from "./lease.js";

const FRAME_OUTCOMES = 1000;
// A frame may measure 4 MiB; one outcome at most 3 MiB and a little, and then it goes alone.
const FRAME_BYTES = 1024 * 1024;
// While an answer is awaited, outcomes gather for so long, or until half of the slots wait: a frame and its answer cost the
// server about as much as a hundred outcomes in it.
const LINGER_MS = 10;

/** Keeps every outcome until its answer has come, and sends it again on a new stream. */
export class Settlements {
  readonly #send: (settle: Settle) => boolean;
  /** So many outcomes that wait are sent at once. */
  readonly #enough: number;
  readonly #unanswered = new Map<bigint, Lease>();
  readonly #frames = new Map<bigint, Lease[]>();
  // What the server did not answer because a frame was too large for it: while there are any, a frame holds one.
  readonly #suspects = new Set<Lease>();
  readonly #backoff = new Backoff(100, 5000);
  #waiting: Lease[] = [];
  #seq = 0n;
  #cancelTimer: (() => void) | undefined;

  /**
   * @param slots How many jobs run at once.
   * @param send Sends a Settle; false when it can't now, and `flush` or `restart` will follow.
   */
  constructor(slots: number, send: (settle: Settle) => boolean) {
    this.#enough = Math.min(FRAME_OUTCOMES, Math.ceil(slots / 2));
    this.#send = send;
  }

  /** How many outcomes were not answered. */
  get size(): number {
    return this.#unanswered.size;
  }

  /** Every lease with an outcome that was not answered, whether it was sent or not. */
  unanswered(): Lease[] {
    return [...this.#unanswered.values()];
  }

  /** Takes the outcome of a lease. */
  add(lease: Lease): void {
    this.#unanswered.set(lease.id, lease);
    lease.place = "waiting";
    this.#waiting.push(lease);
    if (this.#waiting.length >= this.#enough) this.flush();
    else if (this.#cancelTimer === undefined) this.#flushSoon();
  }

  /** Forgets an outcome: it was answered, or the lease is no longer ours. */
  drop(lease: Lease): void {
    if (this.#unanswered.get(lease.id) === lease) this.#unanswered.delete(lease.id);
    lease.place = "done";
  }

  /** Sends what waits. */
  flush(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    let waiting = this.#waiting.filter((lease) => lease.place === "waiting");
    this.#waiting = [];
    for (const lease of this.#suspects) if (lease.place === "done") this.#suspects.delete(lease);
    const most = this.#suspects.size > 0 ? 1 : FRAME_OUTCOMES;
    while (waiting.length > 0) {
      const [settle, leases] = this.#frame(waiting.slice(0, most));
      if (!this.#send(settle)) {
        this.#waiting = waiting;
        return;
      }
      this.#seq = settle.seq;
      this.#frames.set(settle.seq, leases);
      for (const lease of leases) lease.place = "sent";
      waiting = waiting.slice(leases.length);
    }
  }

  /**
   * The leases of a frame with the answer of each; undefined: applied, as it was said.
   *
   * They are still kept: the session decides what an answer means, and drops them or sends them again.
   */
  answered(settled: Settled): [Lease, SettleResult | undefined][] {
    const leases = (this.#frames.get(settled.seq) ?? []).filter((lease) => lease.place === "sent");
    this.#frames.delete(settled.seq);
    if (settled.exceptions.length === 0) this.#backoff.reset();
    const results = new Map(settled.exceptions.map((result) => [result.leaseId, result]));
    return leases.map((lease) => [lease, results.get(lease.id)]);
  }

  /** Sends outcomes again after a while that grows: the server could not commit them. */
  againLater(leases: Lease[]): void {
    for (const lease of leases) lease.place = "heldBack";
    timers.setTimeout(() => {
      // A restart in between has sent it already; a revocation has dropped it.
      for (const lease of leases) if (lease.place === "heldBack") this.add(lease);
    }, this.#backoff.next());
  }

  /** Sends everything on a new stream, whose frames are counted from 1. */
  restart(): void {
    this.#frames.clear();
    this.#seq = 0n;
    this.#waiting = this.unanswered();
    for (const lease of this.#waiting) lease.place = "waiting";
    this.flush();
  }

  /**
   * The stream has ended for a frame that is larger than the server takes: from now on each outcome goes alone.
   *
   * @returns The lease whose outcome is too large by itself. Undefined: the frame held several.
   */
  tooLarge(): Lease | undefined {
    let largest: Lease[] = [];
    let size = -1;
    for (const leases of this.#frames.values()) {
      const bytes = leases.reduce((sum, lease) => sum + (lease.ending?.bytes ?? 0), 0);
      if (bytes > size) [size, largest] = [bytes, leases];
      for (const lease of leases) if (lease.place === "sent") this.#suspects.add(lease);
    }
    const [lease] = largest;
    const alone = largest.length === 1 && lease?.place === "sent" && lease.ending?.outcome !== undefined;
    return alone ? lease : undefined;
  }

  /** At once when idle, or rather after what else happens in this pass of the loop. */
  #flushSoon(): void {
    if (this.#frames.size > 0) {
      const timer = timers.setTimeout(() => this.flush(), LINGER_MS);
      this.#cancelTimer = () => timers.clearTimeout(timer);
    } else {
      const timer = timers.setImmediate(() => this.flush());
      this.#cancelTimer = () => clearImmediate(timer);
    }
  }

  /** A frame of as many of these as it takes, and which. */
  #frame(waiting: readonly Lease[]): [Settle, Lease[]] {
    const settle = create(SettleSchema, { seq: this.#seq + 1n });
    const leases: Lease[] = [];
    let room = FRAME_BYTES;
    for (const lease of waiting) {
      const outcome = lease.ending?.outcome;
      if (outcome === undefined) {
        settle.succeeded.push(lease.id);
      } else {
        room -= lease.ending?.bytes ?? 0;
        if (room < 0 && leases.length > 0) break;
        outcome.leaseId = lease.id;
        settle.outcomes.push(outcome);
      }
      leases.push(lease);
    }
    return [settle, leases];
  }
}
