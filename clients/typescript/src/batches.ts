/** Many jobs, cut into batches that a server takes. */

import { toBinary } from "@bufbuild/protobuf";

import type { JobQueueError } from "./errors.js";
import { NewJobSchema } from "./gen/jobqueue/v1/job_pb.js";
import type * as pb from "./gen/jobqueue/v1/job_pb.js";
import { newJob } from "./job.js";
import type { NewJob } from "./job.js";
import type { EnqueueResult } from "./jobs.js";

const JOBS = 1000;
// A message may have 4 MiB.
const BYTES = 3 * 1024 * 1024;

/** The jobs as messages, in lists of up to 1000 and 3 MiB, made as they are asked for. */
export async function* batches(jobs: Iterable<NewJob> | AsyncIterable<NewJob>): AsyncGenerator<pb.NewJob[]> {
  let batch: pb.NewJob[] = [];
  let size = 0;
  for await (const job of jobs) {
    const message = newJob(job);
    const bytes = toBinary(NewJobSchema, message).length;
    if (batch.length > 0 && (batch.length === JOBS || size + bytes > BYTES)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(message);
    size += bytes;
  }
  if (batch.length > 0) yield batch;
}

/** The error of a batch, with its paths counted from the first job of all, and what the batches before it did. */
export function rebased(error: JobQueueError, before: readonly EnqueueResult[]): JobQueueError {
  error.enqueued = [...before];
  if (before.length > 0) {
    error.violations = error.violations.map((each) => ({
      ...each,
      field: each.field.replace(/\bjobs\[(\d+)\]/g, (_, index) => `jobs[${Number(index) + before.length}]`),
    }));
    error.message += ` (the ${before.length} jobs of the batches before are enqueued; see enqueued)`;
  }
  return error;
}
