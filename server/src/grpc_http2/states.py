"""The states of a connection and of its streams, as tables."""

from __future__ import annotations

from enum import Enum, IntEnum

from . import frames
from .frames import ErrorCode


class Phase(IntEnum):
    """Where a connection is. It goes down this list, and may leave phases out; it never goes up.

    | phase | begins with | calls under way | a new call |
    |---|---|---|---|
    | GREETING | the TCP connection | none | not read before the preface and SETTINGS |
    | OPEN | the caller's preface and SETTINGS | go on | is served |
    | LEAVING | the server ends, or the connection is old: GOAWAY that refuses nothing, and a PING | go on | is served |
    | LEFT | its echo, or five seconds without it: GOAWAY with the last call that is served | go on | REFUSED_STREAM |
    | ENDING | an error: GOAWAY with its reason; or nothing is left to do | end | nothing more is read |
    | LOST | the connection is no more | have ended | none |
    """

    GREETING = 0
    OPEN = 1
    LEAVING = 2
    LEFT = 3
    ENDING = 4
    LOST = 5


class StreamState(Enum):
    """Where a stream is: RFC 9113, section 5.1, as a server without push has it.

    A stream is OPEN from its HEADERS on, and HALF_CLOSED once its caller has said all. The server's status ends it: it
    is then CLOSED if the caller had said all, else CUT_SHORT, by RST_STREAM. A RST_STREAM of the caller's ends it too.
    Whether a number was ever used is known by the last one: a caller's numbers only rise.
    """

    IDLE = "no call had this number yet"
    OPEN = "the caller may send"
    HALF_CLOSED = "the caller has said all, the server has not"
    CUT_SHORT = "the server ended it before the caller had said all, and the caller may not know yet"
    CLOSED = "both have said all, or the caller has reset it"
    BEYOND = "the caller was told that a call with this number is not looked at"


class Verdict(Enum):
    """What becomes of a frame."""

    TAKEN = "it is for the stream"
    PASSED_OVER = "it is counted as idle, and nothing follows"
    STREAM_ERROR = "the stream is reset with the reason"
    CONNECTION_ERROR = "the connection ends with the reason"


_TAKEN = (Verdict.TAKEN, ErrorCode.NO_ERROR)
_PASSED_OVER = (Verdict.PASSED_OVER, ErrorCode.NO_ERROR)
_UNKNOWN = (Verdict.CONNECTION_ERROR, ErrorCode.PROTOCOL_ERROR)
_ENDED = (Verdict.STREAM_ERROR, ErrorCode.STREAM_CLOSED)

#: What becomes of a frame that a caller sends, by the state of its stream. PRIORITY is passed over in all of them.
#: HEADERS of an idle stream are a call where its number is odd, and CONNECTION_ERROR where it is even; those of an open
#: stream are trailers, which end what the caller says, else STREAM_ERROR.
TABLE: dict[StreamState, dict[int, tuple[Verdict, ErrorCode]]] = {
    StreamState.IDLE: {
        frames.HEADERS: _TAKEN,
        frames.DATA: _UNKNOWN,
        frames.RST_STREAM: _UNKNOWN,
        frames.WINDOW_UPDATE: _UNKNOWN,
    },
    StreamState.OPEN: {
        frames.HEADERS: _TAKEN,
        frames.DATA: _TAKEN,
        frames.RST_STREAM: _TAKEN,
        frames.WINDOW_UPDATE: _TAKEN,
    },
    StreamState.HALF_CLOSED: {
        frames.HEADERS: _ENDED,
        frames.DATA: _ENDED,
        frames.RST_STREAM: _TAKEN,
        frames.WINDOW_UPDATE: _TAKEN,
    },
    StreamState.CUT_SHORT: {
        frames.HEADERS: _PASSED_OVER,
        frames.DATA: _PASSED_OVER,
        frames.RST_STREAM: _PASSED_OVER,
        frames.WINDOW_UPDATE: _PASSED_OVER,
    },
    StreamState.CLOSED: {
        frames.HEADERS: (Verdict.CONNECTION_ERROR, ErrorCode.STREAM_CLOSED),
        frames.DATA: _ENDED,
        frames.RST_STREAM: _PASSED_OVER,
        frames.WINDOW_UPDATE: _PASSED_OVER,
    },
    StreamState.BEYOND: {
        frames.HEADERS: (Verdict.STREAM_ERROR, ErrorCode.REFUSED_STREAM),
        frames.DATA: _PASSED_OVER,
        frames.RST_STREAM: _PASSED_OVER,
        frames.WINDOW_UPDATE: _PASSED_OVER,
    },
}
