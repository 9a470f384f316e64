/** The requests of the shop. */

import { Client } from "@jobqueue/client";
import {
  Body,
  Controller,
  Get,
  Headers,
  HttpCode,
  NotFoundException,
  Param,
  ParseUUIDPipe,
  Post,
} from "@nestjs/common";

import { sendReceipt } from "./kinds.js";
import type { Order } from "./kinds.js";

@Controller("orders")
export class Orders {
  constructor(private readonly jobs: Client) {}

  /** Answers when the job is committed. The same Idempotency-Key again is the same job. */
  @Post()
  @HttpCode(202)
  async place(
    @Body() order: Order,
    @Headers("idempotency-key") idempotencyKey?: string,
  ): Promise<{ job: string }> {
    const job = await this.jobs.enqueue(sendReceipt, order, { idempotencyKey });
    return { job: job.id };
  }

  /** How far it is. */
  @Get(":id")
  async look(@Param("id", ParseUUIDPipe) id: string): Promise<{ status: string; receipt: unknown }> {
    const job = await this.jobs.get(id);
    // Any job of the namespace has an id.
    if (job.kind !== sendReceipt.name) throw new NotFoundException("no such job");
    return { status: job.status, receipt: job.output ?? null };
  }
}
