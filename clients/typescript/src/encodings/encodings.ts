/** A list of encodings, as clients and workers take it. */

import { raced } from "../calls.js";
import { timers } from "../clock.js";
import {
  Encoded,
  EncodingRequired,
  EncodingUnknown,
  Undecodable,
  encoded,
  envelopeIn,
  undecoded,
} from "../encoded.js";
import type { EnvelopeValue, Reading } from "../encoded.js";
import type * as pb from "../gen/jobqueue/v1/job_pb.js";
import { Job } from "../job.js";
import type { NewJob } from "../job.js";
import { JsonText, checkPayload, decode, encode } from "../payload.js";
import type { UniqueAction } from "../unique.js";
import { Place } from "./encoding.js";
import type { Encoding } from "./encoding.js";
import { PREFIX, read, textOf } from "./envelope.js";
import { tooLate } from "./keys.js";

const NO_BYTES = new Uint8Array();
// After so many jobs of a call the loop goes on with what else it has.
const AT_ONCE = 100;

const LATER = Symbol("later");

/** Who waits for a key, and how long yet, in milliseconds. Others may wait for the same one. */
export interface Waiter {
  readonly ms: () => number;
  readonly signal: () => AbortSignal | undefined;
}

/** How a list of encodings is used. */
export interface EncodingsOptions {
  /**
   * Whether jobs with an idempotency key of their own are compressed too. The same call again is then another request
   * (`IdempotencyKeyReused`) as soon as another version of the library makes other bytes. Default false.
   */
  readonly keyedCompression?: boolean | undefined;
}

/**
 * What payloads, outputs and checkpoints go through before they are sent, and back when they are read.
 *
 *     const encodings = new Encodings([new Zstd(), new AesGcm({ "2026-10": key }, { primary: "2026-10" })]);
 *     const client = new Client("127.0.0.1:50051", { encodings });
 *     const worker = new Worker("127.0.0.1:50051", { encodings });
 *
 * The same object may be given to clients and workers. What is there in plain text is read as it is.
 */
export class Encodings {
  readonly #steps: readonly Encoding[];
  readonly #byName: ReadonlyMap<string, Encoding>;
  readonly #keyedCompression: boolean;

  /**
   * @param encodings Applied from left to right. One that encrypts is the last one.
   * @throws RangeError There is none, two have the same name, or something comes after one that encrypts.
   * @throws TypeError Something of it is no `Encoding`.
   */
  constructor(encodings: readonly Encoding[], options: EncodingsOptions = {}) {
    if (!Array.isArray(encodings)) throw new TypeError("encodings is no list");
    this.#steps = [...encodings];
    for (const each of this.#steps as readonly (Partial<Encoding> | undefined)[]) {
      const right = typeof each?.encode === "function" && typeof each.decode === "function";
      if (!right || typeof each.name !== "string") {
        throw new TypeError("encodings: each must be an object with name, encode and decode");
      }
      if (each.name === "") throw new RangeError("encodings: the name of one is empty");
    }
    this.#byName = new Map(this.#steps.map((each) => [each.name, each]));
    if (this.#steps.length === 0 || this.#byName.size !== this.#steps.length) {
      throw new RangeError("encodings must be a list of different ones, and not empty");
    }
    if (this.#steps.slice(0, -1).some((each) => each.keyId)) {
      throw new RangeError("encodings: what encrypts is the last one, since nothing compresses its output");
    }
    this.#keyedCompression = options.keyedCompression ?? false;
  }

