/** A handler alone, by the code that a worker runs, without a server; and a client that keeps what is enqueued. */

export type { Ending, Performed, Report } from "./performed.js";
export { StillRunning, attempt, perform } from "./performing.js";
export type { AttemptOptions, PerformOptions } from "./performing.js";
export { RecordingClient } from "./recording.js";
export type { Idle, IdleOptions, Waiting } from "./idle.js";
export { TestScope, testScope } from "./scope.js";
export type { Wanted, WantedCount } from "./scope.js";
export { ServerMissing, TestServer } from "./server.js";
export type { ScopeKey } from "./server.js";
