/** What is encoded and was not decoded, and what can be wrong with it. */

import { JsonText, textOf } from "./payload.js";

/** The member by which an envelope is known; its value is the version of its form. */
export const MARK = "$jobqueue.encoded";
export const FORM = 1;
/** The JSON Schema of one. What is encrypted has a key. */
export const ENVELOPE = {
  type: "object",
  title: "encoded payload",
  required: [MARK, "content_type", "encodings", "data"],
  properties: {
    [MARK]: { const: FORM },
    content_type: { type: "string" },
    encodings: { type: "array", minItems: 1, items: { type: "string" } },
    key_id: { type: "string", minLength: 1 },
    data: { type: "string", pattern: "^[A-Za-z0-9_-]*$" },
  },
  // A payload in plain text must not pass by having the envelope's members beside its own.
  additionalProperties: false,
};
const NONE_HERE = "this program has no encodings";

/** A payload or an output is encoded and was not decoded. It is thrown where the value is looked at. */
export class Encoded extends Error {
  override readonly name = "Encoded";
  /** The names of what it was encoded by, in that order. */
  readonly encodings: readonly string[];
  /** The name of the key that it was encrypted with. Empty: it was not encrypted. */
  readonly keyId: string;
  /** Why it was not decoded, in words. */
  readonly why: string;

  constructor(encodings: readonly string[] = [], keyId = "", why = NONE_HERE) {
    const how = encodings.join(" + ") || "by nothing that it names";
    super(`encoded, ${how}${keyId && `, key ${keyId}`}: ${why}`);
    this.encodings = encodings;
    this.keyId = keyId;
    this.why = why;
  }
}

/** A kind takes encrypted payloads alone, and this program has nothing to encrypt them with. */
export class EncodingRequired extends Error {
  override readonly name = "EncodingRequired";
}

/** Nothing has the key. */
export class KeyUnknown extends Error {
  override readonly name = "KeyUnknown";
  /** Its name. */
  readonly keyId: string;

  constructor(keyId: string) {
    super(`nothing here has the key ${JSON.stringify(keyId)}: give it to the keys of AesGcm`);
    this.keyId = keyId;
  }
}

/** Something was encoded by what this program does not have. */
export class EncodingUnknown extends Error {
  override readonly name = "EncodingUnknown";
}

/** An envelope is damaged, was made for another kind, job or purpose, or by another key of the same name. */
export class Undecodable extends Error {
  override readonly name = "Undecodable";
}

/** What reading something came to: it is to be looked at as it is, or what is thrown instead. */
export type Reading = "opened" | Encoded;

/** An envelope, as a JSON object. */
export type EnvelopeValue = Readonly<Record<string, unknown>>;

/** What an envelope says of itself. */
export function encoded(value: EnvelopeValue, why = NONE_HERE): Encoded {
  const { encodings, key_id: keyId } = value;
  // It may be a stranger's: a member may be an object that has no text.
  const names = Array.isArray(encodings) ? encodings.filter((each) => typeof each === "string") : [];
  return new Encoded(names, typeof keyId === "string" ? keyId : "", why);
}

/** Whether a JSON value is an envelope. */
export function isEnvelope(value: unknown): value is EnvelopeValue {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.hasOwn(value, MARK);
}

/**
 * A JSON value that was read, as it is looked at.
 *
 * @throws Encoded It is an envelope.
 */
export function shown(value: unknown): unknown {
  if (isEnvelope(value)) throw encoded(value);
  return value;
}

const UNDECODED: unique symbol = Symbol("undecoded");

interface Template {
  readonly payloadJson?: string | Uint8Array | undefined;
  readonly [UNDECODED]?: true;
}

/** The job of a schedule that was read without encodings. It, and each copy, says so where its payload is an envelope. */
export function marked<T extends Template>(job: T): T {
  return envelopeOf(job) === undefined ? job : { ...job, [UNDECODED]: true };
}

/** What stands for the payload of a job that was marked, if it still has the envelope. */
export function undecoded(job: Template): Encoded | undefined {
  const value = job[UNDECODED] && envelopeOf(job);
  return value && encoded(value);
}

function envelopeOf({ payloadJson }: Template): EnvelopeValue | undefined {
  return payloadJson === undefined ? undefined : envelopeIn(new JsonText(payloadJson).bytes);
}

/** The envelope that a JSON text is. Undefined: it is none, or no JSON. */
export function envelopeIn(text: Uint8Array): EnvelopeValue | undefined {
  // Not by a Buffer, which is Node's own: a RestClient reads jobs elsewhere as well.
  const written = textOf(text);
  // A name in JSON may be written with escapes: what reads it by its letters alone does not see what a parser sees.
  if (!written.includes(MARK) && !written.includes("\\u")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(written);
  } catch {
    return undefined;
  }
  return isEnvelope(value) ? value : undefined;
}