  /** Whether one of them encrypts. */
  get encrypts(): boolean {
    return Boolean(this.#steps.at(-1)!.keyId);
  }

  /**
   * What encodes with the key that is the primary one now. It waits for nothing more. For the runtime.
   *
   * @throws KeyUnknown Nothing has the primary key.
   * @throws DeadlineExceeded It has not come in time.
   */
  async sealer(waiter?: Waiter): Promise<Sealer> {
    const last = this.#steps.at(-1)!;
    const key = last.keyId ? await keyOf(last, last.keyId, waiter) : NO_BYTES;
    return new Sealer(this.#steps, key, this.#keyedCompression);
  }

  /**
   * Jobs to enqueue, with their payloads encoded, but for those of kinds that are never. For the runtime.
   *
   * @param keyedBy Stands for the idempotency key of those without one. Empty: nothing does.
   * @throws EncodingRequired A kind wants encrypted payloads, and nothing here encrypts.
   * @throws KeyUnknown Nothing has the primary key.
   * @throws Encoded A payload was not decoded when it was read.
   * @throws PayloadInvalid A text that was given is no JSON.
   * @throws TypeError A payload can't be written as JSON, or makes the job unique.
   * @throws RangeError A payload looks like an envelope and is left as it is, or is too long for what compresses.
   */
  async jobs(jobs: readonly NewJob[], keyedBy = "", waiter?: Waiter): Promise<NewJob[]> {
    const sealer = await this.sealer(waiter);
    const found: NewJob[] = [];
    for (const job of jobs) {
      found.push(this.sealedJob(sealer, job, keyedBy));
      if (found.length % AT_ONCE === 0) await new Promise((resolve) => timers.setImmediate(resolve));
    }
    return found;
  }

  /** One of them. */
  sealedJob(sealer: Sealer, job: NewJob, keyedBy = ""): NewJob {
    // Of a schedule that was read: encoded once more it would be decoded to an envelope.
    const unread = job.payload instanceof Encoded ? job.payload : undecoded(job);
    if (unread !== undefined) throw unread;
    if (job.encodings === "never") return job;
    if (job.encodings === "required" && !this.encrypts) {
      throw new EncodingRequired(
        `the kind ${job.kind} takes encrypted payloads alone; these encodings don't encrypt`,
      );
    }
    if (job.unique !== undefined && !job.unique.key) {
      throw new TypeError(
        `the payload makes the job of kind ${job.kind} unique, and the server can't look into one that is encoded: give ` +
          "unique.key, which the kind may compute",
      );
    }
    if (job.payload !== undefined && job.payloadJson !== undefined) {
      throw new TypeError("payload and payloadJson exclude each other: give one of them");
    }
    const text =
      job.payloadJson === undefined
        ? encode(job.payload ?? null, "the payload")
        : new JsonText(job.payloadJson).bytes;
    // No server could refuse it: what it gets is an envelope.
    if (job.payloadJson !== undefined || job.payload instanceof JsonText) checkPayload(text, "payload");
    const own = typeof job.idempotencyKey === "string" ? job.idempotencyKey : keyedBy;
    const payloadJson = sealer.sealed(text, new Place("payload", job.kind), own || undefined);
    return { ...job, payload: undefined, payloadJson, encodings: undefined };
  }

  /**
   * What was encoded; a text that is no envelope, as it is. For the runtime.
   *
   * @param encrypted Whether it must be encrypted.
   * @throws Undecodable It is damaged, was made for another place, or is not encrypted and must be.
   * @throws KeyUnknown Nothing has its key.
   * @throws EncodingUnknown It was encoded by something else.
   */
  async opened(text: Uint8Array, place: Place, encrypted = false, waiter?: Waiter): Promise<Uint8Array> {
    const value = envelopeOf(text, place);
    // That what has a key's name is encrypted is looked at below.
    if (encrypted && !value?.["key_id"]) throw new Undecodable("the kind takes encrypted payloads alone");
    return value === undefined ? text : this.#open(value, place, waiter);
  }

  async #open(value: EnvelopeValue, place: Place, waiter: Waiter | undefined): Promise<Uint8Array> {
    const { encodings: names, keyId, data: sealed, contentType } = read(value);
    if (contentType !== place.contentType) {
      throw new Undecodable(`the envelope's content_type must be ${place.contentType}`);
    }
    const steps = names.map((name) => {
      const step = this.#byName.get(name);
      if (step !== undefined) return step;
      throw new EncodingUnknown(
        `it was encoded by ${JSON.stringify(name)}, which these encodings don't have`,
      );
    });
    const last = steps.at(-1)!;
    if (steps.slice(0, -1).some((each) => each.keyId)) {
      throw new Undecodable("what encrypts must be the last of the envelope's encodings");
    }
    if (Boolean(keyId) !== Boolean(last.keyId)) {
      throw new Undecodable("the envelope must have a key_id if it is encrypted, and none else");
    }
    const key = keyId ? await keyOf(last, keyId, waiter) : NO_BYTES;
    const authenticated = place.authenticated(names, keyId);
    let data = sealed;
    for (const step of steps.reverse()) data = step.decode(data, key, authenticated);
    return plain(data);
  }

  /**
   * Decodes the payload in a message that was read, such as that of a schedule. For the runtime.
   *
   * @returns Undefined: the payload was decoded, or was in plain text. What stands for it: it can't be decoded, and the
   *     message has its envelope.
   */
  async readPayload(message: pb.NewJob, waiter?: Waiter): Promise<Encoded | undefined> {
    const { content, kind } = message;
    if (content.case !== "payloadJson") return undefined;
    const read = await this.#read(content.value, new Place("payload", kind), waiter);
    if (read.reading instanceof Encoded) return read.reading;
    content.value = read.text;
    return undefined;
  }

  /** The job in an answer, decoded. What can't be decoded is thrown where it is looked at. For the runtime. */
  async job(message: pb.Job, replayed = false, action?: UniqueAction, waiter?: Waiter): Promise<Job> {
    const { content, result, kind, id } = message;
    const readings: { payload?: Reading; output?: Reading } = {};
    if (content.case === "payloadJson") {
      const read = await this.#read(content.value, new Place("payload", kind), waiter);
      content.value = read.text;
      readings.payload = read.reading;
    }
    if (result.case === "outputJson") {
      const read = await this.#read(result.value, new Place("output", kind, id), waiter);
      result.value = read.text;
      readings.output = read.reading;
    }
    return new Job(message, replayed, action, readings);
  }

  async #read(
    text: Uint8Array,
    place: Place,
    waiter: Waiter | undefined,
  ): Promise<{ text: Uint8Array; reading: Reading }> {
    const value = envelopeOf(text, place);
    // What a producer has put into an envelope may itself look like one, and is not.
    if (value === undefined) return { text, reading: "opened" };
    try {
      const opened = await this.#open(value, place, waiter);
      checkJson(opened);
      return { text: opened, reading: "opened" };
    } catch (error) {
      waiter?.signal()?.throwIfAborted();
      const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      return { text, reading: encoded(value, why) };
    }
  }
}

