/** Schedules of a real server: as they are made, read, changed and fired. */

import assert from "node:assert/strict";
import { test } from "node:test";

import * as z from "zod";

import {
  AUTO,
  EtagMismatch,
  InvalidRequest,
  KindUnknown,
  OperationNotDone,
  OperationNotFound,
  PayloadInvalid,
  RequestIdReused,
  ScheduleExists,
  ScheduleNotFound,
  defineKind,
} from "../src/index.js";
import type {
  Client,
  JobQueueError,
  NewJob,
  NewSchedule,
  SchedulePolicy,
  ScheduleSpec,
} from "../src/index.js";
import { RecordingClient, TestScope, testScope } from "../src/testing/index.js";

// Due far from now, so that nothing fires by itself.
const SELDOM: ScheduleSpec = { cron: "0 0 1 1 *" };
const JOB: NewJob = { kind: "work", payload: { a: 1 } };
const NIGHTLY: ScheduleSpec = {
  cron: ["30 2 * * *", "0 12 * * MON"],
  everyMs: undefined,
  phaseMs: undefined,
  timeZone: "Europe/Berlin",
  startsAt: new Date("2026-01-01T00:00:00Z"),
  endsAt: new Date("2090-01-01T00:00:00Z"),
  jitterMs: 90_000,
};
const POLICY: SchedulePolicy = {
  overlap: "ALLOW",
  catchUpWindowMs: 7_200_000,
  catchUp: "ALL",
  pauseAfterFailures: 7,
  keepRuns: 9,
};
const FULL_JOB: NewJob = {
  kind: "report",
  payloadJson: '{"digits": 12345678901234567890}',
  queue: "reports",
  priority: 3,
  maxAttempts: 5,
  timeoutMs: 90_000,
  retryPolicy: { minBackoffMs: 2_000, maxBackoffMs: 30_000 },
  labels: { team: "a" },
  headers: { "x-request-id": "r-1" },
  hold: true,
  key: "customer 42",
  unique: {
    key: "u",
    scope: "QUEUE_AND_KIND",
    until: "ENDS",
    periodMs: 300_000,
    onConflict: "REPLACE",
    replace: ["PAYLOAD", "LABELS"],
  },
};
const DAYS = [new Date("2026-01-01T00:00:00Z"), new Date("2026-01-11T00:00:00Z")] as const;

async function opened(): Promise<TestScope> {
  const scope = await testScope();
  for (const name of ["work", "report"]) await scope.client.putKind({ name });
  return scope;
}

async function all<T>(found: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const each of found) list.push(each);
  return list;
}

/** Schedules of these names as a program declares them. */
function declared(names: string, more: Partial<NewSchedule> = {}): NewSchedule[] {
  return [...names].map((name) => ({ name, spec: SELDOM, job: JOB, ...more }));
}

/** What was done with each, such as `a CREATED`. */
async function applied(
  client: Client,
  schedules: Iterable<NewSchedule>,
  options: { owner?: string; prune?: boolean } = {},
): Promise<string[]> {
  const done = await client.schedules.apply(schedules, { owner: "us", ...options });
  return done.map((each) => `${each.schedule.name} ${each.done}`);
}

async function names(client: Client): Promise<string> {
  return (await all(client.schedules.list())).map((each) => each.name).join(" ");
}

/** The outcomes, the newest first; read one by one, so that there are pages. */
async function outcomes(client: Client): Promise<string[]> {
  return (await all(client.schedules.runs("s", { pageSize: 1 }))).map((each) => each.outcome);
}

async function failure<E extends JobQueueError>(
  call: Promise<unknown>,
  type: new (...a: never[]) => E,
): Promise<E> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof type, String(error));
  return error;
}

test("a schedule is read as it was made, and can be written back", async () => {
  await using scope = await opened();
  const { schedules } = scope.client;
  const options = { policy: POLICY, labels: { of: "us" }, paused: true };
  const made = await schedules.create("nightly", NIGHTLY, FULL_JOB, options);
  assert.deepEqual(made, await schedules.get("nightly"));
  assert.deepEqual([made.spec, made.policy, made.job], [NIGHTLY, POLICY, FULL_JOB]);
  assert.deepEqual(
    [made.name, made.labels, made.paused, made.nextAt],
    ["nightly", { of: "us" }, true, undefined],
  );
  assert.deepEqual([made.fired, made.lastRun, made.upcoming.length], [0, undefined, 5]);
  const { spec, job, policy } = made;
  const changed = await schedules.update("nightly", { spec, job, policy });
  assert.deepEqual([changed.spec, changed.job, changed.policy], [spec, job, policy]);
  const every = await schedules.create("every", { everyMs: 600_000, phaseMs: 60_000 }, JOB);
  assert.deepEqual([every.spec.everyMs, every.spec.phaseMs, every.spec.cron], [600_000, 60_000, []]);
});

