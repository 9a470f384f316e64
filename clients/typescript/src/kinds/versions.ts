/** Payloads of other versions than this program's. */

import { Discard, Snooze } from "../outcomes.js";
import type { LeasedJob } from "../job.js";
import { PayloadTooNew, PayloadUnreadable } from "./errors.js";
import type { JsonSchema, StandardSchema } from "./standardSchema.js";

/** By this header a payload says of which version it is. Without it: 1. */
export const VERSION_HEADER = "x-payload-version";

// A payload that is newer than the worker waits so often, for about half an hour in all.
const MOST_SNOOZES = 20;
const SNOOZE_MS = 15_000;
const LONGEST_SNOOZES = 8;

/** Takes the JSON value of one version, and answers that of the next one. It changes nothing else, and does not wait. */
export type Upcaster = (value: any) => unknown;

/** How a payload of an older version becomes one of the next. */
export interface Upcast {
  readonly upcast: Upcaster;
  /** What payloads of that version were, for `schema()`. Default: any object. */
  readonly of?: StandardSchema | JsonSchema | undefined;
}

/**
 * The JSON value of a payload, made one of this version.
 *
 * @param check Looks at it before, where its version is known here.
 * @throws PayloadUnreadable There is no way from its version to this one, or it is no JSON.
 * @throws PayloadTooNew It is of a later version.
 */
export function upcasted(
  text: string,
  headers: Readonly<Record<string, string>>,
  known: number,
  upcasters: ReadonlyMap<number, Upcast>,
  check: () => void,
): unknown {
  const said = headers[VERSION_HEADER] ?? "1";
  const version = /^[0-9]{1,9}$/.test(said) ? Number(said) : 0;
  if (version < 1) {
    throw new PayloadUnreadable(`headers.${VERSION_HEADER}: must be the number of a version, from 1`);
  }
  if (version > known) {
    throw new PayloadTooNew(`the payload has version ${version}; this program knows ${known}`);
  }
  check();
  let value = jsonOf(text, "payload");
  for (let older = version; older < known; older += 1) {
    const upcast = upcasters.get(older)?.upcast;
    if (upcast === undefined) {
      throw new PayloadUnreadable(
        `the payload has version ${version}, and the kind has no upcaster from ${older} on`,
      );
    }
    try {
      value = upcast(value);
    } catch (error) {
      const name = error instanceof Error ? error.name : typeof error;
      throw new PayloadUnreadable(
        `the payload has version ${version}, and its upcaster from ${older} on failed with ${name}`,
        { cause: error },
      );
    }
  }
  return value;
}

/** The value of a JSON text. */
export function jsonOf(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Its own error would show a piece of the text.
    throw new PayloadUnreadable(`${what}: must be JSON`);
  }
}

/** How an attempt ends whose payload could not be read: the error, as a worker takes it. */
export function endingOf(error: unknown, job: LeasedJob): unknown {
  if (error instanceof PayloadUnreadable) return new Discard(error.message, { cause: error });
  if (!(error instanceof PayloadTooNew)) return error;
  return later(job) ?? error;
}

/** The wait of a job for a worker that can read it. Undefined: it has waited for about half an hour. */
export function later(job: LeasedJob): Snooze | undefined {
  const waited = job.attempt - job.failures;
  if (waited > MOST_SNOOZES) return undefined;
  const spread = 0.75 + Math.random() / 2;
  return new Snooze(SNOOZE_MS * Math.min(waited, LONGEST_SNOOZES) * spread);
}
