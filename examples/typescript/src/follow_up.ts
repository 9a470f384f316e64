// Jobs that follow: they are stored in the transaction that ends their job, so there is never one without the other.
//
//     npm run build && node dist/follow_up.js

import { EventEmitter, once } from "node:events";

import { Client, Worker, defineKind } from "@jobqueue/client";
import * as z from "zod";

const QUEUE = "example-follow-up";

const order = z.object({ number: z.int() });
const pack = defineKind({ name: "example_pack", payload: order, queue: QUEUE });
const receipt = defineKind({ name: "example_receipt", payload: order, queue: QUEUE });

const office = new EventEmitter();

const worker = Worker.fromEnv({ queues: [QUEUE], syncKinds: true })
  .handler(pack, ({ number }, ctx) => {
    console.log(`order ${number} is packed`);
    // Stored if this attempt succeeds, and only then.
    ctx.followUp(receipt.new({ number }));
  })
  .handler(receipt, ({ number }) => {
    console.log(`the receipt of order ${number} is sent`);
    office.emit("sent");
  });

const serving = worker.serve();
const client = Client.fromEnv();
try {
  await client.syncKinds([pack, receipt]);
  const sent = once(office, "sent", { signal: AbortSignal.timeout(60_000) });
  await client.enqueue(pack, { number: 7 });
  await sent;
} finally {
  worker.stop();
  await serving;
  client.close();
}
