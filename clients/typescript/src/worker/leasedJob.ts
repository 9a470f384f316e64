/** The job as a handler sees it. */

import type { LeasedJob as Message } from "../gen/jobqueue/v1/lease_pb.js";
import { dateOf, msOf } from "../jobs.js";
import { decode, textOf } from "../payload.js";

const NO_BYTES = new Uint8Array();

/**
 * One attempt of one job. `P` is what the handler takes its payload to be.
 *
 * `(id, attempt)` is a fencing token: a store that refuses a lower attempt of the same id is safe from a worker that was
 * thought dead. It reads from the message that came over the wire, so that a job costs only what is looked at.
 */
// With `unknown` every handler would begin with a cast, of what the kind's schema has checked already.
export class LeasedJob<P = any> {
  readonly #message: Message;
  #payload: { value: P } | undefined;

  constructor(message: Message) {
    this.#message = message;
  }

  /** The job's id. */
  get id(): string {
    return this.#message.id;
  }

  /** The attempt's number in its job, from 1. Higher than that of every earlier one. */
  get attempt(): number {
    return this.#message.attempt;
  }

  /** The job's kind. */
  get kind(): string {
    return this.#message.kind;
  }

  /** The queue that it was claimed from. */
  get queue(): string {
    return this.#message.queue;
  }

  /** The payload, decoded at the first look. Integers above 2^53 lose digits: those are in `payloadText`. */
  get payload(): P {
    this.#payload ??= { value: decode(this.payloadJson) as P };
    return this.#payload.value;
  }

  /** The payload as the text that was enqueued, byte for byte. */
  get payloadJson(): Uint8Array {
    const content = this.#message.content;
    return content.case === "payloadJson" ? content.value : NO_BYTES;
  }

  /** The same as a string. */
  get payloadText(): string {
    return textOf(this.payloadJson);
  }

  /** After how many failures the job ends as FAILED_PERMANENT. */
  get maxAttempts(): number {
    return this.#message.maxAttempts;
  }

  /** How many failures there have been. */
  get failures(): number {
    return this.#message.failures;
  }

  /** Whether one more failure ends the job as FAILED_PERMANENT. */
  get isLastAttempt(): boolean {
    return this.failures >= this.maxAttempts - 1;
  }

  /** -10..10, higher first. */
  get priority(): number {
    return this.#message.priority;
  }

  /** When the job was enqueued, by the database's clock. */
  get createdAt(): Date | undefined {
    return dateOf(this.#message.createdAt);
  }

  /** How long this attempt may run. Undefined: no limit. */
  get timeoutMs(): number | undefined {
    return msOf(this.#message.timeout);
  }

  /** The producer's own labels. */
  get labels(): Readonly<Record<string, string>> {
    return this.#message.labels;
  }

  /** The producer's headers, with `x-request-id` and `traceparent` of the call that enqueued the job. */
  get headers(): Readonly<Record<string, string>> {
    return this.#message.headers;
  }

  /** The last checkpoint of the earlier attempts. Empty: none. */
  get checkpoint(): Uint8Array {
    return this.#message.checkpoint;
  }
}
