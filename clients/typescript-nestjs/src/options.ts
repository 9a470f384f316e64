/** What an app says of its client and its workers. */

import { Client } from "@jobqueue/client";
import type { AccessOptions, ClientOptions, WorkerOptions } from "@jobqueue/client";

/** The settings of one worker. How to reach the server, middleware, encodings and the observer are those of the app. */
export type JobQueueWorkerOptions = Omit<
  WorkerOptions,
  keyof AccessOptions | "encodings" | "middleware" | "observer"
>;

/** The settings of the app, for its client and all its workers. */
export interface JobQueueOptions
  extends AccessOptions, Pick<ClientOptions, "deadlineMs" | "encodings" | "middleware" | "observer"> {
  /**
   * The server's address, for example `127.0.0.1:50051`. Default: what JOBQUEUE_SERVER says, and then the token and TLS too
   * are those of the environment where they are not given.
   */
  readonly server?: string | undefined;
  /** The workers of the app, by name. Default: one, `default`, where there are handlers. */
  readonly workers?: Readonly<Record<string, JobQueueWorkerOptions>> | undefined;
  /**
   * Whether the workers take jobs in this process. Default: true. False, for a process that enqueues beside others that work:
   * handlers are checked all the same.
   */
  readonly runWorkers?: boolean | undefined;
}

/** What makes the settings, as a provider: for `useClass` and `useExisting` of `forRootAsync`. */
export interface JobQueueOptionsFactory {
  createJobQueueOptions(): JobQueueOptions | Promise<JobQueueOptions>;
}

/** The name of the worker of a handler that names none. */
export const DEFAULT_WORKER = "default";

/** The client of the app. It connects at its first call. */
export function clientOf(options: JobQueueOptions): Client {
  const { server, workers: _, runWorkers: __, ...rest } = options;
  return server === undefined ? Client.fromEnv(rest) : new Client(server, rest);
}
