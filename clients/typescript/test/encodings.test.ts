/** Encodings: the vectors of all languages, what is refused, what is asked for keys, and what handlers see. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { inspect } from "node:util";
import * as zlib from "node:zlib";

import { create } from "@bufbuild/protobuf";

import {
  AUTO,
  AesGcm,
  Client,
  DeadlineExceeded,
  Discard,
  Encoded,
  EncodingRequired,
  EncodingUnknown,
  Encodings,
  JsonText,
  KeyUnknown,
  PayloadInvalid,
  Retry,
  Snooze,
  Undecodable,
  Worker,
  Zstd,
  defineKind,
} from "../src/index.js";
import type { Encoding, Handler, Job, JobContext, LeasedJob, NewJob, Unique } from "../src/index.js";
import { envelopeIn } from "../src/encoded.js";
import { Place } from "../src/encodings/encoding.js";
import type { Purpose } from "../src/encodings/encoding.js";
import { textOf } from "../src/encodings/envelope.js";
import { Keys } from "../src/encodings/keys.js";
import { JobSchema, Job_Status, NewJobSchema } from "../src/gen/jobqueue/v1/job_pb.js";
import type { NewJob as NewJobMessage } from "../src/gen/jobqueue/v1/job_pb.js";
import type { Schedule } from "../src/gen/jobqueue/v1/schedule_pb.js";
import { RecordingClient, attempt, perform } from "../src/testing/index.js";
import { handlersOf } from "../src/worker/worker.js";
import { ScriptedServer } from "./scripted.js";

interface Row {
  readonly name: string;
  readonly purpose: Purpose;
  readonly kind: string;
  readonly job_id: string;
  readonly content_type: string;
  readonly encodings: readonly string[];
  readonly key_id: string;
  readonly idempotency_key: string | null;
  readonly content: string;
  readonly envelope: string;
  readonly write: boolean;
  readonly required: boolean;
  readonly error: string | null;
}

const FILE = new URL("../../../../tests/clients/encodings.json", import.meta.url);
const { keys, rows } = JSON.parse(readFileSync(FILE, "utf8")) as {
  keys: Record<string, string>;
  rows: readonly Row[];
};
const KEYS = Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, Buffer.from(key, "hex")]));
const KEY = Uint8Array.from({ length: 32 }, (_, number) => number);
const NEXT = Uint8Array.from({ length: 32 }, (_, number) => number + 1);
// What must not be seen.
const SECRET = "the eagle has landed";
const PAYLOAD = new Place("payload", "mail");
const LONG = `"${"to be or not to be ".repeat(200)}"`;
const HAS_ZSTD = "zstdCompressSync" in zlib;
const NEEDS_ZSTD = { skip: HAS_ZSTD ? false : "this Node has no Zstandard" };
const NO_BYTES: Uint8Array = new Uint8Array();
const NOWHERE = "127.0.0.1:1";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const words = (data: Uint8Array): string => new TextDecoder().decode(data);
const base64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64url"));
const aes = (table: Record<string, Uint8Array> = { a: KEY }, primary = "a"): Encodings =>
  new Encodings([new AesGcm(table, { primary })]);

async function sealed(
  encodings: Encodings,
  data: Uint8Array,
  key?: string,
  place = PAYLOAD,
): Promise<Uint8Array> {
  return (await encodings.sealer()).sealed(data, place, key);
}

const listOf = (row: Row): Encodings => {
  const cipher = new AesGcm(KEYS, { primary: row.write ? row.key_id : "2026-10" });
  return new Encodings(HAS_ZSTD ? [new Zstd(), cipher] : [cipher]);
};
const skipOf = ({ envelope }: Row): { skip: string | boolean } =>
  envelope.includes('"zstd"') ? NEEDS_ZSTD : { skip: false };

// ---- the vectors

test("there are at least forty rows, of which most need no Zstandard", () => {
  assert.ok(rows.length >= 40);
  assert.ok(rows.filter((row) => !row.envelope.includes('"zstd"')).length >= 40);
});

for (const row of rows) {
  const place = new Place(row.purpose, row.kind, row.job_id);
  test(`an envelope is read as its row says: ${row.name}`, skipOf(row), async () => {
    const reading = listOf(row).opened(bytes(row.envelope), place, row.required);
    if (row.error !== null) await assert.rejects(reading, { name: row.error });
    else assert.deepEqual(await reading, base64(row.content));
  });
  if (row.write) {
    test(`an envelope is written byte for byte: ${row.name}`, async () => {
      const made = await sealed(listOf(row), base64(row.content), row.idempotency_key ?? undefined, place);
      assert.equal(words(made), row.envelope);
    });
  }
  if (row.error === null) {
    test(`what a row holds is written and read again: ${row.name}`, async () => {
      const content = base64(row.content);
      const made = await sealed(listOf(row), content, undefined, place);
      const { encodings } = JSON.parse(words(made)) as { encodings: string[] };
      assert.deepEqual(encodings, [...(HAS_ZSTD && content.length > 2048 ? ["zstd"] : []), "aes256gcm"]);
      assert.deepEqual(await listOf(row).opened(made, place), content);
    });
  }
}

// ---- what is written

test("two calls without an idempotency key have other bytes, and with one the same", async () => {
  const data = bytes("{}");
  assert.notDeepEqual(await sealed(aes(), data), await sealed(aes(), data));
  assert.deepEqual(await sealed(aes(), data, "k"), await sealed(aes(), data, "k"));
});

test("no two places are authenticated as the same", () => {
  const found = new Set<string>();
  for (const purpose of ["payload", "output"] as const)
    for (const kind of ["a", "ab", "abc"])
      for (const id of ["", "b", "bc", "c"])
        for (const key of ["", "b", "c"])
          for (const names of [["a"], ["a", "b"], ["ab"]])
            found.add(Buffer.from(new Place(purpose, kind, id).authenticated(names, key)).toString("hex"));
  assert.equal(found.size, 2 * 3 * 4 * 3 * 3);
});

test("an envelope that was tampered with is refused, and nothing else is thrown", async () => {
  const good = JSON.parse(words(await sealed(aes(), bytes(LONG)))) as Record<string, unknown>;
  const data = good["data"] as string;
  const wrong = [
    null,
    0,
    2,
    true,
    "",
    "zstd",
    [],
    {},
    [7],
    ["other"],
    ["aes256gcm", "aes256gcm"],
    "a".repeat(300),
  ];
  const bad: Record<string, unknown>[] = [];
  for (const name of Object.keys(good)) {
    for (const value of wrong) bad.push({ ...good, [name]: value });
    if (name !== "$jobqueue.encoded") bad.push({ ...good, [name]: undefined });
  }
  for (let at = 0; at < data.length - 1; at += 7) {
    for (const other of ["A", "9", "-", "+", "=", " ", "é"]) {
      if (data[at] === other) continue;
      bad.push({ ...good, data: data.slice(0, at) + other + data.slice(at + 1) });
    }
    bad.push({ ...good, data: data.slice(0, at) }, { ...good, data: data.slice(at + 1) });
  }
  const refused = [Undecodable, KeyUnknown, EncodingUnknown];
  for (const each of bad) {
    await assert.rejects(aes().opened(bytes(JSON.stringify(each)), PAYLOAD), (error) =>
      refused.some((type) => error instanceof type),
    );
  }
});

test("an encoding that should encrypt and leaves plain text is an error", async () => {
  const forgetful: Encoding = {
    name: "forgetful",
    keyId: "a",
    encode: () => undefined,
    decode: (data) => data,
  };
  await assert.rejects(sealed(new Encodings([forgetful]), bytes("1")), /unencrypted/);
});

test("what looks like an envelope and is left as it is, is refused, and one that is encoded comes back", async () => {
  const lazy: Encoding = { name: "lazy", encode: () => undefined, decode: (data) => data };
  const encodings = new Encodings([lazy]);
  for (const mark of ["$jobqueue.encoded", "\\u0024jobqueue.encoded", "$jobqueue\\u002eencoded"]) {
    const stranger = `{"to":"evil","${mark}":7}`;
    for (const job of [
      { kind: "mail", payloadJson: stranger },
      { kind: "mail", payloadJson: bytes(stranger) },
      { kind: "mail", payload: JSON.parse(stranger) as unknown },
    ]) {
      await assert.rejects(encodings.jobs([job]), /the payload looks like an envelope/);
    }
    const output = new Place("output", "mail", "1");
    await assert.rejects(sealed(encodings, bytes(stranger), undefined, output), /the output looks like/);
    const text = await sealed(aes(), bytes(stranger));
    assert.equal(words(await aes().opened(text, PAYLOAD)), stranger);
  }
  const place = new Place("checkpoint", "mail", "1");
  const sealer = await encodings.sealer();
  assert.throws(
    () => sealer.checkpoint(bytes('{"$jobqueue.encoded":1,\xff'), place),
    /the checkpoint looks like/,
  );
  assert.deepEqual(sealer.checkpoint(Uint8Array.of(255), place), Uint8Array.of(255));
  assert.equal((await aes().sealer()).checkpoint(NO_BYTES, place).length, 0);
});

test("an envelope is known however its mark is written", async () => {
  const text = words(await sealed(aes(), bytes("1")));
  for (const written of [
    text,
    text.replace("$", "\\u0024"),
    text.replace("jobqueue", "\\u006Aob\\u0071ueue"),
  ]) {
    assert.ok(envelopeIn(bytes(written)));
    assert.equal(words(await aes().opened(bytes(written), PAYLOAD)), "1");
  }
  for (const other of [
    '{"a":"\\u0024jobqueue.encoded"}',
    '"\\u0024jobqueue.encoded"',
    '{"\\u0024',
    '{"a":"\\u00e4"}',
  ]) {
    assert.equal(envelopeIn(bytes(other)), undefined);
  }
});

test("lists that make no sense are refused", () => {
  const cipher = new AesGcm({ a: KEY }, { primary: "a" });
  const plain: Encoding = { name: "plain", encode: () => undefined, decode: (data) => data };
  assert.throws(() => new Encodings([]), /not empty/);
  assert.throws(() => new Encodings([plain, plain]), /different/);
  assert.throws(() => new Encodings([cipher, plain]), /last/);
  assert.throws(() => new Encodings([{ ...plain, name: "" }]), /name of one is empty/);
  for (const none of ["zstd", null, {}, { ...plain, decode: 1 }]) {
    assert.throws(() => new Encodings([none as unknown as Encoding]), /must be an object with name/);
  }
  assert.throws(() => new AesGcm({ a: KEY }, { primary: "b" }), KeyUnknown);
  assert.throws(() => new AesGcm({ a: KEY }, { primary: "" }), /primary is empty/);
  assert.throws(() => new AesGcm({ a: KEY }, { primary: "toString" }), KeyUnknown);
});

test("a Node without Zstandard says which one has it", { skip: HAS_ZSTD ? "this one has it" : false }, () => {
  assert.throws(() => new Zstd(), /Zstd needs Node 22\.15 or later; this is v/);
});

test("many jobs let others run meanwhile", async () => {
  let turns = 0;
  let done = false;
  const others = (async () => {
    for (; !done; turns += 1) await turn();
  })();
  const jobs = await aes().jobs([...Array(1000).keys()].map((payload) => ({ kind: "mail", payload })));
  done = true;
  await others;
  assert.equal(jobs.length, 1000);
  assert.ok(turns >= 9, String(turns));
});

// ---- compression

test(
  "a keyed job is compressed where that is asked for, and its nonce is of the compressed bytes",
  NEEDS_ZSTD,
  async () => {
    const list = (level: number, keyedCompression: boolean): Encodings =>
      new Encodings([new Zstd({ level }), new AesGcm({ a: KEY }, { primary: "a" })], { keyedCompression });
    const plain = list(3, false);
    const text = bytes(
      `"${[...Array(300).keys()].map((number) => `to be ${number * 7919} or not ${number}`).join()}"`,
    );
    const [first, second] = [await sealed(list(1, true), text, "k"), await sealed(list(19, true), text, "k")];
    assert.ok(first.length < (await sealed(plain, text, "k")).length / 2);
    // The same text, compressed in another way: with one nonce for both, their difference would be readable.
    const nonce = (each: Uint8Array): string =>
      (JSON.parse(words(each)) as { data: string }).data.slice(0, 16);
    assert.notEqual(nonce(first), nonce(second));
    for (const each of [first, second]) assert.deepEqual(await plain.opened(each, PAYLOAD), text);
  },
);

test("what is short or does not shrink is not compressed", NEEDS_ZSTD, async () => {
  const encodings = new Encodings([new Zstd({ over: 10 })]);
  assert.equal(words(await sealed(encodings, bytes('"short"'))), '"short"');
  const noise = Uint8Array.from({ length: 95 }, (_, number) => number + 32);
  assert.deepEqual(await sealed(encodings, noise), noise);
  assert.ok(envelopeIn(await sealed(encodings, bytes(LONG))));
});

test("more than Zstd takes is refused on both sides", NEEDS_ZSTD, async () => {
  const small = new Encodings([new Zstd({ over: 10, most: 1000 })]);
  await assert.rejects(sealed(small, bytes(LONG)), /more than Zstd with most 1000 takes/);
  const text = await sealed(new Encodings([new Zstd()]), bytes(LONG));
  await assert.rejects(small.opened(text, PAYLOAD), { name: "Undecodable", message: /at most 1000/ });
  for (const wrong of [{ over: -1 }, { level: 0 }, { level: 20 }, { most: 0 }]) {
    assert.throws(() => new Zstd(wrong), RangeError);
  }
});

test(
  "a frame that goes on past the length that it says takes no more memory than that",
  NEEDS_ZSTD,
  async () => {
    const said = 16 * 1024 * 1024;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(said);
    const blocks = Array(1000).fill(Buffer.from("02001041", "hex")) as Buffer[];
    const frame = Buffer.concat([
      Buffer.from("28b52ffd8038", "hex"),
      length,
      ...blocks,
      Buffer.from("010000", "hex"),
    ]);
    const encodings = new Encodings([new Zstd({ most: said })]);
    const text = textOf({ encodings: ["zstd"], keyId: "", data: frame, contentType: "application/json" });
    const before = process.memoryUsage().arrayBuffers;
    let taken = 0;
    await assert.rejects(encodings.opened(text, PAYLOAD), (error) => {
      taken = process.memoryUsage().arrayBuffers - before;
      return error instanceof Undecodable;
    });
    assert.ok(taken < said + 4 * 1024 * 1024, String(taken));
  },
);

test("what is compressed is read as one whole frame alone", NEEDS_ZSTD, async () => {
  const library = zlib as unknown as { zstdCompressSync: (data: Uint8Array, options?: object) => Uint8Array };
  const zstd = new Zstd();
  const whole = library.zstdCompressSync(bytes(LONG));
  assert.equal(words(zstd.decode(whole)), LONG);
  const sums = library.zstdCompressSync(bytes(LONG), { params: { 201: 1 } });
  assert.equal(words(zstd.decode(sums)), LONG);
  for (let end = 0; end < whole.length; end += 1) {
    assert.throws(() => zstd.decode(whole.subarray(0, end)), Undecodable, String(end));
  }
  assert.throws(() => zstd.decode(sums.subarray(0, -1)), Undecodable);
  for (const more of [bytes("x"), whole]) {
    assert.throws(() => zstd.decode(Buffer.concat([whole, more])), Undecodable);
  }
  // Each of the forms in which a length is said.
  for (const length of [1, 255, 256, 65_791, 65_792, 4 * 1024 * 1024]) {
    const content = new Uint8Array(length).fill(48);
    assert.deepEqual(new Uint8Array(zstd.decode(library.zstdCompressSync(content))), content);
  }
});

// ---- keys

test("each envelope that a key decrypts is read, also where another one is the primary", async () => {
  const old = aes();
  const newer = aes({ a: KEY, b: NEXT }, "b");
  assert.equal(words(await newer.opened(await sealed(old, bytes("1")), PAYLOAD)), "1");
  await assert.rejects(old.opened(await sealed(newer, bytes("1")), PAYLOAD), {
    name: "KeyUnknown",
    keyId: "b",
  });
});

test("keys may be in a Map, which may change meanwhile", async () => {
  const table = new Map([["a", KEY]]);
  const encodings = new Encodings([new AesGcm(table, { primary: "a" })]);
  const text = await sealed(aes({ b: NEXT }, "b"), bytes("1"));
  await assert.rejects(encodings.opened(text, PAYLOAD), KeyUnknown);
  table.set("b", NEXT);
  assert.equal(words(await encodings.opened(text, PAYLOAD)), "1");
});

test("a function is asked for a key once by all that wait for it", async () => {
  const asked: string[] = [];
  const ask = async (name: string): Promise<Uint8Array> => {
    asked.push(name);
    await turn();
    return KEY;
  };
  const encodings = new Encodings([new AesGcm(ask, { primary: "a" })]);
  await Promise.all([...Array(50)].map(() => sealed(encodings, bytes("1"))));
  await sealed(encodings, bytes("1"));
  assert.deepEqual(asked, ["a"]);
});

test("a key of a function is asked for again after a while, and one that is missing sooner", async () => {
  let time = 0;
  let key: Uint8Array | undefined;
  let asked = 0;
  const keys = new Keys(
    () => {
      asked += 1;
      return key;
    },
    () => time,
  );
  await assert.rejects(keys.get("a"), KeyUnknown);
  key = KEY;
  await assert.rejects(keys.get("a"), KeyUnknown);
  time += 15_001;
  assert.equal(await keys.get("a"), KEY);
  time += 299_000;
  await keys.get("a");
  assert.equal(asked, 2);
  time += 2000;
  await keys.get("a");
  assert.equal(asked, 3);
});

test("a function is not asked for what is no name, and so many answers are kept", async () => {
  const asked: string[] = [];
  const keys = new Keys((name) => {
    asked.push(name);
    return name === "a" ? KEY : undefined;
  });
  for (const name of ["", "a b", "a\n", "\0", "../\\", "a".repeat(256), "%2e", "a'"]) {
    await assert.rejects(keys.get(name), KeyUnknown);
  }
  assert.deepEqual(asked, []);
  await keys.get("a");
  const others = [...Array(600).keys()].map((number) => `n${number}`);
  for (const name of ["vault:mail/2026-10", "k".repeat(255), "schlüssel_7", ...others]) {
    await assert.rejects(keys.get(name), KeyUnknown);
  }
  assert.deepEqual([asked.length, keys.kept], [604, 256]);
  // What is there is kept, and what is not there goes.
  await keys.get("a");
  assert.equal(asked.length, 604);
  assert.throws(() => new AesGcm(() => KEY, { primary: "a b" }), /letters, digits/);
});

test("what a function for keys throws is thrown, and a key is in no error and in no words about what holds it", async () => {
  const away = new AesGcm(() => Promise.reject(new Error("the key service is away")), { primary: "a" });
  await assert.rejects(sealed(new Encodings([away]), bytes("1")), /away/);
  const short = bytes("12345");
  const given = (keys: unknown, primary: unknown): AesGcm =>
    new AesGcm(keys as never, { primary: primary as string });
  for (const [keys, primary, said] of [
    [{ a: short }, "a", /is 5 bytes/],
    [{ a: "12345" }, "a", /of type string/],
    [new Map([[short, "a"]]), "a", /of type Uint8Array/],
    [{ a: KEY }, short, /of type Uint8Array/],
    [short, "a", /of type Uint8Array/],
    ["12345", "a", /of type string/],
    [null, "a", /of type object/],
    [() => short, "a", /is 5 bytes/],
  ] as const) {
    const words = async (): Promise<unknown> => sealed(new Encodings([given(keys, primary)]), bytes("1"));
    await assert.rejects(
      words,
      (error: Error) => said.test(error.message) && !error.message.includes("12345"),
    );
  }
  const sealer = await aes().sealer();
  const cipher = new AesGcm({ a: KEY }, { primary: "a" });
  const client = new Client(NOWHERE, { encodings: aes() });
  for (const each of [sealer, cipher, aes(), client, new Worker(NOWHERE, { encodings: aes() })]) {
    const shown = inspect(each, { depth: 9, showHidden: true }) + JSON.stringify(each);
    assert.doesNotMatch(shown, /00 01 02|"0":0|0, {1,2}1, {1,2}2/);
  }
  client.close();
});

// ---- producers

const broken: Encoding = {
  name: "broken",
  keyId: "a",
  encode: (data) => {
    if (Buffer.from(data).includes(SECRET)) throw new TypeError("no key today");
    return Uint8Array.from(data).reverse();
  },
  decode: (data) => Uint8Array.from(data).reverse(),
};
const failing = (): never => {
  throw new Error("no key to read by");
};
const mail = { text: SECRET };

const seldom = { cron: "0 0 1 1 *" };

/** A server that keeps the jobs that it is given, those of schedules too, and answers each. */
async function keeping(
  t: Parameters<typeof ScriptedServer.start>[0],
): Promise<{ address: string; got: NewJobMessage[] }> {
  const got: NewJobMessage[] = [];
  const stored = (job: NewJobMessage): object => ({
    ...create(JobSchema, { id: `job-${got.length}`, kind: job.kind, status: Job_Status.QUEUED }),
    content: job.content,
  });
  const kept = ({ schedule }: { schedule?: Schedule }): { schedule: Schedule } => {
    if (schedule?.job) got.push(schedule.job);
    return { schedule: schedule! };
  };
  const methods = {
    enqueueJob: ({ job }: { job?: NewJobMessage }) => {
      got.push(job!);
      return { job: stored(job!) };
    },
    batchEnqueueJobs: ({ jobs }: { jobs: NewJobMessage[] }) => {
      got.push(...jobs);
      return { results: jobs.map((_, number) => ({ id: `job-${number}` })) };
    },
  };
  const schedules = { createSchedule: kept, updateSchedule: kept };
  const server = await ScriptedServer.start(t, methods, {}, {}, schedules);
  return { address: server.address, got };
}

