/** Jobs as the JSON of the REST contract, in which payloads and outputs stay the texts that they are. */

import { fromJson, toJsonString } from "@bufbuild/protobuf";
import type { JsonObject } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { DurationSchema } from "@bufbuild/protobuf/wkt";

import { NotSupported } from "../errors.js";
import { JobSchema, Job_Hold, NewJobSchema } from "../gen/jobqueue/v1/job_pb.js";
import type * as pb from "../gen/jobqueue/v1/job_pb.js";
import { Job } from "../job.js";
import type { EnqueueResult } from "../jobs.js";
import { checkPayload, textOf } from "../payload.js";
import type { UniqueAction } from "../unique.js";

const encoder = new TextEncoder();

/**
 * A job to enqueue. Its payload goes as it is: digits, blanks and the order of keys.
 *
 * @param field What it is in the request.
 * @throws PayloadInvalid Its payload is no JSON: what comes after a whole value would be members of the job.
 */
export function jobText(job: pb.NewJob, field = "job"): string {
  const { content } = job;
  const rest = toJsonString(NewJobSchema, { ...job, content: { case: undefined } });
  if (content.case !== "payloadJson") return rest;
  checkPayload(content.value, `${field}.payload`);
  const payload = `"payload":${textOf(content.value)}}`;
  return rest === "{}" ? `{${payload}` : `${rest.slice(0, -1)},${payload}`;
}

/**
 * A job of an answer.
 *
 * @param value The text's value.
 * @throws NotSupported It is no job. The error shows nothing of it.
 */
export function jobOf(text: string, value: unknown, replayed = false, action?: UniqueAction): Job {
  if (!isObject(value) || typeof value["id"] !== "string" || value["id"] === "") throw strange();
  const { payload: _, output: __, ...others } = value;
  const job = messageOf(others);
  // Left out, a reason that this version does not know would be none.
  if (typeof others["hold"] === "string") job.hold ??= Job_Hold.HOLD_UNSPECIFIED;
  // Not the values: integers above 2^53 would have lost digits.
  const texts = members(text);
  const [payload, output] = [texts.get("payload"), texts.get("output")];
  if (payload !== undefined) job.content = { case: "payloadJson", value: encoder.encode(payload) };
  if (output !== undefined) job.result = { case: "outputJson", value: encoder.encode(output) };
  return new Job(job, replayed, action);
}

function messageOf(others: JsonObject): pb.Job {
  try {
    return fromJson(JobSchema, others, { ignoreUnknownFields: true });
  } catch {
    // Its own error would show a piece of the answer.
    throw strange();
  }
}

/**
 * The results of an answer, one for each job.
 *
 * @throws NotSupported They are not.
 */
export function resultsOf({ results }: JsonObject, jobs: number): EnqueueResult[] {
  if (!Array.isArray(results) || results.length !== jobs) throw strange();
  return results.map((each) => {
    if (!isObject(each) || typeof each["id"] !== "string" || each["id"] === "") throw strange();
    const { id, replayed, unique_action: action } = each;
    return {
      id,
      replayed: replayed === true,
      uniqueAction: actionOf(typeof action === "string" ? action : undefined),
    };
  });
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function strange(): NotSupported {
  const words = "it is no answer of a JobQueue server: its JSON is not what was asked for";
  return new NotSupported(words, { code: "UNIMPLEMENTED" });
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
