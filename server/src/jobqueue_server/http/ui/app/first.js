// What to type where there is nothing yet: lines that work as they are, on this server and with this key.
import { getKey } from "./auth.js";
import { address } from "./api.js";

/** A line of curl that enqueues a job. The key is not in it: it is read from the environment. */
export function firstJob() {
  const key = getKey() ? ` -H "Authorization: Bearer $JOBQUEUE_TOKEN"` : "";
  return `curl${key} ${address("v1/jobs")} \\\n  -H 'Content-Type: application/json' -d '{"kind": "hello", "payload": {"name": "Ada"}}'`;
}

/** A worker for that job. */
export function firstWorker() {
  return `import logging
from jobqueue import Worker
logging.basicConfig(level=logging.INFO)
worker = Worker("${location.hostname}:50051")
@worker.handler("hello")
async def hello(ctx):
    return {"greeting": f"Hello {ctx.job.payload['name']}"}
worker.run()`;
}