const textIn = ({ content }: NewJobMessage): string =>
  words(content.case === "payloadJson" ? content.value : NO_BYTES);

const calls: readonly ((client: Client) => Promise<unknown>)[] = [
  (client) => client.enqueue("mail", mail),
  (client) => client.enqueue("mail", mail, { idempotencyKey: "k" }),
  (client) => client.enqueue({ kind: "mail", payload: mail }),
  (client) => {
    const jobs: NewJob[] = [...Array(2500).keys()].map((payload) => ({ kind: "mail", payload }));
    return client.enqueueMany([...jobs, { kind: "mail", payload: mail }]);
  },
  (client) => client.schedules.create("s", seldom, { kind: "mail", payload: mail }),
  (client) => client.schedules.update("s", { job: { kind: "mail", payload: mail } }),
];

test("what an encoder throws fails the call before anything is sent", async (t) => {
  const { address, got } = await keeping(t);
  const around = {
    enqueue: (jobs: readonly NewJob[], next: (jobs: readonly NewJob[]) => Promise<never>) => next(jobs),
  };
  for (const middleware of [[], [around]]) {
    const client = new Client(address, {
      encodings: new Encodings([broken]),
      middleware: middleware as never,
    });
    t.after(() => client.close());
    for (const call of calls) await assert.rejects(call(client), /no key today/);
  }
  const keyless = new Client(address, {
    encodings: new Encodings([new AesGcm(() => undefined, { primary: "a" })]),
  });
  t.after(() => keyless.close());
  for (const call of calls) await assert.rejects(call(keyless), KeyUnknown);
  assert.equal(got.length, 0);
});

