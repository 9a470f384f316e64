/** When workers start and leave, when the client closes, and what is said of them meanwhile. */

import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { Client } from "@jobqueue/client";
import type { WorkerState } from "@jobqueue/client";
import { Controller, Get, Global, Inject, Injectable, Module } from "@nestjs/common";
import type {
  BeforeApplicationShutdown,
  INestApplication,
  OnApplicationBootstrap,
  OnApplicationShutdown,
  OnModuleDestroy,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { HealthCheck, HealthCheckService, TerminusModule } from "@nestjs/terminus";

import { JobHandler, JobQueueHealthIndicator, JobQueueWorkers } from "../src/index.js";
import type { JobQueueOptions } from "../src/index.js";
import { App, Event, NOWHERE, at, rootOf, scopeOf, worked } from "./app.js";

@Injectable()
class Noop {
  @JobHandler("noop")
  handle(): void {}
}

test("workers start when all else has started, in modules and in the root", async () => {
  const before: number[] = [];
  class Starts implements OnApplicationBootstrap {
    constructor(readonly workers: JobQueueWorkers) {}
    async onApplicationBootstrap(): Promise<void> {
      before.push(this.workers.all.size);
    }
  }
  const provided = {
    useFactory: (workers: JobQueueWorkers) => new Starts(workers),
    inject: [JobQueueWorkers],
  };
  @Global()
  @Module({ providers: [{ provide: "GLOBAL", ...provided }] })
  class Wide {}
  @Module({ providers: [{ provide: "INNER", ...provided }] })
  class Inner {}
  const metadata = { imports: [Inner, Wide], providers: [Noop, { provide: "OUTER", ...provided }] };
  await using app = await App.start(metadata, { server: NOWHERE });
  assert.deepEqual(before, [0, 0, 0]);
  assert.equal(app.nest.get(JobQueueWorkers).all.size, 1);
});

test("a worker leaves before anything of the app ends, and the client closes after all of it", async () => {
  const draining = new Event();
  const runs = new Event();
  const ended: string[] = [];
  @Injectable()
  class Ends implements OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown {
    constructor(@Inject(Client) private readonly jobs: Client) {}
    onModuleDestroy(): void {
      ended.push("destroyed");
    }
    async beforeApplicationShutdown(): Promise<void> {
      ended.push("before shutdown");
    }
    async onApplicationShutdown(): Promise<void> {
      await this.jobs.enqueue("later", {});
      ended.push("shut down");
    }
  }
  @Global()
  @Module({ providers: [Ends] })
  class Wide {}
  @Module({ providers: [Ends] })
  class Inner {}
  @Injectable()
  class Handlers {
    constructor(@Inject(Client) private readonly jobs: Client) {}
    @JobHandler("slow")
    async handle(): Promise<string[]> {
      runs.happens();
      await draining.happened;
      await this.jobs.enqueue("next", {});
      return [...ended];
    }
  }
  await using scope = await scopeOf("slow", "next", "later");
  const observer = {
    sessionChanged: ({ state }: { state: WorkerState }) => state === "draining" && draining.happens(),
  };
  const metadata = { imports: [Inner, Wide], providers: [Handlers, Ends] };
  const app = await App.start(metadata, { ...at(scope), observer });
  const closed: number[] = [];
  const client = app.nest.get(Client);
  const close = client.close.bind(client);
  client.close = () => {
    closed.push(ended.filter((each) => each === "shut down").length);
    close();
  };
  const { id } = await scope.client.enqueue("slow", {});
  await runs.happened;
  await app.nest.close();
  const job = await scope.client.get(id);
  assert.deepEqual([job.status, job.output], ["SUCCEEDED", []]);
  await scope.assertEnqueued("next", {}, { count: 1 });
  await scope.assertEnqueued("later", {}, { count: 3 });
  // In the root, in a module and in a global one: all three had shut down when it closed.
  assert.deepEqual([ended.length, closed], [9, [3]]);
});

test("a handler that outlasts the grace is stopped, and its job goes back", async () => {
  const runs = new Event();
  @Injectable()
  class Handlers {
    @JobHandler("slow")
    async handle(_job: unknown, ctx: { signal: AbortSignal }): Promise<void> {
      runs.happens();
      await new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason)));
    }
  }
  await using scope = await scopeOf("slow");
  const workers = { default: { shutdownGraceMs: 0 } };
  const app = await App.start({ providers: [Handlers] }, { ...at(scope), workers });
  const { id } = await scope.client.enqueue("slow", {});
  await runs.happened;
  await app.nest.close();
  assert.equal((await scope.client.get(id)).status, "QUEUED");
});

test("an app whose start fails, or that was never started, closes all the same", async () => {
  await using scope = await scopeOf("noop");
  class Fails implements OnApplicationBootstrap {
    onApplicationBootstrap(): void {
      throw new Error("no database");
    }
  }
  const root = rootOf({ providers: [Noop, Fails] }, at(scope));
  const app = await NestFactory.create(root, { logger: false, abortOnError: false });
  await assert.rejects(app.init(), /no database/);
  assert.equal(app.get(JobQueueWorkers).all.size, 0);
  await app.close();
  const never = await NestFactory.create(rootOf({ providers: [Noop] }, at(scope)), { logger: false });
  await never.close();
});

