"""The connection for notices between servers: one notice a server per 25 ms at most, with all news that gathered."""

from __future__ import annotations

import asyncio
import json
import logging

from ...errors import DatabaseAway, JobQueueError
from ...metrics import Metrics
from ...store.events.notices import MAX_NOTICE_BYTES, Notices
from ..catalog.catalog import Catalog
from ..tuning import Tuning
from .notices import Peers, Ready
from .this_server import ThisServer

_log = logging.getLogger(__name__)


class Exchange:
    """Sends this server's news, and receives the news of the others."""

    def __init__(
        self,
        notices: Notices,
        peers: Peers,
        server: ThisServer,
        catalog: Catalog,
        metrics: Metrics,
        tuning: Tuning | None = None,
    ) -> None:
        self._notices = notices
        self._peers = peers
        self._server = server
        self._catalog = catalog
        self._metrics = metrics
        self._tuning = tuning or Tuning()
        self._echoed = True
        self._refreshing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Listens and tells, and connects anew where that fails, until cancelled."""
        said = False
        while True:
            try:
                await self._notices.open(self._take)
                self._echoed = True
                self._peers.connected(True)
                self._metrics.listening()
                await self._serve()
            except JobQueueError as error:
                if not said:
                    said = True
                    _log.warning(
                        "servers are not told of each other's work (they ask the database once a second): %s",
                        error.message,
                    )
            finally:
                self._peers.connected(False)
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
                    await self._peers.news()
            except TimeoutError:
                continue
            parts = self._peers.take(MAX_NOTICE_BYTES - len(self._notice({})))
            if parts:
                await self._notices.send(self._notice(parts))
                self._metrics.notice("sent")
            # The first news goes out at once; what comes with it, together.
            await asyncio.sleep(self._tuning.notices_gather)

    def _notice(self, parts: dict[str, list[str]]) -> str:
        fields = [
            f'"from":{self._server.id}',
            *(f'"{name}":[{",".join(what)}]' for name, what in parts.items()),
        ]
        return "{" + ",".join(fields) + "}"

    def _take(self, text: str) -> None:
        """A notice. What a newer server says in words that this one does not know is ignored."""
        try:
            notice = json.loads(text)
            if notice["from"] == self._server.id:
                self._echoed = True
                return
            self._metrics.notice("received")
            self._ready(self._peers.heard(notice))
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("a notice on the channel of the queue is not one: %.100r", text)

    def _ready(self, ready: list[Ready]) -> None:
        if all(self._catalog.lane_by_id(lane_id) is not None for lane_id, _, _ in ready):
            self._peers.ready(ready)
        elif self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(ready))

    async def _refresh(self, ready: list[Ready]) -> None:
        """Another server made a lane. Where it can't be looked up now, the catalog's own refresh finds it."""
        try:
            await self._catalog.refresh()
        except JobQueueError:
            return
        self._peers.ready(ready)