test("middleware sees what is not encoded, and the wire what is", async (t) => {
  const { address, got } = await keeping(t);
  const seen: unknown[] = [];
  const client = new Client(address, {
    encodings: aes(),
    middleware: [
      {
        enqueue: (jobs, next) => {
          seen.push(...jobs.map((job) => job.payload));
          return next(jobs);
        },
      },
    ],
  });
  t.after(() => client.close());
  assert.deepEqual((await client.enqueue("mail", mail)).payload, mail);
  await client.enqueueMany([{ kind: "mail", payload: mail }]);
  assert.deepEqual(seen, [mail, mail]);
  assert.equal(got.length, 2);
  for (const each of got) assert.equal(JSON.parse(textIn(each))["key_id"], "a");
});

test("an own idempotency key makes the same bytes, and AUTO does not", async (t) => {
  const { address, got } = await keeping(t);
  const client = new Client(address, { encodings: aes() });
  t.after(() => client.close());
  for (const idempotencyKey of ["order-7", "order-7", AUTO, AUTO] as const) {
    await client.enqueue("mail", mail, { idempotencyKey });
  }
  await client.enqueueMany([{ kind: "mail", payload: mail, idempotencyKey: "order-7" }]);
  const texts = got.map(textIn);
  assert.equal(new Set(texts).size, 3);
  assert.deepEqual([texts[1], texts[4]], [texts[0], texts[0]]);
});

