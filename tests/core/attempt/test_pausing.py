"""Outcomes that pause keys: how many by one transaction, and what is asked of the level where none may be paused."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.core.attempt import key_pauses as module
from jobqueue_server.core.attempt.commits import Commits
from jobqueue_server.core.attempt.key_pauses import MOST_PAUSING
from jobqueue_server.core.attempt.outcome import Outcome, PendingOutcome
from jobqueue_server.errors import ServersDiffer
from jobqueue_server.lifecycle import Event
from jobqueue_server.metrics import Metrics

pytestmark = pytest.mark.unit

NOT_USED: Any = None


class Room:
    """A store, attempts and levels: notes how many attempts ended at once, and how often a level was asked for."""

    def __init__(self, *, allowed: bool) -> None:
        self.allowed = allowed
        self.paused: list[int] = []
        self.ended: list[int] = []
        self.asked = 0

    async def end(self, ends: list[Any]) -> list[Any]:
        self.ended.append(len(ends))
        return []

    async def end_and_pause(self, pauses: list[Any], most: int) -> list[Any]:
        self.paused.append(len(pauses))
        return []

    async def settled_before(self, leases: Any) -> list[Any]:
        return []

    def allows(self, level: int) -> bool:
        return self.allowed

    async def require(self, level: int, capability: str) -> None:
        self.asked += 1
        raise ServersDiffer("an older server runs", metadata={"servers": "old", "level": str(level)})


def commits(room: Any) -> Commits:
    catalog: Any = SimpleNamespace(limits=False, fair=False)
    return Commits(room, room, catalog, NOT_USED, NOT_USED, NOT_USED, room, Metrics(), 1000)


def pausing(count: int, **template: Any) -> list[PendingOutcome]:
    """Outcomes of leases with this template that pause their keys; without a template the session holds none."""
    session: Any = SimpleNamespace(id=1, scope=None, drop=lambda _: None)
    reply: Any = SimpleNamespace(done=lambda *_: None)
    lease: Any = None
    if template:
        known = {"lane": SimpleNamespace(limits=True), "keyed": True, "terms": (1,), **template}
        lease = SimpleNamespace(template=SimpleNamespace(**known))
    outcome = Outcome(Event.FAIL, pause_key=timedelta(seconds=1))
    return [PendingOutcome(session, uuid4(), 1, 1, lease, outcome, reply) for _ in range(count)]


def warnings(records: Iterable[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if "no key is paused" in record.getMessage()]


async def test_one_transaction_pauses_for_some_dozens_of_outcomes_at_most() -> None:
    room = Room(allowed=True)
    await commits(room).commit([], pausing(MOST_PAUSING + 1, keyed=True))
    assert room.paused == [MOST_PAUSING, 1]


async def test_a_refusal_of_the_level_is_remembered_for_a_while_and_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(allowed=False)
    some = commits(room)
    for _ in range(3):
        await some.commit([], pausing(2, keyed=True))
    assert room.asked == 1
    monkeypatch.setattr(module, "REFUSED_FOR", -1.0)
    some._key_pauses._no_pauses_until = 0.0
    await some.commit([], pausing(2, keyed=True))
    assert room.asked == 2
    assert room.ended == [2, 2, 2, 2]
    assert not room.paused
    assert len(warnings(caplog.records)) == 1


@pytest.mark.parametrize(
    "template",
    [{}, {"lane": SimpleNamespace(limits=False)}, {"keyed": False}],
    ids=["no lease", "no limits", "no key"],
)
async def test_what_pauses_no_key_asks_for_no_level(template: Any) -> None:
    room = Room(allowed=False)
    await commits(room).commit([], pausing(1, **template))
    assert (room.asked, room.ended) == (0, [1])


@pytest.mark.parametrize("template", [{}, {"keyed": False, "terms": ()}], ids=["no lease", "after a resume"])
async def test_what_may_pause_a_key_does_once_all_servers_keep_to_it(template: Any) -> None:
    room = Room(allowed=True)
    await commits(room).commit([], pausing(1, **template))
    assert (room.paused, room.ended) == ([1], [])
