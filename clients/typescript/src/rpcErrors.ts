/** From what the transport throws to the typed errors: the one table from reasons and codes to classes. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import * as errors from "./errors.js";
import type { ErrorFacts } from "./errors.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

type ErrorClass = new (message: string, facts?: ErrorFacts) => errors.JobQueueError;

const BY_REASON: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["PAYLOAD_INVALID", errors.PayloadInvalid],
  ["PAYLOAD_TOO_LARGE", errors.TooLarge],
  ["BODY_TOO_LARGE", errors.TooLarge],
  ["KIND_UNKNOWN", errors.KindUnknown],
  ["JOB_NOT_FOUND", errors.JobNotFound],
  ["QUEUE_NOT_FOUND", errors.QueueNotFound],
  ["SCHEDULE_NOT_FOUND", errors.ScheduleNotFound],
  ["SCHEDULE_EXISTS", errors.ScheduleExists],
  ["SCHEDULES_FULL", errors.SchedulesFull],
  ["FILTER_CHANGED", errors.FilterChanged],
  ["WORKER_NOT_FOUND", errors.WorkerNotFound],
  ["OPERATION_NOT_FOUND", errors.OperationNotFound],
  ["OPERATION_NOT_DONE", errors.OperationNotDone],
  ["REQUEST_ID_REUSED", errors.RequestIdReused],
  ["JOB_TERMINAL", errors.JobTerminal],
  ["JOB_NOT_TERMINAL", errors.JobNotTerminal],
  ["JOB_NOT_HELD", errors.JobNotHeld],
  ["IDEMPOTENCY_KEY_REUSED", errors.IdempotencyKeyReused],
  ["DUPLICATE", errors.Duplicate],
  ["SERVERS_DIFFER", errors.ServersDiffer],
  ["ETAG_MISMATCH", errors.EtagMismatch],
  ["KEY_POLICY_CONFLICT", errors.KeyPolicyConflict],
  ["KEY_NOT_BLOCKED", errors.KeyNotBlocked],
  ["QUEUE_KEYS_FULL", errors.QueueKeysFull],
  ["QUEUE_BACKLOG_FULL", errors.QueueBacklogFull],
  ["KEY_BACKLOG_FULL", errors.KeyBacklogFull],
  ["WATCH_TOKEN_EXPIRED", errors.WatchTokenExpired],
  ["SESSION_UNKNOWN", errors.SessionUnknown],
  ["SESSION_ENDED", errors.SessionEnded],
  ["SESSION_SUPERSEDED", errors.SessionSuperseded],
  ["SESSION_SILENT", errors.SessionSilent],
  ["NAMESPACE_DISABLED", errors.NamespaceDisabled],
]);

// For reasons that this version does not know, and for answers of proxies, which have none.
const BY_CODE: ReadonlyMap<Code, ErrorClass> = new Map<Code, ErrorClass>([
  [Code.InvalidArgument, errors.InvalidRequest],
  [Code.OutOfRange, errors.InvalidRequest],
  [Code.NotFound, errors.NotFound],
  [Code.ResourceExhausted, errors.Overloaded],
  [Code.Unavailable, errors.Unavailable],
  [Code.DeadlineExceeded, errors.DeadlineExceeded],
  [Code.Unauthenticated, errors.Unauthenticated],
  [Code.PermissionDenied, errors.NotAllowed],
  [Code.Unimplemented, errors.NotSupported],
  [Code.Internal, errors.ServerFault],
  [Code.Unknown, errors.ServerFault],
  [Code.DataLoss, errors.ServerFault],
]);

// What the transport makes of a connection that broke.
const BROKEN: ReadonlySet<Code> = new Set([Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown]);

/** The typed error of a failed call. What is one already stays as it is. */
export function fromRpc(raised: unknown): errors.JobQueueError {
  if (raised instanceof errors.JobQueueError) return raised;
  const error = ConnectError.from(raised);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const violations = error.findDetails(BadRequestSchema)[0]?.fieldViolations ?? [];
  let code = error.code;
  let message = error.rawMessage || "no details were given";
  // A server's answer carries a status. Without one the connection broke, whatever the transport calls it.
  const answered = error.metadata.has("grpc-status") || error.details.length > 0;
  if (!answered && BROKEN.has(code) && !message.startsWith("serialize")) code = Code.Unavailable;
  let type = BY_REASON.get(info?.reason ?? "") ?? BY_CODE.get(code) ?? errors.JobQueueError;
  if (!info && code === Code.ResourceExhausted && /larger than/.test(message)) {
    // gRPC refuses a message before anybody has read it.
    type = errors.TooLarge;
    message = `a message is too large, the most is 4 MiB (${message})`;
  }
  const fields = violations.map((each) => `${each.field}: ${each.description}`).join("; ");
  // A server often says the one violation in its message already.
  if (fields && !message.includes(fields)) message += ` (${fields})`;
  return new type(message, {
    code: codeName(code),
    reason: info?.reason ?? "",
    metadata: { ...info?.metadata },
    violations: violations.map(({ field, description }) => ({ field, description })),
    retryAfterMs: retry ? durationMs(retry) : undefined,
    requestId: error.metadata.get("x-request-id") ?? "",
    cause: error,
  });
}

/** As gRPC writes it: `NOT_FOUND`. */
function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return Code[code].replace(/(?!^)([A-Z])/g, "_$1").toUpperCase();
}
