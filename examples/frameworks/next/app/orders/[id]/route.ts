import { jobs, route } from "../../../lib/jobs";
import { sendReceipt } from "../../../lib/kinds";

export const GET = route(async (_request: Request, { params }: { params: Promise<{ id: string }> }) => {
  const { id } = await params;
  const job = await jobs().get(id);
  // Any job of the namespace has an id.
  if (job.kind !== sendReceipt.name) return Response.json({ detail: "no such job" }, { status: 404 });
  return Response.json({ status: job.status, receipt: job.output ?? null });
});
