/** Jobs as the JSON of the REST contract, in which payloads and outputs stay the texts that they are. */

import { fromJson, toJsonString } from "@bufbuild/protobuf";
import type { JsonObject } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { DurationSchema } from "@bufbuild/protobuf/wkt";

import { JobSchema, NewJobSchema } from "../gen/jobqueue/v1/job_pb.js";
import type * as pb from "../gen/jobqueue/v1/job_pb.js";
import { Job } from "../job.js";
import { textOf } from "../payload.js";
import type { UniqueAction } from "../unique.js";

const encoder = new TextEncoder();

/** A job to enqueue. Its payload goes as it is: digits, blanks and the order of keys. */
export function jobText(job: pb.NewJob): string {
  const { content } = job;
  const rest = toJsonString(NewJobSchema, { ...job, content: { case: undefined } });
  if (content.case !== "payloadJson") return rest;
  const payload = `"payload":${textOf(content.value)}}`;
  return rest === "{}" ? `{${payload}` : `${rest.slice(0, -1)},${payload}`;
}

/** A job of an answer. */
export function jobOf(text: string, replayed = false, action?: UniqueAction): Job {
  const { payload: _, output: __, ...others } = JSON.parse(text) as JsonObject;
  const job = fromJson(JobSchema, others, { ignoreUnknownFields: true });
  // Not the values: integers above 2^53 would have lost digits.
  const texts = members(text);
  const [payload, output] = [texts.get("payload"), texts.get("output")];
  if (payload !== undefined) job.content = { case: "payloadJson", value: encoder.encode(payload) };
  if (output !== undefined) job.result = { case: "outputJson", value: encoder.encode(output) };
  return new Job(job, replayed, action);
}

/** The members of a JSON object as the texts that they are. */
export function members(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  let depth = 0;
  let begin = 0;
  let name: string | undefined;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') {
      const start = at;
      at += 1;
      while (text[at] !== '"' && at < text.length) at += text[at] === "\\" ? 2 : 1;
      if (depth === 1) name ??= JSON.parse(text.slice(start, at + 1)) as string;
    } else if (character === ":" && depth === 1) {
      begin = at + 1;
    } else if (character === "{" || character === "[") {
      depth += 1;
    } else if (character === "}" || character === "]" || (character === "," && depth === 1)) {
      if (depth === 1 && name !== undefined) {
        found.set(name, text.slice(begin, at));
        name = undefined;
      }
      if (character !== ",") depth -= 1;
    }
  }
  return found;
}

/** What was done with the job that holds a name, as headers and results say it. */
export function actionOf(said: string | null | undefined): UniqueAction | undefined {
  if (said === null || said === undefined) return undefined;
  const name = said.toUpperCase();
  // What this version does not know is shown as KEPT.
  return name === "REPLACED" || name === "DEBOUNCED" ? name : "KEPT";
}

/** A span as a query has it, such as `1.5s`. */
export function spanText(ms: number, name: string): string {
  if (!Number.isFinite(ms)) throw new TypeError(`${name} is ${ms}; it is a number of milliseconds`);
  return JSON.parse(toJsonString(DurationSchema, durationFromMs(Math.round(ms)))) as string;
}
