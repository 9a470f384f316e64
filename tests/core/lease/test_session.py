"""What a session remembers of leases that are over, and how the next jobs are dealt to sessions."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from uuid import uuid4

import pytest

from jobqueue_server.core.claim.deal import deal_chunks
from jobqueue_server.core.claim.targets import Group
from jobqueue_server.core.lease.lease import Remembered
from jobqueue_server.core.lease.session import Session
from tests.store.stored import SCOPE

pytestmark = pytest.mark.unit


class Link:
    """A stream that nothing is written to here."""


def session(number: int, slots: int) -> Session:
    made = Session(SCOPE, number, 1, f"worker-{number}", timedelta(seconds=30), frozenset())
    made.capacity.set(slots, {}, 0)
    made.attach(Link())  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("worth", [1, 10, 256])
def test_the_newest_leases_are_remembered_and_no_more_than_twice_as_many_as_are_worth_it(worth: int) -> None:
    remembered = Remembered()
    for number in range(1, 1000):
        named = (uuid4(), 1)
        remembered.add(number, named)
        remembered.forget_beyond(worth)
        assert remembered.get(number) == named
        assert all(one in remembered for one in range(max(1, number - worth + 1), number + 1))
        assert len(remembered) <= 2 * worth
    assert remembered.get(1) is None or worth >= 500


def test_jobs_are_dealt_by_halves_of_free_credit_so_that_a_new_worker_gets_some() -> None:
    sessions = [session(1, 10), session(2, 10)]
    assert [(one.id, jobs) for one, jobs in deal_chunks(sessions, 10)] == [(1, 5), (2, 5)]


def test_where_more_is_to_be_done_than_can_be_each_gets_all_it_has_room_for() -> None:
    sessions = [session(2, 30), session(1, 10)]
    dealt = deal_chunks(sessions, 35, whole=True)
    assert [(one.id, jobs) for one, jobs in dealt] == [(2, 30), (1, 5)]


def test_a_group_finds_those_with_credit_whatever_becomes_of_it() -> None:
    """Against a look at every session, over any order of changes."""
    draw = random.Random(5)
    group = Group(SCOPE.namespace, frozenset())
    sessions = [session(number, 0) for number in range(30)]
    members = set(sessions[:20])
    for one in sessions[:20]:
        group.add(one)
    for _ in range(5000):
        one = draw.choice(sessions)
        change = draw.randrange(6)
        if change == 0:
            one.capacity.set(draw.randrange(6), {}, 0)
            one.has_room()
        elif change == 1:
            one.reserve("a", 0, draw.randrange(3))
        elif change == 2 and one.capacity.reserved:
            one.unreserve("a", 0, draw.randrange(one.capacity.reserved + 1))
        elif change == 3 and one not in members:
            members.add(one)
            group.add(one)
        elif change == 4 and one in members and len(members) > 5:
            members.discard(one)
            group.discard(one)
        elif change == 5:
            if draw.random() < 0.5:
                one.too_old(math.inf)
            else:
                one.stayed(math.inf)
            one.has_room()
        found = list(group.by_room())
        assert set(found) == {other for other in members if other.free > 0}
        assert [other.free for other in found] == sorted((other.free for other in found), reverse=True)


def test_of_sessions_with_as_much_credit_each_has_its_turn() -> None:
    group = Group(SCOPE.namespace, frozenset())
    for number in range(3):
        group.add(session(number, 1))
    assert [next(group.by_room()).id for _ in range(6)] == [0, 1, 2, 0, 1, 2]
