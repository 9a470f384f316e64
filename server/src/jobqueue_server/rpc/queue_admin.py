"""The service QueueAdmin: convert, call the core, render."""

from __future__ import annotations

from dataclasses import replace

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import queue_admin_pb2 as admin_pb

from ..chain import Call
from ..core.catalog.catalog import Catalog
from ..core.catalog.etags import etag_of
from ..core.catalog.queues import QueueService
from ..model import Kind, Queue
from . import checks, convert, key_policy, kind_values
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
            queues=[_message(queue) for queue in queues], next_page_token=token
        )

    async def GetQueue(self, request: admin_pb.GetQueueRequest, call: Call) -> admin_pb.GetQueueResponse:
        """Reads one queue."""
        queue = await self._queues.get_queue(call.scope, _checked(request.name))
        return admin_pb.GetQueueResponse(queue=_message(queue))

    async def PauseQueue(
        self, request: admin_pb.PauseQueueRequest, call: Call
    ) -> admin_pb.PauseQueueResponse:
        """Stops the claiming of a queue's jobs."""
        problems = Problems()
        checks.name(request.name, "name", problems)
        checks.text(request.reason, "reason", checks.MAX_REASON_CHARS, problems)
        problems.raise_if_any()
        queue = await self._queues.pause_queue(call.scope, request.name, request.reason)
        return admin_pb.PauseQueueResponse(queue=_message(queue))

    async def ResumeQueue(
        self, request: admin_pb.ResumeQueueRequest, call: Call
    ) -> admin_pb.ResumeQueueResponse:
        """Allows the claiming of a queue's jobs again."""
        queue = await self._queues.resume_queue(call.scope, _checked(request.name))
        return admin_pb.ResumeQueueResponse(queue=_message(queue))

    async def UpdateQueue(
        self, request: admin_pb.UpdateQueueRequest, call: Call
    ) -> admin_pb.UpdateQueueResponse:
        """Changes what a queue allows of its jobs, and of those of one key."""
        problems = Problems()
        checks.name(request.queue.name, "queue.name", problems)
        checks.text(request.queue.etag, "queue.etag", key_policy.MAX_ETAG_CHARS, problems)
        changes, own = key_policy.changes(request, problems)
        problems.raise_if_any()
        queue = await self._queues.update_queue(
            call.scope,
            request.queue.name,
            changes,
            own=own,
            etag=request.queue.etag,
            make=request.allow_missing,
        )
        return admin_pb.UpdateQueueResponse(queue=_message(queue))

    async def UnblockQueueKey(
        self, request: admin_pb.UnblockQueueKeyRequest, call: Call
    ) -> admin_pb.UnblockQueueKeyResponse:
        """Lets a key go on that a failed job blocks."""
        problems = Problems()
        checks.name(request.queue, "queue", problems)
        checks.key(request.key, "key", problems)
        problems.raise_if_any()
        blocked_by, waiting = await self._queues.unblock_key(call.scope, request.queue, request.key)
        return admin_pb.UnblockQueueKeyResponse(blocked_by=str(blocked_by), waiting=waiting)

    async def PutKind(self, request: admin_pb.PutKindRequest, call: Call) -> admin_pb.PutKindResponse:
        """Declares a kind, or changes it: as a whole, or what the mask names."""
        problems = Problems()
        checks.enum(request.payload_format, _FORMATS, "payload_format", problems)
        if not request.HasField("kind"):
            problems.add("kind", "is required")
            problems.raise_if_any()
        kind = convert.kind(request.kind, problems)
        limits = key_policy.limits_of(request.kind, problems)
        fields = kind_values.fields_named(request, problems)
        problems.raise_if_any()
        kind, changed = await self._catalog.put_kind(
            call.scope, replace(kind, **limits), fields, only_newer=request.only_newer
        )
        return admin_pb.PutKindResponse(
            kind=_kind_message(kind, request.payload_format), unchanged=not changed
        )

    async def ListKinds(self, request: admin_pb.ListKindsRequest, call: Call) -> admin_pb.ListKindsResponse:
        """Reads a page of kinds by name."""
        problems = Problems()
        _page(request, problems)
        checks.enum(request.payload_format, _FORMATS, "payload_format", problems)
        problems.raise_if_any()
        kinds, token = await self._catalog.list_kinds(call.scope, request.page_size, request.page_token)
        return admin_pb.ListKindsResponse(
            kinds=[_kind_message(kind, request.payload_format) for kind in kinds],
            next_page_token=token,
        )


def _message(queue: Queue) -> admin_pb.Queue:
    message = convert.queue_message(queue)
    message.etag = etag_of(queue.revision)
    if queue.max_running is not None or queue.rate is not None:
        message.limits.CopyFrom(key_policy.limits_message(queue.max_running, queue.rate))
    if queue.keys is not None:
        message.key_policy.CopyFrom(key_policy.policy_message(queue.keys))
    key_policy.set_retention(message, queue.retention)
    return message


def _kind_message(kind: Kind, payload_format: int) -> admin_pb.Kind:
    message = convert.kind_message(kind, payload_format)
    if kind.max_running is not None or kind.rate is not None:
        message.limits.CopyFrom(key_policy.limits_message(kind.max_running, kind.rate))
    return message


def _page(request: admin_pb.ListQueuesRequest | admin_pb.ListKindsRequest, problems: Problems) -> None:
    checks.page_size(request.page_size, problems)
    checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)


def _checked(name: str) -> str:
    problems = Problems()
    checks.name(name, "name", problems)
    problems.raise_if_any()
    return name