test("a process with nothing else ends when its app has closed", async () => {
  await using scope = await scopeOf("noop", "next");
  const program = join(import.meta.dirname, "programs", "closes.js");
  const env = { ...process.env, ...scope.environment };
  const { stdout } = await promisify(execFile)("node", [program], { env, timeout: 60_000 });
  assert.equal(stdout, "noop is SUCCEEDED\nclosed\n");
  await scope.assertEnqueued("next", {}, { count: 1 });
});

@Controller("health")
class Health {
  constructor(
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    @Inject(JobQueueHealthIndicator) private readonly jobs: JobQueueHealthIndicator,
  ) {}
  @Get()
  @HealthCheck()
  check(): Promise<unknown> {
    return this.health.check([() => this.jobs.isHealthy()]);
  }
}

/** A web app with a worker, and what Terminus says of it. */
async function web(
  options: JobQueueOptions,
): Promise<{ app: INestApplication; ask(): Promise<[number, any]> }> {
  const root = rootOf({ imports: [TerminusModule], controllers: [Health], providers: [Noop] }, options);
  const app = await NestFactory.create(root, { logger: false });
  await app.listen(0, "127.0.0.1");
  const ask = async (): Promise<[number, any]> => {
    const answer = await fetch(`${await app.getUrl()}/health`, { headers: { connection: "close" } });
    return [answer.status, ((await answer.json()) as { details: { jobqueue: unknown } }).details.jobqueue];
  };
  return { app, ask };
}

test("Terminus is told that a worker is up while it serves, and down before and after", async (t) => {
  await using scope = await scopeOf("noop");
  const { app, ask } = await web(at(scope));
  await worked(scope, "noop");
  const serving = { state: "serving", running: 0, slots: 8 };
  assert.deepEqual(await ask(), [200, { status: "up", workers: { default: serving } }]);
  const worker = app.get(JobQueueWorkers).get();
  const status = worker.status();
  const said = { ...status, state: "reconnecting" as WorkerState, since: new Date(Date.now() - 29_000) };
  const mocked = t.mock.method(worker, "status", () => said);
  assert.equal((await ask())[0], 200);
  said.since = new Date(Date.now() - 31_000);
  assert.equal((await ask())[0], 503);
  for (const state of ["draining", "ended", "refused"] as const) {
    said.state = state;
    assert.deepEqual((await ask())[1].workers.default.state, state);
    assert.equal((await ask())[0], 503);
  }
  mocked.mock.restore();
  await app.close();
  assert.equal(app.get(JobQueueHealthIndicator).isHealthy().jobqueue.status, "down");
});

test("how long a worker may be without its server is its session's ttl", async (t) => {
  const workers = { default: { sessionTtlMs: 60_000 } };
  await using app = await App.start({ providers: [Noop] }, { server: NOWHERE, workers });
  const worker = app.nest.get(JobQueueWorkers).get();
  const said = { ...worker.status(), state: "reconnecting" as const, since: new Date(Date.now() - 59_000) };
  t.mock.method(worker, "status", () => said);
  const indicator = app.nest.get(JobQueueHealthIndicator);
  assert.equal(indicator.isHealthy("jobs").jobs.status, "up");
  said.since = new Date(Date.now() - 61_000);
  assert.equal(indicator.isHealthy("jobs").jobs.status, "down");
});

test("a worker without a server is down, and one that this process does not run is up", async () => {
  for (const [runWorkers, wanted, workers] of [
    [true, 503, ["default"]],
    [false, 200, []],
  ] as const) {
    const { app, ask } = await web({ server: NOWHERE, runWorkers });
    const [code, said] = await ask();
    assert.deepEqual([code, Object.keys(said.workers)], [wanted, workers]);
    await app.close();
  }
});

test("a worker that the server refuses is logged and down, and the app goes on", async () => {
  await using scope = await scopeOf("noop");
  const logged = new Event<string>();
  const quiet = { log() {}, warn() {}, error: (line: string) => logged.happens(line) };
  const root = rootOf({ providers: [Noop] }, { server: scope.target, token: "jq_none" });
  const app = await NestFactory.createApplicationContext(root, { logger: quiet });
  assert.match(await logged.happened, /^the worker default has ended: /);
  const indicator = app.get(JobQueueHealthIndicator);
  const { status, workers } = indicator.isHealthy().jobqueue;
  assert.deepEqual([status, workers["default"]?.state], ["down", "refused"]);
  assert.equal(workers["default"]?.lastError, undefined);
  const detailed = indicator.isHealthy("jobqueue", { details: true }).jobqueue.workers["default"];
  assert.match(detailed?.lastError ?? "", /./);
  await app.close();
});
