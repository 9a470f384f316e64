"""What a principal may do: permissions, each on the queues and kinds that its patterns match. Pure values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

#: How many decisions about lanes a principal's grants remember.
_MOST_REMEMBERED = 10_000
#: Of one principal.
MAX_GRANTS = 100
#: Of one grant: of queues, and of kinds.
MAX_PATTERNS = 100
#: Pairs of a pattern of queues and one of kinds, of one principal: statements look at each of them.
MAX_PAIRS = 1000


class Permission(IntFlag):
    """The permissions of `access.proto`, as bits. PAYLOADS is what `Grant.payloads` adds to READ."""

    NONE = 0
    ENQUEUE = 1
    READ = 2
    WORK = 4
    OPERATE = 8
    ADMIN = 16
    PAYLOADS = 32


#: All that can be granted.
EVERY = Permission.ENQUEUE | Permission.READ | Permission.WORK | Permission.OPERATE | Permission.ADMIN
_SEES_KINDS = Permission.READ | Permission.ENQUEUE | Permission.WORK | Permission.OPERATE
_NAMES = {name: Permission[name] for name in ("ENQUEUE", "READ", "WORK", "OPERATE", "ADMIN")}


class GrantsMalformed(ValueError):
    """What is stored as grants can't be read."""


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern: the name itself, or a prefix of it and `*`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def covers(wide: str, narrow: str) -> bool:
    """Whether each name that fits the one pattern fits the other."""
    return narrow.startswith(wide[:-1]) if wide.endswith("*") else narrow == wide


@dataclass(frozen=True, slots=True)
class Grant:
    """Permissions on the jobs of the queues and kinds that match.

    Attributes:
        permissions: What is permitted there. PAYLOADS stands for `payloads` of the contract.
        queues: Patterns; `*` stands at the end only. At least one.
        kinds: As `queues`.
    """

    permissions: Permission
    queues: tuple[str, ...] = ("*",)
    kinds: tuple[str, ...] = ("*",)

    def match(self, queue: str, kind: str) -> bool:
        """Whether it is for the jobs of this queue and kind."""
        return any(matches(pattern, queue) for pattern in self.queues) and any(
            matches(pattern, kind) for pattern in self.kinds
        )

    def covers(self, other: Grant) -> bool:
        """Whether it permits all that the other does, in all queues and kinds of the other."""
        return (
            other.permissions & ~self.permissions == 0
            and all(any(covers(wide, narrow) for wide in self.queues) for narrow in other.queues)
            and all(any(covers(wide, narrow) for wide in self.kinds) for narrow in other.kinds)
        )


