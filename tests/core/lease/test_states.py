"""The states of a session: each pair of state and event on a real session, against the table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from jobqueue_server.core.lease.session import Session
from jobqueue_server.core.lease.states import TABLE, SessionEvent, SessionState
from tests.store.stored import SCOPE

pytestmark = pytest.mark.unit

_E, _S = SessionEvent, SessionState


class Link:
    """A stream that nothing is written to here."""


#: What is called when something happens.
CALLS: Mapping[SessionEvent, Callable[[Session, Any], object]] = {
    _E.ATTACHED: lambda session, link: session.attach(link),
    _E.TOO_OLD: lambda session, link: session.too_old(math.inf),
    _E.STAYED: lambda session, link: session.stayed(math.inf),
    _E.DRAIN: lambda session, link: session.drain(),
    _E.WITHHOLD: lambda session, link: session.withhold(),
    _E.SAID_ALL: lambda session, link: session.said_all(),
    _E.BROKEN: lambda session, link: session.broken(link),
    _E.GONE: lambda session, link: session.gone(),
}
#: What happens to a session until it is in a state.
WAYS: Mapping[SessionState, Sequence[SessionEvent]] = {
    _S.OPENING: [],
    _S.LIVE: [_E.ATTACHED],
    _S.MOVING: [_E.ATTACHED, _E.TOO_OLD],
    _S.DRAINING: [_E.ATTACHED, _E.DRAIN],
    _S.WITHHELD: [_E.ATTACHED, _E.WITHHOLD],
    _S.ENDING: [_E.ATTACHED, _E.DRAIN, _E.SAID_ALL],
    _S.SILENT: [_E.ATTACHED, _E.BROKEN],
    _S.ENDED: [_E.ATTACHED, _E.GONE],
}
WITH_STREAM = {_S.LIVE, _S.MOVING, _S.DRAINING, _S.WITHHELD, _S.ENDING}


@pytest.mark.parametrize(
    ("state", "event"),
    list(itertools.product(_S, _E)),
    ids=lambda one: one.value.replace(" ", "-"),
)
def test_each_event_leads_where_the_table_says_and_only_a_live_session_takes_jobs(
    state: SessionState, event: SessionEvent
) -> None:
    link: Any = Link()
    session = Session(SCOPE, 1, 1, "worker", timedelta(seconds=30), frozenset())
    session.capacity.set(4, {}, 0)
    for before in WAYS[state]:
        CALLS[before](session, link)
    assert session.state is state

    CALLS[event](session, link)

    assert session.state is TABLE.get((state, event), state)
    assert session.free == (4 if session.state is _S.LIVE else 0)
    assert session.takes_jobs == (session.state is _S.LIVE)
    cut = event is _E.BROKEN or session.state is _S.ENDED
    assert (session.link is link) == (session.state in WITH_STREAM and not cut)


def test_nothing_follows_an_end() -> None:
    assert not [event for state, event in TABLE if state is _S.ENDED]


def test_a_stream_that_another_took_the_place_of_breaks_nothing() -> None:
    session = Session(SCOPE, 1, 1, "worker", timedelta(seconds=30), frozenset())
    link: Any = Link()
    session.attach(link)
    assert not session.broken(Link())  # type: ignore[arg-type]
    assert (session.state, session.link) == (_S.LIVE, link)
