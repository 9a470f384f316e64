/** What groups of calls have in common: how they make a call, and how they name labels. */

import type { CallOptions } from "@connectrpc/connect";

import type { Call } from "./calls.js";

/** Makes a call of a client, by its deadline; `retry`: a second call does no harm where the first one was done. */
export type Calling = <T>(
  options: Call,
  retry: boolean,
  method: (call: CallOptions) => Promise<T>,
) => Promise<T>;

/** Labels as the filters of the contract have them. */
export function labelList(labels: Readonly<Record<string, string>> | undefined): string[] {
  return Object.entries(labels ?? {}).map(([name, value]) => `${name}=${value}`);
}
