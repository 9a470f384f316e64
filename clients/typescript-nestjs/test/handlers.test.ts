/** Which methods run which jobs, what they are given, and what an app refuses when it starts. */

import { strict as assert } from "node:assert";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { AesGcm, Client, Encoded, Encodings, defineKind, withHeaders } from "@jobqueue/client";
import type { JobContext, LeasedJob, Middleware } from "@jobqueue/client";
import { RecordingClient } from "@jobqueue/client/testing";
import { Controller, Inject, Injectable, Module, Scope, UseGuards } from "@nestjs/common";
import type { ModuleMetadata } from "@nestjs/common";
import { REQUEST } from "@nestjs/core";
import { Test } from "@nestjs/testing";
import { trace } from "@opentelemetry/api";
import type { TracerProvider } from "@opentelemetry/api";
import * as z from "zod";

import { JOBQUEUE_OPTIONS, JobHandler, JobQueueModule, JobQueueWorkers } from "../src/index.js";
import type { JobQueueOptions, JobQueueOptionsFactory } from "../src/index.js";
import { App, NOWHERE, at, rootOf, scopeOf, worked } from "./app.js";

const mail = defineKind({
  name: "mail",
  payload: z.object({ to: z.string() }),
  output: z.object({ text: z.string() }),
  aliases: ["post"],
});

@Injectable()
class Prefix {
  readonly text = "to ";
}

@Injectable()
class Mailer {
  constructor(@Inject(Prefix) private readonly prefix: Prefix) {}

  @JobHandler(mail, { slots: 2 })
  async deliver({ to }: { to: string }, ctx: JobContext): Promise<{ text: string }> {
    return { text: `${this.prefix.text}${to}, attempt ${ctx.job.attempt}` };
  }

  @JobHandler("plain")
  plain(job: LeasedJob, _ctx: JobContext): unknown {
    return job.payload;
  }
}

test("a method of a provider runs the jobs of its kind, with what was injected", async () => {
  await using scope = await scopeOf("mail", "plain", "post");
  @Module({ providers: [Mailer, Prefix] })
  class Mails {}
  await using _ = await App.start({ imports: [Mails] }, at(scope));
  assert.deepEqual((await worked(scope, "mail", { to: "ada" })).output, { text: "to ada, attempt 1" });
  assert.deepEqual((await worked(scope, "post", { to: "bob" })).output, { text: "to bob, attempt 1" });
  assert.deepEqual((await worked(scope, "plain", { n: 1 })).output, { n: 1 });
});

test("a payload that is not of the kind's type does not get to the method", async () => {
  await using scope = await scopeOf("mail");
  await using _ = await App.start({ providers: [Mailer, Prefix] }, at(scope));
  const job = await worked(scope, "mail", { to: 7 });
  assert.equal(job.status, "FAILED_PERMANENT");
  assert.match(job.lastError ?? "", /payload\.to/);
});

test("a class has the handlers that it inherits, and those that it declares anew", async () => {
  await using scope = await scopeOf("a", "b", "c");
  class Base {
    @JobHandler("a")
    first(): string {
      return "base";
    }
    @JobHandler("b")
    second(): string {
      return "base";
    }
  }
  @Injectable()
  class Derived extends Base {
    override first(): string {
      return "derived";
    }
    @JobHandler("c")
    override second(): string {
      return "derived";
    }
  }
  await using app = await App.start({ providers: [Derived] }, at(scope));
  assert.deepEqual(app.nest.get(JobQueueWorkers).get().status().kinds, ["a", "c"]);
  assert.equal((await worked(scope, "a")).output, "derived");
  assert.equal((await worked(scope, "c")).output, "derived");
});

test("a provider by an alias, by a factory or by a value has its handlers once", async () => {
  class One {
    constructor(readonly said: string) {}
    @JobHandler("a")
    handle(): string {
      return this.said;
    }
  }
  class Two {
    @JobHandler("b")
    handle(): string {
      return "value";
    }
  }
  await using scope = await scopeOf("a", "b");
  const providers = [
    { provide: One, useFactory: () => new One("factory") },
    { provide: "ALIAS", useExisting: One },
    { provide: "TWO", useValue: new Two() },
  ];
  await using _ = await App.start({ providers }, at(scope));
  assert.equal((await worked(scope, "a")).output, "factory");
  assert.equal((await worked(scope, "b")).output, "value");
});

