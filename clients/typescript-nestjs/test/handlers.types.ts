/** What a type checker says of handlers: each line below an `@ts-expect-error` is wrong, and all others are right. */

import { defineKind } from "@jobqueue/client";
import type { JobContext, LeasedJob } from "@jobqueue/client";
import * as z from "zod";

import { JobHandler, JobQueueModule } from "../src/index.js";

const mail = defineKind({ name: "mail", payload: z.object({ to: z.string() }), output: z.string() });

export class Right {
  @JobHandler(mail, { slots: 2, worker: "bulk" })
  whole({ to }: { to: string }, ctx: JobContext): string {
    return `${to}, ${ctx.job.attempt}`;
  }

  @JobHandler(mail, { worker: ["default", "bulk"] })
  async later(): Promise<string> {
    return "";
  }

  @JobHandler("mail")
  untyped(job: LeasedJob, _ctx: JobContext): unknown {
    return job.payload;
  }
}

export class Wrong {
  // @ts-expect-error The payload is no number.
  @JobHandler(mail)
  payload(_payload: number): string {
    return "";
  }

  // @ts-expect-error The output is a string.
  @JobHandler(mail)
  output(): number {
    return 1;
  }

  // @ts-expect-error A handler has no third argument.
  @JobHandler(mail)
  more(_payload: { to: string }, _ctx: JobContext, _more: number): string {
    return "";
  }

  // @ts-expect-error It is no method.
  @JobHandler(mail)
  field = "";
}

JobQueueModule.forRoot({ workers: { default: { queues: ["mail"], shutdownGraceMs: 1000 } } });
JobQueueModule.forRootAsync({ useFactory: async () => ({ runWorkers: false }) });
// @ts-expect-error What is for all workers is not said for one.
JobQueueModule.forRoot({ workers: { default: { middleware: [] } } });
