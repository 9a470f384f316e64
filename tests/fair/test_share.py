"""Places that principals share: no one can take all of them."""

from __future__ import annotations

import pytest

from jobqueue_server.fair.owner import Owner
from jobqueue_server.fair.share import Share

pytestmark = pytest.mark.unit

GREEDY: Owner = (1, "key:greedy")
MODEST: Owner = (1, "key:modest")
ELSEWHERE: Owner = (2, "key:elsewhere")


def take_all(share: Share, owner: Owner) -> int:
    """Takes as many places as it gets."""
    taken = 0
    while share.has_room(owner):
        share.take(owner)
        taken += 1
    return taken


def test_a_principal_alone_gets_four_fifths():
    assert take_all(Share(1000), GREEDY) == 800


def test_keys_of_one_namespace_get_eight_ninths_together_however_many_there_are():
    share = Share(1000)
    for number in range(1000):
        take_all(share, (1, f"key:{number}"))
    assert share.taken == 889
    assert share.has_room(ELSEWHERE)


def test_one_that_comes_late_finds_a_place_beside_several_that_take_all_they_can_get():
    share = Share(1000)
    taken = [take_all(share, (number, "key:greedy")) for number in range(1, 4)]
    assert taken == [800, 160, 32]
    assert share.has_room((4, "key:modest"))


def test_the_server_itself_and_callers_that_are_not_told_apart_get_all():
    assert take_all(Share(10), None) == 10


def test_who_gives_back_may_take_again_and_nothing_is_remembered_of_who_has_gone():
    share = Share(10)
    taken = take_all(share, GREEDY)
    share.give_back(GREEDY)
    assert share.has_room(GREEDY)
    share.give_back(GREEDY, taken - 1)
    assert (share.taken, share._principals, share._namespaces) == (0, {}, {})


def test_a_request_for_several_gets_all_of_them_or_none():
    share = Share(1000)
    assert share.has_room(GREEDY, 1000), "one that holds nothing gets what is free"
    share.take(ELSEWHERE)
    assert not share.has_room(GREEDY, 1000)
    share.take(GREEDY, 400)
    assert not share.has_room(GREEDY, 500)
    assert share.has_room(GREEDY, 300)
    assert share.has_room(MODEST, 400)


def test_one_who_is_refused_is_told_whether_all_is_taken_or_his_part():
    share = Share(10)
    take_all(share, GREEDY)
    assert share.full(GREEDY, "watches") == (
        "this server has 8 of at most 10 watches, 8 of them of this principal; what is free is kept for others"
    )
    take_all(share, None)
    assert share.full(GREEDY, "watches") == "this server has 10 watches, as many as it may"
