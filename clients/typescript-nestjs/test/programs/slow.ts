/** A web app with a handler that is at work until the worker drains, and enqueues then. */

import "reflect-metadata";

import { Client } from "@jobqueue/client";
import type { JobContext, LeasedJob, WorkerStatus } from "@jobqueue/client";
import { Injectable, Module } from "@nestjs/common";
import type { OnModuleDestroy } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";

import { JobHandler, JobQueueModule } from "../../src/index.js";

let drains!: () => void;
const draining = new Promise<void>((resolve) => (drains = resolve));

/** What a handler needs, and what is closed as early as Nest closes anything. */
@Injectable()
class Database implements OnModuleDestroy {
  open = true;

  onModuleDestroy(): void {
    this.open = false;
    console.log("the database is closed");
  }
}

@Injectable()
class Handlers {
  constructor(
    private readonly jobs: Client,
    private readonly database: Database,
  ) {}

  @JobHandler("slow")
  async handle(_job: LeasedJob, ctx: JobContext): Promise<boolean> {
    console.log("slow runs");
    await draining;
    await this.jobs.enqueue("by-client", {});
    ctx.followUp({ kind: "by-settlement" });
    return this.database.open;
  }
}

const sessionChanged = ({ state }: WorkerStatus): void => {
  if (state === "draining") drains();
};

@Module({
  imports: [JobQueueModule.forRoot({ observer: { sessionChanged } })],
  providers: [Handlers, Database],
})
class Root {}

const app = await NestFactory.create(Root);
app.enableShutdownHooks([], { useProcessExit: true });
await app.listen(0, "127.0.0.1");
