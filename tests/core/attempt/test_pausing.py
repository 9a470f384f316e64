"""Outcomes that pause keys: which do, and how many by one transaction."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.core.attempt.commits import MOST_PAUSING, Commits
from jobqueue_server.core.attempt.outcome import Outcome, PendingOutcome
from jobqueue_server.core.policy.keyed_ends import KeyedEnds
from jobqueue_server.lifecycle import Event
from jobqueue_server.metrics import Metrics

pytestmark = pytest.mark.unit

NOT_USED: Any = None


class Room:
    """A store and attempts: notes how many attempts ended at once."""

    def __init__(self) -> None:
        self.paused: list[int] = []
        self.ended: list[int] = []

    async def end(self, ends: list[Any]) -> list[Any]:
        self.ended.append(len(ends))
        return []

    async def end_and_pause(self, pauses: list[Any], most: int) -> list[Any]:
        self.paused.append(len(pauses))
        return []

    async def settled_before(self, leases: Any) -> list[Any]:
        return []


def commits(room: Any) -> Commits:
    catalog: Any = SimpleNamespace(limits=False, fair=False)
    ends = KeyedEnds(room, catalog, NOT_USED, NOT_USED, 1000)
    return Commits(room, room, NOT_USED, ends, Metrics(), 1000)


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


async def test_one_transaction_pauses_for_some_dozens_of_outcomes_at_most() -> None:
    room = Room()
    await commits(room).commit([], pausing(MOST_PAUSING + 1, keyed=True))
    assert room.paused == [MOST_PAUSING, 1]


@pytest.mark.parametrize(
    "template", [{"lane": SimpleNamespace(limits=False)}, {"keyed": False}], ids=["no limits", "no key"]
)
async def test_what_pauses_no_key_goes_back_alone(template: Any) -> None:
    room = Room()
    await commits(room).commit([], pausing(1, **template))
    assert (room.paused, room.ended) == ([], [1])


@pytest.mark.parametrize("template", [{}, {"keyed": False, "terms": ()}], ids=["no lease", "after a resume"])
async def test_what_may_pause_a_key_does(template: Any) -> None:
    room = Room()
    await commits(room).commit([], pausing(1, **template))
    assert (room.paused, room.ended) == ([1], [])
