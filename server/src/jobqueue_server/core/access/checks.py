"""Whether a principal may do something on a queue and a kind, for the rooms that know them."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import FieldViolation, NotAllowed
from ...grants import Permission
from ...model import UniqueScope
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


def require_name(scope: Scope, among: UniqueScope, queue: str, kind: str, path: str) -> None:
    """Lets a principal pass that may enqueue all jobs among which a name stands once.

    Else who may enqueue a job that is worth nothing could hold the name of one of others, which is not stored then.

    Args:
        scope: Whose call it is. It may enqueue the job.
        among: The scope of the name.
        queue: The job's queue.
        kind: Its kind.
        path: Where the job stands in the request.

    Raises:
        NotAllowed: It may not.
    """
    if among is UniqueScope.QUEUE_AND_KIND or scope.grants.may_all(
        Permission.ENQUEUE, queue if among.of_queue else None, kind if among.of_kind else None
    ):
        return
    kinds = f"the kind {kind!r}" if among.of_kind else "all kinds"
    queues = f"of the queue {queue!r}" if among.of_queue else "in all queues"
    description = (
        f"{among.name} takes ENQUEUE on {kinds} {queues}, which these credentials do not have; with QUEUE_AND_KIND the "
        "name stands once among the jobs of this queue and kind, which they may enqueue"
    )
    field = f"{path}.unique.scope"
    raise NotAllowed(
        f"{field}: {description}",
        metadata={
            "permission": "ENQUEUE",
            "queue": queue if among.of_queue else "*",
            "kind": kind if among.of_kind else "*",
        },
        violations=[FieldViolation(field, description)],
    )


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
