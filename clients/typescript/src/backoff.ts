/** Waits between tries that spread callers apart. */

/** Decorrelated jitter: each wait is between the base and three times the one before, up to a cap. */
export class Backoff {
  readonly #baseMs: number;
  readonly #capMs: number;
  #previousMs: number;

  constructor(baseMs: number, capMs: number) {
    this.#baseMs = baseMs;
    this.#capMs = capMs;
    this.#previousMs = baseMs;
  }

  /** How long to wait now, in milliseconds. */
  next(): number {
    const drawn = this.#baseMs + Math.random() * (3 * this.#previousMs - this.#baseMs);
    this.#previousMs = Math.min(this.#capMs, drawn);
    return this.#previousMs;
  }

  /** Starts anew from the base, after a success. */
  reset(): void {
    this.#previousMs = this.#baseMs;
  }
}
