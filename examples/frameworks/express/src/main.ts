/** The app as a process; with WORKER_IN_APP=1 it runs jobs as well. */

import { Client } from "@jobqueue/client";

import { makeWorker } from "./jobs.js";
import { serve } from "./serve.js";

await serve(Client.fromEnv({ deadlineMs: 5_000 }), process.env["WORKER_IN_APP"] ? makeWorker() : undefined);
