"""Who gets the next jobs: shares of free credit, the largest first."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_server.core.claim.deal import deal, deal_chunks

from ..brain import session

pytestmark = pytest.mark.unit


@given(st.lists(st.integers(1, 40), max_size=8), st.integers(0, 200), st.booleans())
def test_all_that_has_room_is_dealt_and_nobody_gets_more_than_fits(slots: list[int], most: int, whole: bool):
    sessions = [session(number, free) for number, free in enumerate(sorted(slots, reverse=True))]
    dealt = Counter(session.id for session in deal(sessions, most, whole=whole))
    assert dealt.total() == min(most, sum(slots))
    assert all(count <= sessions[number].capacity.slots for number, count in dealt.items())


def test_whole_shares_make_fewer_messages():
    sessions = [session(1, 40), session(2, 40)]
    halves, wholes = (list(deal_chunks(sessions, 60, whole=whole)) for whole in (False, True))
    assert [(each.id, chunk) for each, chunk in wholes] == [(1, 40), (2, 20)]
    assert len(halves) > len(wholes)


def test_no_more_sessions_are_read_than_are_needed():
    read = []

    def sessions():
        for number in range(10_000):
            read.append(number)
            yield session(number, 10)

    assert len(list(deal(sessions(), 10))) == 10
    assert len(read) <= 4
