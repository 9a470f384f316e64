/** The worker: a process of its own, in Node, since a route lives no longer than its request. */

import { Worker } from "@jobqueue/client";

import { sendReceipt } from "./lib/kinds.js";

const worker = Worker.fromEnv({ syncKinds: true });
worker.handler(sendReceipt, (order) => ({ text: `order ${order.number} for ${order.email}` }));
await worker.run();
