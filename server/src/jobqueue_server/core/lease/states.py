"""The states of a session as a table: the specification that the code, docs/lifecycle.md and a test share."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class SessionState(Enum):
    """What a session does, as the server knows it that its worker was last connected to."""

    #: It was opened or resumed, and its worker has not been answered yet. It counts as heard.
    OPENING = "opening"
    #: It has a stream and takes jobs.
    LIVE = "live"
    #: It has a stream, and was asked to connect elsewhere because the stream is old. It takes no jobs.
    MOVING = "moving"
    #: It has a stream, and its worker has said that it stops. It takes no jobs and settles what it holds.
    DRAINING = "draining"
    #: It has a stream, and an operator drains it: it takes no jobs, also after a resume. Its worker was not told.
    WITHHELD = "withheld"
    #: Its worker has said all, and the database is being told that the session ends.
    ENDING = "ending"
    #: It has no stream. It ends when its ttl is over, or goes on in another epoch.
    SILENT = "silent"
    #: It has ended, or is no longer this server's.
    ENDED = "ended"


class SessionEvent(Enum):
    """What changes the state of a session."""

    ATTACHED = "attached"
    TOO_OLD = "too old"
    STAYED = "stayed"
    DRAIN = "drain"
    WITHHOLD = "withhold"
    SAID_ALL = "said all"
    BROKEN = "broken"
    GONE = "gone"


_S, _E = SessionState, SessionEvent

#: (state, event) -> state. An event that a state has no row for means nothing in it, and changes nothing.
TABLE: Mapping[tuple[SessionState, SessionEvent], SessionState] = {
    (_S.OPENING, _E.ATTACHED): _S.LIVE,
    (_S.LIVE, _E.TOO_OLD): _S.MOVING,
    (_S.MOVING, _E.STAYED): _S.LIVE,
    (_S.LIVE, _E.DRAIN): _S.DRAINING,
    (_S.MOVING, _E.DRAIN): _S.DRAINING,
    # A worker that drains is asked to connect elsewhere too, and drains there.
    (_S.DRAINING, _E.TOO_OLD): _S.DRAINING,
    (_S.DRAINING, _E.STAYED): _S.DRAINING,
    (_S.LIVE, _E.WITHHOLD): _S.WITHHELD,
    (_S.MOVING, _E.WITHHOLD): _S.WITHHELD,
    (_S.WITHHELD, _E.TOO_OLD): _S.WITHHELD,
    (_S.WITHHELD, _E.STAYED): _S.WITHHELD,
    (_S.WITHHELD, _E.DRAIN): _S.DRAINING,
    (_S.DRAINING, _E.SAID_ALL): _S.ENDING,
    (_S.OPENING, _E.BROKEN): _S.SILENT,
    (_S.LIVE, _E.BROKEN): _S.SILENT,
    (_S.MOVING, _E.BROKEN): _S.SILENT,
    (_S.DRAINING, _E.BROKEN): _S.SILENT,
    (_S.WITHHELD, _E.BROKEN): _S.SILENT,
    # Its end is on the way to the database, and may have been committed.
    (_S.ENDING, _E.BROKEN): _S.ENDING,
    **{(state, _E.GONE): _S.ENDED for state in _S if state is not _S.ENDED},
}
