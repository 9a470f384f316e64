/** What variables of the environment say of a server: those that the command `jobqueue` and the worker service read. */

import { readFileSync } from "node:fs";

import type { AccessOptions, TlsOptions } from "./access.js";
import type { WorkerOptions } from "./worker/options.js";

/** The address without JOBQUEUE_SERVER. */
const DEFAULT_SERVER = "127.0.0.1:50051";

/** The server's address, and the options with what they did not say. */
export function fromEnvironment<O extends AccessOptions>(options: O): { target: string; options: O } {
  const { env } = process;
  const token = options.token ?? (env["JOBQUEUE_TOKEN"] || undefined);
  const tls = options.tls ?? tlsOf(env);
  return { target: env["JOBQUEUE_SERVER"] || DEFAULT_SERVER, options: { ...options, token, tls } };
}

/**
 * The settings of a worker, with what they did not say: JOBQUEUE_QUEUES, WORKER_CONCURRENCY and JOBQUEUE_WORKER_NAME.
 *
 * @throws TypeError WORKER_CONCURRENCY is no whole number.
 */
export function workerSettings(options: WorkerOptions): WorkerOptions {
  const { env } = process;
  const found: WorkerOptions = { ...options };
  const queues = (env["JOBQUEUE_QUEUES"] ?? "").split(",").map((each) => each.trim());
  const named = queues.filter((each) => each !== "");
  if (named.length > 0) found.queues ??= named;
  const concurrency = env["WORKER_CONCURRENCY"];
  if (concurrency) {
    if (!/^\s*[+-]?\d+\s*$/.test(concurrency)) {
      throw new TypeError(`WORKER_CONCURRENCY is ${JSON.stringify(concurrency)}; it is a whole number`);
    }
    found.concurrency ??= Number(concurrency);
  }
  const name = env["JOBQUEUE_WORKER_NAME"];
  if (name) found.name ??= name;
  return found;
}

function tlsOf(env: NodeJS.ProcessEnv): TlsOptions | undefined {
  const roots = env["JOBQUEUE_TLS_ROOTS"];
  const cert = env["JOBQUEUE_TLS_CLIENT_CERT"];
  const key = env["JOBQUEUE_TLS_CLIENT_KEY"];
  if (!roots) {
    if (cert || key) {
      throw new TypeError("JOBQUEUE_TLS_CLIENT_CERT and JOBQUEUE_TLS_CLIENT_KEY need JOBQUEUE_TLS_ROOTS");
    }
    return undefined;
  }
  return {
    ...(roots === "public" ? {} : { ca: readFileSync(roots) }),
    ...(cert ? { cert: readFileSync(cert) } : {}),
    ...(key ? { key: readFileSync(key) } : {}),
  };
}
