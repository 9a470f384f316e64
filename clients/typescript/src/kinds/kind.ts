/** A kind, declared once: its name, the types of its payload and output, and the defaults of its jobs. */

import { ENVELOPE, encoded, envelopeIn } from "../encoded.js";
import { PayloadInvalid } from "../errors.js";
import type { FieldViolation } from "../errors.js";
import { unread } from "../job.js";
import type { EncodingRule, Job, JobOptions, LeasedJob, NewJob } from "../job.js";
import type { Kind } from "../jobs.js";
import { JsonText, encodeText, textOf } from "../payload.js";
import { typeInWords } from "../text.js";
import type { KindOptions, TypedJobOptions } from "./declaration.js";
import { JobNotSucceeded, PayloadUnreadable } from "./errors.js";
import { violationOf } from "./issues.js";
import { anyVersion, described } from "./jsonSchema.js";
import { isPromise, then } from "./maybe.js";
import type { Maybe } from "./maybe.js";
import { isStandardSchema } from "./standardSchema.js";
import type { JsonSchema, StandardResult, StandardSchema } from "./standardSchema.js";
import { VERSION_HEADER, endingOf, jsonOf, upcasted } from "./versions.js";
import type { Upcast } from "./versions.js";

/**
 * A kind, as `defineKind` makes it. It knows no client and no worker, and all of them take it.
 *
 * On the wire is what schemas take: producers give `P`, and handlers return `O`. What schemas make of it is given to code:
 * handlers get `Parsed`, and readers of outputs get `Read`.
 */
export class JobKind<
  P = any,
  O = any,
  Parsed = P,
  Read = O,
  Name extends string = string,
  Version extends number = number,
