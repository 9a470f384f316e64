"""The service QueueAdmin: convert, call the core, render."""

from __future__ import annotations

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import queue_admin_pb2 as admin_pb

from ..chain import Call
from ..core.catalog.catalog import Catalog
from ..core.catalog.queues import QueueService
from . import checks, convert
from .checks import Problems

_FORMATS = dict(pb.PayloadFormat.items())


class QueueAdminServicer:
    """Reads and changes queues and kinds. The contract lists the errors; `checks` and the core raise them."""

    def __init__(self, catalog: Catalog, queues: QueueService) -> None:
        self._catalog = catalog
        self._queues = queues

    async def ListQueues(
        self, request: admin_pb.ListQueuesRequest, call: Call
    ) -> admin_pb.ListQueuesResponse:
        """Reads a page of queues by name."""
        problems = Problems()
        _page(request, problems)
        problems.raise_if_any()
        queues, token = await self._queues.list_queues(call.scope, request.page_size, request.page_token)
        return admin_pb.ListQueuesResponse(
            queues=[convert.queue_message(queue) for queue in queues], next_page_token=token
        )

    async def GetQueue(self, request: admin_pb.GetQueueRequest, call: Call) -> admin_pb.GetQueueResponse:
        """Reads one queue."""
        queue = await self._queues.get_queue(call.scope, _checked(request.name))
        return admin_pb.GetQueueResponse(queue=convert.queue_message(queue))

    async def PauseQueue(
        self, request: admin_pb.PauseQueueRequest, call: Call
    ) -> admin_pb.PauseQueueResponse:
        """Stops the claiming of a queue's jobs."""
        queue = await self._queues.pause_queue(call.scope, _checked(request.name))
        return admin_pb.PauseQueueResponse(queue=convert.queue_message(queue))

    async def ResumeQueue(
        self, request: admin_pb.ResumeQueueRequest, call: Call
    ) -> admin_pb.ResumeQueueResponse:
        """Allows the claiming of a queue's jobs again."""
        queue = await self._queues.resume_queue(call.scope, _checked(request.name))
        return admin_pb.ResumeQueueResponse(queue=convert.queue_message(queue))

    async def PutKind(self, request: admin_pb.PutKindRequest, call: Call) -> admin_pb.PutKindResponse:
        """Declares a kind, or replaces it as a whole."""
        problems = Problems()
        checks.enum(request.payload_format, _FORMATS, "payload_format", problems)
        if not request.HasField("kind"):
            problems.add("kind", "is required")
            problems.raise_if_any()
        kind = convert.kind(request.kind, problems)
        problems.raise_if_any()
        kind = await self._catalog.put_kind(call.scope, kind)
        return admin_pb.PutKindResponse(kind=convert.kind_message(kind, request.payload_format))

    async def ListKinds(self, request: admin_pb.ListKindsRequest, call: Call) -> admin_pb.ListKindsResponse:
        """Reads a page of kinds by name."""
        problems = Problems()
        _page(request, problems)
        checks.enum(request.payload_format, _FORMATS, "payload_format", problems)
        problems.raise_if_any()
        kinds, token = await self._catalog.list_kinds(call.scope, request.page_size, request.page_token)
        return admin_pb.ListKindsResponse(
            kinds=[convert.kind_message(kind, request.payload_format) for kind in kinds],
            next_page_token=token,
        )


def _page(request: admin_pb.ListQueuesRequest | admin_pb.ListKindsRequest, problems: Problems) -> None:
    checks.page_size(request.page_size, problems)
    checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)


def _checked(name: str) -> str:
    problems = Problems()
    checks.name(name, "name", problems)
    problems.raise_if_any()
    return name
