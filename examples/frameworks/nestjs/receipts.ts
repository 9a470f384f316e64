/** The handlers of the shop. */

import type { JobContext } from "@jobqueue/client";
import { JobHandler } from "@jobqueue/nestjs";
import { Injectable } from "@nestjs/common";

import { sendReceipt } from "./kinds.js";
import type { Order, Receipt } from "./kinds.js";

@Injectable()
export class Receipts {
  @JobHandler(sendReceipt, { slots: 4 })
  async deliver(order: Order, ctx: JobContext): Promise<Receipt> {
    ctx.progress(0.5, "writing");
    return { text: `order ${order.number} for ${order.email}` };
  }
}
