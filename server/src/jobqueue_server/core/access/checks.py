"""Whether a principal may do something on a queue and a kind, for the rooms that know them."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import NotAllowed
from ...grants import Permission
from ...scope import Scope


def require(scope: Scope, permission: Permission, queue: str, kind: str, doing: str) -> None:
    """Lets a principal pass that has a permission on the jobs of a queue and a kind.

    Args:
        scope: Whose call it is.
        permission: One bit.
        queue: The queue.
        kind: The kind.
        doing: As in `not_allowed`.

    Raises:
        NotAllowed: It has not.
    """
    if not scope.grants.may(permission, queue, kind):
        raise not_allowed(str(permission.name), doing, queue=queue, kind=kind)


def check_subscriptions(scope: Scope, subscriptions: Iterable[tuple[str, str]]) -> None:
    """Lets a worker pass that may work on each (queue, kind) of these.

    Raises:
        NotAllowed: It may not.
    """
    if not scope.grants.unbounded:
        for queue, kind in sorted(subscriptions):
            require(scope, Permission.WORK, queue, kind, "lease jobs")


def not_allowed(permission: str, doing: str, **on: str) -> NotAllowed:
    """The answer to a principal that lacks a permission.

    Args:
        permission: What it lacks, such as `ENQUEUE`.
        doing: What it wanted to do, as a text that goes on after "may not".
        on: The queue and the kind on which it lacks it.
    """
    where = " on " + " and ".join(f"the {name} {value!r}" for name, value in on.items()) if on else ""
    return NotAllowed(
        f"these credentials may not {doing}; that takes {permission}{where}",
        metadata={"permission": permission, **on},
    )
