"""Sessions by what they have free, and by how many slots they have."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator

from ..lease.session import Session


class Pool:
    """Sessions that take the same jobs.

    Attributes:
        sessions: All of them.
    """

    def __init__(self) -> None:
        self.sessions: set[Session] = set()
        self._rooms: dict[int, OrderedDict[Session, None]] = {}
        self._room_of: dict[Session, int] = {}
        self._size_of: dict[Session, int] = {}
        # How many sessions have so many slots.
        self._sizes: Counter[int] = Counter()

    def add(self, session: Session) -> None:
        """A session takes part."""
        self.sessions.add(session)
        self._take_size(session)
        session.watch_room(self._has_room)
        self._has_room(session)

    def discard(self, session: Session) -> None:
        """A session takes part no more."""
        self.sessions.discard(session)
        self._forget_size(session)
        session.watch_room(None)
        self._forget(session)

    def resized(self, session: Session) -> None:
        """Its worker has said anew how many slots it has."""
        self._take_size(session)
        session.has_room()

    def _take_size(self, session: Session) -> None:
        self._forget_size(session)
        slots = session.capacity.slots
        self._size_of[session] = slots
        self._sizes[slots] += 1

    def _forget_size(self, session: Session) -> None:
        slots = self._size_of.pop(session, None)
        if slots is not None:
            self._sizes[slots] -= 1
            if not self._sizes[slots]:
                del self._sizes[slots]

    @property
    def largest(self) -> int:
        """The slots of the session that has the most, free or not; 0 without a session."""
        return max(self._sizes, default=0)

    def by_room(self) -> Iterator[Session]:
        """The sessions with free credit, those with the most first; of equals, the one that was not asked for longest.

        It does not read each of ten thousand: a session stands under what it had free when that last grew. When the
        iteration reaches it, it is put where it belongs now.
        """
        free = max(self._rooms, default=0)
        while free:
            alike = self._rooms[free]
            for _ in range(len(alike)):
                session = next(iter(alike))
                now = session.free
                self._forget(session)
                if now > 0:
                    self._put(session, now)
                if now == free:
                    yield session
            # The iteration reaches there what was put lower down just now.
            free = max((other for other in self._rooms if other < free), default=0)

    def has_credit(self) -> bool:
        """Whether a session has any free credit. It changes no session's turn."""
        return any(session.free > 0 for session in self._room_of)

    def credit(self, enough: int) -> int:
        """The free credit of its sessions. It stops as soon as that is `enough`."""
        credit = 0
        for session in self._room_of:
            credit += max(session.free, 0)
            if credit >= enough:
                break
        return credit

    def slots(self, enough: int) -> int:
        """The slots of its sessions, free or not. It stops as soon as that is `enough`."""
        slots = 0
        for session in self.sessions:
            slots += session.capacity.most
            if slots >= enough:
                break
        return slots

    def _has_room(self, session: Session) -> None:
        """What a session has free may have grown."""
        free = session.free
        before = self._room_of.get(session, 0)
        if free > before:
            if before:
                self._forget(session)
            self._put(session, free)

    def _put(self, session: Session, free: int) -> None:
        self._room_of[session] = free
        self._rooms.setdefault(free, OrderedDict())[session] = None

    def _forget(self, session: Session) -> None:
        free = self._room_of.pop(session, None)
        if free is not None:
            alike = self._rooms[free]
            del alike[session]
            if not alike:
                del self._rooms[free]
