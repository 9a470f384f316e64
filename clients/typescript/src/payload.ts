/** Payloads and outputs: JavaScript values to JSON text and back. */

import { Encoded } from "./encoded.js";
import { PayloadInvalid } from "./errors.js";
import { typeInWords } from "./text.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * JSON text that goes as it is, for what JavaScript's numbers can't hold: `new JsonText('{"n": 12345678901234567890}')`.
 * Taken wherever a payload or an output is.
 */
export class JsonText {
  readonly bytes: Uint8Array;

  constructor(text: string | Uint8Array) {
    this.bytes = typeof text === "string" ? encoder.encode(text) : text;
  }
}

/**
 * The value as compact JSON text.
 *
 * @param what How to call it in an error, for example `the payload`.
 * @throws TypeError It holds a bigint, a function at its top, or itself.
 * @throws Encoded It is what a payload that was not decoded came to.
 */
export function encode(value: unknown, what: string): Uint8Array {
  return value instanceof JsonText ? value.bytes : encoder.encode(encodeText(value, what));
}

/** The same as a string. Throws as `encode`. */
export function encodeText(value: unknown, what: string): string {
  if (value instanceof JsonText) return textOf(value.bytes);
  // Of a schedule that was read. Written as JSON it would take the place of the payload.
  if (value instanceof Encoded) throw value;
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    const advice = String(error).includes("BigInt") ? "; give it as new JsonText(text)" : "";
    throw new TypeError(`${what} is no JSON: ${(error as Error).message}${advice}`);
  }
  if (text === undefined) throw new TypeError(`${what} is no JSON: it is ${typeInWords(value)}`);
  return text;
}

/** The text of JSON bytes. */
export function textOf(json: Uint8Array): string {
  return decoder.decode(json);
}

/** Whether these bytes are one whole JSON value. */
export function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(strict.decode(bytes));
    return true;
  } catch {
    return false;
  }
}

/**
 * Returns if a payload is one whole JSON value.
 *
 * @param field What it is in the call.
 * @throws PayloadInvalid It is not. The error shows nothing of it.
 */
export function checkPayload(bytes: Uint8Array, field: string): void {
  if (isJson(bytes)) return;
  const description = "must be JSON";
  throw new PayloadInvalid(`${field}: ${description}`, {
    code: "INVALID_ARGUMENT",
    reason: "PAYLOAD_INVALID",
    violations: [{ field, description }],
  });
}

/** The value of a JSON text. Integers above 2^53 lose digits here, and only here. Empty: null. */
export function decode(json: Uint8Array): unknown {
  return json.length === 0 ? null : JSON.parse(decoder.decode(json));
}
