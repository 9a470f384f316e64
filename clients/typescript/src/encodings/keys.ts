/** Keys by their names: of a table, or of a function that may be slow. */

import { raced } from "../calls.js";
import { now } from "../clock.js";
import { KeyUnknown } from "../encoded.js";
import { DeadlineExceeded } from "../errors.js";

/** Answers the key of a name, undefined if there is none; or a promise of it. It must not block. */
export type AskForKey = (name: string) => Uint8Array | undefined | Promise<Uint8Array | undefined>;

/** Each key by its name, 32 bytes. It may change meanwhile. */
export type KeyTable = Readonly<Record<string, Uint8Array>> | ReadonlyMap<string, Uint8Array>;

const BYTES = 32;
// So long a key of a function is kept, and so long that it has none.
const KEPT_MS = 300_000;
const MISSING_MS = 15_000;
// A function that has not answered by then is asked again by the next one that waits.
const ANSWERS_MS = 30_000;
// So many of them are kept: names come from who enqueues.
const MOST_KEPT = 256;
/** What a function is asked for. */
export const NAME = /^[\p{L}\p{N}_.:/-]{1,255}$/u;

/** Keys by their names. */
export class Keys {
  readonly #find: ((name: string) => Uint8Array | undefined) | undefined;
  readonly #ask: AskForKey | undefined;
  readonly #clock: () => number;
  readonly #answersMs: number;
  readonly #kept = new Map<string, { until: number; key: Uint8Array | undefined }>();
  readonly #asking = new Map<string, Promise<Uint8Array>>();

  /**
   * @param clock Monotonic, in milliseconds.
   * @param answersMs How long a function may take.
   * @throws TypeError It is neither a table nor a function, a name is no text, or a key no bytes.
   * @throws RangeError A key does not have 32 bytes.
   */
  constructor(given: KeyTable | AskForKey, clock: () => number = now, answersMs = ANSWERS_MS) {
    this.#clock = clock;
    this.#answersMs = answersMs;
    if (typeof given === "function") {
      this.#ask = given;
      return;
    }
    if (typeof given !== "object" || given === null || Array.isArray(given) || ArrayBuffer.isView(given)) {
      throw new TypeError(`keys is of type ${typeOf(given)}; it must be a table or a function`);
    }
    const table = given instanceof Map ? given : undefined;
    const record = given as Readonly<Record<string, Uint8Array>>;
    this.#find = (name) =>
      table === undefined ? (Object.hasOwn(record, name) ? record[name] : undefined) : table.get(name);
    for (const [name, key] of table ?? Object.entries(record)) {
      checkName(name);
      checked(name, key);
    }
  }

  /** Whether they come from a function. */
  get asks(): boolean {
    return this.#ask !== undefined;
  }

  /** Whether the table has it; of a function it is not known, and so it has. */
  has(name: string): boolean {
    return this.#find === undefined || this.#find(name) !== undefined;
  }

  /** How many answers of a function are kept. */
  get kept(): number {
    return this.#kept.size;
  }

  /**
   * A key. A function is asked once for all that wait for the same. It is asked again after five minutes; where it had no
   * key, after 15 seconds.
   *
   * @throws KeyUnknown There is none, or it is no name for which a function is asked.
   * @throws RangeError It does not have 32 bytes.
   * @throws DeadlineExceeded The function has not answered for 30 seconds.
   */
  async get(name: string): Promise<Uint8Array> {
    if (this.#find !== undefined) return checked(name, this.#find(name));
    if (!NAME.test(name)) throw new KeyUnknown(name);
    const before = this.#kept.get(name);
    if (before !== undefined && this.#clock() < before.until) return checked(name, before.key);
    let asking = this.#asking.get(name);
    if (asking === undefined) {
      asking = this.#asked(name).finally(() => this.#asking.delete(name));
      this.#asking.set(name, asking);
    }
    return asking;
  }

  async #asked(name: string): Promise<Uint8Array> {
    const asking = Promise.resolve(this.#ask!(name));
    const late = (): unknown => tooLate(`the function for keys has not answered for ${this.#answersMs} ms`);
    const found = (await raced(asking, this.#answersMs, undefined, late)) ?? undefined;
    if (found !== undefined) checked(name, found);
    this.#keep(name, found);
    return checked(name, found);
  }

  #keep(name: string, key: Uint8Array | undefined): void {
    this.#kept.set(name, { until: this.#clock() + (key === undefined ? MISSING_MS : KEPT_MS), key });
    if (this.#kept.size <= MOST_KEPT) return;
    // Those that are missing go first.
    let first: string | undefined;
    let ends = Infinity;
    for (const [each, { until }] of this.#kept) {
      if (until >= ends) continue;
      first = each;
      ends = until;
    }
    if (first !== undefined) this.#kept.delete(first);
  }
}

/** That there is no key in time. */
export function tooLate(words: string): DeadlineExceeded {
  return new DeadlineExceeded(words, { code: "DEADLINE_EXCEEDED" });
}

/**
 * Returns if a key's name is a text.
 *
 * @throws TypeError It is not. The error has its type alone, since it may be the key.
 */
export function checkName(name: unknown): void {
  if (typeof name === "string") return;
  throw new TypeError(`the name of a key is of type ${typeOf(name)}; it must be a text`);
}

function checked(name: string, key: unknown): Uint8Array {
  if (key === undefined) throw new KeyUnknown(name);
  // Its type and length alone: a key must not get into a log.
  if (!(key instanceof Uint8Array)) {
    throw new TypeError(
      `the key ${JSON.stringify(name)} is of type ${typeOf(key)}; it must be ${BYTES} bytes`,
    );
  }
  if (key.length !== BYTES) {
    throw new RangeError(`the key ${JSON.stringify(name)} is ${key.length} bytes; it must be ${BYTES} bytes`);
  }
  return key;
}

function typeOf(value: unknown): string {
  return typeof value === "object" && value !== null ? (value.constructor?.name ?? "object") : typeof value;
}