test("a schedule is sent encoded, by its name, and is answered as it was given", async (t) => {
  const { address, got } = await keeping(t);
  const client = new Client(address, { encodings: aes() });
  const other = new Client(address, { encodings: aes() });
  for (const each of [client, other]) t.after(() => each.close());
  const job = { kind: "mail", payload: mail };
  const answers = [
    await client.schedules.create("s", seldom, job),
    await client.schedules.update("s", { job }),
    await other.schedules.update("s", { job }),
    await client.schedules.create("t", seldom, job),
  ];
  assert.deepEqual(
    answers.map((each) => each.job),
    Array(4).fill({ kind: "mail", payloadJson: JSON.stringify(mail) }),
  );
  const [first, ...others] = got.map(textIn);
  assert.equal((JSON.parse(first!) as { key_id: string }).key_id, "a");
  assert.deepEqual(
    others.map((each) => each === first),
    [true, true, false],
  );
  // What was listed has no payload: nothing is made of it, and so nothing encoded.
  await client.schedules.update("s", { job: { kind: "mail", encodings: "required" } });
  assert.equal(got.at(-1)!.content.case, undefined);
  // With another key the server has done what it was asked for, and its answer is no error.
  const stranger = new Client(address, { encodings: new Encodings([{ ...broken, decode: failing }]) });
  t.after(() => stranger.close());
  const unread = await stranger.schedules.create("s", seldom, { kind: "mail", payload: 1 });
  assert.match(String(unread.job.payload), /^Encoded: encoded, broken, key a: Error: no key to read by/);
  assert.equal(unread.job.payloadJson, textIn(got.at(-1)!));
  await assert.rejects(stranger.schedules.update("s", { job: unread.job }), Encoded);
});

test("a schedule that was read without encodings goes as it is, and is not encoded once more", async (t) => {
  const { address, got } = await keeping(t);
  const [plain, client] = [new Client(address), new Client(address, { encodings: aes() })];
  for (const each of [plain, client]) t.after(() => each.close());
  await client.schedules.create("s", seldom, { kind: "mail", payload: mail });
  const envelope = textIn(got[0]!);
  const { job } = await plain.schedules.create("t", seldom, { kind: "mail", payloadJson: envelope });
  await plain.schedules.update("t", { job: { ...job, queue: "q" } });
  assert.equal(textIn(got.at(-1)!), envelope);
  const sent = got.length;
  await assert.rejects(client.schedules.update("t", { job }), Encoded);
  await assert.rejects(client.schedules.update("t", { job: { ...job, queue: "q" } }), Encoded);
  await assert.rejects(client.enqueue(job), Encoded);
  assert.equal(got.length, sent);
  await client.schedules.update("s", { job: { ...job, payloadJson: JSON.stringify(mail) } });
  assert.equal(textIn(got.at(-1)!), envelope);
});

