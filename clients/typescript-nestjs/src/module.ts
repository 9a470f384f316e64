/** The module: a client for the whole app, and its workers. */

import { Client } from "@jobqueue/client";
import { Global, Inject, Module } from "@nestjs/common";
import type { DynamicModule, OnApplicationShutdown } from "@nestjs/common";
import { ModulesContainer } from "@nestjs/core";

import { JobQueueHealthIndicator } from "./health.js";
import { clientOf } from "./options.js";
import type { JobQueueOptions } from "./options.js";
import { ConfigurableModuleClass, OPTIONS } from "./tokens.js";
import { JobQueueWorkers } from "./workers.js";

/** Apart from the client: it is the first to end, and the client the last. */
@Module({
  providers: [JobQueueWorkers, JobQueueHealthIndicator],
  exports: [JobQueueWorkers, JobQueueHealthIndicator],
})
class WorkersModule {}

/**
 * Makes a `Client` that all providers of the app can inject, and workers of its `@JobHandler` methods.
 *
 *     @Module({ imports: [JobQueueModule.forRoot({ workers: { default: { concurrency: 16 } } })] })
 *
 * It is global, and an app has one. `forRootAsync` takes `useFactory`, `useClass` or `useExisting`, as in other modules of
 * Nest. The client closes when all else of the app has ended.
 */
@Global()
@Module({
  imports: [WorkersModule],
  providers: [{ provide: Client, useFactory: clientOf, inject: [OPTIONS] }],
  exports: [Client, OPTIONS, WorkersModule],
})
export class JobQueueModule extends ConfigurableModuleClass implements OnApplicationShutdown {
  readonly #client: Client;

  constructor(@Inject(Client) client: Client, @Inject(ModulesContainer) modules: ModulesContainer) {
    super();
    this.#client = client;
    const ours = [...modules.values()].filter(({ metatype }) => metatype === JobQueueModule);
    if (ours.length > 1) {
      throw new Error("JobQueueModule is imported by two calls of forRoot or forRootAsync: an app has one");
    }
    // Nest calls the hooks of ending up to the highest, which are those of global modules.
    for (const each of ours) each.distance = Infinity;
  }

  /** @param options Default: all by variables of the environment. */
  static override forRoot(options: JobQueueOptions = {}): DynamicModule {
    return super.forRoot(options);
  }

  onApplicationShutdown(): void {
    this.#client.close();
  }
}