test("a request-scoped provider is made for each attempt, with all that it depends on, and kept by nothing", async () => {
  const made: WeakRef<object>[] = [];
  @Injectable({ scope: Scope.REQUEST })
  class Tenant {
    constructor(@Inject(REQUEST) readonly ctx: JobContext) {}
    get name(): string {
      return this.ctx.job.headers["tenant"] ?? "";
    }
  }
  @Injectable()
  class Handlers {
    constructor(@Inject(Tenant) private readonly tenant: Tenant) {
      made.push(new WeakRef(this));
    }
    @JobHandler("a")
    handle(_job: LeasedJob, ctx: JobContext): unknown {
      return { tenant: this.tenant.name, same: this.tenant.ctx === ctx };
    }
  }
  await using scope = await scopeOf("a");
  await using _ = await App.start({ providers: [Handlers, Tenant] }, at(scope));
  const before = made.length;
  for (const tenant of ["x", "y"]) {
    const job = await scope.client.enqueue("a", {}, { headers: { tenant } });
    assert.deepEqual((await scope.client.wait(job.id)).output, { tenant, same: true });
  }
  assert.equal(made.length - before, 2);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const kept = (): number => made.slice(before).filter((each) => each.deref() !== undefined).length;
  for (let turn = 0; turn < 100 && kept() > 0; turn++) {
    await setImmediate();
    collect();
  }
  assert.equal(kept(), 0);
});

test("a transient provider is made for each attempt, and any other once", async () => {
  const made: string[] = [];
  @Injectable({ scope: Scope.TRANSIENT })
  class Transient {
    constructor() {
      made.push("transient");
    }
    @JobHandler("a")
    handle(): void {}
  }
  @Injectable()
  class Single {
    constructor() {
      made.push("single");
    }
    @JobHandler("b")
    handle(): void {}
  }
  await using scope = await scopeOf("a", "b");
  await using _ = await App.start({ providers: [Transient, Single] }, at(scope));
  assert.deepEqual(made.splice(0), ["single"]);
  for (const kind of ["a", "b", "a", "b"]) assert.equal((await worked(scope, kind)).status, "SUCCEEDED");
  assert.deepEqual(made, ["transient", "transient"]);
});