test("the job of a schedule may be of a typed kind", async () => {
  await using scope = await opened();
  const mail = defineKind({
    name: "mail",
    payload: z.object({ to: z.string() }),
    queue: "mails",
    version: 2,
  });
  await scope.client.syncKinds([mail]);
  const made = await scope.client.schedules.create("s", SELDOM, mail.new({ to: "ada" }));
  assert.deepEqual([made.job.kind, made.job.queue, made.job.payloadJson], ["mail", "mails", '{"to":"ada"}']);
  assert.equal(made.job.headers?.["x-payload-version"], "2");
  const { jobId } = await scope.client.schedules.run("s");
  assert.deepEqual(await mail.payloadOf(await scope.client.get(jobId)), { to: "ada" });
});

test("a schedule that was listed and is written back keeps its payload", async () => {
  await using scope = await opened();
  const { schedules } = scope.client;
  const made = await schedules.create("s", SELDOM, { ...JOB, headers: { h: "v" } });
  const [listed] = await all(schedules.list());
  const change = { job: { ...listed!.job, priority: 3 } };
  const wrong = await failure(schedules.update("s", change, { etag: listed!.etag }), InvalidRequest);
  assert.deepEqual(
    wrong.violations.map((each) => each.field),
    ["schedule.job.payload"],
  );
  assert.deepEqual((await schedules.get("s")).job, made.job);
  // One without a payload says so.
  await failure(schedules.update("s", { job: { kind: "work" } }), InvalidRequest);
  const none = await schedules.update("s", { job: { kind: "work", payload: null } });
  assert.equal(none.job.payloadJson, "null");
});

test("what is wrong is told by its own error", async () => {
  await using scope = await opened();
  const { schedules } = scope.client;
  await schedules.create("s", SELDOM, JOB);
  await failure(schedules.create("s", SELDOM, JOB), ScheduleExists);
  const cron = ["0 0 * * *", "61 * * * *"];
  const wrong = await failure(schedules.create("t", { cron }, JOB), InvalidRequest);
  assert.deepEqual(
    wrong.violations.map((each) => each.field),
    ["schedule.spec.cron[1]"],
  );
  assert.match(
    (await failure(schedules.create("t", {}, JOB), InvalidRequest)).message,
    /schedule\.spec\.cron/,
  );
  await failure(schedules.create("t", SELDOM, { kind: "nowhere" }), KindUnknown);
  await scope.client.putKind({ name: "strict", schema: { type: "object" } });
  await failure(schedules.create("t", SELDOM, { kind: "strict", payload: 1 }), PayloadInvalid);
  const calls = [
    () => schedules.get("no"),
    () => schedules.update("no", { spec: SELDOM }),
    () => schedules.delete("no"),
    () => schedules.pause("no"),
    () => schedules.resume("no"),
    () => schedules.run("no"),
    () => schedules.backfill("no", ...DAYS),
    () => schedules.runs("no").next(),
  ];
  for (const call of calls) {
    assert.equal((await failure(call(), ScheduleNotFound)).metadata["schedule"], "no");
  }
});

test("what can only be wrong is refused before the call", async () => {
  await using scope = await opened();
  const { schedules } = scope.client;
  const refused: [() => Promise<unknown>, RegExp][] = [
    [() => schedules.create("s", SELDOM, { ...JOB, delayMs: 1000 }), /job\.runAt and job\.delayMs/],
    [() => schedules.create("s", SELDOM, { ...JOB, runAt: new Date() }), /job\.runAt and job\.delayMs/],
    [() => schedules.update("s", { job: { ...JOB, idempotencyKey: AUTO } }), /job\.idempotencyKey/],
    [() => schedules.preview({ cron: "@daily", startsAt: new Date(NaN) }), /spec\.startsAt/],
    [() => schedules.preview({ everyMs: NaN }), /spec\.everyMs/],
    [() => schedules.backfill("s", DAYS[0], new Date(NaN)), /endAt/],
    [() => schedules.run("s", { overlap: "BUFFER_SOME" as "SKIP" }), /overlap is BUFFER_SOME/],
    [
      () => schedules.create("s", SELDOM, JOB, { policy: { catchUp: "SOME" as "ALL" } }),
      /policy\.catchUp is SOME/,
    ],
  ];
  for (const [call, message] of refused) await assert.rejects(call(), { name: "TypeError", message });
  // Only the names of the contract are names, and not what every object has.
  await assert.rejects(schedules.run("s", { overlap: "toString" as "SKIP" }), TypeError);
  assert.throws(
    () => (new RecordingClient() as unknown as Client).schedules,
    /schedules: the recording client/,
  );
});