test("a kind says whether its payloads are encoded", async (t) => {
  const { address, got } = await keeping(t);
  const required = defineKind<typeof mail>("required", { encodings: "required" });
  const never = defineKind<typeof mail>("never", { encodings: "never" });
  const plain = new Client(address);
  const rotating = new Client(address, { encodings: new Encodings([{ ...broken, keyId: undefined }]) });
  const client = new Client(address, { encodings: aes() });
  for (const each of [plain, rotating, client]) t.after(() => each.close());
  for (const each of [plain, rotating]) {
    await assert.rejects(each.enqueue(required, mail), {
      name: "EncodingRequired",
      message: /required takes encrypted/,
    });
    await assert.rejects(each.enqueueMany([required.new(mail)]), EncodingRequired);
    await assert.rejects(each.schedules.create("s", seldom, required.new(mail)), EncodingRequired);
    await assert.rejects(each.schedules.update("s", { job: required.new(mail) }), EncodingRequired);
  }
  assert.equal(got.length, 0);
  assert.deepEqual((await client.enqueue(required, mail)).payload, mail);
  await client.enqueueMany([required.new(mail)]);
  await client.enqueue(never, mail);
  await client.schedules.create("s", seldom, required.new(mail));
  await client.schedules.create("s", seldom, never.new(mail));
  const texts = got.map(textIn);
  assert.deepEqual(
    texts.map((text) => text.includes(SECRET)),
    [false, false, true, false, true],
  );
  // A test without a wire takes it, and it compares with what the kind makes.
  const recording = new RecordingClient();
  await recording.enqueue(required, mail);
  const { payloadJson, ...rest } = required.new(mail);
  assert.deepEqual(recording.jobs, [{ ...rest, payloadJson }]);
  assert.throws(
    () => defineKind("mail", { encodings: "always" as "never" }),
    /"never", "allowed" or "required"/,
  );
});

test("a job that its payload makes unique is refused, and one with a key of its own is not", async () => {
  for (const unique of [{}, { payloadFields: ["/text"] }] satisfies Unique[]) {
    await assert.rejects(aes().jobs([{ kind: "mail", payload: mail, unique }]), /give unique\.key/);
  }
  const kind = defineKind<typeof mail>("by_text", {
    unique: ({ text }) => ({ key: text }),
    key: ({ text }) => text,
  });
  const [job] = await aes().jobs([kind.new(mail)]);
  assert.deepEqual([job?.unique, job?.key], [{ key: SECRET }, SECRET]);
  assert.ok(envelopeIn(job?.payloadJson as Uint8Array));
});

test("a payload that was not decoded when it was read is not encoded once more", async () => {
  const message = create(NewJobSchema, { kind: "mail" });
  const text = await sealed(aes({ b: NEXT }, "b"), bytes("1"));
  message.content = { case: "payloadJson", value: text };
  const unread = await aes().readPayload(message);
  assert.match(unread!.message, /^encoded, aes256gcm, key b: KeyUnknown: /);
  assert.deepEqual(message.content.value, text);
  await assert.rejects(aes().jobs([{ kind: "mail", payload: unread }]), Encoded);
  assert.equal(await aes({ b: NEXT }, "b").readPayload(message), undefined);
  assert.equal(words(message.content.value), "1");
});

// ---- readers

function read(
  encodings: Encodings | undefined,
  payload: Uint8Array,
  output = NO_BYTES,
  id = "1",
): Promise<Job> | Job {
  const message = create(JobSchema, { id, kind: "mail", status: Job_Status.SUCCEEDED });
  message.content = { case: "payloadJson", value: payload };
  if (output.length > 0) message.result = { case: "outputJson", value: output };
  return encodings === undefined ? new JobOf(message) : encodings.job(message);
}
const { Job: JobOf } = await import("../src/index.js");

test("a job is read where its key is, and elsewhere it says so where it is looked at", async () => {
  const output = new Place("output", "mail", "1");
  const texts = [
    await sealed(aes(), bytes(JSON.stringify(mail))),
    await sealed(aes(), bytes('"sent"'), undefined, output),
  ] as const;
  const job = await read(aes(), ...texts);
  assert.deepEqual([job.payload, job.output, words(job.payloadJson!)], [mail, "sent", JSON.stringify(mail)]);
  const kind = defineKind<typeof mail, string>("mail");
  assert.deepEqual(await kind.payloadOf(job), mail);
  assert.equal(await kind.outputOf(job), "sent");
  for (const [encodings, why] of [
    [undefined, "this program has no encodings"],
    [aes({ b: NEXT }, "b"), 'KeyUnknown: nothing here has the key "a"'],
  ] as const) {
    const unread = await read(encodings, ...texts);
    for (const look of [() => unread.payload, () => unread.output]) {
      assert.throws(look, (error: Encoded) => {
        assert.deepEqual([error.name, error.encodings, error.keyId], ["Encoded", ["aes256gcm"], "a"]);
        return error.message.startsWith(`encoded, aes256gcm, key a: ${why}`);
      });
    }
    await assert.rejects(kind.payloadOf(unread), Encoded);
    await assert.rejects(kind.outputOf(unread), Encoded);
    assert.deepEqual([unread.payloadJson, unread.outputJson], texts);
  }
  // An output of another job is not read, and the job is.
  const moved = await read(aes(), ...texts, "2");
  assert.deepEqual(moved.payload, mail);
  assert.throws(() => moved.output, /Undecodable/);
  // What was there before is read as it is, and what is no JSON tells nothing of itself.
  assert.equal((await read(aes(), bytes("7"))).payload, 7);
  const odd = await read(aes(), await sealed(aes(), bytes(SECRET)));
  assert.throws(
    () => odd.payload,
    (error: Encoded) => /SyntaxError: what was encoded is no JSON$/.test(error.message),
  );
});

test("what a producer put into an envelope is not decoded twice", async () => {
  const inner = { "$jobqueue.encoded": 1, content_type: "application/json", encodings: ["zstd"], data: "" };
  const job = await read(aes(), await sealed(aes(), bytes(JSON.stringify(inner))));
  assert.deepEqual(job.payload, inner);
  assert.deepEqual(await defineKind("mail").payloadOf(job), inner);
});

// ---- kinds

