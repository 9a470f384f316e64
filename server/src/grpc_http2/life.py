"""Whether a connection's other side is there, and how old the connection is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from . import frames
from .states import Phase

if TYPE_CHECKING:
    from .connection import Connection

_log = logging.getLogger(__name__)


class Life:
    """Looks at a connection once a second.

    Args:
        connection: It is pinged, left or aborted.
        retires_in: Seconds after which it takes no new calls; None: never.

    Attributes:
        heard: Whether the other side has sent anything since the last look.
    """

    __slots__ = ("_connection", "_leaving_for", "_quiet", "_retires_in", "_stands_for", "_ungreeted", "heard")

    def __init__(self, connection: Connection, retires_in: float | None) -> None:
        self.heard = True
        self._connection = connection
        self._retires_in = retires_in
        # Seconds without a preface, without a sign of life, and since it was told that the connection ends.
        self._ungreeted = 0
        self._quiet = 0
        self._leaving_for = 0
        # Seconds in which no frame became whole, and one had begun.
        self._stands_for = 0

    def tick(self, stands: bool) -> None:
        """A second has passed; whether a frame, or a block of fields, has begun and is not whole."""
        connection = self._connection
        limits = connection.terms.limits
        if connection.phase is Phase.GREETING:
            self._ungreeted += 1
            if self._ungreeted >= limits.greeting:
                connection.abort()
                return
        if not self._is_there():
            connection.abort()
            return
        self._stands_for = self._stands_for + 1 if stands and not connection.out.deaf else 0
        if self._stands_for > limits.request:
            connection.drop(f"a frame of it is not whole after {self._stands_for} s")
            return
        if self._retires_in is not None:
            self._retires_in -= 1
            if self._retires_in <= 0:
                self._retires_in = None
                connection.leave()
        if connection.phase is Phase.LEAVING:
            self._leaving_for += 1
            if self._leaving_for > limits.leaving:
                # It never said that it knows. It is told from where on its calls are not looked at.
                connection.say_last()

    def _is_there(self) -> bool:
        """Pings a caller that is silent for too long. Tells whether there is an answer, or still time for one."""
        connection, terms = self._connection, self._connection.terms
        if self.heard or connection.out.deaf:
            self.heard = False
            self._quiet = 0
            return True
        self._quiet += 1
        if self._quiet == terms.keepalive and connection.phase is not Phase.GREETING:
            connection.out.write(frames.frame(frames.PING, 0, 0, b"alive?\0\0"))
        if self._quiet < terms.keepalive + terms.keepalive_timeout:
            return True
        _log.info("%s has not answered for %d s: its connection ends", connection.peer, self._quiet)
        return False
