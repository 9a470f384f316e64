"""What is wrong with queues, workers and servers, or may be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from ..upkeep.standstill import REMEDY
from .words import counted
from .workers import ServerSeen

#: A transaction that has been open for so long is told of.
LONG_SNAPSHOT = timedelta(minutes=1)
#: Due jobs wait for a slot for a moment wherever work is done.
CREDIT_AFTER = timedelta(seconds=5)
#: A loss is told of for so long; for the whole hour if there was another one so much later: then it goes on.
LOST_ONCE, LOST_AGAIN = timedelta(minutes=10), timedelta(minutes=2)
MOST = 100


class Code(IntEnum):
    """The numbers of the contract, in the order of the contract."""

    PAUSED_WITH_JOBS = 1
    WORKERS_MISSING = 2
    SLOTS_TAKEN = 3
    WORKERS_LOST = 4
    SERVER_SILENT = 5
    SERVERS_DIFFER = 6
    LONG_SNAPSHOT = 7
    KEYS_BLOCKED = 8
    STATS_BEHIND = 9
    STANDING_STILL = 10


#: Those that keep jobs from running come first.
_ORDER = {
    code: place
    for place, code in enumerate(
        (
            Code.STANDING_STILL, Code.WORKERS_MISSING, Code.PAUSED_WITH_JOBS, Code.SLOTS_TAKEN, Code.KEYS_BLOCKED,
            Code.WORKERS_LOST, Code.SERVER_SILENT, Code.SERVERS_DIFFER, Code.LONG_SNAPSHOT, Code.STATS_BEHIND,
        )
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Warning:
    """The fields are those of the contract."""

    code: Code
    message: str
    remedy: str
    queue: str = ""
    since: datetime | None = None


def sorted_by_weight(warnings: Iterable[Warning]) -> Sequence[Warning]:
    """At most MOST, the worst first."""
    return sorted(warnings, key=lambda each: (_ORDER[each.code], each.queue, each.message))[:MOST]


def standstill(since: datetime) -> Warning:
    """Nothing is handed out, of any queue."""
    message = "nothing is handed out and no schedule fires: a server was started with JOBQUEUE_START=paused"
    return Warning(Code.STANDING_STILL, message, REMEDY, since=since)


def paused(queue: str, jobs: int, capped: bool, since: datetime | None, by: str) -> Warning:
    """A queue is paused, and jobs wait in it."""
    who = f" by {by}" if by else ""
    wait = counted(jobs, "of its jobs waits", "of its jobs wait")
    message = f"the queue {queue} is paused{who}, and {'at least ' if capped else ''}{wait}"
    return Warning(Code.PAUSED_WITH_JOBS, message, f"ResumeQueue {queue}", queue, since)


def no_worker(queue: str, kinds: Collection[str], since: datetime) -> Warning:
    """Jobs are due that no worker takes."""
    named = _named(kinds)
    message = f"jobs of the queue {queue} are due, and no connected worker takes {named} from it"
    return Warning(
        Code.WORKERS_MISSING, message, f"a worker that takes {named} from the queue {queue}", queue, since
    )


def no_credit(queue: str, slots: int, since: datetime) -> Warning:
    """Jobs are due for longer than a moment, and every slot is taken."""
    taken = "the one slot of its workers is" if slots == 1 else f"all {slots} slots of its workers are"
    message = f"jobs of the queue {queue} are due, and {taken} taken"
    return Warning(Code.SLOTS_TAKEN, message, f"more workers or slots for the queue {queue}", queue, since)


def keys_blocked(queue: str, keys: int) -> Warning:
    """A queue in strict order waits for someone to look at its failures."""
    message = f"{counted(keys, 'key')} of the queue {queue} {'is' if keys == 1 else 'are'} blocked by jobs that failed"
    return Warning(Code.KEYS_BLOCKED, message, f"UnblockQueueKey {queue}, or a retry of the jobs", queue)


def goes_on(since: datetime, last: datetime, now: datetime) -> bool:
    """Whether losses of the last hour are still worth a warning: a restart that took jobs along soon is not."""
    return now - last < LOST_ONCE or last - since >= LOST_AGAIN


def workers_lost(queue: str, lost: int, since: datetime) -> Warning:
    """Attempts were lost with their workers."""
    were = counted(lost, "attempt was", "attempts were")
    message = f"{were} lost with workers of the queue {queue} in the last hour"
    remedy = (
        "look why the workers ended: their logs, and their memory; one that is restarted loses nothing if it is told "
        "by SIGTERM and has time to finish"
    )
    return Warning(Code.WORKERS_LOST, message, remedy, queue, since)


def of_servers(servers: Sequence[ServerSeen]) -> Iterable[Warning]:
    """What is wrong with servers."""
    for server in servers:
        if server.silent:
            seconds = int(server.silent_for.total_seconds())
            message = f"the server {server.name} was not heard for {seconds} s"
            remedy = "see whether it was killed or is cut off from the database"
            yield Warning(Code.SERVER_SILENT, message, remedy, since=server.heard_at)
    kinds = sorted({(server.version or "of before", server.level) for server in servers if not server.silent})
    if len(kinds) > 1:
        named = ", ".join(f"{version} (level {level})" for version, level in kinds)
        yield Warning(
            Code.SERVERS_DIFFER, f"servers of {len(kinds)} versions run: {named}", "upgrade the older ones"
        )


def long_snapshot(age: timedelta, read_at: datetime) -> Warning:
    """A transaction keeps deleted rows."""
    message = f"a transaction of the database has been open for {int(age.total_seconds())} s, so deleted rows pile up"
    remedy = "end it: pg_stat_activity has it, with the oldest xact_start"
    return Warning(Code.LONG_SNAPSHOT, message, remedy, since=read_at - age)


def stats_behind() -> Warning:
    """This server lost a slice."""
    message = "statistics of the last ten minutes are missing: this server could not write them"
    return Warning(Code.STATS_BEHIND, message, "see whether the database was away or full")


def _named(kinds: Collection[str]) -> str:
    shown = sorted(kinds)[:3]
    rest = len(kinds) - len(shown)
    return f"kind {', '.join(shown)}{f' and {rest} more' if rest else ''}"
