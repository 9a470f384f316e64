/** The app as a process; with WORKER_IN_APP=1 it runs jobs as well. */

import { Client } from "@jobqueue/client";

import { makeApp } from "./app.js";
import { makeWorker } from "./jobs.js";

const { HOST = "127.0.0.1", PORT = "3000", WORKER_IN_APP } = process.env;
const app = makeApp(Client.fromEnv({ deadlineMs: 5_000 }), WORKER_IN_APP ? makeWorker() : undefined);
// The same signal again ends the process at once.
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => app.close());
await app.listen({ host: HOST, port: Number(PORT) });
