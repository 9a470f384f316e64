/** Tells a server what a worker's kinds are, before the worker takes jobs. */

import { Backoff } from "../backoff.js";
import { pause } from "../calls.js";
import { Client } from "../client.js";
import { InvalidRequest, JobQueueError, NotAllowed, NotSupported } from "../errors.js";
import type { SyncedKind } from "../jobs.js";
import type { JobKind } from "../kinds/kind.js";
import type { Settings } from "./options.js";
import type { StatusBook } from "./status.js";

// What no other try will mend.
const HOPELESS = [InvalidRequest, NotAllowed, NotSupported];
// How long one server has to take one kind.
const DEADLINE_MS = 5000;

/**
 * Syncs kinds with the first server that answers, and waits for one as long as it takes.
 *
 * @param stopped Ends it.
 * @returns Whether the kinds are synced; false: it was stopped before.
 * @throws JobQueueError A server refused it for what no other try will mend.
 */
export async function declare(
  kinds: readonly JobKind[],
  settings: Settings,
  book: StatusBook,
  stopped: AbortSignal,
): Promise<boolean> {
  const { targets, access, logger, encodings } = settings;
  const backoff = new Backoff(100, 5000);
  let said = false;
  for (let number = 0; !stopped.aborted; number += 1) {
    const target = targets[number % targets.length] ?? "";
    const client = new Client(target, { ...access, encodings });
    try {
      for (const each of await client.syncKinds(kinds, { deadlineMs: DEADLINE_MS, signal: stopped })) {
        const words = wordsOf(each);
        if (words !== "") logger.info(words);
      }
      return true;
    } catch (error) {
      if (stopped.aborted) break;
      if (!(error instanceof JobQueueError)) throw error;
      const hopeless = HOPELESS.some((type) => error instanceof type);
      book.failing(`${target}: ${error.message}`, hopeless);
      if (hopeless) throw error;
      if (!said) logger.warn(`the kinds are not synced with ${target} yet: ${error.message}`);
      said = true;
      await pause(backoff.next(), stopped).catch(() => undefined);
    } finally {
      client.close();
    }
  }
  return false;
}

function wordsOf({ kind, changed, newer }: SyncedKind): string {
  if (newer) return `the kind ${kind.name} is left as it is: the server has version ${kind.version} of it`;
  return changed ? `the kind ${kind.name} is synced` : "";
}
