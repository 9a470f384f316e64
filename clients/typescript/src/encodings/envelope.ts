/** The JSON object that stands for something encoded. */

import { FORM, MARK, Undecodable } from "../encoded.js";
import type { EnvelopeValue } from "../encoded.js";

const BASE64URL = /^[A-Za-z0-9_-]*$/;
/** So does each envelope begin that is written here; of a checkpoint, whose bytes may be anything, all do. */
export const PREFIX: Uint8Array = Buffer.from(`{"${MARK}":${FORM},`);

/** Something encoded. */
export interface Envelope {
  /** By what, in the order in which it was done. */
  readonly encodings: readonly string[];
  /** The name of the key. Empty: it is not encrypted. */
  readonly keyId: string;
  readonly data: Uint8Array;
  /** Of what was encoded. */
  readonly contentType: string;
}

/** An envelope as JSON text. */
export function textOf({ encodings, keyId, data, contentType }: Envelope): Uint8Array {
  const told = {
    [MARK]: FORM,
    content_type: contentType,
    encodings,
    ...(keyId && { key_id: keyId }),
    data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64url"),
  };
  return new TextEncoder().encode(JSON.stringify(told));
}

/**
 * The envelope that a JSON object is.
 *
 * @throws Undecodable It is malformed, or of a later form.
 */
export function read(value: EnvelopeValue): Envelope {
  if (value[MARK] !== FORM) throw new Undecodable(`the envelope's ${MARK} must be ${FORM}`);
  const { encodings: names, key_id: keyId = "", data, content_type: contentType } = value;
  if (!Array.isArray(names) || names.length === 0 || !names.every((each) => typeof each === "string")) {
    throw new Undecodable("the envelope's encodings must be a list of names");
  }
  if (new Set(names).size !== names.length) {
    throw new Undecodable("the envelope's encodings must be different ones");
  }
  if (typeof keyId !== "string" || typeof data !== "string" || typeof contentType !== "string") {
    throw new Undecodable("the envelope's content_type, key_id and data must be texts");
  }
  if (!BASE64URL.test(data) || data.length % 4 === 1) {
    throw new Undecodable("the envelope's data must be base64url, without =");
  }
  return { encodings: names as string[], keyId, data: Buffer.from(data, "base64url"), contentType };
}
