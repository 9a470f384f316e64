"""The sessions that this server holds, of which principals share the number."""

from __future__ import annotations

from datetime import timedelta

from ...errors import TooManyStreams
from ...fair.share import Share
from ...scope import Scope
from ..lease.session import Session


class HeldSessions(dict[int, Session]):
    """Sessions by their numbers. What is put there by `hold` is taken out by `let_go`.

    Args:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._share = Share(most)

    def check_room(self, scope: Scope) -> None:
        """Refuses one session more, where there is no room for it.

        Raises:
            TooManyStreams: The server holds as many as it may, in all or of this principal.
        """
        if not self._share.has_room(scope.owner):
            message = f"{self._share.full(scope.owner, 'sessions')}; connect to another server"
            raise TooManyStreams(message, retry_after=timedelta(seconds=1))

    def hold(self, session: Session) -> None:
        """It is held from now on."""
        self[session.id] = session
        self._share.take(session.scope.owner)

    def let_go(self, session: Session) -> None:
        """It is held no longer, if it was and no later epoch of it is."""
        if self.get(session.id) is session:
            del self[session.id]
            self._share.give_back(session.scope.owner)