test("a server is told what a kind says of encodings", () => {
  const schema = { type: "object" };
  const told = (encodings: "never" | "allowed" | "required" | undefined, encodes: boolean): unknown =>
    defineKind("mail", { encodings, jsonSchema: schema, version: 2 }).declaration(encodes).kind.schema;
  const plain = { ...schema, "x-payload-version": 2 };
  for (const [rule, encodes] of [
    [undefined, false],
    ["never", true],
    ["never", false],
  ] as const) {
    assert.deepEqual(told(rule, encodes), plain);
  }
  for (const [rule, encodes] of [
    [undefined, true],
    ["allowed", false],
    ["allowed", true],
  ] as const) {
    const { anyOf } = told(rule, encodes) as { anyOf: Record<string, unknown>[] };
    assert.deepEqual([anyOf.length, anyOf[0], anyOf[1]!["title"]], [2, plain, "encoded payload"]);
    assert.equal(anyOf[1]!["x-payload-version"], 2);
  }
  for (const encodes of [false, true]) {
    const alone = told("required", encodes) as Record<string, unknown>;
    assert.deepEqual(alone["required"], ["$jobqueue.encoded", "content_type", "encodings", "data", "key_id"]);
    assert.deepEqual([alone["additionalProperties"], alone["x-payload-version"]], [false, 2]);
  }
});

// ---- workers

const never = defineKind<typeof mail>("never", { encodings: "never" });

/** Answers what it got, after an attempt that leaves a checkpoint, with two follow-ups. */
const handled: Handler = (job, ctx) => {
  assert.equal(ctx.job, job);
  if (job.payload.checkpoint) return ctx.saveCheckpoint(bytes(SECRET));
  if (job.attempt === 1) {
    ctx.saveCheckpoint(bytes(`half of ${job.payload.text}`));
    throw new Retry("again", { afterMs: 0 });
  }
  if (job.payload.output) return SECRET;
  ctx.followUp({ kind: "next", payload: mail });
  ctx.followUp(never.new({ text: "in plain text" }));
  return { got: job.payload.text, checkpoint: words(job.checkpoint) };
};

const workerOf = (encodings: Encodings | undefined, handler: Handler = handled): Worker =>
  new Worker(NOWHERE, { encodings }).handler("k", handler);

/** What a worker's handler makes of a job, as it is sent. */
async function sent(
  worker: Worker,
  context: JobContext,
): Promise<{ output: unknown; followUps: NewJobMessage[] }> {
  const output = await handlersOf(worker).get("k")!(context.job, context);
  return { output, followUps: context.takeFollowUps().jobs };
}

test("a handler sees all, and what is sent of it shows nothing", async () => {
  const asks = new Encodings([
    new AesGcm(async (name) => (await turn(), name === "a" ? KEY : undefined), { primary: "a" }),
  ]);
  for (const encodings of [aes(), asks]) {
    const [job] = await encodings.jobs([{ kind: "k", payload: { text: SECRET } }]);
    const context = attempt(new JsonText(job!.payloadJson!), {
      kind: "k",
      attempt: 2,
      id: "1",
      checkpoint: await sealed(encodings, bytes("half"), undefined, new Place("checkpoint", "k", "1")),
    });
    const { output, followUps } = await sent(workerOf(encodings), context);
    const text = await encodings.opened((output as JsonText).bytes, new Place("output", "k", "1"), true);
    assert.deepEqual(JSON.parse(words(text)), { got: SECRET, checkpoint: "half" });
    const [next, plain] = followUps;
    assert.doesNotMatch(textIn(next!), /eagle/);
    assert.equal(
      words(await encodings.opened(bytes(textIn(next!)), new Place("payload", "next"), true)),
      JSON.stringify(mail),
    );
    assert.equal(textIn(plain!), '{"text":"in plain text"}');
    assert.throws(() => context.followUp({ kind: "next" }), /after the handler had ended/);
  }
});

test("an output, a checkpoint or a follow-up that is not encoded is not sent", async () => {
  const worker = workerOf(new Encodings([broken]));
  for (const payload of [{ checkpoint: true }, { output: true }, { text: "" }]) {
    const done = await perform(worker, payload, { kind: "k", catch: true, attempt: 2 });
    assert.deepEqual([done.outcome, done.errorType, done.outputJson], ["failed", "TypeError", undefined]);
    assert.deepEqual([done.followUps, done.checkpoints], [[], []]);
  }
});

test("a test of a handler goes through the encodings of its worker", async () => {
  let inside = 0;
  const counting = new Encodings([
    {
      ...broken,
      encode: (data) => {
        inside += 1;
        return Uint8Array.from(data).reverse();
      },
    },
  ]);
  for (const encodings of [aes(), counting]) {
    const first = await perform(workerOf(encodings), { text: "x" }, { kind: "k" });
    assert.deepEqual([first.outcome, first.checkpoints.map(words)], ["failed", ["half of x"]]);
    const done = await first.again();
    assert.deepEqual(done.output, { got: "x", checkpoint: "half of x" });
    assert.deepEqual(
      done.followUps.map((each) => each.payloadJson),
      [JSON.stringify(mail), '{"text":"in plain text"}'],
    );
  }
  assert.equal(inside, 2 + 4);
});

/** Runs a handler on what a stranger stored. */
async function given(
  encodings: Encodings | undefined,
  text: Uint8Array,
  options: { attempt?: number; failures?: number } = {},
): Promise<unknown> {
  const context = attempt(new JsonText(text), { kind: "k", id: "1", ...options });
  const worker = workerOf(encodings, (each: LeasedJob) => each.payload as unknown);
  return handlersOf(worker).get("k")!(context.job, context);
}

test("a job whose key or encoding is missing waits for it, and then fails by its name", async () => {
  const renamed: Encoding = { name: "other", encode: (data) => data, decode: (data) => data };
  for (const [other, type] of [
    [aes({ b: NEXT }, "b"), KeyUnknown],
    [new Encodings([renamed]), EncodingUnknown],
  ] as const) {
    const text = await sealed(other, bytes('{"text":"x"}'), undefined, new Place("payload", "k"));
    for (const attempt of [1, 20]) await assert.rejects(given(aes(), text, { attempt, failures: 0 }), Snooze);
    await assert.rejects(given(aes(), text, { attempt: 21, failures: 0 }), type);
  }
  // So it is where the primary key itself is away, with which its output would be encoded.
  const keyless = new Encodings([new AesGcm((name) => (name === "a" ? KEY : undefined), { primary: "b" })]);
  await assert.rejects(given(keyless, bytes("1")), Snooze);
});

test("what can't be decoded ends for good, and says it is unreadable", async () => {
  const place = new Place("payload", "k");
  const cut = JSON.parse(words(await sealed(aes(), bytes("1"), undefined, place))) as { data: string };
  for (const text of [
    await sealed(aes(), bytes("1"), undefined, new Place("payload", "elsewhere")),
    bytes(JSON.stringify({ ...cut, data: cut.data.slice(0, -4) })),
  ]) {
    await assert.rejects(given(aes(), text), (error) => {
      return error instanceof Discard && (error.cause as Error).name === "PayloadUnreadable";
    });
  }
  assert.equal(
    await given(aes(), bytes("7")).then(async (output) =>
      words(await aes().opened((output as JsonText).bytes, new Place("output", "k", "1"))),
    ),
    "7",
  );
  await assert.rejects(given(undefined, await sealed(aes(), bytes("1"), undefined, place)), {
    name: "Encoded",
    message: /key a/,
  });
});

