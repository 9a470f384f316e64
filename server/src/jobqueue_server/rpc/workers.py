"""The methods of Insight about workers: convert, call the core, render."""

from __future__ import annotations

import re
from typing import cast

from jobqueue.v1 import worker_pb2 as worker_pb

from ..chain import Call
from ..core.insight.worker_list import WorkerList, WorkerSeen
from ..model import MAX_WORKER_NAME
from ..store.insight.workers import WorkerFilter
from . import checks, convert
from .checks import Problems

_STATES = {name: number for name, number in worker_pb.Worker.State.items() if number}
_is_session_id = re.compile(r"[1-9][0-9]{0,17}", re.ASCII).fullmatch


class WorkerServicer:
    """Lists, reads and drains workers. The contract lists the errors; `checks` and the core raise them."""

    def __init__(self, workers: WorkerList) -> None:
        self._workers = workers

    async def ListWorkers(
        self, request: worker_pb.ListWorkersRequest, call: Call
    ) -> worker_pb.ListWorkersResponse:
        """Reads a page of workers, newest first."""
        problems = Problems()
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)
        if request.queue:
            checks.name(request.queue, "queue", problems)
        if request.kind:
            checks.name(request.kind, "kind", problems, "send_email")
        checks.text(request.name, "name", MAX_WORKER_NAME, problems)
        for index, state in enumerate(request.state):
            checks.enum(state, _STATES, f"state[{index}]", problems)
        problems.raise_if_any()
        wanted = WorkerFilter(
            request.queue or None, request.kind or None, request.name, tuple(sorted(set(request.state)))
        )
        found, token = await self._workers.list(call.scope, wanted, request.page_size, request.page_token)
        return worker_pb.ListWorkersResponse(
            workers=[worker_message(worker) for worker in found], next_page_token=token
        )

    async def GetWorker(self, request: worker_pb.GetWorkerRequest, call: Call) -> worker_pb.GetWorkerResponse:
        """Reads a worker."""
        problems = Problems()
        session_id = _session_id(request.session_id, problems)
        problems.raise_if_any()
        return worker_pb.GetWorkerResponse(
            worker=worker_message(await self._workers.get(call.scope, session_id))
        )

    async def DrainWorker(
        self, request: worker_pb.DrainWorkerRequest, call: Call
    ) -> worker_pb.DrainWorkerResponse:
        """Gives a worker no more jobs."""
        problems = Problems()
        session_id = _session_id(request.session_id, problems)
        checks.text(request.reason, "reason", checks.MAX_REASON_CHARS, problems)
        problems.raise_if_any()
        worker = await self._workers.drain(call.scope, session_id, request.reason)
        return worker_pb.DrainWorkerResponse(worker=worker_message(worker))


def _session_id(text: str, problems: Problems) -> int:
    if _is_session_id(text):
        return int(text)
    problems.add("session_id", "must be the number of a session, such as 4711: `Worker.session_id`")
    return 0


def worker_message(worker: WorkerSeen) -> worker_pb.Worker:
    """A worker in the contract's form."""
    message = worker_pb.Worker(
        session_id=str(worker.session_id),
        name=worker.name,
        labels=worker.labels,
        client=worker.client,
        address=worker.address,
        principal=worker.principal,
        server=worker.server,
        takes=[
            worker_pb.WorkerTakes(queue=queue, kinds=kinds) for queue, kinds in sorted(worker.takes.items())
        ],
        slots=worker.slots,
        free_slots=worker.free_slots,
        held=worker.held,
        state=cast("worker_pb.Worker.State.ValueType", int(worker.state)),
    )
    convert.set_moment(message.opened_at, worker.opened_at)
    if worker.silent_since is not None:
        convert.set_moment(message.silent_since, worker.silent_since)
    if worker.ends_at is not None:
        convert.set_moment(message.ends_at, worker.ends_at)
    if worker.drain is not None:
        convert.set_moment(message.drain.since, worker.drain.since)
        message.drain.by, message.drain.reason = worker.drain.by, worker.drain.reason
    for job in worker.jobs:
        shown = message.jobs.add(
            job_id=str(job.job_id),
            queue=job.queue,
            kind=job.kind,
            attempt=job.attempt,
            cancel_requested=job.cancel_requested,
        )
        convert.set_moment(shown.since, job.since)
        if job.deadline_at is not None:
            convert.set_moment(shown.deadline_at, job.deadline_at)
    return message
