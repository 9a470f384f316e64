/** A client that is asked to slows down by the server's hints and speeds up again, and refuses nothing by itself. */

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { HandlerContext } from "@connectrpc/connect";

import { AUTO, Client, DeadlineExceeded, Overloaded, Unavailable } from "../src/index.js";
import type { ClientOptions, Job } from "../src/index.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { JobSchema, Job_Status } from "../src/gen/jobqueue/v1/job_pb.js";
import { Window } from "../src/window.js";
import { ScriptedServer } from "./scripted.js";

type Said = "pressure" | "refusal" | "room";

const WITHIN_MS = 10_000;
const job = create(JobSchema, { id: "1", kind: "work", status: Job_Status.QUEUED });
const full = (): ConnectError =>
  new ConnectError("full", Code.ResourceExhausted, undefined, [
    { desc: ErrorInfoSchema, value: { reason: "QUEUE_FULL", domain: "jobqueue" } },
    { desc: RetryInfoSchema, value: { retryDelay: { seconds: 0n, nanos: 1 } } },
  ]);

/** One call that waits. */
interface Inside {
  readonly payload: string;
  readonly timeoutMs: number;
  readonly answer: (said: Said) => void;
}

/** A server whose enqueues wait until the test answers them, and its client. */
class Gate {
  /** The calls that wait, in the order in which they came. */
  readonly inside: Inside[] = [];
  /** How many have come in all. */
  came = 0;
  client!: Client;
  readonly #changes = new EventEmitter();

  static async open(t: TestContext, options: ClientOptions = { adaptive: true }): Promise<Gate> {
    const gate = new Gate();
    t.after(() => {
      gate.client.close();
      // A call that is never answered holds a timer of the server's for as long as its deadline.
      gate.answers(gate.inside.length, "room");
    });
    const server = await ScriptedServer.start(t, {
      enqueueJob: async (request, context) => {
        await gate.#answer(context, new TextDecoder().decode(request.job?.content.value as Uint8Array));
        return { job };
      },
      batchEnqueueJobs: async (request, context) => {
        await gate.#answer(context, "batch");
        return { results: request.jobs.map(() => ({ id: "1" })) };
      },
      getJob: () => ({ job }),
    });
    gate.client = new Client(server.address, options);
    return gate;
  }

  async #answer(context: HandlerContext, payload: string): Promise<void> {
    // As it was sent: `context.timeoutMs()` goes down meanwhile.
    const timeoutMs = Number(/^(\d+)m$/.exec(context.requestHeader.get("grpc-timeout") ?? "")?.[1]);
    const said = await new Promise<Said>((answer) => {
      this.inside.push({ payload, timeoutMs, answer });
      this.came += 1;
      this.#changes.emit("came");
    });
    if (said === "pressure") context.responseTrailer.set("jobqueue-pressure", "0.83");
    if (said === "refusal") throw full();
  }

  /** Returns once so many calls wait here; fails if more do. */
  async has(calls: number): Promise<void> {
    while (this.inside.length < calls) {
      await once(this.#changes, "came", { signal: AbortSignal.timeout(WITHIN_MS) });
    }
    // A read takes no turn. What the client was told before has an effect before the answer to a read has come and gone.
    for (let reads = 0; reads < 3; reads++) await this.client.get("1");
    assert.equal(this.inside.length, calls);
  }

  /** Answers the calls that have waited longest. */
  answers(calls: number, said: Said): void {
    for (const each of this.inside.splice(0, calls)) each.answer(said);
  }

  /** Enqueues so many jobs at once. */
  enqueues(calls: number): Promise<Job>[] {
    const made = Array.from({ length: calls }, () => this.client.enqueue("work"));
    // What fails is looked at later, if at all.
    for (const each of made) each.catch(() => undefined);
    return made;
  }
}

test("a producer slows down by hints and refusals and speeds up again", async (t) => {
  const gate = await Gate.open(t);
  const calls = gate.enqueues(400);
  await gate.has(64);
  // A hint, however many answers bring it: a fifth less.
  gate.answers(64, "pressure");
  await gate.has(51);
  // A refusal: half.
  gate.answers(51, "refusal");
  await gate.has(25);
  // A round of answers without a hint: one more. Two: another one.
  gate.answers(25, "room");
  await gate.has(26);
  gate.answers(26, "room");
  await gate.has(27);
  let over = false;
  const settled = Promise.allSettled(calls).finally(() => (over = true));
  while (!over) {
    gate.answers(gate.inside.length, "room");
    await sleep(1);
  }
  const refused = (await settled).flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
  assert.equal(refused.length, 51);
  for (const each of refused) assert.ok(each instanceof Overloaded);
});

test("without the option nothing waits within the client", async (t) => {
  const gate = await Gate.open(t, {});
  for (const said of ["pressure", "room"] as const) {
    const calls = gate.enqueues(300);
    await gate.has(300);
    gate.answers(300, said);
    await Promise.all(calls);
  }
});

test("batches take turns too", async (t) => {
  const gate = await Gate.open(t);
  const calls = Array.from({ length: 100 }, () => gate.client.enqueueMany([{ kind: "work", payload: 1 }]));
  await gate.has(64);
  gate.answers(14, "pressure");
  await gate.has(51);
  gate.answers(50, "pressure");
  await gate.has(36);
  gate.answers(36, "room");
  await Promise.all(calls);
});

