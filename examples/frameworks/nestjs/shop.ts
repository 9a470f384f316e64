/** The shop: requests enqueue typed jobs, and workers in this process run them, unless RUN_WORKERS is 0. */

import { JobQueueModule } from "@jobqueue/nestjs";
import { Module } from "@nestjs/common";
import { APP_FILTER } from "@nestjs/core";
import { TerminusModule } from "@nestjs/terminus";

import { Errors } from "./errors.js";
import { Readiness } from "./health.js";
import { Orders } from "./orders.js";
import { Receipts } from "./receipts.js";

@Module({
  imports: [
    JobQueueModule.forRoot({
      workers: { default: { concurrency: 16, syncKinds: true } },
      runWorkers: process.env["RUN_WORKERS"] !== "0",
    }),
    TerminusModule,
  ],
  controllers: [Orders, Readiness],
  providers: [Receipts, { provide: APP_FILTER, useClass: Errors }],
})
export class Shop {}
