"""Settlements of limited queues look for who waits, as long as jobs wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from jobqueue_server.core.claim.offers import Offer
from jobqueue_server.core.policy.keyed_ends import KeyedEnds
from jobqueue_server.store.attempt.attempts import Settled
from jobqueue_server.store.policy.semaphores import Admitted

pytestmark = pytest.mark.unit

NOT_USED: Any = None
MOST = 7


class Room:
    """A store whose settlements find what a test says, and offers; notes how many each may let in."""

    def __init__(self, *finds: Admitted) -> None:
        self.finds = list(finds)
        self.most: list[int] = []
        self.taken: list[Any] = []

    @contextmanager
    def offer(self, leases: Any) -> Iterator[Offer]:
        offer = Offer()
        yield offer
        self.taken.append(offer.leased)

    async def end_succeeded(self, settling: Any) -> Settled:
        return await self.end_and_admit(settling, 0, None)

    async def end_and_admit(self, settling: Any, most: int, slots: Any) -> Settled:
        self.most.append(most)
        return Settled(datetime.now(UTC), None, self.finds.pop(0))


async def test_a_settlement_lets_in_while_the_one_before_found_that_some_wait():
    leased: Any = [("job", 1, 0, None, 1, 1, 0, None)]
    room = Room(
        Admitted(),
        Admitted(again=[5]),
        Admitted(leased=leased),
        Admitted(lines=[(1, 0, False, 2)]),
        Admitted(),
        Admitted(),
    )
    some: Any = room
    catalog: Any = SimpleNamespace(fair=False)
    ends = KeyedEnds(some, catalog, some, NOT_USED, MOST)
    for _ in range(6):
        await ends.succeed([], [])
    assert room.most == [0, 0, MOST, MOST, MOST, 0]
    assert room.taken == [leased, (), ()]


async def test_where_keys_take_turns_each_settlement_looks_and_calls_no_key():
    some: Any = (room := Room(Admitted(), Admitted(), Admitted()))
    catalog: Any = SimpleNamespace(fair=True)
    ends = KeyedEnds(some, catalog, some, NOT_USED, MOST)
    leases = {
        fair: [(NOT_USED, SimpleNamespace(template=SimpleNamespace(lane=SimpleNamespace(fair=fair))))]
        for fair in (False, True)
    }
    for fair in (True, True, False):
        some_leases: Any = leases[fair]
        await ends.succeed(some_leases, [])
    assert room.most == [MOST, MOST, 0]
