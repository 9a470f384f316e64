"""Slots for jobs that are let in by their keys: who stands in line goes first, and what was offered comes back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.core.lease.lease import Lease, LeaseTemplate
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.model import KeyPolicy

from ..brain import NOON, Brain, lane, session

pytestmark = pytest.mark.unit

ONE, TWO = lane(1), lane(2)
OTHER = lane(3, queue=2)
FEW = Tuning(most_claimed=4)
LIMIT = KeyPolicy(max_running=1)


def ending(jobs: int, of: Any = ONE, worker: Any = None, policy: KeyPolicy = LIMIT) -> list[Any]:
    """Leases of a worker that end; None: of one that takes no more jobs."""
    lane = replace(of, keys=policy, limits=True)
    template = LeaseTemplate(lane, 1, 0, NOON)
    worker = worker or session(99, 0, of)
    return [(worker, Lease(number, uuid4(), template)) for number in range(jobs)]


def offered(brain: Brain, leases: list[Any]) -> tuple[dict[int, int], dict[int, tuple[int, int]]]:
    """How many slots of each session are offered, and by which lanes they may be taken."""
    with brain.offers.offer(leases) as offer:
        return dict(Counter(offer.slots.sessions)), dict(offer.slots.lanes)


def test_as_many_slots_are_offered_as_came_back_and_there_are():
    brain = Brain(ONE, TWO)
    brain.attach(session(1, 10, ONE, TWO))
    assert offered(brain, ending(3)) == ({1: 3}, {1: (0, 3), 2: (0, 3)})
    assert offered(brain, ending(30)) == ({1: 10}, {1: (0, 10), 2: (0, 10)})
    assert offered(brain, []) == ({}, {})
    assert offered(brain, ending(5, OTHER)) == ({}, {}), "no worker takes jobs of that queue"


def test_no_slot_is_offered_to_jobs_that_take_several():
    heavy = replace(TWO, weight=2)
    brain = Brain(ONE, heavy, tuning=FEW)
    brain.attach(session(1, 10, ONE, heavy))
    assert offered(brain, ending(3)) == ({1: 3}, {1: (0, 3)})
    brain.lines.seen(heavy.id, 0)
    assert offered(brain, ending(3)) == ({}, {}), "one that waits goes first"


def test_where_keys_take_turns_no_slot_is_offered_to_the_key_whose_job_has_ended():
    brain = Brain(ONE, TWO)
    brain.attach(session(1, 10, ONE, TWO))
    assert offered(brain, ending(3, policy=KeyPolicy(fair=True))) == ({}, {})
    assert offered(brain, ending(3, policy=KeyPolicy(fair=True, max_running=1))) == ({}, {})


@pytest.mark.parametrize("where", [ONE, TWO, OTHER])
@pytest.mark.parametrize("priority", [-10, 10])
def test_nothing_is_offered_while_more_waits_in_line_than_the_next_claim_takes(where: Any, priority: int):
    brain = Brain(ONE, TWO, OTHER, tuning=FEW)
    brain.attach(session(1, 10, ONE, TWO, OTHER))
    brain.lines.seen(where.id, priority)
    brain.lines.line(where, priority).read(1, 1, 0, cut_off=True)
    assert offered(brain, ending(3)) == ({}, {})


def test_what_waits_where_these_workers_take_nothing_goes_before_nobody():
    brain = Brain(ONE, TWO)
    brain.attach(session(1, 10, ONE))
    brain.lines.seen(TWO.id, 10)
    assert offered(brain, ending(3)) == ({1: 3}, {1: (0, 3)})


def test_while_a_few_wait_the_slots_are_offered_that_the_next_claim_can_not_use():
    brain = Brain(ONE, tuning=FEW)
    worker = session(1, 6, ONE)
    brain.attach(worker)
    brain.lines.seen(ONE.id, 0)
    assert offered(brain, ending(3)) == ({1: 2}, {1: (0, 2)})
    worker.claim_begins(4)
    assert offered(brain, ending(3)) == ({1: 2}, {1: (0, 2)}), "the claim has its slots already"


def test_slots_are_kept_while_they_are_offered_and_come_back_at_the_end():
    brain = Brain(ONE)
    worker = session(1, 4, ONE)
    brain.attach(worker)
    with brain.offers.offer(ending(3)):
        assert worker.free == 1
        assert offered(brain, ending(3)) == ({1: 1}, {1: (0, 1)})
    assert worker.free == 4
    with brain.offers.offer(ending(3)):
        assert brain.reserve(ONE, 3) == {1: 1}


def test_a_statement_that_fails_gives_the_slots_back():
    brain = Brain(ONE)
    worker = session(1, 4, ONE)
    brain.attach(worker)
    with pytest.raises(DatabaseAway), brain.offers.offer(ending(3)):
        raise DatabaseAway("gone")
    assert worker.free == 4


def test_groups_share_out_their_own_lanes():
    brain = Brain(ONE, TWO)
    brain.attach(session(1, 2, ONE), session(2, 2, TWO), session(3, 9, TWO, OTHER))
    sessions, lanes = offered(brain, ending(2))
    assert sessions == {1: 2, 3: 2}
    assert sorted(lanes) == [1, 2]
    assert sorted(lanes.values()) == [(0, 2), (2, 2)]


def test_a_worker_that_bounds_bytes_or_kinds_is_left_to_its_claims():
    brain = Brain(ONE)
    brain.attach(session(1, 10, ONE, bytes_limit=1000), session(2, 10, ONE, by_kind={"k1": 1}))
    assert offered(brain, ending(3)) == ({}, {})


def test_a_server_that_drains_offers_nothing():
    brain = Brain(ONE)
    brain.attach(session(1, 10, ONE))
    brain.activity.pause()
    assert offered(brain, ending(3)) == ({}, {})


def test_the_slots_of_what_ends_count_as_free_already_and_all_sessions_share_them():
    brain = Brain(ONE)
    busy, idle = session(1, 4, ONE), session(2, 4, ONE)
    brain.attach(busy, idle)
    busy.reserve(None, 0, 4)
    assert offered(brain, ending(4, ONE, busy)) == ({1: 2, 2: 2}, {1: (0, 4)})
    assert (busy.free, idle.free) == (0, 4)
    idle.reserve(None, 0, 4)
    assert offered(brain, ending(2, ONE, busy)) == ({1: 2}, {1: (0, 2)})
    with brain.offers.offer(ending(2, ONE, busy)):
        assert not brain.hand_off.reserve(ONE, 0, [1]).count
    busy.drain()
    assert offered(brain, ending(2, ONE, busy)) == ({}, {})


async def test_of_two_settlements_at_once_each_offers_the_slots_of_what_it_ends():
    brain = Brain(ONE)
    worker = session(1, 6, ONE)
    brain.attach(worker)
    leases = ending(6, ONE, worker)
    worker.add_all([lease for _, lease in leases])
    deliveries: Any = Deliveries(None)
    brain.offers._delivery = deliveries
    leased: Any = [("job", 1, 0, NOON, 1, 1, 0, NOON)]
    with brain.offers.offer(leases[:2]) as first:
        with brain.offers.offer(leases[2:]) as second:
            assert (len(first.slots.sessions), len(second.slots.sessions)) == (2, 4)
            assert worker.free == 0
            second.taken(leased)
            worker.drop_all([lease for _, lease in leases[2:]])
        assert worker.free == 0, "they are kept until what took them is delivered"
        assert offered(brain, ending(3)) == ({}, {}), "nor are those of the first offered twice"
    await brain.activity.progress()
    assert worker.free == 4


class Deliveries:
    """Deliver nothing, or fail."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.delivered: list[Any] = []

    async def deliver(self, rows: Any, sessions: Any) -> None:
        self.delivered.append((list(rows), sorted(sessions)))
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [None, DatabaseAway("gone")])
async def test_what_took_slots_keeps_them_until_it_is_delivered(error: Exception | None):
    brain = Brain(ONE)
    worker = session(1, 4, ONE)
    brain.attach(worker)
    deliveries: Any = Deliveries(error)
    brain.offers._delivery = deliveries
    leased: Any = [("job", 1, 0, NOON, 1, 1, 0, NOON)]
    with brain.offers.offer(ending(3)) as offer:
        offer.taken(leased)
    assert worker.free == 1
    await brain.activity.progress()
    assert worker.free == 4
    assert deliveries.delivered == [(leased, [1])]
    # The claimer gives back what was not delivered.
    await brain.activity.work()
