"""A session's token: its number, and a secret of which only the digest is stored. Also the errors of a session."""

from __future__ import annotations

import hashlib
import secrets

from ...errors import JobQueueError, SessionEnded, SessionSilent, SessionSuperseded, SessionUnknown
from ...ids import CELL
from ...store.database import Record


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def new_token() -> str:
    """What a token has after the session's number: the cell, a point, and a secret.

    It is kept as the digest of all of it.
    """
    return f"{CELL}.{secrets.token_urlsafe(32)}"


def split_token(token: str) -> tuple[int, str]:
    """A token's session and secret.

    Raises:
        SessionUnknown: It is no token of ours.
    """
    number, _, secret = token.partition(".")
    if not (number.isascii() and number.isdigit() and len(number) <= 18 and secret):
        raise SessionUnknown("the session token is not a token of this service; send Hello without resume")
    return int(number), secret


def refusal_of(row: Record | None) -> JobQueueError:
    """Why a token does not continue its session, by what `SessionStore.find` answers.

    Only a token that is the session's own is told what became of it.
    """
    if row is None or not row["own"]:
        return SessionUnknown(
            "the session token is none of this service, or a newer token replaced it; send Hello without resume"
        )
    return ended() if row["ended"] else superseded()


def superseded() -> SessionSuperseded:
    """The session is in a later epoch, here or elsewhere."""
    return SessionSuperseded("the session goes on elsewhere; resume it with its newest token")


def ended() -> SessionEnded:
    """The session has ended."""
    return SessionEnded("the session has ended, and its jobs were given back; send Hello without resume")


def silent(seconds: float) -> SessionSilent:
    """The stream counts as lost after so many seconds without a frame."""
    return SessionSilent(
        f"nothing was heard on this stream for {seconds:.0f} s, three heartbeat intervals; resume the session"
    )
