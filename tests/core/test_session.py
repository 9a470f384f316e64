"""What a session remembers of leases that are over, and how the next jobs are dealt to sessions."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from jobqueue_server.core.groups import deal_chunks
from jobqueue_server.core.session import Named, Remembered, Session


class Link:
    """A stream that nothing is written to here."""


def session(number: int, slots: int) -> Session:
    made = Session(number, 1, f"worker-{number}", timedelta(seconds=30), frozenset())
    made.slots = slots
    made.link = Link()  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("worth", [1, 10, 256])
def test_the_newest_leases_are_remembered_and_no_more_than_twice_as_many_as_are_worth_it(worth: int) -> None:
    remembered = Remembered()
    for number in range(1, 1000):
        named = Named(number, uuid4(), 1)
        remembered.add(number, named)
        remembered.forget_beyond(worth)
        assert remembered.get(number) is named
        assert all(one in remembered for one in range(max(1, number - worth + 1), number + 1))
        assert len(remembered) <= 2 * worth
    assert remembered.get(1) is None or worth >= 500


def test_jobs_are_dealt_by_halves_of_free_credit_so_that_a_new_worker_gets_some() -> None:
    sessions = [session(1, 10), session(2, 10)]
    assert [(one.id, jobs) for one, jobs in deal_chunks(sessions, 10)] == [(1, 5), (2, 5)]


def test_where_more_is_to_be_done_than_can_be_each_gets_all_it_has_room_for() -> None:
    sessions = [session(1, 10), session(2, 30), session(3, 0)]
    dealt = deal_chunks(sessions, 35, whole=True)
    assert [(one.id, jobs) for one, jobs in dealt] == [(2, 30), (1, 5)]