> {
  /** The types; no value is there. */
  declare readonly "~types": {
    readonly payload: P;
    readonly output: O;
    readonly parsed: Parsed;
    readonly read: Read;
    readonly name: Name;
    readonly version: Version;
  };

  readonly name: Name;
  /** Of its payload, from 1. */
  readonly version: Version;
  /** Older names, whose jobs its handler gets as well. */
  readonly aliases: readonly string[];
  /** Whether payloads, outputs and checkpoints are encoded. Undefined: where a program has encodings. */
  readonly encodings: EncodingRule | undefined;

  readonly #options: KindOptions<P>;
  readonly #upcasters: ReadonlyMap<number, Upcast>;
  readonly #payload: StandardSchema<P, Parsed> | undefined;
  readonly #output: StandardSchema<O, Read> | undefined;
  // Of a kind without schemas it is not known whether it has an output.
  readonly #checked: boolean;
  #warned = false;

  /** For `defineKind`, which says what is thrown. */
  constructor(
    name: Name,
    options: KindOptions<P>,
    schemas: { payload?: StandardSchema | undefined; output?: StandardSchema | undefined } | undefined,
  ) {
    const { version = 1, upcasters = {}, aliases = [], encodings } = options;
    if (typeof name !== "string")
      throw new TypeError(`the name of a kind is ${String(name)}; it is a string`);
    if (!Number.isInteger(version) || version < 1) {
      throw new RangeError(`version is ${version}, of kind ${name}; it is a whole number from 1 on`);
    }
    if (!Array.isArray(aliases)) {
      throw new TypeError(`aliases is ${JSON.stringify(aliases)}, of kind ${name}; it is a list`);
    }
    if (encodings !== undefined && !["never", "allowed", "required"].includes(encodings)) {
      const said = JSON.stringify(encodings);
      throw new TypeError(`encodings is ${said}, of kind ${name}; it is "never", "allowed" or "required"`);
    }
    for (const from of Object.keys(upcasters).map(Number)) {
      if (Number.isInteger(from) && from >= 1 && from < version) continue;
      throw new RangeError(
        `an upcaster of kind ${name} is from version ${from} on: each leads from a version below ${version} to the ` +
          "next one",
      );
    }
    for (const [what, schema] of Object.entries(schemas ?? {})) {
      if (schema === undefined || isStandardSchema(schema)) continue;
      throw new TypeError(
        `${what} of kind ${name} is no Standard Schema: give a schema of zod, valibot or arktype, for example`,
      );
    }
    this.name = name;
    this.version = version as Version;
    this.aliases = [...aliases];
    this.encodings = encodings;
    this.#options = options;
    this.#upcasters = new Map(
      Object.entries(upcasters).map(([from, each]) => [
        Number(from),
        typeof each === "function" ? { upcast: each } : each,
      ]),
    );
    this.#payload = schemas?.payload;
    this.#output = schemas?.output;
    this.#checked = schemas !== undefined;
  }

  /**
   * A job of this kind, for `enqueue`, `enqueueMany` and `ctx.followUp`. It holds what was given, not what the schema
   * makes of that.
   *
   * @param payload Of the kind's type; or a `JsonText` of such a one, for numbers that JavaScript can't hold.
   * @param options What is given wins over what the kind says.
   * @throws PayloadInvalid The payload does not fit; `violations` says where, and what would be right. It is the error with
   *     which a server refuses what does not satisfy its schema.
   * @throws TypeError The schema checks asynchronously: use `newAsync`.
   */
  new(payload: P | JsonText, options: TypedJobOptions = {}): NewJob {
    const job = this.made(payload, options);
    if (!isPromise(job)) return job;
    job.catch(() => undefined);
    throw new TypeError(
      `the schema of kind ${this.name} checks asynchronously: use newAsync, and wait for it`,
    );
  }

  /** As `new`, of a schema that checks asynchronously. */
  async newAsync(payload: P | JsonText, options: TypedJobOptions = {}): Promise<NewJob> {
    return this.made(payload, options);
  }

  /** As `new`, at once or later, for the client: the payload is read at once. */
  made(payload: P | JsonText, options: JobOptions): Maybe<NewJob> {
    if (options.payloadJson !== undefined) {
      throw new TypeError(`payloadJson, of the typed kind ${this.name}: give a payload of its type`);
    }
    const whole = payload instanceof JsonText;
    const text = whole ? textOf(payload.bytes) : encodeText(payload ?? null, "the payload");
    // What is checked is what a worker will read: a Date is a string by then.
    const value: unknown = whole || this.#payload !== undefined ? checkedJson(text) : payload;
    const job = this.#job((whole ? value : payload) as P, whole ? payload.bytes : text, options);
    if (this.#payload === undefined) return job;
    return then(this.#payload["~standard"].validate(value), (result) => {
      if (result.issues === undefined) return job;
      throw invalid(result.issues.map((each) => violationOf([each], "payload", value)));
    });
  }

  /**
   * The payload of a job that was read.
   *
   * @throws TypeError The job is of another kind, or was read without its payload: use `get`, or `full`.
   * @throws Encoded It is encoded, and the client has not decoded it.
   * @throws PayloadUnreadable It is not of its type.
   * @throws PayloadTooNew It is of a version that this program does not know.
   */
  async payloadOf(job: Job): Promise<Parsed> {
    this.#check(job, "payload");
    const encoded = unread(job, "payload");
    if (encoded !== undefined) throw encoded;
    return this.#read(textOf(job.payloadJson ?? new Uint8Array()), job.headers);
  }

  /**
   * The output of a job that has succeeded. Undefined: the kind has none.
   *
   * @throws JobNotSucceeded It ended otherwise, or has not ended.
   * @throws TypeError The job is of another kind, or was read without its output: use `get`, or `full`.
   * @throws Encoded The output is encoded, and the client has not decoded it.
   * @throws PayloadUnreadable The output is not of its type.
   */
  async outputOf(job: Job): Promise<Read> {
    if (job.status !== "SUCCEEDED") {
      this.#checkKind(job);
      throw new JobNotSucceeded(job);
    }
    this.#check(job, "output");
    const encoded = unread(job, "output");
    if (encoded !== undefined) throw encoded;
    return this.readOutput(job.outputJson);
  }

  /** The output of its JSON text. Undefined: there is none. */
  async readOutput(json: Uint8Array | undefined): Promise<Read> {
    if (this.#checked && this.#output === undefined) return undefined as Read;
    const value = json === undefined ? undefined : jsonOf(textOf(json), "output");
    if (this.#output === undefined) return value as Read;
    return valueOf(await this.#output["~standard"].validate(value), "output", value);
  }

  /**
   * The payload of an attempt, for the worker.
   *
   * @throws Discard It is not of its type, or is encoded and was not decoded; caused by a PayloadUnreadable. The job keeps
   *     its payload.
   * @throws Snooze It is of a later version: a worker that knows it may come.
   * @throws PayloadTooNew The same, and none has come for long.
   */
  async payloadIn(job: LeasedJob): Promise<Parsed> {
    try {
      return await this.#read(job.payloadText, job.headers, job.opened ? undefined : job.payloadJson);
    } catch (error) {
      throw endingOf(error, job);
    }
  }

  /**
   * What a handler returned, as JSON text; undefined: nothing. It is what was returned, not what the schema makes of it.
   *
   * @throws TypeError It is not of its type.
   */
  async outputText(output: O): Promise<JsonText | undefined> {
    if (output === undefined && this.#output === undefined) return undefined;
    if (this.#checked && this.#output === undefined) {
      throw new TypeError(
        `the handler of ${this.name} returned ${typeInWords(output)}; the kind has no output: return nothing, or declare ` +
          "output",
      );
    }
    const text = output === undefined ? undefined : encodeText(output, "the handler's output");
    if (this.#output !== undefined) {
      const value = text === undefined ? undefined : JSON.parse(text);
      const { issues } = await this.#output["~standard"].validate(value);
      if (issues !== undefined) {
        const { field, description } = violationOf(issues, "output", value);
        throw new TypeError(
          `the handler of ${this.name} returned ${typeInWords(output)}: ${field}: ${description}`,
        );
      }
    }
    return text === undefined ? undefined : new JsonText(text);
  }

  /**
   * The JSON Schema of its payloads: of this version, or of an older one for which there is an upcaster. So producers of an
   * older version are not refused while programs of both run.
   *
   * It is of what the schema takes, which is what is on the wire, and lets in fields that are not known, unless the kind is
   * `strict`. A payload that is encoded is one of its payloads too, as `encodings` says it; of a kind that requires it, there
   * is no other.
   *
   * @param encodes Whether the program has encodings, which a kind that says nothing of them allows.
   * @returns For `putKind`. Undefined: the kind has no schema, or one whose library can't say it; then it is said once on
   *     standard error, and `jsonSchema` is a way to give it.
   * @throws TypeError The schema has a part that JSON Schema has no words for.
   */
  schema(encodes = false): JsonSchema | undefined {
    if (this.encodings === "required") {
      return anyVersion([[this.version, { ...ENVELOPE, required: [...ENVELOPE.required, "key_id"] }]]);
    }
    const newest = this.#describe(this.#options.jsonSchema ?? this.#payload);
    if (newest === undefined) return undefined;
    const branches: [number, JsonSchema][] = [[this.version, newest]];
    for (const from of [...this.#upcasters.keys()].sort((a, b) => b - a)) {
      branches.push([from, this.#describe(this.#upcasters.get(from)?.of) ?? { type: "object" }]);
    }
    // Behind the others: the first of a version is the one by which a server says what is wrong.
    if (this.encodings === "allowed" || (encodes && this.encodings === undefined)) {
      branches.push([this.version, ENVELOPE]);
    }
    return anyVersion(branches);
  }

  /** The JSON Schema of its outputs. Undefined: as of `schema`, or it has none. */
  outputSchema(): JsonSchema | undefined {
    return this.#describe(this.#output);
  }

  /**
   * What `syncKinds` says of the kind, and the names of what it says; the server leaves the rest as it is.
   *
   * @param encodes As of `schema`.
   */
  declaration(encodes = false): { kind: Kind; fields: string[] } {
    const { maxAttempts, timeoutMs, retryPolicy, slotWeight } = this.#options;
    const [schema, outputSchema] = [this.schema(encodes), this.outputSchema()];
    const fields = ["version"];
    // One that this program can't say stays as the server has it.
    if (schema !== undefined) fields.push("schema");
    if (outputSchema !== undefined) fields.push("output_schema");
    if (maxAttempts !== undefined) fields.push("max_attempts");
    if (timeoutMs !== undefined) fields.push("timeout");
    if (retryPolicy !== undefined) fields.push("retry_policy");
    if (slotWeight !== undefined) fields.push("slot_weight");
    const { name, version } = this;
    const said = { maxAttempts, timeoutMs, retryPolicy, slotWeight };
    return { kind: { name, version, schema, outputSchema, ...said }, fields };
  }

  /** For people. */
  toString(): string {
    return `kind ${this.name}, version ${this.version}`;
  }

  #job(payload: P, payloadJson: string | Uint8Array, options: TypedJobOptions): NewJob {
    const { queue, priority, maxAttempts, timeoutMs, retryPolicy, key, unique } = this.#options;
    const job: NewJob = {
      kind: this.name,
      ...given({ queue, priority, maxAttempts, timeoutMs, retryPolicy }),
      ...given(options),
      payloadJson,
      ...given({ encodings: this.encodings }),
    };
    if (this.version > 1) job.headers = { ...job.headers, [VERSION_HEADER]: String(this.version) };
    const said = given({
      key: job.key ?? key?.(payload),
      unique: job.unique ?? (typeof unique === "function" ? unique(payload) : unique),
    });
    return Object.assign(job, said);
  }

  #describe(of: StandardSchema | JsonSchema | undefined): JsonSchema | undefined {
    if (of === undefined) return undefined;
    const found = described(of, this.name, this.#options.strict ?? false);
    if (found === undefined && !this.#warned) {
      this.#warned = true;
      console.error(
        `jobqueue: warning: the library of a schema of kind ${this.name} can't say it as JSON Schema, so that the server ` +
          "gets none: use a newer version of it, or give jsonSchema",
      );
    }
    return found;
  }

  #checkKind(job: Job): void {
    if (job.kind === this.name || this.aliases.includes(job.kind)) return;
    throw new TypeError(`the job ${job.id} is of the kind ${job.kind}, not ${this.name}`);
  }

  #check(job: Job, what: string): void {
    this.#checkKind(job);
    // Both are left out together; a job may have no output.
    if (job.payloadJson !== undefined) return;
    throw new TypeError(`the job ${job.id} was read without its ${what}: use get, or full`);
  }

  /** @param unopened The same as bytes, which may be an envelope. Undefined: it is none. */
  async #read(
    text: string,
    headers: Readonly<Record<string, string>>,
    unopened?: Uint8Array,
  ): Promise<Parsed> {
    const value = upcasted(text, headers, this.version, this.#upcasters, () => {
      const found = unopened && envelopeIn(unopened);
      if (found === undefined) return;
      // A type that takes any object, or has a default for each field, would take it for a payload.
      throw new PayloadUnreadable(
        `payload: ${encoded(found, "the worker does not decode this kind").message}`,
      );
    });
    if (this.#payload === undefined) return value as Parsed;
    return valueOf(await this.#payload["~standard"].validate(value), "payload", value);
  }
}

function checkedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid([{ field: "payload", description: "must be JSON" }]);
  }
}

function invalid(violations: readonly FieldViolation[]): PayloadInvalid {
  const words = violations.map(({ field, description }) => `${field}: ${description}`);
  return new PayloadInvalid(words.join("; "), {
    code: "INVALID_ARGUMENT",
    reason: "PAYLOAD_INVALID",
    violations,
  });
}

/** What is not undefined. */
function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

function valueOf<T>(result: StandardResult<T>, what: string, value: unknown): T {
  if (result.issues === undefined) return result.value;
  const { field, description } = violationOf(result.issues, what, value);
  throw new PayloadUnreadable(`${field}: ${description}`);
}
