/** What an encoding is, and what it is told of what it encodes. */

/** What something encoded is. */
export type Purpose = "payload" | "output" | "checkpoint";

// The first of what is authenticated: another form of it gets another name.
const DOMAIN = "jobqueue.encoded/1";

/** Where something encoded belongs. */
export class Place {
  readonly purpose: Purpose;
  /** The job's kind. */
  readonly kind: string;
  /** The job's id. Empty for payloads: theirs is not known when they are encoded. */
  readonly jobId: string;
  /** Of what was encoded. */
  readonly contentType: string;

  constructor(purpose: Purpose, kind: string, jobId = "") {
    this.purpose = purpose;
    this.kind = kind;
    this.jobId = jobId;
    this.contentType = purpose === "checkpoint" ? "application/octet-stream" : "application/json";
  }

  /** All that an envelope is bound to, as bytes: no two places have the same. */
  authenticated(encodings: readonly string[], keyId: string): Uint8Array {
    const { purpose, kind, jobId, contentType } = this;
    return framed(DOMAIN, purpose, kind, jobId, contentType, keyId, ...encodings);
  }
}

/** The parts, each with its length before it (4 bytes, big-endian). */
export function framed(...parts: readonly (string | Uint8Array)[]): Uint8Array {
  const lengths = parts.map((part) => Buffer.byteLength(part));
  const all = Buffer.allocUnsafe(lengths.reduce((sum, length) => sum + 4 + length, 0));
  let at = 0;
  parts.forEach((part, number) => {
    at = all.writeUInt32BE(lengths[number]!, at);
    if (typeof part === "string") all.write(part, at);
    else all.set(part, at);
    at += lengths[number]!;
  });
  return all;
}

/** Bytes to bytes and back. What `encode` throws fails the enqueue, or the attempt; nothing is sent. */
export interface Encoding {
  /** What envelopes call it. Another form of its bytes is another name. */
  readonly name: string;
  /** The name of the key with which it encrypts. Undefined or empty: it does not encrypt. */
  readonly keyId?: string | undefined;
  /**
   * A key by its name. Of those that encrypt; without it they get no bytes as their key.
   *
   * @throws KeyUnknown Nothing has it.
   */
  key?(keyId: string): Promise<Uint8Array>;
  /**
   * Encodes. Undefined: it leaves these bytes as they are.
   *
   * @param key Of `keyId`.
   * @param authenticated What the result is bound to.
   * @param idempotencyKey With it the same bytes must become the same bytes. Undefined: they need not.
   */
  encode(
    data: Uint8Array,
    key: Uint8Array,
    authenticated: Uint8Array,
    idempotencyKey: string | undefined,
  ): Uint8Array | undefined;
  /**
   * The bytes that were encoded.
   *
   * @throws Undecodable They are damaged, or bound to something else.
   */
  decode(data: Uint8Array, key: Uint8Array, authenticated: Uint8Array): Uint8Array;
}
