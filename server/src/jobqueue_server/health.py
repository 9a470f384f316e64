"""The metrics that say whether a server is well: the base of `Metrics`, of which `metrics.py` has the others."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from . import __version__
from .condition import Condition
from .labels import Counters, Names
from .model import DEFAULT_NAMESPACE_NAME

#: How a session can end, as the label `how` says it.
ENDINGS = ("goodbye", "lost", "refused")

# A loop that is well is late by less than a millisecond; one that is late by seconds has lost its workers' heartbeats.
_LOOP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# The objective is 2 s, so one bucket ends there.
_LATE_SECONDS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
_WATCH_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True, slots=True)
class LaneCredit:
    """The free slots of this server's workers that take jobs of a queue and a kind; 0: all of them are busy."""

    queue: str
    kind: str
    credit: int
    namespace: str = DEFAULT_NAMESPACE_NAME


class Health:
    """Counts what should stay rare, and shows the state of the server and of its database.

    Whatever is shown is read when it is asked for. What is counted is counted by the batch, or is rare.

    Attributes:
        registry: Of all metrics of the server.
        kinds: The values of the label `kind`.
        queues: The values of the label `queue`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.kinds = Names()
        self.queues = Names()
        build = Gauge(
            "jobqueue_build_info", "What runs; always 1.", ("version", "python"), registry=self.registry
        )
        build.labels(__version__, platform.python_version()).set(1)
        self._lag = Histogram(
            "jobqueue_event_loop_lag_seconds",
            "How late the event loop was with what was due, looked at four times a second.",
            buckets=_LOOP_SECONDS,
            registry=self.registry,
        )
        self._watch_lag = Histogram(
            "jobqueue_watch_lag_seconds",
            "How old the oldest change was that a look of a watch found.",
            buckets=_WATCH_SECONDS,
            registry=self.registry,
        )
        self._late = Histogram(
            "jobqueue_lost_worker_late_seconds",
            "Workers that were lost: from the end of their session's ttl until their jobs were free for others.",
            buckets=_LATE_SECONDS,
            registry=self.registry,
        )
        text = "Attempts whose worker was lost, by what became of the job."
        self._lost = Counters(
            Counter("jobqueue_jobs_lost", text, ("kind", "outcome"), registry=self.registry), self.kinds
        )
        ended = Counter(
            "jobqueue_sessions_ended",
            "Sessions of workers that this server ended: by their word, by their silence, for their credentials.",
            ("how",),
            registry=self.registry,
        )
        self._ended = {how: ended.labels(how) for how in ENDINGS}
        self._count_rare()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _count_rare(self) -> None:
        self._failovers = self._counter(
            "jobqueue_database_failovers", "Promotions of a standby that this process noticed."
        )
        self._undelivered = self._counter(
            "jobqueue_undelivered", "Leases that went back since no worker is known to have begun them."
        )
        self._stale = self._counter(
            "jobqueue_stale_settlements",
            "Outcomes of leases that were another's by then. They change nothing: work was done twice.",
        )
        self._strays = self._counter(
            "jobqueue_audit_strays", "Leases that the audit gave back, since no session here knew of them."
        )
        self._amnesties = self._counter(
            "jobqueue_amnesties",
            "Times after which no session was taken for lost, since no server could hear its worker.",
        )
        self._limited = self._counter(
            "jobqueue_rate_limited", "Calls refused since their caller calls too often."
        )

    # ---- what is counted

    def loop_late(self, seconds: float) -> None:
        """Counts a look at the event loop."""
        self._lag.observe(seconds)

    def news_lagged(self, seconds: float) -> None:
        """Counts a look of a watch that found changes, by the age of the oldest."""
        self._watch_lag.observe(seconds)

    def lost(self, kind: str, outcome: str, jobs: int = 1) -> None:
        """Counts attempts that were lost with their worker. `outcome` is as in `finished`."""
        self._lost[kind, outcome].inc(jobs)

    def session_ended(self, how: str) -> None:
        """Counts a session that ended. `how` is one of ENDINGS."""
        self._ended[how].inc()

    def session_lost(self, late: float) -> None:
        """Counts a session that was lost. `late`: seconds from the end of its ttl until its jobs were free."""
        self._ended["lost"].inc()
        self._late.observe(max(0.0, late))

    def undelivered(self, jobs: int = 1) -> None:
        """Counts leases that went back unseen."""
        self._undelivered.inc(jobs)

    def stale_settlement(self) -> None:
        """Counts an outcome that came too late."""
        self._stale.inc()

    def strays(self, leases: int) -> None:
        """Counts leases that the audit gave back."""
        self._strays.inc(leases)

    def amnesty(self) -> None:
        """Counts a time without any server."""
        self._amnesties.inc()

    def failover(self) -> None:
        """Counts a promotion."""
        self._failovers.inc()

    def rate_limited(self) -> None:
        """Counts a call that was refused for its rate."""
        self._limited.inc()

    # ---- what is shown

    def show(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge without labels. The endpoint's thread calls `value`."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def watch_serving(self, ready: Callable[[], bool], database_up: Callable[[], bool]) -> None:
        """Reads whether the server takes work, and whether its database can be reached."""
        self.show("jobqueue_ready", "Whether the server takes work, as /readyz says.", ready)
        self.show("jobqueue_database_up", "Whether the database can be reached.", database_up)

    def watch_waiting(self, jobs: Callable[[], int]) -> None:
        """Reads how many jobs wait to be stored."""
        self.show("jobqueue_enqueue_waiting", "Jobs that wait to be stored.", jobs)

    def watch_connections(self, connections: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Reads how many connections to the database there are, by pool and state."""
        self.registry.register(_Connections(connections))

    def watch_lanes(
        self, credit: Callable[[], Iterable[LaneCredit]], paused: Callable[[], Iterable[tuple[str, str]]]
    ) -> None:
        """Reads the free slots by lane, and the queues that are paused: (queue, namespace)."""
        self.registry.register(_Lanes(credit, paused))

    def watch_condition(self, condition: Callable[[], Condition | None]) -> None:
        """Reads the condition of the database.

        Args:
            condition: Answers it from memory; None: it was not read yet. That it is called says that Prometheus reads.
        """
        self.registry.register(_Conditions(condition))


