/** One attempt: from its job to how it ends. A worker runs it, and a test by `perform`. */

import type { LeasedJob } from "../job.js";
import type { JobContext } from "./context.js";
import { ofError, ofResult } from "./ending.js";
import type { Ending } from "./ending.js";
import type { Handler } from "./handlers.js";

/** How it ended, and what the handler threw. */
export interface Attempted {
  readonly ending: Ending;
  readonly error: unknown;
}

/**
 * Runs a handler.
 *
 * @param within Runs the call of it, in a span for example. Undefined: it is called as it is.
 */
export async function attempted(
  handler: Handler,
  job: LeasedJob,
  context: JobContext,
  within?: (call: () => unknown) => unknown,
): Promise<Attempted> {
  try {
    context.throwIfCancelled(); // told to stop before it began
    const result = within === undefined ? handler(job, context) : within(() => handler(job, context));
    return { ending: ofResult(await result, context), error: undefined };
  } catch (error) {
    return { ending: ofError(error, context.stopReason), error };
  }
}
