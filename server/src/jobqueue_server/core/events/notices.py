"""What servers tell each other: news for the others, and the parts that hear theirs.

It is only for speed. What is lost with a connection is found by the sweep and by the search for cancels, each once a
second, and by the audit.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from ..tuning import Tuning
from .this_server import ThisServer

MAX_REASON_CHARS = 200
# One that was heard is there, before the next heartbeat counts it.
HEARD_COUNTS_FOR = 10.0

#: A job is ready: lane id, priority, whether it is to run isolated.
Ready = tuple[int, int, bool]


class Peers:
    """The other servers on this database.

    A part that wants to hear them subscribes in its constructor by a `hear` method. The news for them gathers until
    `Exchange` sends it.
    """

    def __init__(self, server: ThisServer, tuning: Tuning | None = None) -> None:
        self._server = server
        self._most_kept = (tuning or Tuning()).notices_kept
        self._connected = False
        self._heard_at = -HEARD_COUNTS_FOR
        # The things to tell, each once, in their order: (name in the notice, what).
        self._news: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()
        self._on_ready: list[Callable[[int, int, bool], object]] = []
        self._on_cancel: list[Callable[[UUID, int, int, str], object]] = []
        self._on_taken_back: list[Callable[[int, UUID, int, str], object]] = []
        self._on_gone: list[Callable[[int, int], object]] = []
        self._on_ended: list[Callable[[int, int], object]] = []
        self._on_drain: list[Callable[[int], object]] = []
        self._on_access: list[Callable[[int, Sequence[str]], object]] = []

    # ---- who hears what

    def hear_ready(self, listener: Callable[[int, int, bool], object]) -> None:
        """A job is ready: (lane id, priority, whether it is to run isolated)."""
        self._on_ready.append(listener)

    def hear_cancel(self, listener: Callable[[UUID, int, int, str], object]) -> None:
        """A job's worker is to be told: (job id, session id, attempt, reason)."""
        self._on_cancel.append(listener)

    def hear_taken_back(self, listener: Callable[[int, UUID, int, str], object]) -> None:
        """A lease is over: (session id, job id, attempt, reason)."""
        self._on_taken_back.append(listener)

    def hear_gone(self, listener: Callable[[int, int], object]) -> None:
        """A session goes on elsewhere: (session id, last epoch that is over)."""
        self._on_gone.append(listener)

    def hear_ended(self, listener: Callable[[int, int], object]) -> None:
        """A session has ended: (session id, its epoch)."""
        self._on_ended.append(listener)

    def hear_drain(self, listener: Callable[[int], object]) -> None:
        """A session gets no more jobs: (session id)."""
        self._on_drain.append(listener)

    def hear_access_changed(self, listener: Callable[[int, Sequence[str]], object]) -> None:
        """Keys, an identity or a namespace were changed: (the version, the ids of these keys).

        Version 0: an older server changed something, and doesn't say what.
        """
        self._on_access.append(listener)

    # ---- what this server tells

    def tell_ready(self, lane_id: int, priority: int, isolated: bool) -> None:
        """A job may be claimed there."""
        self._tell("alone" if isolated else "ready", [lane_id, priority])

    def tell_cancel(self, job_id: UUID, session_id: int, attempt: int, reason: str) -> None:
        """The worker that holds the attempt is to be told to stop."""
        self._tell("cancel", [str(job_id), session_id, attempt, reason[:MAX_REASON_CHARS]])

    def tell_taken_back(self, session_id: int, job_id: UUID, attempt: int, reason: str) -> None:
        """The attempt is over, and its worker may not know."""
        self._tell("taken_back", [session_id, str(job_id), attempt, reason])

    def tell_gone(self, session_id: int, epoch: int) -> None:
        """The session goes on here: up to this epoch no other server has it any more."""
        self._tell("gone", [session_id, epoch])

    def tell_ended(self, session_id: int, epoch: int) -> None:
        """The session has ended, in this epoch."""
        self._tell("ended", [session_id, epoch])

    def tell_drain(self, session_id: int) -> None:
        """The session gets no more jobs, as its row says."""
        self._tell("drain", [session_id])

    def tell_access_changed(self, version: int, key_ids: Sequence[str]) -> None:
        """A change was made here that moved the version to this one: of these keys; of none: of something else."""
        self._tell("access", [version, *key_ids])

    def _tell(self, name: str, what: list[Any]) -> None:
        if self.listen and len(self._news) < self._most_kept:
            self._news[name, json.dumps(what, ensure_ascii=False, separators=(",", ":"))] = None
            self._wake.set()

    @property
    def listen(self) -> bool:
        """Whether news would reach one of them."""
        return self._connected and (
            self._server.others > 0 or time.monotonic() - self._heard_at < HEARD_COUNTS_FOR
        )

    # ---- for the exchange

    def connected(self, is_there: bool) -> None:
        """The connection for notices is there, or is gone and the news with it."""
        self._connected = is_there
        if not is_there:
            self._news.clear()

    async def news(self) -> None:
        """Waits until there are some."""
        await self._wake.wait()

    def take(self, room: int) -> dict[str, list[str]]:
        """Takes the oldest news, of so many bytes in a notice at most: name -> what, as JSON."""
        parts: dict[str, list[str]] = {}
        for name, what in list(self._news):
            room -= len(what.encode()) + 1 + (0 if name in parts else len(name) + 6)
            if room < 0:
                break
            parts.setdefault(name, []).append(what)
            del self._news[name, what]
        if not self._news:
            self._wake.clear()
        return parts

    def heard(self, notice: dict[str, Any]) -> list[Ready]:
        """A notice of another server came: tells its listeners. Returns the ready lines, for `ready`."""
        self._heard_at = time.monotonic()
        for job_id, session_id, attempt, reason in notice.get("cancel", ()):
            for on_cancel in self._on_cancel:
                on_cancel(UUID(job_id), session_id, attempt, reason)
        for session_id, job_id, attempt, reason in notice.get("taken_back", ()):
            for on_taken_back in self._on_taken_back:
                on_taken_back(session_id, UUID(job_id), attempt, reason)
        for name, listeners in (("gone", self._on_gone), ("ended", self._on_ended)):
            for session_id, epoch in notice.get(name, ()):
                for listener in listeners:
                    listener(session_id, epoch)
        for (session_id,) in notice.get("drain", ()):
            for on_drain in self._on_drain:
                on_drain(session_id)
        for change in notice.get("access", ()):
            version, *key_ids = change or (0,)
            for on_access in self._on_access:
                on_access(version, key_ids)
        return list(_ready(notice))

    def ready(self, lines: Sequence[Ready]) -> None:
        """Jobs are ready in lanes that are known here."""
        for lane_id, priority, isolated in lines:
            for listener in self._on_ready:
                listener(lane_id, priority, isolated)


def _ready(notice: dict[str, Any]) -> Iterator[Ready]:
    for name, isolated in (("ready", False), ("alone", True)):
        for lane_id, priority in notice.get(name, ()):
            yield lane_id, priority, isolated
