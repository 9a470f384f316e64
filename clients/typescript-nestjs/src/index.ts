/** JobQueue in NestJS. */

export { JobHandler } from "./handler.js";
export type { JobHandlerOptions } from "./handler.js";
export { JobQueueHealthIndicator } from "./health.js";
export type { JobQueueHealth, WorkerHealth } from "./health.js";
export { JobQueueModule } from "./module.js";
export type { JobQueueOptions, JobQueueOptionsFactory, JobQueueWorkerOptions } from "./options.js";
export { OPTIONS as JOBQUEUE_OPTIONS } from "./tokens.js";
export { JobQueueWorkers } from "./workers.js";