test("middleware, observer, encodings, traces and token are those of the client and of each worker", async () => {
  const seen: string[] = [];
  const middleware: Middleware = {
    enqueue: (jobs, next) => next(jobs.map((job) => withHeaders(job, { by: "middleware" }))),
    handle: (job, _ctx, next) => {
      seen.push(`handled ${job.kind} ${job.headers["by"]}`);
      return next();
    },
  };
  const observer = {
    enqueued: (_count: number, kind: string) => void seen.push(`enqueued ${kind}`),
    attemptStarted: ({ kind }: { kind: string }) => void seen.push(`started ${kind}`),
  };
  const tracer = {
    startSpan: (name: string) => {
      seen.push(`span ${name}`);
      return trace.wrapSpanContext({ traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 });
    },
  };
  trace.setGlobalTracerProvider({ getTracer: () => tracer } as unknown as TracerProvider);
  @Injectable()
  class Handlers {
    @JobHandler("a")
    first(job: LeasedJob): unknown {
      return job.payload;
    }
    @JobHandler("b", { worker: "bulk" })
    second(job: LeasedJob): unknown {
      return job.payload;
    }
  }
  await using scope = await scopeOf("a", "b");
  const options: JobQueueOptions = {
    ...at(scope),
    middleware: [middleware],
    observer,
    encodings: new Encodings([new AesGcm({ k: new Uint8Array(32) }, { primary: "k" })]),
    traces: true,
    workers: { default: {}, bulk: { queues: ["bulk"] } },
  };
  await using app = await App.start({ providers: [Handlers] }, options);
  const client = app.nest.get(Client);
  const headers = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` };
  for (const [kind, queue] of [
    ["a", "default"],
    ["b", "bulk"],
  ] as const) {
    const { id } = await client.enqueue(kind, { secret: kind }, { queue, headers });
    assert.deepEqual((await client.wait(id)).output, { secret: kind });
    const stored = await scope.client.get(id);
    assert.throws(() => stored.payload, Encoded);
    assert.throws(() => stored.output, Encoded);
    const wanted = [
      `enqueued ${kind}`,
      `handled ${kind} middleware`,
      `started ${kind}`,
      `span process ${queue}`,
    ];
    assert.deepEqual(seen.splice(0).sort(), wanted.sort());
  }
});

test("a worker takes jobs of its own queues alone, and a method may be attached to several", async () => {
  @Injectable()
  class Handlers {
    @JobHandler("a", { worker: ["default", "bulk"] })
    both(job: LeasedJob): string {
      return job.queue;
    }
    @JobHandler("b", { worker: "bulk" })
    one(): void {}
  }
  await using scope = await scopeOf("a", "b");
  const workers = { default: {}, bulk: { queues: ["bulk"] } };
  await using app = await App.start({ providers: [Handlers] }, { ...at(scope), workers });
  for (const queue of ["default", "bulk"]) {
    const { id } = await scope.client.enqueue("a", {}, { queue });
    assert.equal((await scope.client.wait(id)).output, queue);
  }
  const all = app.nest.get(JobQueueWorkers);
  assert.deepEqual([all.get().status().kinds, all.get("bulk").status().kinds], [["a"], ["a", "b"]]);
  assert.throws(() => all.get("mail"), /there is no worker mail; there are: default, bulk/);
});

test("settings may be made by a factory or a class, with what is injected", async () => {
  await using scope = await scopeOf("mail");
  @Injectable()
  class Config implements JobQueueOptionsFactory {
    createJobQueueOptions(): JobQueueOptions {
      return { ...at(scope), runWorkers: false };
    }
  }
  @Module({ providers: [Config], exports: [Config] })
  class ConfigModule {}
  const useFactory = (config: Config): JobQueueOptions => config.createJobQueueOptions();
  for (const asked of [{ imports: [ConfigModule], inject: [Config], useFactory }, { useClass: Config }]) {
    const made = await Test.createTestingModule({ imports: [JobQueueModule.forRootAsync(asked)] }).compile();
    const app = await made.init();
    assert.equal(app.get<JobQueueOptions>(JOBQUEUE_OPTIONS).server, scope.target);
    assert.equal((await app.get(Client).enqueue("mail", {})).status, "QUEUED");
    await app.close();
  }
});

test("without a server among the settings the environment says where it is", async (t) => {
  await using scope = await scopeOf("plain");
  const before = { ...process.env };
  t.after(() => (process.env = before));
  Object.assign(process.env, scope.environment);
  await using app = await App.start({ providers: [Mailer, Prefix] }, {});
  const { id } = await app.nest.get(Client).enqueue("plain", { n: 1 });
  assert.deepEqual((await scope.client.wait(id)).output, { n: 1 });
});

test("an app that runs no workers enqueues, and a test works its jobs", async () => {
  await using scope = await scopeOf("mail", "plain", "post");
  await using app = await App.start({ providers: [Mailer, Prefix] }, { ...at(scope), runWorkers: false });
  const { id } = await app.nest.get(Client).enqueue(mail, { to: "ada" });
  const worker = app.nest.get(JobQueueWorkers).get();
  assert.equal(worker.status().state, "starting");
  await scope.runUntilIdle(worker);
  assert.deepEqual((await scope.client.get(id)).output, { text: "to ada, attempt 1" });
});

test("a test puts a recording client in place of the client", async () => {
  const jobs = new RecordingClient();
  const root = rootOf({ providers: [Mailer, Prefix] }, { server: NOWHERE, runWorkers: false });
  const made = await Test.createTestingModule({ imports: [root] })
    .overrideProvider(Client)
    .useValue(jobs)
    .compile();
  const app = await made.init();
  await app.get(Client).enqueue(mail, { to: "ada" });
  assert.deepEqual(
    jobs.jobs.map(({ kind }) => kind),
    ["mail"],
  );
  await app.close();
});

test("an app without handlers has no workers", async () => {
  await using app = await App.start({}, { server: NOWHERE });
  assert.equal(app.nest.get(JobQueueWorkers).all.size, 0);
});

class OfA {
  @JobHandler("a")
  handle(): void {}
}
class AlsoOfA {
  @JobHandler("a")
  work(): void {}
}
class OfAlias {
  @JobHandler("post")
  work(): void {}
}
class OfBulk {
  @JobHandler(mail, { worker: "bulk" })
  work(): { text: string } {
    return { text: "" };
  }
}
class OfNone {
  @JobHandler("a", { worker: [] })
  work(): void {}
}
@Controller()
class OfController {
  @JobHandler("a")
  work(): void {}
}
class OfGuard {
  @JobHandler("a")
  canActivate(): boolean {
    return true;
  }
}
@UseGuards(OfGuard)
@Controller()
class Guarded {}

const REFUSED: Record<string, [ModuleMetadata, Partial<JobQueueOptions>, RegExp]> = {
  "two handlers of a kind": [
    { providers: [OfA, AlsoOfA] },
    {},
    /^Error: a has two handlers: OfA\.handle and AlsoOfA\.work/,
  ],
  "two handlers of a kind by its alias": [
    { providers: [Mailer, Prefix, OfAlias] },
    {},
    /^Error: post has two handlers: Mailer\.deliver and OfAlias\.work/,
  ],
  "two handlers of a kind where no worker runs": [
    { providers: [OfA, AlsoOfA] },
    { runWorkers: false },
    /^Error: a has two handlers/,
  ],
  "two handlers of a kind in two workers": [
    { providers: [OfAlias, OfBulk] },
    { workers: { default: {}, bulk: {} } },
    /^Error: post has two handlers/,
  ],
  "a handler in a worker that is not there": [
    { providers: [OfBulk] },
    {},
    /^Error: OfBulk\.work, the handler of mail, is attached to no worker: there is no bulk; there are: default/,
  ],
  "a handler in no worker": [
    { providers: [OfNone] },
    {},
    /^Error: OfNone\.work, the handler of a, is attached to no worker/,
  ],
  "a handler in a controller": [
    { controllers: [OfController] },
    {},
    /^Error: OfController\.work is a handler of a and is attached to no worker: its class is no provider/,
  ],
  "a handler in a guard": [
    { controllers: [Guarded] },
    {},
    /^Error: OfGuard\.canActivate is a handler of a and is att/,
  ],
  "a worker without a handler": [
    { providers: [OfA] },
    { workers: { default: {}, bulk: {} } },
    /^Error: the worker bulk has no handler/,
  ],
  "two modules of it": [
    { imports: [JobQueueModule.forRoot({ server: "127.0.0.1:2" })] },
    {},
    /^Error: JobQueueModule is imported by two calls/,
  ],
};
for (const [what, [metadata, options, words]] of Object.entries(REFUSED)) {
  test(`${what}: the app does not start`, async () => {
    await assert.rejects(App.start(metadata, { server: NOWHERE, ...options }), words);
  });
}

test("the decorator is for methods of instances", () => {
  const decorate = JobHandler("a") as (target: object, method?: unknown, descriptor?: object) => void;
  class Some {}
  const method = { value: () => {} };
  assert.throws(() => decorate(Some, "make", method), /^TypeError: .*and Some\.make is none/);
  assert.throws(() => decorate(Some.prototype, "field"), /^TypeError: .*and Some\.field is none/);
  assert.throws(() => decorate(method.value, { kind: "method" }), /experimentalDecorators/);
  assert.throws(() => JobHandler(undefined as never), /^TypeError: JobHandler takes a kind/);
});
