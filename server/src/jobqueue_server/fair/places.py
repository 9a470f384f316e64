"""All places of a server that callers share, for people; a test holds the list against the code."""

from __future__ import annotations

from dataclasses import dataclass

#: How a place is shared.
SHARE, TURNS, LINE, BY_DATABASE = "share", "turns", "line", "turns by the database"


@dataclass(frozen=True, slots=True)
class Place:
    """A bounded place.

    Attributes:
        name: For people.
        made: Where it is made: the file below `jobqueue_server`, and the attribute, or the constant that bounds it.
        bound: How much there is.
        how: SHARE, TURNS, LINE or BY_DATABASE.
        full: What one meets that finds nothing left: a reason, or what it waits for.
    """

    name: str
    made: tuple[str, str]
    bound: str
    how: str
    full: str


#: In the order in which a call meets them.
PLACES = (
    Place("calls under way", ("chain.py", "_calls"), "10,000", SHARE, "TOO_MANY_CALLS"),
    Place(
        "calls that wait: WaitJob, ClaimJobs, WaitOperation",
        ("chain.py", "_waits"),
        "10,000",
        SHARE,
        "TOO_MANY_CALLS",
    ),
    Place("large bodies over HTTP", ("http/large_bodies.py", "_turns"), "one at a time", TURNS, "waits"),
    Place(
        "streams without Hello",
        ("rpc/lease.py", "_silent"),
        "`JOBQUEUE_MAX_STREAMS`",
        SHARE,
        "TOO_MANY_STREAMS",
    ),
    Place("Lease streams", ("rpc/lease.py", "_streams"), "`JOBQUEUE_MAX_STREAMS`", SHARE, "TOO_MANY_STREAMS"),
    Place(
        "sessions of streams",
        ("core/session/held.py", "_share"),
        "`JOBQUEUE_MAX_SESSIONS`",
        SHARE,
        "TOO_MANY_STREAMS",
    ),
    Place(
        "jobs that wait to be stored",
        ("core/intake/waiting.py", "_share"),
        "`JOBQUEUE_ENQUEUE_QUEUE_LIMIT`",
        SHARE,
        "QUEUE_FULL",
    ),
    Place(
        "their turn to be stored", ("core/intake/batcher.py", "_line"), "1,000 jobs an insert", LINE, "waits"
    ),
    Place(
        "inserts that wait for a locked row",
        ("core/intake/slow_lane.py", "_turns"),
        "3 at a time; what wants the same row goes together",
        TURNS,
        "waits",
    ),
    Place(
        "transactions of jobs with keys or names",
        ("core/intake/keyed.py", "_turns"),
        "3 at a time",
        TURNS,
        "waits",
    ),
    Place(
        "connections to the database",
        ("store/database.py", "_turns"),
        "`JOBQUEUE_DB_POOL_SIZE`, in two pools",
        TURNS,
        "waits for `JOBQUEUE_DB_ACQUIRE_TIMEOUT`, then UNAVAILABLE",
    ),
    Place(
        "watches", ("core/query/watch_limit.py", "_open"), "`JOBQUEUE_MAX_WATCHES`", SHARE, "TOO_MANY_WATCHES"
    ),
    Place("searches of watches", ("core/query/watch.py", "_searches"), "3 at a time", TURNS, "waits"),
    Place(
        "streams of autoscalers", ("core/insight/scaling.py", "_streams"), "1,000", SHARE, "TOO_MANY_WATCHES"
    ),
    Place(
        "counts of jobs",
        ("core/stats/counting.py", "_turns"),
        "2 at a time; 10 more of a principal wait",
        TURNS,
        "TOO_MANY_CALLS",
    ),
    Place("statistics that are read", ("core/stats/history.py", "_turns"), "2 at a time", TURNS, "waits"),
    Place(
        "lists that go on after their first scan",
        ("core/query/reads.py", "_long"),
        "3 at a time",
        TURNS,
        "waits",
    ),
    Place(
        "operations on many jobs",
        ("core/bulk/runner.py", "MOST_AT_ONCE"),
        "4 steps at a time on a server; an operation that rests takes none",
        BY_DATABASE,
        "waits",
    ),
    Place(
        "schedules that are due",
        ("core/schedule/firing.py", "MOST_TOGETHER"),
        "200 a round; what fails is tried apart",
        BY_DATABASE,
        "waits",
    ),
)
