"""The service QueueAdmin, single keys of queues: convert, call the core, render."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobqueue.v1 import queue_admin_pb2 as pb

from ..chain import Call
from ..core.catalog.etags import etag_of
from ..core.policy.queue_keys import Only, QueueKeyService
from ..model import MAX_RUNNING_OF_A_KEY, QueueKey
from . import checks, convert
from .checks import Problems
from .key_policy import MAX_ETAG_CHARS

#: A token has the last key of its page, and this is the longest one.
MAX_TOKEN_CHARS = 1536
BY_NAME, BY_WAITING = "key", "waiting desc"
_ONLY = dict(pb.ListQueueKeysRequest.Only.items())
_FIELDS = ("max_running", "paused")


class QueueKeyServicer:
    """Reads and changes keys of queues. The contract lists the errors; `checks` and the core raise them."""

    def __init__(self, keys: QueueKeyService) -> None:
        self._keys = keys

    async def ListQueueKeys(self, request: pb.ListQueueKeysRequest, call: Call) -> pb.ListQueueKeysResponse:
        """Reads a page of the keys of a queue."""
        problems = Problems()
        checks.name(request.queue, "queue", problems)
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", MAX_TOKEN_CHARS, problems)
        checks.enum(request.only, _ONLY, "only", problems)
        if request.order_by not in ("", BY_NAME, BY_WAITING):
            problems.add("order_by", f"must be {BY_NAME!r} or {BY_WAITING!r}")
        problems.raise_if_any()
        keys, token, capped = await self._keys.list_keys(
            call.scope,
            request.queue,
            request.page_size,
            request.page_token,
            Only(request.only),
            by_waiting=request.order_by == BY_WAITING,
        )
        return pb.ListQueueKeysResponse(
            keys=[_message(key) for key in keys], next_page_token=token, capped=capped
        )

    async def GetQueueKey(self, request: pb.GetQueueKeyRequest, call: Call) -> pb.GetQueueKeyResponse:
        """Reads one key of a queue."""
        problems = Problems()
        checks.name(request.queue, "queue", problems)
        checks.key(request.key, "key", problems)
        problems.raise_if_any()
        key = await self._keys.get_key(call.scope, request.queue, request.key)
        return pb.GetQueueKeyResponse(queue_key=_message(key))

    async def UpdateQueueKey(
        self, request: pb.UpdateQueueKeyRequest, call: Call
    ) -> pb.UpdateQueueKeyResponse:
        """Gives a key a limit of its own, or pauses it."""
        problems = Problems()
        key = request.queue_key
        checks.name(key.queue, "queue_key.queue", problems)
        checks.key(key.key, "queue_key.key", problems)
        checks.text(key.etag, "queue_key.etag", MAX_ETAG_CHARS, problems)
        changes = _changes(request, problems)
        problems.raise_if_any()
        changed = await self._keys.update_key(call.scope, key.queue, key.key, changes, etag=key.etag)
        return pb.UpdateQueueKeyResponse(queue_key=_message(changed))


def _changes(request: pb.UpdateQueueKeyRequest, problems: Problems) -> Mapping[str, Any]:
    key = request.queue_key
    paths = list(request.update_mask.paths)
    if not paths:
        paths = [name for name in _FIELDS if getattr(key, name)]
        if not paths:
            checks.no_change("queue_key", _FIELDS, problems)
    found: dict[str, Any] = {}
    for path in paths:
        match path:
            case "max_running":
                if not 0 <= key.max_running <= MAX_RUNNING_OF_A_KEY:
                    problems.add(
                        "queue_key.max_running", f"must be 1 to {MAX_RUNNING_OF_A_KEY}, or 0 for the queue's"
                    )
                found[path] = key.max_running or None
            case "paused":
                found[path] = key.paused
            case _:
                checks.mask_path(path, _FIELDS, problems)
    return found


def _message(key: QueueKey) -> pb.QueueKey:
    message = pb.QueueKey(
        queue=key.queue,
        key=key.key,
        max_running=key.max_running or 0,
        paused=key.paused,
        paused_by=key.paused_by,
        limit=key.limit or 0,
        taken=key.taken,
        waiting=key.waiting,
        etag=etag_of(key.revision),
    )
    for holder in key.holders:
        shown = message.holders.add(job_id=str(holder.job_id), worker=holder.worker)
        convert.set_moment(shown.since, holder.since)
    if key.paused_at is not None:
        convert.set_moment(message.paused_at, key.paused_at)
    if key.next_start_at is not None:
        convert.set_moment(message.next_start_at, key.next_start_at)
    if key.paused_until is not None:
        convert.set_moment(message.paused_until, key.paused_until)
    if key.blocked_by is not None:
        message.blocked_by = str(key.blocked_by)
    return message
