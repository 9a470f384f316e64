import { jobs, route } from "../../lib/jobs";
import { sendReceipt } from "../../lib/kinds";

/** Answers when the job is committed. The same Idempotency-Key again is the same job. */
export const POST = route(async (request: Request) => {
  const idempotencyKey = request.headers.get("idempotency-key") ?? undefined;
  // What is no JSON is no order.
  const order = await request.json().catch(() => null);
  const job = await jobs().enqueue(sendReceipt, order, { idempotencyKey });
  return Response.json({ job: job.id }, { status: 202 });
});
