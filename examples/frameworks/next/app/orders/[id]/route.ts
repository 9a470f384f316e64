import { jobs, route } from "../../../lib/jobs";

export const GET = route(async (_request: Request, { params }: { params: Promise<{ id: string }> }) => {
  const { id } = await params;
  const job = await jobs().get(id);
  return Response.json({ status: job.status, receipt: job.output ?? null });
});
