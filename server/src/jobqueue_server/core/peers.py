"""What servers tell each other: which lines have jobs, and what became of leases of sessions elsewhere.

One notice a server per 25 ms at most, with all that gathered. It is for speed alone: what is lost with a connection is
found by the sweep, by the look for cancels, each once a second, and by the audit.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from ..errors import DatabaseAway, JobQueueError
from ..metrics import Metrics
from ..store.notices import MAX_NOTICE_BYTES, Notices
from .catalog import Catalog
from .events.this_server import ThisServer
from .tuning import Tuning

_log = logging.getLogger(__name__)

MAX_REASON_CHARS = 200
# One that was heard is there, before the next heartbeat counts it.
HEARD_COUNTS_FOR = 10.0


class Peers:
    """This server's notices to the others, and theirs to it.

    Attributes:
        on_ready: A job is ready: (lane id, priority, whether it is to run alone).
        on_cancel: A job's worker is to be told: (job id, session id, attempt, reason).
        on_taken_back: A lease is over: (session id, job id, attempt, reason).
        on_gone: A session goes on elsewhere: (session id, last epoch that is over).
        on_ended: A session has ended: (session id, its epoch).
    """

    def __init__(
        self,
        notices: Notices,
        catalog: Catalog,
        metrics: Metrics,
        server: ThisServer,
        tuning: Tuning | None = None,
    ) -> None:
        self._notices = notices
        self._catalog = catalog
        self._metrics = metrics
        self._server = server
        self._tuning = tuning or Tuning()
        self._connected = False
        # The things to tell, each once, in their order: (name in the notice, what).
        self._news: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()
        self._echoed = True
        self._heard_at = -HEARD_COUNTS_FOR
        self._refreshing: asyncio.Task[None] | None = None
        self.on_ready: Callable[[int, int, bool], None] = lambda lane_id, priority, alone: None
        self.on_cancel: Callable[[UUID, int, int, str], object] = lambda job_id, session_id, attempt, reason: (
            None
        )
        self.on_taken_back: Callable[[int, UUID, int, str], object] = (
            lambda session_id, job_id, attempt, reason: None
        )
        self.on_gone: Callable[[int, int], None] = lambda session_id, epoch: None
        self.on_ended: Callable[[int, int], None] = lambda session_id, epoch: None

    # ---- what this server tells

    def tell_ready(self, lane_id: int, priority: int, alone: bool) -> None:
        """A job may be claimed there."""
        self._tell("alone" if alone else "ready", [lane_id, priority])

    def tell_cancel(self, job_id: UUID, session_id: int, attempt: int, reason: str) -> None:
        """The worker that holds the attempt is to be told to stop."""
        self._tell("cancel", [str(job_id), session_id, attempt, reason[:MAX_REASON_CHARS]])

    def tell_taken_back(self, session_id: int, job_id: UUID, attempt: int, reason: str) -> None:
        """The attempt is over, and its worker may not know."""
        self._tell("taken_back", [session_id, str(job_id), attempt, reason])

    def tell_gone(self, session_id: int, epoch: int) -> None:
        """The session goes on here: up to this epoch it is nobody's any more."""
        self._tell("gone", [session_id, epoch])

    def tell_ended(self, session_id: int, epoch: int) -> None:
        """The session has ended, in this epoch."""
        self._tell("ended", [session_id, epoch])

    def _tell(self, name: str, what: list[Any]) -> None:
        if self._connected and self._somebody_listens() and len(self._news) < self._tuning.notices_kept:
            self._news[name, json.dumps(what, ensure_ascii=False, separators=(",", ":"))] = None
            self._wake.set()

    def _somebody_listens(self) -> bool:
        return self._server.others > 0 or time.monotonic() - self._heard_at < HEARD_COUNTS_FOR

    # ---- notices

    async def run(self) -> None:
        """Listens and tells, and connects anew where that fails, until cancelled."""
        said = False
        while True:
            try:
                await self._notices.open(self._take)
                self._connected = self._echoed = True
                self._metrics.listening()
                await self._serve()
            except JobQueueError as error:
                if not said:
                    said = True
                    _log.warning(
                        "servers are not told of each other's work (they look once a second): %s",
                        error.message,
                    )
            finally:
                self._connected = False
                self._news.clear()
                await self._notices.close()
            await asyncio.sleep(self._tuning.notices_again_after)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        echo_at = loop.time()
        while True:
            if loop.time() >= echo_at:
                if not self._echoed:
                    raise DatabaseAway(
                        "a notice did not come back; where a pooler swallows them, set JOBQUEUE_NOTIFY=off"
                    )
                self._echoed = False
                echo_at = loop.time() + self._tuning.notices_echo_every
                await self._notices.send(self._notice({"echo": ["1"]}))
            try:
                async with asyncio.timeout_at(echo_at):
                    await self._wake.wait()
            except TimeoutError:
                continue
            await self._send()
            # The first news goes out at once; what comes with it, together.
            await asyncio.sleep(self._tuning.notices_gather)

    async def _send(self) -> None:
        parts: dict[str, list[str]] = {}
        size = len(self._notice({}))
        for name, what in list(self._news):
            size += len(what.encode()) + 1 + (0 if name in parts else len(name) + 6)
            if size > MAX_NOTICE_BYTES:
                break
            parts.setdefault(name, []).append(what)
            del self._news[name, what]
        if not self._news:
            self._wake.clear()
        if parts:
            await self._notices.send(self._notice(parts))
            self._metrics.notice("sent")

    def _notice(self, parts: dict[str, list[str]]) -> str:
        fields = [
            f'"from":{self._server.id}',
            *(f'"{name}":[{",".join(what)}]' for name, what in parts.items()),
        ]
        return "{" + ",".join(fields) + "}"

    # ---- what others tell

    def _take(self, text: str) -> None:
        """A notice. What a newer server says in words that this one does not know is ignored."""
        try:
            notice = json.loads(text)
            if notice["from"] == self._server.id:
                self._echoed = True
                return
            self._heard_at = time.monotonic()
            self._metrics.notice("received")
            self._hear(notice)
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("a notice on the channel of the queue is not one: %.100r", text)

    def _hear(self, notice: dict[str, Any]) -> None:
        for job_id, session_id, attempt, reason in notice.get("cancel", ()):
            self.on_cancel(UUID(job_id), session_id, attempt, reason)
        for session_id, job_id, attempt, reason in notice.get("taken_back", ()):
            self.on_taken_back(session_id, UUID(job_id), attempt, reason)
        for session_id, epoch in notice.get("gone", ()):
            self.on_gone(session_id, epoch)
        for session_id, epoch in notice.get("ended", ()):
            self.on_ended(session_id, epoch)
        ready = list(_lines(notice))
        if all(self._catalog.lane_by_id(lane_id) is not None for lane_id, _, _ in ready):
            self._ready(ready)
        elif self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(ready))

    def _ready(self, lines: list[tuple[int, int, bool]]) -> None:
        for lane_id, priority, alone in lines:
            self.on_ready(lane_id, priority, alone)

    async def _refresh(self, ready: list[tuple[int, int, bool]]) -> None:
        """Another server made a lane. Where it can't be looked up now, the catalog's own refresh finds it."""
        try:
            await self._catalog.refresh()
        except JobQueueError:
            return
        self._ready(ready)


def _lines(notice: dict[str, Any]) -> Iterator[tuple[int, int, bool]]:
    for name, alone in (("ready", False), ("alone", True)):
        for lane_id, priority in notice.get(name, ()):
            yield lane_id, priority, alone
