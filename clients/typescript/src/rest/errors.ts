/** From an answer over HTTP that is a refusal to the error that gRPC would throw, of which the table makes the class. */

import { fromJson } from "@bufbuild/protobuf";
import type { DescMessage, JsonObject, JsonValue } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";

const DETAILS: ReadonlyMap<string, DescMessage> = new Map(
  [ErrorInfoSchema, BadRequestSchema, RetryInfoSchema].map((schema) => [
    `type.googleapis.com/${schema.typeName}`,
    schema,
  ]),
);

// Of answers that are no status of the contract, since a proxy or another server made them.
const BY_STATUS: ReadonlyMap<number, Code> = new Map([
  [400, Code.InvalidArgument],
  [401, Code.Unauthenticated],
  [403, Code.PermissionDenied],
  [404, Code.Unimplemented],
  [405, Code.Unimplemented],
  [408, Code.DeadlineExceeded],
  [413, Code.ResourceExhausted],
  [429, Code.ResourceExhausted],
  [500, Code.Internal],
  [502, Code.Unavailable],
  [503, Code.Unavailable],
  [504, Code.Unavailable],
]);

/** The error in an answer. */
export function refusal(status: number, headers: Headers, text: string): ConnectError {
  const requestId = { "x-request-id": headers.get("x-request-id") ?? "" };
  const said = statusOf(text);
  // By this the table knows that something has answered: what it says is so, and no connection that broke.
  const metadata = said !== undefined || status < 500 ? { ...requestId, "grpc-status": "" } : requestId;
  if (said !== undefined) return new ConnectError(said.message, said.code, metadata, said.details);
  const place = headers.get("location");
  if (place !== null) {
    const words = `HTTP ${status}: the server answers at ${place}; give that`;
    return new ConnectError(words, Code.Unimplemented, metadata);
  }
  const code = BY_STATUS.get(status) ?? (status < 500 ? Code.Unimplemented : Code.Unknown);
  const why =
    status === 413 ? "the request is larger than it may be" : "it is no answer of a JobQueue server";
  const words = `HTTP ${status}: ${why}: ${text.slice(0, 200) || "it has no text"}`;
  return new ConnectError(words, code, metadata, retryDetails(headers));
}

/** Of an answer that is cut off. It shows nothing of it. */
export function cutOff(status: number, headers: Headers): ConnectError {
  const metadata = { "x-request-id": headers.get("x-request-id") ?? "", "grpc-status": "" };
  return new ConnectError(`HTTP ${status}: the answer is no whole JSON`, Code.Internal, metadata);
}

type Details = ConstructorParameters<typeof ConnectError>[3] & object;

interface Said {
  readonly code: Code;
  readonly message: string;
  readonly details: Details;
}

/** A `google.rpc.Status`, also in the envelope of Google's APIs. Undefined: it is none. */
function statusOf(text: string): Said | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  const whole = (body ?? {}) as { error?: unknown };
  const { code, status, message, details } = (whole.error ?? whole) as Record<string, unknown>;
  const number = typeof status === "string" ? codeNamed(status) : code;
  if (typeof message !== "string" || typeof number !== "number" || !(number in Code)) return undefined;
  return { code: number, message, details: Array.isArray(details) ? details.flatMap(detailOf) : [] };
}

/** `NOT_FOUND`, as a number. */
function codeNamed(name: string): Code | undefined {
  if (name === "CANCELLED") return Code.Canceled;
  const camel = name.toLowerCase().replace(/(^|_)([a-z])/g, (_, __, letter: string) => letter.toUpperCase());
  const code: unknown = Code[camel as keyof typeof Code];
  return typeof code === "number" ? code : undefined;
}

function detailOf(detail: JsonObject): Details {
  const { "@type": type, ...fields } = detail;
  const schema = DETAILS.get(String(type));
  if (schema === undefined) return [];
  const value = fromJson(schema, fields as JsonValue, { ignoreUnknownFields: true });
  return [{ desc: schema, value: value as never }];
}

/** What `Retry-After` says, in seconds. */
function retryDetails(headers: Headers): Details {
  const seconds = Number(headers.get("retry-after") ?? NaN);
  if (!Number.isInteger(seconds) || seconds < 0) return [];
  return [{ desc: RetryInfoSchema, value: { retryDelay: { seconds: BigInt(seconds), nanos: 0 } } }];
}