test("a handler is given what a producer put into an envelope, also if it looks like one", async () => {
  const inner = { "$jobqueue.encoded": 1, encodings: ["zstd"], text: "x" };
  const worker = workerOf(aes(), (job: LeasedJob) => job.payload as unknown);
  assert.deepEqual((await perform(worker, inner, { kind: "k" })).output, inner);
});

test("a worker that does not encrypt takes no kind that requires it", () => {
  const required = defineKind("required", { encodings: "required" });
  const plain: Encoding = { name: "plain", encode: () => undefined, decode: (data) => data };
  for (const encodings of [undefined, new Encodings([plain])]) {
    assert.throws(
      () => new Worker(NOWHERE, { encodings }).handler(required, () => undefined),
      EncodingRequired,
    );
  }
  new Worker(NOWHERE, { encodings: aes() }).handler(required, () => undefined);
});

test("a kind that requires encryption is not handled in plain text by any of its names", async () => {
  const strict = defineKind<any, any>("strict", { encodings: "required", aliases: ["strict.old"] });
  const worker = new Worker(NOWHERE, { encodings: aes() }).handler(strict, (payload) => payload);
  const plain = { name: "plain", encode: (data: Uint8Array) => data, decode: (data: Uint8Array) => data };
  for (const name of [strict.name, ...strict.aliases]) {
    const place = new Place("payload", name);
    const good = words(await sealed(aes(), bytes('{"text":"x"}'), undefined, place));
    const run = async (text: string): Promise<unknown> => {
      const ctx = attempt(new JsonText(text), { kind: name, id: "1" });
      return handlersOf(worker).get(name)!(ctx.job, ctx);
    };
    for (const refused of [
      '{"text":"evil"}',
      "null",
      '{"\\u0024jobqueue.encoded":1,"content_type":"application/json","encodings":["aes256gcm"],"key_id":"a","data":"","text":"evil"}',
      words(await sealed(new Encodings([plain]), bytes('{"text":"x"}'), undefined, place)),
    ]) {
      await assert.rejects(run(refused), (error) => {
        return error instanceof Discard && (error.cause as Error).name === "PayloadUnreadable";
      });
    }
    await assert.rejects(run('{"text":"evil"}'), /the kind takes encrypted payloads alone/);
    const output = (await run(good)) as JsonText;
    assert.equal(words(await aes().opened(output.bytes, new Place("output", name, "1"))), '{"text":"x"}');
  }
  // What a producer puts into an envelope and looks like one is its own.
  const inner = { "$jobqueue.encoded": 1, encodings: ["zstd"], text: "x" };
  assert.deepEqual((await perform(worker, inner, { kind: strict })).output, inner);
});

test("a typed kind does not take an envelope for its payload", async () => {
  const kind = defineKind<any, any>("any_object", { encodings: "never" });
  for (const encodings of [undefined, aes()]) {
    const worker = new Worker(NOWHERE, { encodings }).handler(kind, (payload) => payload);
    const text = words(
      await sealed(aes(), bytes(JSON.stringify(mail)), undefined, new Place("payload", kind.name)),
    );
    for (const written of [text, text.replace("$", "\\u0024")]) {
      const done = await perform(worker, new JsonText(written), { kind });
      assert.deepEqual(
        [done.outcome, done.errorType, done.outputJson],
        ["discarded", "PayloadUnreadable", undefined],
      );
      assert.match(done.error, /encoded, aes256gcm, key a: the worker does not decode this kind/);
    }
  }
});

test("a worker without encodings does not follow up by a kind that requires them", async () => {
  const required = defineKind<typeof mail>("required", { encodings: "required" });
  const follows: Handler = (_, ctx) => ctx.followUp(required.new(mail));
  const plain: Encoding = { name: "plain", encode: (data) => data, decode: (data) => data };
  for (const [encodings, outcome] of [
    [undefined, "failed"],
    [new Encodings([plain]), "failed"],
    [aes(), "succeeded"],
  ] as const) {
    const done = await perform(workerOf(encodings, follows), null, { kind: "k", catch: true });
    assert.deepEqual([done.outcome, done.followUps.length], [outcome, outcome === "failed" ? 0 : 1]);
    if (outcome === "failed") assert.equal(done.errorType, "EncodingRequired");
  }
});

test("a follow-up of an attempt that failed within middleware does not lend its rule to another one", async () => {
  const worker = new Worker(NOWHERE, {
    encodings: aes(),
    middleware: [
      {
        handle: async (_, ctx, next) => {
          await next().catch(() => undefined);
          ctx.dropFollowUps();
          return "caught";
        },
      },
    ],
  }).handler("k", (_, ctx) => {
    ctx.followUp(never.new(mail));
    throw new Error("no");
  });
  assert.equal((await perform(worker, null, { kind: "k" })).output, "caught");
  const context = attempt(null, { kind: "k" });
  context.decoded(context.job, undefined);
  context.followUp(never.new(mail));
  context.dropFollowUps();
  context.followUp({ kind: "next", payload: mail });
  const rules: unknown[] = [];
  context.sealFollowUps((job) => (rules.push(job.encodings), job));
  assert.deepEqual(rules, [undefined]);
});

test("a checkpoint that is too long once it is encoded is refused", async () => {
  const worker = workerOf(aes(), (_, ctx) => ctx.saveCheckpoint(new Uint8Array(64_000)));
  await assert.rejects(perform(worker, null, { kind: "k" }), /at most 65536 bytes/);
});

test("an envelope whose names are anything is refused by its own error", async (t) => {
  const text = '{"$jobqueue.encoded":1,"encodings":[{"toString":0},"zstd",null]}';
  const job = { id: "1", kind: "k", status: Job_Status.SUCCEEDED };
  const message = { ...job, content: { case: "payloadJson" as const, value: bytes(text) } };
  const server = await ScriptedServer.start(t, {
    getJob: () => ({ job: message }),
    listJobs: () => ({ jobs: [message] }),
  });
  for (const encodings of [undefined, aes()]) {
    const client = new Client(server.address, { encodings });
    for (const each of [await client.get("1"), ...(await client.listPage({ full: true })).jobs]) {
      assert.throws(
        () => each.payload,
        (error) => error instanceof Encoded && error.encodings.join() === "zstd",
      );
    }
    client.close();
    const kind = defineKind<any, any>("k", { encodings: "never" });
    const worker = new Worker(NOWHERE, { encodings }).handler(kind, (payload) => payload);
    const done = await perform(worker, new JsonText(text), { kind });
    assert.deepEqual([done.outcome, done.errorType], ["discarded", "PayloadUnreadable"]);
  }
});