class _Connections(Collector):
    def __init__(self, connections: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._connections = connections

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [self._family()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for labels, number in self._connections().items():
            family.add_metric(labels, number)
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "jobqueue_database_connections",
            "Connections to the database, by pool (hot moves jobs, cold reads, vital is the heartbeat's) and state.",
            labels=("pool", "state"),
        )


class _Lanes(Collector):
    """A queue that is not paused is not shown, so that `unless` and `and` say in a rule what they say here."""

    def __init__(
        self, credit: Callable[[], Iterable[LaneCredit]], paused: Callable[[], Iterable[tuple[str, str]]]
    ) -> None:
        self._credit = credit
        self._paused = paused

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        lanes, paused = list(self._credit()), list(self._paused())
        # As of depths.
        named = any(each.namespace != DEFAULT_NAMESPACE_NAME for each in lanes) or any(
            namespace != DEFAULT_NAMESPACE_NAME for _, namespace in paused
        )
        credit, stands = self._families(("namespace",) if named else ())
        for each in lanes:
            credit.add_metric([each.queue, each.kind, *([each.namespace] if named else [])], each.credit)
        for queue, namespace in paused:
            stands.add_metric([queue, *([namespace] if named else [])], 1)
        yield credit
        yield stands

    @staticmethod
    def _families(more: tuple[str, ...] = ()) -> tuple[GaugeMetricFamily, ...]:
        return (
            GaugeMetricFamily(
                "jobqueue_lane_credit",
                "Free slots of workers here that take jobs of this queue and kind; none is shown where none does.",
                labels=("queue", "kind", *more),
            ),
            GaugeMetricFamily(
                "jobqueue_queue_paused", "Queues that are paused; always 1.", labels=("queue", *more)
            ),
        )


class _Conditions(Collector):
    def __init__(self, condition: Callable[[], Condition | None]) -> None:
        self._condition = condition

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families().values()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        families, now = self._families(), self._condition()
        if now is not None:
            families["snapshot"].add_metric((), now.snapshot_seconds)
            families["slot"].add_metric((), now.slot_bytes)
            for table, rows in now.dead_rows.items():
                families["dead"].add_metric((table,), rows)
            for state, number in now.partitions.items():
                families["partitions"].add_metric((state,), number)
            families["width"].add_metric((), now.partition_seconds)
            families["lag"].add_metric((), now.retention_lag_seconds)
            families["migration"].add_metric((str(now.migration), str(now.known_migration)), 1)
        yield from families.values()

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily]:
        def family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"jobqueue_{name}", text, labels=labels)

        return {
            "snapshot": family(
                "oldest_snapshot_seconds",
                "For how long a transaction, a slot or a standby has kept dead rows from being removed.",
            ),
            "slot": family(
                "replication_slot_retained_bytes", "WAL that the replication slot furthest behind keeps."
            ),
            "dead": family("dead_rows", "Dead rows of tables that change often.", "table"),
            "partitions": family("partitions", "Partitions of jobs.", "state"),
            "width": family("partition_width_seconds", "Of how much time a partition holds the jobs."),
            "lag": family(
                "retention_lag_seconds",
                "For how long what is beyond the retention has been due to go, and is still there.",
            ),
            "migration": family(
                "migration", "The newest migration of the database, and of this server.", "version", "known"
            ),
        }
