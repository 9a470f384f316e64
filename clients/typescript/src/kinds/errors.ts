/** What is wrong with jobs of a typed kind. */

import type { Job } from "../job.js";

/** A payload or an output is of a version that is known here, and is not what that version says. */
export class PayloadUnreadable extends Error {
  override readonly name = "PayloadUnreadable";
}

/** A payload is of a version that this program does not know. */
export class PayloadTooNew extends Error {
  override readonly name = "PayloadTooNew";
}

/** A checkpoint is not of the type that a handler reads it as. Not caught, it is a failure like any other. */
export class CheckpointUnreadable extends Error {
  override readonly name = "CheckpointUnreadable";
}

/** A job has no output, since it has not ended as SUCCEEDED. */
export class JobNotSucceeded extends Error {
  override readonly name = "JobNotSucceeded";
  readonly job: Job;

  constructor(job: Job) {
    const why = [job.reason, job.lastError].filter(Boolean).join(": ");
    super(`the job ${job.id} is ${job.status}${why && ` (${why})`}`);
    this.job = job;
  }
}