/** Encodes, with one key. */
export class Sealer {
  readonly #steps: readonly Encoding[];
  readonly #key: Uint8Array;
  readonly #keyedCompression: boolean;

  /** @param key Of the last one, if that encrypts. */
  constructor(steps: readonly Encoding[], key: Uint8Array, keyedCompression: boolean) {
    this.#steps = steps;
    this.#key = key;
    this.#keyedCompression = keyedCompression;
  }

  /**
   * The envelope of some data; the data itself, where no encoding has anything to do with it.
   *
   * @throws RangeError It looks like an envelope, and no encoding has anything to do with it. What reads it would take it
   *     for one of this side.
   * @throws unknown What an encoding throws. Then nothing may be sent.
   */
  sealed(given: Uint8Array, place: Place, idempotencyKey?: string): Uint8Array {
    const names: string[] = [];
    let data = given;
    let keyId = "";
    for (const step of this.#steps) {
      if (idempotencyKey !== undefined && !step.keyId && !this.#keyedCompression) continue;
      // The one that encrypts is the last, so these are all the names of the envelope.
      const authenticated = step.keyId ? place.authenticated([...names, step.name], step.keyId) : NO_BYTES;
      const done = step.encode(data, this.#key, authenticated, idempotencyKey);
      if (done === undefined) {
        if (step.keyId) throw new Error(`the encoding ${step.name} has left something unencrypted`);
        continue;
      }
      data = done;
      keyId = step.keyId ?? "";
      names.push(step.name);
    }
    const { purpose, contentType } = place;
    if (names.length > 0) return textOf({ encodings: names, keyId, data, contentType });
    if (purpose === "checkpoint" ? begins(data) : envelopeIn(data) !== undefined) {
      // It may be a stranger's, who has put into it what was never checked.
      throw new RangeError(`the ${purpose} looks like an envelope, and nothing here encodes it`);
    }
    return data;
  }

  /** A checkpoint, encoded. An empty one stays so: it takes away what is stored. */
  checkpoint(data: Uint8Array, place: Place): Uint8Array {
    return data.length > 0 ? this.sealed(data, place) : data;
  }
}

async function keyOf(encoding: Encoding, keyId: string, waiter: Waiter | undefined): Promise<Uint8Array> {
  const asked = encoding.key?.(keyId);
  if (asked === undefined) return NO_BYTES;
  if (waiter === undefined) return (await asked) ?? NO_BYTES;
  // Of a key that is here nothing is timed.
  const first = await Promise.race([asked, LATER]);
  if (first !== LATER) return (first as Uint8Array | undefined) ?? NO_BYTES;
  const late = (): unknown => tooLate(`the key ${JSON.stringify(keyId)} has not come in time`);
  return (await raced(asked, waiter.ms(), waiter.signal(), late)) ?? NO_BYTES;
}

function envelopeOf(text: Uint8Array, place: Place): EnvelopeValue | undefined {
  if (place.purpose !== "checkpoint") return envelopeIn(text);
  if (!begins(text)) return undefined;
  const value = envelopeIn(text);
  if (value === undefined) throw new Undecodable("the envelope of the checkpoint is cut off");
  return value;
}

function begins(text: Uint8Array): boolean {
  return Buffer.compare(text.subarray(0, PREFIX.length), PREFIX) === 0;
}

/** Bytes that are no Buffer, which would not be equal to others of the same. */
function plain(data: Uint8Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function checkJson(text: Uint8Array): void {
  try {
    decode(text);
  } catch {
    // Its own error would show a piece of the text.
    throw new SyntaxError("what was encoded is no JSON");
  }
}
