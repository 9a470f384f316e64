/** One Lease stream: frames in and out, on a connection of its own. */

import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";

import { connect } from "../access.js";
import type { AccessOptions, Connection } from "../access.js";
import { Unavailable } from "../errors.js";
import { JobQueue } from "../gen/jobqueue/v1/jobqueue_pb.js";
import { LeaseRequestSchema } from "../gen/jobqueue/v1/lease_pb.js";
import type { LeaseRequest, LeaseResponse } from "../gen/jobqueue/v1/lease_pb.js";
import { fromRpc } from "../rpcErrors.js";

/** What a frame of the worker says. */
export type Frame = LeaseRequest["frame"];

/** Nothing but a receipt. */
export const RECEIPT: Frame = { case: undefined };

/** An open stream. A connection of its own, or a worker that leaves a server would come back to it over the old one. */
export class Stream {
  readonly target: string;
  /** The highest Delivery.seq that was taken. */
  lastDelivery = 0n;
  /** The highest one that was told to the server. */
  receipted = 0n;

  readonly #connection: Connection;
  readonly #end = new AbortController();
  readonly #outgoing = new Outgoing();
  readonly #incoming: AsyncIterator<LeaseResponse>;

  constructor(target: string, access: AccessOptions) {
    this.target = target;
    this.#connection = connect(target, access);
    const options = { signal: this.#end.signal, timeoutMs: 0 };
    const stub = createClient(JobQueue, this.#connection.transport);
    this.#incoming = stub.lease(this.#outgoing, options)[Symbol.asyncIterator]();
  }

  /** Sends a frame, with the receipt of what was delivered. */
  send(frame: Frame): void {
    this.receipted = this.lastDelivery;
    this.#outgoing.push(create(LeaseRequestSchema, { lastDelivery: this.lastDelivery, frame }));
  }

  /** Sends a bare receipt; resolves once it is written. A stream that ends leaves it pending. */
  async receipt(): Promise<void> {
    this.send(RECEIPT);
    return this.#outgoing.written();
  }

  /** The next frame; throws a JobQueueError when there are no more. */
  async receive(): Promise<LeaseResponse> {
    try {
      const { done, value } = await this.#incoming.next();
      if (!done) return value;
    } catch (error) {
      this.cancel();
      throw fromRpc(error);
    }
    this.cancel();
    throw new Unavailable("the server ended the stream", { code: "UNAVAILABLE" });
  }

  /** Ends the stream at once. */
  cancel(): void {
    this.#outgoing.end();
    this.#end.abort();
    this.#connection.close();
  }
}

/** Frames that wait for the transport to take them. It asks for one when the one before is written. */
class Outgoing implements AsyncIterableIterator<LeaseRequest> {
  #frames: LeaseRequest[] = [];
  #taker: ((result: IteratorResult<LeaseRequest>) => void) | undefined;
  // Who waits until so many more frames are asked for.
  #waiting: { frames: number; resolve: () => void }[] = [];
  #ended = false;

  push(frame: LeaseRequest): void {
    if (this.#taker === undefined) {
      this.#frames.push(frame);
    } else {
      this.#taker({ done: false, value: frame });
      this.#taker = undefined;
    }
  }

  /** Resolves when all that was pushed is written. */
  async written(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ frames: this.#frames.length + 1, resolve }));
  }

  end(): void {
    this.#ended = true;
    this.#frames = [];
    this.#taker?.({ done: true, value: undefined });
    this.#taker = undefined;
  }

  async next(): Promise<IteratorResult<LeaseRequest>> {
    if (this.#waiting.length > 0) this.#tell();
    const value = this.#frames.shift();
    if (value !== undefined) return { done: false, value };
    if (this.#ended) return { done: true, value: undefined };
    return new Promise((resolve) => (this.#taker = resolve));
  }

  #tell(): void {
    for (const each of this.#waiting) each.frames -= 1;
    while (this.#waiting[0]?.frames === 0) this.#waiting.shift()?.resolve();
  }

  /** The transport can't send more. It looks for this method before it begins. */
  async throw(): Promise<IteratorResult<LeaseRequest>> {
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