test("schedules are listed by name over all pages, and by what they are", async () => {
  await using scope = await opened();
  const { client } = scope;
  for (const [name, queue, labels] of [
    ["b", "q", { of: "us" }],
    ["a", "", {}],
    ["c", "q", {}],
  ] as const) {
    await client.putKind({ name: `kind-${name}` });
    await client.schedules.create(name, SELDOM, { kind: `kind-${name}`, payload: 1, queue }, { labels });
  }
  await client.schedules.pause("a");
  const names = async (wanted = {}): Promise<string> => {
    const found = await all(client.schedules.list({ pageSize: 1, ...wanted }));
    return found.map((each) => each.name).join("");
  };
  assert.equal(await names(), "abc");
  assert.equal(await names({ queue: "q" }), "bc");
  assert.equal(await names({ kind: "kind-c" }), "c");
  assert.equal(await names({ paused: true }), "a");
  assert.equal(await names({ paused: false }), "bc");
  assert.equal(await names({ labels: { of: "us" } }), "b");
  for await (const each of client.schedules.list()) {
    assert.deepEqual([each.job.payloadJson, each.upcoming], [undefined, []]);
  }
});

test("what is not given to an update stays", async () => {
  await using scope = await opened();
  const { schedules } = scope.client;
  const made = await schedules.create("s", SELDOM, FULL_JOB, { policy: POLICY, labels: { a: "b" } });
  const policy = { overlap: "BUFFER_ONE", keepRuns: 3 } as const;
  const changed = await schedules.update("s", { policy }, { policyFields: ["keep_runs"] });
  assert.deepEqual(changed.policy, { ...POLICY, keepRuns: 3 });
  assert.deepEqual([changed.spec, changed.job, changed.labels], [made.spec, made.job, made.labels]);
  assert.notEqual(changed.etag, made.etag);
  assert.deepEqual((await schedules.update("s", { labels: {} })).labels, {});
  const defaults = (await schedules.update("s", { policy: {} })).policy;
  assert.deepEqual([defaults.overlap, defaults.catchUp, defaults.keepRuns], ["BUFFER_ONE", "LATEST", 100]);
  const now = await schedules.update("s", { policy: { catchUpWindowMs: 0 } });
  assert.equal(now.policy.catchUpWindowMs, 0);
  assert.match((await failure(schedules.update("s", {}), InvalidRequest)).message, /update_mask/);
});

test("of two changes of one etag the second is refused", async () => {
  await using scope = await opened();
  const { schedules } = scope.client;
  const { etag } = await schedules.create("s", SELDOM, JOB);
  const changed = await schedules.update("s", { labels: { n: "1" } }, { etag });
  const late = await failure(schedules.update("s", { labels: { n: "2" } }, { etag }), EtagMismatch);
  assert.equal(late.metadata["etag"], changed.etag);
  await failure(schedules.delete("s", { etag }), EtagMismatch);
  await schedules.delete("s", { etag: changed.etag });
  const again = await schedules.update("s", { spec: SELDOM, job: JOB }, { allowMissing: true });
  assert.deepEqual([again.name, again.labels], ["s", {}]);
});

test("a paused schedule has no next tick, and runs by hand", async () => {
  await using scope = await opened();
  const { client } = scope;
  const made = await client.schedules.create("s", SELDOM, JOB, { policy: { overlap: "SKIP" } });
  const paused = await client.schedules.pause("s", { note: "maintenance" });
  assert.deepEqual([paused.paused, paused.pauseNote, paused.nextAt], [true, "maintenance", undefined]);
  const first = await client.schedules.run("s", { requestId: "r" });
  assert.deepEqual([first.outcome, first.nth, first.ticks, first.cause], ["FIRED", 1, 1, "BY_HAND"]);
  const job = await client.get(first.jobId);
  assert.deepEqual([job.payload, job.headers["x-schedule"]], [{ a: 1 }, "s"]);
  assert.deepEqual(await client.schedules.run("s", { requestId: "r" }), first);
  const skipped = await client.schedules.run("s");
  assert.deepEqual([skipped.outcome, skipped.jobId], ["SKIPPED_OVERLAP", ""]);
  assert.equal((await client.schedules.run("s", { overlap: "ALLOW" })).outcome, "FIRED");
  assert.deepEqual(await outcomes(client), ["FIRED", "SKIPPED_OVERLAP", "FIRED"]);
  const resumed = await client.schedules.resume("s");
  assert.deepEqual([resumed.paused, resumed.nextAt, resumed.fired], [false, made.nextAt, 2]);
  assert.equal(resumed.lastRun?.outcome, "FIRED");
});

