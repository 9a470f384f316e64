/** An app that does a job, enqueues another one and closes. Nothing ends the process but that nothing is open in it. */

import "reflect-metadata";

import { Client } from "@jobqueue/client";
import { Inject, Injectable, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";

import { JobHandler, JobQueueModule } from "../../src/index.js";

@Injectable()
class Handlers {
  constructor(@Inject(Client) private readonly jobs: Client) {}
  @JobHandler("noop")
  async handle(): Promise<void> {
    await this.jobs.enqueue("next", {});
  }
}

@Module({ imports: [JobQueueModule.forRoot()], providers: [Handlers] })
class Root {}

const app = await NestFactory.createApplicationContext(Root, { logger: false });
const client = app.get(Client);
const job = await client.enqueue("noop", {});
console.log(`noop is ${(await client.wait(job.id)).status}`);
await app.close();
console.log("closed");
