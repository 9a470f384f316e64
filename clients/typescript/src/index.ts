/** The client and the worker of JobQueue. */

export type { AccessOptions, TlsOptions, Token } from "./access.js";
export type {
  BulkOptions,
  CancelJobsOptions,
  JobFilter,
  RetryJobsOptions,
  UpdateJobsOptions,
} from "./bulk.js";
export type { Call } from "./calls.js";
export { Client } from "./client.js";
export type {
  ClientOptions,
  ListOptions,
  ListQueueKeysOptions,
  UpdateQueueKeyOptions,
  UpdateQueueOptions,
  WatchOptions,
} from "./client.js";
export { Encoded, EncodingRequired, EncodingUnknown, KeyUnknown, Undecodable } from "./encoded.js";
export * from "./encodings/index.js";
export type { Enqueuer } from "./enqueuer.js";
export * from "./errors.js";
export type { Estimate, Explanation, QueueDemand, Reason, ReasonCode } from "./insight.js";
export { AUTO, Job } from "./job.js";
export type { EncodingRule, FailedAttempt, JobOptions, JobProgress, LeasedJob, NewJob } from "./job.js";
export type * from "./jobs.js";
export * from "./kinds/errors.js";
export { defineKind } from "./kinds/declaration.js";
export type {
  KindDeclaration,
  KindDefaults,
  KindOptions,
  PayloadOf,
  TypedHandler,
  TypedJobOptions,
} from "./kinds/declaration.js";
export { JobKind } from "./kinds/kind.js";
export type { InputOf, JsonSchema, OutputOf, StandardSchema } from "./kinds/standardSchema.js";
export type { Upcast, Upcaster } from "./kinds/versions.js";
export { forKinds, withHeaders } from "./middleware.js";
export type { Middleware, NextEnqueue } from "./middleware.js";
export { Cancelled, Discard, Retry, Snooze } from "./outcomes.js";
export type { Backfill, BulkState, Operation, WaitOperationOptions } from "./operations.js";
export type * from "./overview.js";
export type { CountJobsOptions, GroupBy, StatsOptions } from "./overviewCalls.js";
export { JsonText } from "./payload.js";
export type { KeyFilter, KeyHolder, QueueKey, QueueKeyChange } from "./queueKeys.js";
export type {
  ApplySchedulesOptions,
  BackfillScheduleOptions,
  CreateScheduleOptions,
  ListSchedulesOptions,
  PreviewScheduleOptions,
  RunScheduleOptions,
  ScheduleChange,
  Schedules,
  UpdateScheduleOptions,
} from "./scheduleCalls.js";
export type {
  Applied,
  AppliedSchedule,
  CatchUp,
  NewSchedule,
  Overlap,
  RunCause,
  RunOutcome,
  Schedule,
  SchedulePolicy,
  ScheduleRun,
  ScheduleSpec,
  ScheduleTick,
  TickRule,
} from "./schedules.js";
export { debounce, throttle, whileLive, whileWaiting } from "./unique.js";
export type { Unique, UniqueAction, UniqueField } from "./unique.js";
export type { Watch } from "./watch.js";
export { Stopped } from "./worker/context.js";
export type { JobContext, Stop } from "./worker/context.js";
export type { Handler, HandlerOptions } from "./worker/handlers.js";
export type { Attempt, AttemptOutcome, Observer } from "./worker/observer.js";
export type { Logger, WorkerOptions } from "./worker/options.js";
export type { WorkerState, WorkerStatus } from "./worker/status.js";
export { Worker } from "./worker/worker.js";
export type { StopOptions } from "./worker/worker.js";
export type {
  HeldJob,
  ListWorkersOptions,
  WorkerDrain,
  WorkerSession,
  WorkerSessionState,
} from "./workerSessions.js";
