/** One server for all tests of a run, as the `globalSetup` of vitest or jest. */

import { TestServer } from "./server.js";

const NAMES = ["JOBQUEUE_TEST_SERVER", "JOBQUEUE_TEST_KEY"];

/** Finds or starts it, and makes it known to the processes that run tests. Answers what ends it. */
export default async function setup(): Promise<() => Promise<void>> {
  const { env } = process;
  const before = NAMES.map((name) => env[name]);
  const server = await TestServer.start();
  env["JOBQUEUE_TEST_SERVER"] = server.target;
  env["JOBQUEUE_TEST_KEY"] = server.key;
  return async () => {
    await server.close();
    // A runner that sets up anew, as in its watch mode, must not find a server that is gone.
    NAMES.forEach((name, number) => {
      if (before[number] === undefined) delete env[name];
      else env[name] = before[number];
    });
  };
}
