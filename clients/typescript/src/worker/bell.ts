/** Wakes what waits for a change. */

import { timers } from "../clock.js";

// What a timer can hold: 24 days.
const LONGEST_MS = 2 ** 31 - 1;

/** A change that can be waited for. Look at what changed first, then wait, in one go: nothing is missed between. */
export class Bell {
  readonly #waiters = new Set<() => void>();

  /** Wakes all that wait now. */
  ring(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  /** Until it rings, or so many milliseconds have passed. */
  wait(ms = Infinity): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timers.clearTimeout(timer);
        this.#waiters.delete(wake);
        resolve();
      };
      const timer =
        ms === Infinity ? undefined : timers.setTimeout(wake, Math.min(Math.max(0, ms), LONGEST_MS));
      this.#waiters.add(wake);
    });
  }
}