test("a backfill is an operation that is counted first, and waited for", async () => {
  await using scope = await opened();
  const { client } = scope;
  const { schedules } = client;
  await schedules.create("s", { everyMs: 24 * 3600 * 1000 }, JOB, { paused: true });
  const counted = await schedules.backfill("s", ...DAYS, { validateOnly: true });
  const { name, done, dryRun, estimate } = counted;
  assert.deepEqual([name, done, dryRun, estimate], ["", true, true, 10]);
  assert.deepEqual(await outcomes(client), []);
  const begun = await schedules.backfill("s", ...DAYS, { maxTicks: 4, requestId: "r" });
  assert.deepEqual([begun.verb, begun.maxJobs, begun.perSecond], ["BackfillSchedule", 4, undefined]);
  const { schedule, startAt, endAt } = begun.backfill!;
  assert.deepEqual([schedule, startAt, endAt], ["s", ...DAYS]);
  assert.equal((await schedules.backfill("s", ...DAYS, { maxTicks: 4, requestId: "r" })).name, begun.name);
  const other = await failure(
    schedules.backfill("s", ...DAYS, { maxTicks: 5, requestId: "r" }),
    RequestIdReused,
  );
  assert.equal(other.metadata["operation"], begun.name);
  const end = await client.waitOperation(begun.name, { timeoutMs: 60_000 });
  assert.deepEqual([end.state, end.changed, end.skipped, end.error], ["SUCCEEDED", 4, 0, ""]);
  assert.deepEqual(end.backfill?.lastAt, new Date("2026-01-04T00:00:00Z"));
  assert.deepEqual(await client.getOperation(begun.name), end);
  assert.deepEqual(await outcomes(client), ["FIRED", "FIRED", "FIRED", "FIRED"]);
  const skipping = await schedules.backfill("s", ...DAYS, { overlap: "SKIP" });
  const skipped = await client.waitOperation(skipping.name, { timeoutMs: 60_000 });
  assert.deepEqual([skipped.changed, skipped.skipped], [0, 10]);
  const kept = await client.listOperations();
  assert.deepEqual(
    kept.map((each) => each.backfill?.schedule),
    ["s", "s"],
  );
});

test("an operation is cancelled, and deleted once it is done", async () => {
  await using scope = await opened();
  const { client } = scope;
  await client.schedules.create("s", { everyMs: 60_000 }, JOB, { paused: true });
  const { name } = await client.schedules.backfill("s", ...DAYS, { perSecond: 1 });
  const soon = await client.waitOperation(name, { timeoutMs: 100 });
  assert.deepEqual([soon.done, soon.perSecond], [false, 1]);
  await failure(client.deleteOperation(name), OperationNotDone);
  const giveUp = new AbortController();
  const waiting = client.waitOperation(name, { signal: giveUp.signal });
  giveUp.abort(new Error("no longer"));
  await assert.rejects(waiting, /no longer/);
  await client.cancelOperation(name);
  assert.equal((await client.waitOperation(name)).state, "CANCELLED");
  await client.deleteOperation(name);
  await failure(client.getOperation(name), OperationNotFound);
  await failure(client.waitOperation(name), OperationNotFound);
});

test("the ticks of a spec are asked for without a schedule", async () => {
  await using scope = await opened();
  const since = new Date("2026-10-24T22:00:00Z");
  const spec = { cron: "30 2 * * *", timeZone: "Europe/Berlin" };
  const ticks = await scope.client.schedules.preview(spec, { count: 2, since });
  assert.deepEqual(
    ticks.map((each) => [each.tickAt?.toISOString(), each.localTime, each.rule]),
    [
      ["2026-10-25T00:30:00.000Z", "2026-10-25T02:30:00+02:00", "FIRST_OF_TWO"],
      ["2026-10-26T01:30:00.000Z", "2026-10-26T02:30:00+01:00", "RULE_UNSPECIFIED"],
    ],
  );
  assert.equal((await scope.client.schedules.preview(spec)).length, 10);
});

