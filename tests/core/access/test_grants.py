"""Grants: what a principal may do where, and which grants are not wider than others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_server.grants import (
    EVERY,
    EVERYTHING,
    NOTHING,
    Grant,
    Grants,
    GrantsMalformed,
    Permission,
    covers,
    from_json,
    matches,
    to_json,
)

pytestmark = pytest.mark.unit

ENQUEUE, READ, WORK, OPERATE, ADMIN = (
    Permission.ENQUEUE,
    Permission.READ,
    Permission.WORK,
    Permission.OPERATE,
    Permission.ADMIN,
)
names = st.text("ab-", max_size=4)
patterns = st.builds(lambda text, star: text + "*" * star, names, st.booleans()).filter(bool)
grants = st.builds(
    Grant,
    st.sampled_from([ENQUEUE, READ, WORK, READ | WORK]),
    st.lists(patterns, min_size=1, max_size=2).map(tuple),
    st.lists(patterns, min_size=1, max_size=2).map(tuple),
)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("mail", "mail", True),
        ("mail", "mails", False),
        ("mail*", "mail", True),
        ("mail*", "mail-eu", True),
        ("mail*", "ma", False),
        ("*", "", True),
        ("*", "anything", True),
    ],
)
def test_a_pattern_is_a_name_or_a_prefix_with_a_star(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


@given(patterns, patterns, names)
def test_a_pattern_that_covers_another_fits_all_that_it_fits(wide: str, narrow: str, name: str) -> None:
    if covers(wide, narrow) and matches(narrow, name):
        assert matches(wide, name)


@given(st.lists(grants, max_size=3), st.lists(grants, max_size=3), names, names)
def test_grants_that_cover_others_permit_all_that_they_permit(
    wide: list[Grant], narrow: list[Grant], queue: str, kind: str
) -> None:
    if Grants(wide).cover(Grants(narrow)):
        allowed = Grants(narrow).on(queue, kind)
        assert Grants(wide).on(queue, kind) & allowed == allowed


def test_grants_add_up_and_each_is_for_its_own_queues_and_kinds() -> None:
    granted = Grants([Grant(ENQUEUE, ("mail*",)), Grant(WORK, ("mail",), ("send", "retry*"))])
    assert granted.may(ENQUEUE, "mail-eu", "send")
    assert not granted.may(WORK, "mail-eu", "send")
    assert granted.may(ENQUEUE | WORK, "mail", "retry-2")
    assert not granted.may(WORK, "mail", "other")
    assert granted.anywhere == ENQUEUE | WORK
    assert not granted.unbounded


def test_a_whole_queue_takes_a_grant_for_all_kinds_and_a_kind_one_for_all_queues() -> None:
    granted = Grants([Grant(OPERATE, ("mail",)), Grant(OPERATE, ("*",), ("send",))])
    assert granted.may_queue(OPERATE, "mail")
    assert not granted.may_queue(OPERATE, "news")
    assert granted.may_kind(OPERATE, "send")
    assert not granted.may_kind(OPERATE, "other")


def test_what_is_seen_of_queues_and_kinds_takes_a_grant_on_some_of_their_jobs() -> None:
    granted = Grants([Grant(READ, ("mail",), ("send",)), Grant(WORK, ("news",), ("print",))])
    assert (granted.sees_queue("mail"), granted.sees_queue("news")) == (True, False)
    assert [granted.sees_kind(kind) for kind in ("send", "print", "other")] == [True, True, False]


def test_everything_is_everything_and_nothing_is_nothing() -> None:
    assert EVERYTHING.unbounded
    assert EVERYTHING.may(EVERY | Permission.PAYLOADS, "any", "kind")
    assert EVERYTHING.cover(EVERYTHING)
    assert EVERYTHING.cover(NOTHING)
    assert not NOTHING.cover(Grants([Grant(READ)]))
    assert NOTHING.anywhere == Permission.NONE
    assert not Grants([Grant(EVERY)]).unbounded, "payloads are a permission of their own"


@given(st.lists(grants, max_size=3))
def test_grants_are_read_as_they_were_stored(each: list[Grant]) -> None:
    assert from_json(to_json(Grants(each))) == Grants(each)


def test_a_permission_of_a_newer_server_permits_nothing_here() -> None:
    stored = [{"permissions": ["FLY", "READ"], "queues": ["*"], "kinds": ["*"]}]
    assert from_json(stored).anywhere == READ


@pytest.mark.parametrize("stored", [[{}], [{"permissions": 3, "queues": [], "kinds": []}], ["READ"], 5])
def test_malformed_grants_are_an_error(stored: object) -> None:
    with pytest.raises(GrantsMalformed):
        from_json(stored)  # type: ignore[arg-type]


def test_decisions_that_are_remembered_are_bounded() -> None:
    granted = Grants([Grant(READ, ("a*",))])
    for number in range(10_001):
        granted.on(f"q{number}", "kind")
    assert len(granted._remembered) <= 10_000
