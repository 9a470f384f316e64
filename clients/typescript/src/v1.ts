/** The generated messages and services of the contract, for what the client does not cover. */

export * from "./gen/jobqueue/v1/access_admin_pb.js";
export * from "./gen/jobqueue/v1/access_pb.js";
export * from "./gen/jobqueue/v1/bulk_pb.js";
export * from "./gen/jobqueue/v1/insight_pb.js";
export * from "./gen/jobqueue/v1/job_pb.js";
export * from "./gen/jobqueue/v1/jobqueue_pb.js";
export * from "./gen/jobqueue/v1/lease_pb.js";
export * from "./gen/jobqueue/v1/queue_admin_pb.js";
export * from "./gen/jobqueue/v1/schedule_pb.js";