test("calls that wait go in their order, with what is left of their deadlines", async (t) => {
  const gate = await Gate.open(t);
  gate.enqueues(64);
  await gate.has(64);
  const last = ["a", "b", "c"].map((name) => gate.client.enqueue("work", name, { deadlineMs: 20_000 }));
  await sleep(50);
  gate.answers(64, "room");
  await gate.has(3);
  assert.deepEqual(
    gate.inside.map((each) => each.payload),
    ['"a"', '"b"', '"c"'],
  );
  for (const { timeoutMs } of gate.inside) assert.ok(timeoutMs <= 19_960, `${timeoutMs} ms`);
  gate.answers(3, "room");
  await Promise.all(last);
});

test("a call that did not get its turn ends by its own deadline and was not sent", async (t) => {
  const gate = await Gate.open(t);
  const first = gate.enqueues(64);
  await gate.has(64);
  const late = gate.client.enqueue("work", null, { idempotencyKey: AUTO, deadlineMs: 200 });
  await assert.rejects(late, (error) => {
    assert.ok(error instanceof DeadlineExceeded);
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.equal(
      error.message,
      "the call was not sent: for 0.2 s the server had no room for more than the 64 enqueues in flight",
    );
    return true;
  });
  gate.answers(64, "room");
  await Promise.all(first);
  await gate.has(0);
  assert.equal(gate.came, 64);
});

test("a call that is cancelled while it waits gives its place up, and the next one gets it", async (t) => {
  const gate = await Gate.open(t);
  const first = gate.enqueues(64);
  await gate.has(64);
  const abort = new AbortController();
  const givenUp = gate.client.enqueue("work", "given up", { signal: abort.signal });
  const last = gate.client.enqueue("work", "last");
  abort.abort(new Error("enough"));
  await assert.rejects(givenUp, { message: "enough" });
  gate.answers(1, "room");
  await gate.has(64);
  assert.equal(gate.inside.at(-1)?.payload, '"last"');
  gate.answers(64, "room");
  await Promise.all([...first, last]);
  assert.equal(gate.came, 65);
});

test("a call that is let in as it gives up leaves its turn to the next", async () => {
  for (const first of ["the end", "the turn"]) {
    const window = new Window();
    for (let each = 0; each < 64; each++) await window.turn(WITHIN_MS);
    const abort = new AbortController();
    const one = window.run(WITHIN_MS, abort.signal, async () => abort.signal.throwIfAborted());
    const two = window.turn(WITHIN_MS);
    if (first === "the turn") window.leave();
    abort.abort(new Error("enough"));
    if (first === "the end") window.leave();
    await assert.rejects(one, { message: "enough" });
    await two;
    assert.equal(window.inFlight, 64, first);
  }
});

test("a call that comes while others wait goes behind them, though there is room", async () => {
  const window = new Window();
  const turn = await window.turn(WITHIN_MS);
  for (let each = 1; each < 64; each++) await window.turn(WITHIN_MS);
  const order: string[] = [];
  const one = window.turn(WITHIN_MS).then(() => order.push("one"));
  while (window.bound < 65) turn.answered(new Headers());
  const two = window.turn(WITHIN_MS).then(() => order.push("two"));
  window.leave();
  await Promise.all([one, two]);
  assert.deepEqual(order, ["one", "two"]);
});

test("a hint of calls that began before a shrink counts no more", async (t) => {
  const gate = await Gate.open(t);
  gate.enqueues(200);
  await gate.has(64);
  // 51 may be in flight: one of a new round among 50 of the one before.
  gate.answers(14, "pressure");
  await gate.has(51);
  gate.answers(50, "refusal");
  await gate.has(51);
  // All are of the new round.
  gate.answers(1, "pressure");
  await gate.has(50);
  gate.answers(10, "pressure");
  await gate.has(40);
});

test("a keyed call that is refused is sent again in the same turn, and each refusal halves the bound", async (t) => {
  const gate = await Gate.open(t);
  const keyed = gate.client.enqueue("work", "keyed", { idempotencyKey: AUTO });
  await gate.has(1);
  gate.enqueues(200);
  await gate.has(64);
  // 32 and 16 may be in flight then; the call holds its turn meanwhile, so all 64 are here when it comes again.
  for (let tries = 0; tries < 2; tries++) {
    gate.inside.splice(gate.inside.findIndex(isKeyed), 1)[0]?.answer("refusal");
    await gate.has(64);
    assert.equal(gate.inside.findIndex(isKeyed), 63);
  }
  // The others began before: what they are told counts no more.
  gate.answers(63, "pressure");
  await gate.has(16);
  gate.answers(1, "room");
  await keyed;
});

test("a close ends the calls that wait, and the client can be used again", async (t) => {
  const gate = await Gate.open(t);
  const calls = gate.enqueues(100);
  await gate.has(64);
  gate.client.close();
  for (const each of await Promise.allSettled(calls)) {
    assert.ok(each.status === "rejected" && each.reason instanceof Unavailable);
  }
  assert.equal(gate.came, 64);
  gate.answers(64, "room");
  gate.enqueues(100);
  await gate.has(64);
});

test("the bound grows only while it is what calls wait for", async () => {
  const window = new Window();
  for (let each = 0; each < 1000; each++) {
    (await window.turn(WITHIN_MS)).answered(new Headers());
    window.leave();
  }
  assert.equal(window.bound, 64);
});

test("the bound stays within 1 and 1000", async () => {
  const window = new Window();
  for (let each = 0; each < 100; each++) {
    (await window.turn(WITHIN_MS)).answered(new Headers({ "jobqueue-pressure": "1.00" }));
    window.leave();
  }
  assert.equal(window.bound, 1);
  window.bound = 1000;
  const turn = await window.turn(WITHIN_MS);
  for (let each = 1; each < 1000; each++) await window.turn(WITHIN_MS);
  turn.answered(new Headers());
  assert.equal(window.bound, 1000);
});

function isKeyed({ payload }: Inside): boolean {
  return payload === '"keyed"';
}
