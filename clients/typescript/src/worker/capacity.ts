/** How many jobs the worker takes. */

import { create } from "@bufbuild/protobuf";

import { CapacitySchema } from "../gen/jobqueue/v1/lease_pb.js";
import type { Capacity } from "../gen/jobqueue/v1/lease_pb.js";
import type { Lease } from "./lease.js";

/**
 * Slots, less those that handlers of an earlier session still take up.
 *
 * The server counts the leases of its session itself. Of a session that is over it knows nothing, while a handler of it
 * may run on for long.
 */
export class CapacityBook {
  readonly #slots: number;
  readonly #byKind: Readonly<Record<string, number>>;
  /** The handlers that run on after their session. */
  readonly orphans = new Set<Lease>();
  paused = false;

  constructor(slots: number, byKind: Readonly<Record<string, number>>) {
    this.#slots = slots;
    this.#byKind = byKind;
  }

  /** Absolute, so that nothing can leak. */
  message(): Capacity {
    const slotsByKind = { ...this.#byKind };
    for (const { message } of this.orphans) {
      const slots = slotsByKind[message.kind];
      if (slots !== undefined) slotsByKind[message.kind] = Math.max(0, slots - 1);
    }
    return create(CapacitySchema, { slots: this.available, slotsByKind });
  }

  /** How many jobs of this session may run at once. */
  get available(): number {
    return this.paused ? 0 : Math.max(0, this.#slots - this.orphans.size);
  }
}
