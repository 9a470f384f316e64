// The app of a recipe with one more handler, which enqueues by the app's client once it is let go on: `express` or `fastify`.

import { existsSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

import { Client } from "../../../clients/typescript/dist/index.js";

const built = (name) => import(`../../../examples/frameworks/${process.argv[2]}/dist/${name}.js`);

const jobs = Client.fromEnv();
// A closed client opens again at the next call, so only this tells when it closes.
const close = jobs.close.bind(jobs);
jobs.close = () => {
  console.log("the client closes");
  close();
};
const worker = (await built("jobs")).makeWorker().handler("slow", async (job, ctx) => {
  console.log("slow runs");
  while (!existsSync(job.payload.until)) await setTimeout(100);
  await jobs.enqueue("by-client");
  ctx.followUp({ kind: "by-settlement" });
  console.log("slow ends");
});

if (process.argv[2] === "express") {
  await (await built("serve")).serve(jobs, worker);
} else {
  const app = (await built("app")).makeApp(jobs, worker);
  process.once("SIGTERM", () => app.close());
  await app.listen({ host: "127.0.0.1", port: 0 });
}
