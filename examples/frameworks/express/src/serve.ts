/** How the app begins and ends. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import type { Client, Worker } from "@jobqueue/client";

import { makeApp } from "./app.js";

/**
 * Serves requests, and jobs where there is a worker, until SIGTERM or SIGINT. The same signal again ends the process at once.
 *
 * @throws Error The port is taken, or the server refused the worker.
 */
export async function serve(jobs: Client, worker?: Worker): Promise<void> {
  const { HOST = "127.0.0.1", PORT = "3000" } = process.env;
  const server = createServer(makeApp(jobs)).listen(Number(PORT), HOST);
  await once(server, "listening");
  console.log(`listens at http://${HOST}:${(server.address() as AddressInfo).port}`);
  const serving = worker?.serve();
  const signal = new Promise<void>((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"]) process.once(name, () => resolve());
  });
  try {
    // A worker that the server refuses ends the app as well.
    await Promise.race([signal, serving ?? signal]);
  } finally {
    const answered = once(server.close(), "close");
    worker?.stop({ reason: "the app ends" });
    // Requests and handlers may enqueue to their last line, so the client closes after both.
    await Promise.allSettled([answered, serving]);
    jobs.close();
  }
}
