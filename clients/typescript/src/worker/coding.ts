/** Handlers of a worker that has encodings. */

import { EncodingUnknown, KeyUnknown, Undecodable } from "../encoded.js";
import { Place } from "../encodings/encoding.js";
import type { Encodings, Sealer, Waiter } from "../encodings/encodings.js";
import type { LeasedJob as Message, Outcome } from "../gen/jobqueue/v1/lease_pb.js";
import { LeasedJob, leasedOf } from "../job.js";
import type { EncodingRule } from "../job.js";
import { PayloadUnreadable } from "../kinds/errors.js";
import { later } from "../kinds/versions.js";
import { Discard } from "../outcomes.js";
import { JsonText, encode, isJson } from "../payload.js";
import type { JobContext } from "./context.js";
import type { Handler } from "./handlers.js";

/** What a worker's encodings do for the jobs of one handler. */
export class Coding {
  readonly #encodings: Encodings;
  // Whether payloads, outputs and checkpoints of the kind are encoded; its follow-ups may be in any case.
  readonly #own: boolean;
  // Whether payloads of the kind must be encrypted, whatever a server was told of its names.
  readonly #required: boolean;

  /** @param rule Of the kind. */
  constructor(encodings: Encodings, rule: EncodingRule | undefined) {
    this.#encodings = encodings;
    this.#own = rule !== "never";
    this.#required = rule === "required";
  }

  /** A handler with encodings around it, and around its middleware. */
  around(handler: Handler): Handler {
    return async (job, context) => {
      const { sealer, opened } = await this.#begin(job, context);
      const output: unknown = await handler(opened, context);
      // With the key that was the primary one at the beginning. What is thrown fails the attempt, and nothing of it is sent.
      context.sealFollowUps((each) => this.#encodings.sealedJob(sealer, each));
      if (output === undefined || !this.#own) return output;
      const text = encode(output, "the handler's output");
      if (output instanceof JsonText && !isJson(text)) throw new TypeError("the handler's output is no JSON");
      return new JsonText(sealer.sealed(text, new Place("output", job.kind, job.id)));
    };
  }

  /**
   * Decodes the job of an attempt, and lets its checkpoints be encoded.
   *
   * @throws Discard It can't be decoded by any key, or is in plain text and must not be; caused by a PayloadUnreadable. The
   *     job keeps its payload.
   * @throws Snooze A key or an encoding is not here: it may come.
   * @throws KeyUnknown The same, and it has not come for long.
   * @throws EncodingUnknown The same of an encoding.
   * @throws DeadlineExceeded A key has not come in time.
   * @throws Stopped The attempt was to stop before a key had come.
   */
  async #begin(job: LeasedJob, context: JobContext): Promise<{ sealer: Sealer; opened: LeasedJob }> {
    try {
      const waiter = { ms: () => context.remainingMs ?? Infinity, signal: () => context.signal };
      const sealer = await this.#encodings.sealer(waiter);
      const opened = this.#own ? new LeasedJob(await this.#opened(leasedOf(job), waiter), true) : job;
      const place = new Place("checkpoint", job.kind, job.id);
      const checkpoint = (data: Uint8Array): Uint8Array => sealer.checkpoint(data, place);
      context.decoded(opened, this.#own ? checkpoint : undefined);
      return { sealer, opened };
    } catch (error) {
      if (error instanceof Undecodable) {
        const unreadable = new PayloadUnreadable(error.message);
        throw new Discard(unreadable.message, { cause: unreadable });
      }
      if (error instanceof KeyUnknown || error instanceof EncodingUnknown) throw later(job) ?? error;
      throw error;
    }
  }

  async #opened(message: Message, waiter: Waiter): Promise<Message> {
    const { kind, id, content } = message;
    const text = content.case === "payloadJson" ? content.value : new Uint8Array();
    const payload = await this.#encodings.opened(text, new Place("payload", kind), this.#required, waiter);
    const place = new Place("checkpoint", kind, id);
    const checkpoint = await this.#encodings.opened(message.checkpoint, place, false, waiter);
    return { ...message, content: { case: "payloadJson", value: payload }, checkpoint };
  }

  /** Encodes the payload and the checkpoint of a job, as its producer and its attempts do. For tests of users. */
  async seal(message: Message): Promise<void> {
    const { kind, id, content } = message;
    if (!this.#own || content.case !== "payloadJson") return;
    const sealer = await this.#encodings.sealer();
    content.value = sealer.sealed(content.value, new Place("payload", kind));
    message.checkpoint = sealer.checkpoint(message.checkpoint, new Place("checkpoint", kind, id));
  }

  /** Decodes what came of it, each in its place. For tests of users. */
  async open({ kind, id }: Message, outcome: Outcome | undefined, checkpoints: Uint8Array[]): Promise<void> {
    const success = outcome?.outcome.case === "success" ? outcome.outcome.value : undefined;
    if (this.#own) {
      const output = success?.result;
      if (output?.case === "outputJson") {
        output.value = await this.#encodings.opened(output.value, new Place("output", kind, id));
      }
      for (const [number, each] of checkpoints.entries()) {
        checkpoints[number] = await this.#encodings.opened(each, new Place("checkpoint", kind, id));
      }
    }
    for (const { kind: of, content } of success?.followUps ?? []) {
      if (content.case !== "payloadJson") continue;
      content.value = await this.#encodings.opened(content.value, new Place("payload", of));
    }
  }
}
