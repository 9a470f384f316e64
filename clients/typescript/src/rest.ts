/**
 * A producer over `fetch` and the REST contract, where HTTP/2 can't be spoken: edge functions, Deno, Workers, browsers.
 * Nothing that it loads is Node's own.
 */

export type { Call } from "./calls.js";
export { Encoded, EncodingRequired } from "./encoded.js";
export type { Enqueuer } from "./enqueuer.js";
export * from "./errors.js";
export { AUTO, Job } from "./job.js";
export type { EncodingRule, JobOptions, NewJob } from "./job.js";
export type { Cancellation, EnqueueResult, RetryPolicy, Status } from "./jobs.js";
export { defineKind } from "./kinds/declaration.js";
export type { KindDeclaration, KindOptions, PayloadOf, TypedJobOptions } from "./kinds/declaration.js";
export * from "./kinds/errors.js";
export { JobKind } from "./kinds/kind.js";
export { JsonText } from "./payload.js";
export { RestClient } from "./rest/client.js";
export type { RestOptions } from "./rest/client.js";
export { debounce, throttle, whileLive, whileWaiting } from "./unique.js";
export type { Unique, UniqueAction } from "./unique.js";
