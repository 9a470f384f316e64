/** One server for all tests of a run, as the `globalSetup` of vitest or jest. */

import { TestServer } from "./server.js";

/** Finds or starts it, and makes it known to the processes that run tests. Answers what ends it. */
export default async function setup(): Promise<() => Promise<void>> {
  const server = await TestServer.start();
  process.env["JOBQUEUE_TEST_SERVER"] = server.target;
  process.env["JOBQUEUE_TEST_KEY"] = server.key;
  return () => server.close();
}