test("a text that is no JSON is not encoded, and a payload that is none is in no error", async () => {
  const wrong = `{"text":"${SECRET}"`;
  for (const job of [
    { kind: "k", payloadJson: wrong },
    { kind: "k", payload: new JsonText(wrong) },
    { kind: "k", payloadJson: new Uint8Array([0x22, 0xff, 0x22]) },
  ]) {
    await assert.rejects(aes().jobs([job]), (error: Error) => {
      return error instanceof PayloadInvalid && !error.message.includes("eagle");
    });
  }
  const output = workerOf(aes(), () => new JsonText(wrong));
  const done = await perform(output, null, { kind: "k", catch: true });
  assert.deepEqual([done.outcome, done.error], ["failed", "the handler's output is no JSON"]);
  const stored = await sealed(aes(), bytes(SECRET), undefined, new Place("payload", "k"));
  await assert.rejects(given(aes(), stored), (error) => {
    assert.ok(error instanceof Discard);
    return error.message === "payload: must be JSON" && (error.cause as Error).name === "PayloadUnreadable";
  });
});

test("a payload that was not decoded throws itself where it is sent", async () => {
  const unread = new Encoded(["aes256gcm"], "a");
  const passes = {
    enqueue: (jobs: readonly NewJob[], next: (jobs: readonly NewJob[]) => never) => next(jobs),
  };
  const client = new Client(NOWHERE);
  const through = new Client(NOWHERE, { middleware: [passes] });
  for (const call of [
    () => client.enqueue("k", unread),
    () => client.enqueueMany([{ kind: "k", payload: unread }]),
    () => through.enqueue("k", unread),
    () => client.enqueue(defineKind<unknown>("k"), unread),
    () => client.schedules.update("s", { job: { kind: "k", payload: unread } }),
  ]) {
    await assert.rejects(call(), (error) => error === unread);
  }
  for (const each of [client, through]) each.close();
});

test("a checkpoint that no encoding changes is kept as it was when it was saved", async () => {
  const lazy: Encoding = { name: "lazy", encode: () => undefined, decode: (data) => data };
  for (const encodings of [undefined, new Encodings([lazy])]) {
    const worker = workerOf(encodings, (_, ctx) => {
      const data = bytes("first");
      ctx.saveCheckpoint(data);
      data.fill(0);
    });
    const done = await perform(worker, null, { kind: "k" });
    assert.deepEqual(done.checkpoints.map(words), ["first"]);
  }
});

test("a page is decoded in turn, and others run meanwhile", async (t) => {
  const [{ payloadJson } = {}] = await aes().jobs([{ kind: "mail", payload: mail }]);
  const message = {
    id: "1",
    kind: "mail",
    content: { case: "payloadJson" as const, value: payloadJson as Uint8Array },
  };
  const server = await ScriptedServer.start(t, { listJobs: () => ({ jobs: Array(1000).fill(message) }) });
  let [open, most] = [0, 0];
  const cipher = new AesGcm({ a: KEY }, { primary: "a" });
  const slow: Encoding = {
    name: cipher.name,
    keyId: "a",
    key: async (name) => {
      open += 1;
      most = Math.max(most, open);
      const key = await cipher.key(name);
      open -= 1;
      return key;
    },
    encode: (...given) => cipher.encode(...given),
    decode: (...given) => cipher.decode(...given),
  };
  const client = new Client(server.address, { encodings: new Encodings([slow]) });
  const { jobs } = await client.listPage({ full: true });
  client.close();
  assert.deepEqual([jobs.length, jobs[999]?.payload, most], [1000, mail, 1]);
});

// ---- a function for keys that does not answer

const answers: (() => void)[] = [];
// It answers when the tests are over: else they would end only once it is late.
const silent = (): Promise<Uint8Array> =>
  new Promise((resolve) => answers.push(() => resolve(new Uint8Array(32))));
after(() => answers.forEach((answer) => answer()));

test("a function for keys that does not answer is given up, and asked again", async () => {
  let asked = 0;
  const keys = new Keys(() => ((asked += 1) === 1 ? silent() : KEY), undefined, 20);
  const [one, other] = [keys.get("a"), keys.get("a")];
  await assert.rejects(one, DeadlineExceeded);
  await assert.rejects(other, DeadlineExceeded);
  assert.equal(await keys.get("a"), KEY);
  assert.equal(asked, 2);
});

test("who waits for a key waits as long as its call, and others go on waiting", async (t) => {
  let come: (key: Uint8Array) => void = () => undefined;
  const coming = new Promise<Uint8Array>((resolve) => (come = resolve));
  const { address, got } = await keeping(t);
  const encodings = new Encodings([new AesGcm(() => coming, { primary: "a" })]);
  const client = new Client(address, { encodings });
  const patient = client.enqueue("mail", mail);
  await assert.rejects(client.enqueue("mail", mail, { deadlineMs: 20 }), DeadlineExceeded);
  await assert.rejects(client.enqueueMany([{ kind: "mail" }], { deadlineMs: 20 }), DeadlineExceeded);
  await assert.rejects(
    client.schedules.create("s", seldom, { kind: "mail" }, { deadlineMs: 20 }),
    DeadlineExceeded,
  );
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(client.enqueue("mail", mail, { signal }), /enough/);
  assert.equal(got.length, 0);
  come(KEY);
  assert.deepEqual((await patient).payload, mail);
  client.close();
});

test("a job that is read is answered though its key does not come, but not to who has given up", async () => {
  const [{ payloadJson } = {}] = await aes().jobs([{ kind: "mail", payload: mail }]);
  const encodings = new Encodings([new AesGcm(silent, { primary: "a" })]);
  const reading = (signal?: AbortSignal): Promise<Job> => {
    const message = create(JobSchema, { id: "1", kind: "mail", status: Job_Status.QUEUED });
    message.content = { case: "payloadJson", value: payloadJson as Uint8Array };
    return encodings.job(message, false, undefined, { ms: () => 20, signal: () => signal });
  };
  const found = await reading();
  assert.throws(() => found.payload, {
    name: "Encoded",
    message: /DeadlineExceeded: the key "a" has not come/,
  });
  await assert.rejects(reading(AbortSignal.abort(new Error("enough"))), /enough/);
});

test("an attempt that waits for a key ends when it is to stop", async () => {
  const encodings = new Encodings([new AesGcm(silent, { primary: "a" })]);
  const context = attempt(null, { kind: "k" });
  const running = handlersOf(workerOf(encodings)).get("k")!(context.job, context) as Promise<unknown>;
  context.stop("cancel", "no longer");
  await assert.rejects(running, { name: "Cancelled", message: "no longer" });
  const late = attempt(null, { kind: "k", timeoutMs: 20 });
  await assert.rejects(
    handlersOf(workerOf(encodings)).get("k")!(late.job, late) as Promise<unknown>,
    DeadlineExceeded,
  );
});