class Grants:
    """All grants of a principal. They add up; nothing is ever taken away by one.

    Attributes:
        each: The grants.
        anywhere: What they permit in at least one place.
        bits: The same as a plain number: `&` of two flags takes 0.6 us, of two numbers 0.03.
        unbounded: Whether one of them permits everything everywhere, payloads too.
    """

    __slots__ = ("_places", "_remembered", "anywhere", "bits", "each", "unbounded")

    def __init__(self, each: Iterable[Grant] = ()) -> None:
        self.each = tuple(each)
        self.anywhere = Permission.NONE
        for grant in self.each:
            self.anywhere |= grant.permissions
        self.bits = self.anywhere.value
        everything = Grant(EVERY | Permission.PAYLOADS)
        self.unbounded = any(grant.covers(everything) for grant in self.each)
        self._remembered: dict[tuple[str, str], int] = {}
        self._places: dict[Permission, tuple[list[str], list[str]]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grants) and self.each == other.each

    def __hash__(self) -> int:
        return hash(self.each)

    def __repr__(self) -> str:
        return f"Grants({list(self.each)!r})"

    def on(self, queue: str, kind: str) -> Permission:
        """What is permitted on the jobs of this queue and kind."""
        return Permission(self._bits_on(queue, kind))

    def _bits_on(self, queue: str, kind: str) -> int:
        found = self._remembered.get((queue, kind))
        if found is None:
            found = 0
            for grant in self.each:
                if grant.match(queue, kind):
                    found |= grant.permissions.value
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[queue, kind] = found
        return found

    def may(self, permission: Permission, queue: str, kind: str) -> bool:
        """Whether all of `permission` is permitted on the jobs of this queue and kind."""
        bits = permission.value
        return self.unbounded or self._bits_on(queue, kind) & bits == bits

    def may_all(self, permission: Permission, queue: str | None, kind: str | None) -> bool:
        """Whether `permission` is permitted on all jobs of a queue and a kind; None: of all queues, of all kinds."""
        return self.unbounded or any(
            grant.permissions & permission == permission
            and ("*" in grant.queues if queue is None else any(matches(each, queue) for each in grant.queues))
            and ("*" in grant.kinds if kind is None else any(matches(each, kind) for each in grant.kinds))
            for grant in self.each
        )

    def may_queue(self, permission: Permission, queue: str) -> bool:
        """Whether `permission` is permitted on a whole queue: on all kinds of its jobs."""
        return self.may_all(permission, queue, None)

    def may_kind(self, permission: Permission, kind: str) -> bool:
        """Whether `permission` is permitted on a kind itself: in all queues."""
        return self.may_all(permission, None, kind)

    def sees_queue(self, queue: str) -> bool:
        """Whether some jobs of the queue may be read."""
        return self.unbounded or any(
            Permission.READ in grant.permissions and any(matches(pattern, queue) for pattern in grant.queues)
            for grant in self.each
        )

    def sees_kind(self, kind: str) -> bool:
        """Whether the kind is there for the principal: some of its jobs may be enqueued, read, worked on or changed."""
        return self.unbounded or any(
            grant.permissions & _SEES_KINDS and any(matches(pattern, kind) for pattern in grant.kinds)
            for grant in self.each
        )

    def places(self, permission: Permission) -> tuple[list[str] | None, list[str] | None]:
        """Where a permission is granted, for statements: patterns of LIKE, pairs of queue and kind; None: anywhere."""
        if self.unbounded:
            return None, None
        if permission not in self._places:
            pairs = [
                (_like(queue), _like(kind))
                for grant in self.each
                if permission in grant.permissions
                for queue in grant.queues
                for kind in grant.kinds
            ]
            self._places[permission] = [queue for queue, _ in pairs], [kind for _, kind in pairs]
        return self._places[permission]

    def readable(self) -> tuple[list[str] | None, list[str] | None]:
        """Whose jobs may be read, as `places` answers it."""
        return self.places(Permission.READ)

    def queues_seen(self) -> list[str] | None:
        """Which queues are there for the principal, for statements: patterns of LIKE; None: all."""
        if self.unbounded:
            return None
        return [
            _like(queue)
            for grant in self.each
            if Permission.READ in grant.permissions
            for queue in grant.queues
        ]

    def kinds_seen(self) -> list[str] | None:
        """Which kinds are there for the principal, likewise."""
        if self.unbounded:
            return None
        return [_like(kind) for grant in self.each if grant.permissions & _SEES_KINDS for kind in grant.kinds]

    def only(self, permissions: Permission) -> Grants:
        """What of these permissions is permitted, and nothing else."""
        return Grants(
            Grant(grant.permissions & permissions, grant.queues, grant.kinds)
            for grant in self.each
            if grant.permissions & permissions
        )

    def cover(self, others: Grants) -> bool:
        """Whether these permit all that the others do. Each permission of each other is covered by one of these.

        A pattern that only several of these together cover counts as not covered.
        """
        return all(
            any(grant.covers(Grant(permission, other.queues, other.kinds)) for grant in self.each)
            for other in others.each
            for permission in other.permissions
        )


def _like(pattern: str) -> str:
    """A pattern as PostgreSQL's LIKE has it."""
    text = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return text.removesuffix("*") + "%" if text.endswith("*") else text


#: Those of all callers of a server without credentials.
EVERYTHING = Grants([Grant(EVERY | Permission.PAYLOADS)])
NOTHING = Grants()


def to_json(grants: Grants) -> list[dict[str, Any]]:
    """As they are stored."""
    return [
        {
            "permissions": [name for name, bit in _NAMES.items() if bit in grant.permissions],
            "queues": list(grant.queues),
            "kinds": list(grant.kinds),
            "payloads": Permission.PAYLOADS in grant.permissions,
        }
        for grant in grants.each
    ]


def from_json(stored: Sequence[Mapping[str, Any]]) -> Grants:
    """What `to_json` made. A permission that this version does not know is passed over: it permits nothing here.

    Raises:
        GrantsMalformed: It is not of this form.
    """
    try:
        return Grants(
            Grant(
                _permissions(each["permissions"], payloads=each.get("payloads", False)),
                tuple(map(str, each["queues"])),
                tuple(map(str, each["kinds"])),
            )
            for each in stored
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise GrantsMalformed(f"grants are stored in a form that is not known: {error!r}") from None


def _permissions(names: Sequence[str], *, payloads: bool) -> Permission:
    found = Permission.PAYLOADS if payloads else Permission.NONE
    for name in names:
        found |= _NAMES.get(name, Permission.NONE)
    return found