test("what a program declares is created, changed or left untouched", async () => {
  await using scope = await opened();
  const { client } = scope;
  const [a, b] = declared("ab", { policy: POLICY, labels: { of: "team" } });
  assert.deepEqual(await applied(client, [a!, b!]), ["a CREATED", "b CREATED"]);
  const before = await client.schedules.get("a");
  assert.deepEqual([before.spec.cron, before.policy], [[SELDOM.cron], POLICY]);
  assert.deepEqual(before.labels, { of: "team", "jobqueue.owner": "us" });
  const other = { ...b!, job: { kind: "work", payload: { a: 2 } } };
  assert.deepEqual(await applied(client, new Set([a!, other])), ["a UNCHANGED", "b CHANGED"]);
  assert.deepEqual(await client.schedules.get("a"), before);
  assert.equal((await client.schedules.get("b")).job.payloadJson, '{"a":2}');
  const [full] = declared("f", { spec: NIGHTLY, job: FULL_JOB });
  assert.deepEqual(await applied(client, [full!]), ["f CREATED"]);
  assert.deepEqual(await applied(client, [full!]), ["f UNCHANGED"]);
});

test("a job that is declared without a payload has none, whatever it had before", async () => {
  await using scope = await opened();
  const { client } = scope;
  const job = { kind: "work", headers: { h: "v" } };
  assert.deepEqual(await applied(client, declared("a", { job: { ...job, payload: 1 } })), ["a CREATED"]);
  assert.deepEqual(await applied(client, declared("a", { job })), ["a CHANGED"]);
  assert.deepEqual(await applied(client, declared("a", { job })), ["a UNCHANGED"]);
  assert.equal((await client.schedules.get("a")).job.payloadJson, "null");
});

test("a schedule that is declared without a policy and labels gets the defaults again", async () => {
  await using scope = await opened();
  const { client } = scope;
  await applied(client, declared("a", { policy: POLICY, labels: { of: "team" } }));
  assert.deepEqual(await applied(client, declared("a")), ["a CHANGED"]);
  const { policy, labels } = await client.schedules.get("a");
  assert.deepEqual([policy.overlap, policy.catchUp, policy.keepRuns], ["BUFFER_ONE", "LATEST", 100]);
  assert.deepEqual(labels, { "jobqueue.owner": "us" });
});

test("a schedule that an operator has paused stays paused when it is declared anew", async () => {
  await using scope = await opened();
  const { client } = scope;
  await applied(client, declared("a"));
  await client.schedules.pause("a", { note: "flood" });
  assert.deepEqual(await applied(client, declared("a", { labels: { of: "team" } })), ["a CHANGED"]);
  const { paused, pauseNote, labels } = await client.schedules.get("a");
  assert.deepEqual([paused, pauseNote, labels["of"]], [true, "flood", "team"]);
});

test("only schedules of its owner that are not declared are deleted, and only if asked", async () => {
  await using scope = await opened();
  const { client } = scope;
  await client.schedules.create("by-hand", SELDOM, JOB);
  await applied(client, declared("t"), { owner: "them" });
  await applied(client, declared("abc"));
  assert.deepEqual(await applied(client, declared("b")), ["b UNCHANGED"]);
  const done = await applied(client, declared("b"), { prune: true });
  assert.deepEqual(done, ["b UNCHANGED", "a DELETED", "c DELETED"]);
  assert.equal(await names(client), "b by-hand t");
});

test("a schedule of another owner, or of none, is never changed", async () => {
  await using scope = await opened();
  const { client } = scope;
  const made = await client.schedules.create("h", SELDOM, JOB);
  await applied(client, declared("t"), { owner: "them" });
  for (const [name, owner, words] of [
    ["h", "", "the schedule h has no owner"],
    ["t", "them", "the schedule t is of them"],
  ] as const) {
    const error = await failure(
      client.schedules.apply(declared(`a${name}z`), { owner: "us" }),
      ScheduleExists,
    );
    assert.deepEqual([error.message, error.metadata], [words, { schedule: name, owner }]);
  }
  assert.equal((await client.schedules.get("h")).etag, made.etag);
  assert.equal(await names(client), "a h t");
});

test("programs of one owner that start at once agree", async () => {
  await using scope = await opened();
  const { client } = scope;
  const start = (number: number): Promise<string[]> =>
    applied(client, declared("ab", { labels: { number: String(number % 2) } }));
  const done = (await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(start))).flat();
  const created = done.filter((each) => each.endsWith("CREATED"));
  assert.deepEqual(created.sort(), ["a CREATED", "b CREATED"]);
  assert.equal(await names(client), "a b");
});
