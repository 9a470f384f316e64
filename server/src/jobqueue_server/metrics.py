"""The server's Prometheus metrics, with one method for each event that they count."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import accumulate

from prometheus_client import (
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder, make_wsgi_app
from prometheus_client.registry import Collector

from .health import Health
from .histogram import add_ascending
from .labels import Counters, Names
from .model import DEFAULT_NAMESPACE_NAME, UniqueAction
from .scrape import Pages

#: The values of the label `outcome`. `error` counts outcomes that the server could not settle.
OUTCOMES = ("succeeded", "retrying", "failed_permanent", "cancelled", "error")
#: The values of the label `op`.
OPS = ("enqueue", "claim", "promote", "settle", "watch")
#: What the counter of unique jobs counts.
_DUPLICATES = (
    "Unique jobs that were not stored, since another one held their name: what was done with that one."
)
#: The values of the label `cause`.
REFUSALS = ("timeline", "cluster")

# A handler ends within milliseconds or within days; a call within 60 s.
_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_JOB_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)
_BATCH_JOBS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of jobs of one queue, kind and status, and for how many seconds the oldest has been due."""

    queue: str
    kind: str
    status: str
    jobs: int
    oldest_age: timedelta | None = None
    namespace: str = DEFAULT_NAMESPACE_NAME


@dataclass(frozen=True, slots=True)
class Held:
    """The number of jobs of one queue and kind that are held back, by what they wait for."""

    queue: str
    kind: str
    hold: str
    jobs: int
    namespace: str = DEFAULT_NAMESPACE_NAME


@dataclass(frozen=True, slots=True)
class Blocked:
    """The number of keys of a queue in strict order that a failed job blocks."""

    queue: str
    keys: int
    namespace: str = DEFAULT_NAMESPACE_NAME


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a queue wants: how many of its jobs could run now, and how many slots."""

    queue: str
    runnable: int
    wanted_slots: int
    namespace: str = DEFAULT_NAMESPACE_NAME


class _WantedCollector(Collector):
    """Reads what queues want at each scrape."""

    def __init__(self, wanted: Callable[[], Iterable[Wanted]]) -> None:
        self._wanted = wanted

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        wanted = list(self._wanted())
        # As of depths.
        named = any(each.namespace != DEFAULT_NAMESPACE_NAME for each in wanted)
        runnable, slots = self._families(("namespace",) if named else ())
        for each in wanted:
            labels = [each.queue, *([each.namespace] if named else [])]
            runnable.add_metric(labels, each.runnable)
            slots.add_metric(labels, each.wanted_slots)
        yield runnable
        yield slots

    @staticmethod
    def _families(more: tuple[str, ...] = ()) -> tuple[GaugeMetricFamily, ...]:
        labels = ("queue", *more)
        return (
            GaugeMetricFamily(
                "jobqueue_queue_runnable", "Jobs that could start now if there were slots.", labels=labels
            ),
            GaugeMetricFamily(
                "jobqueue_queue_wanted_slots",
                "Slots that the queue wants: for what runs, and for what could run now.",
                labels=labels,
            ),
        )


class _BacklogCollector(Collector):
    """Reads the depths at each scrape, so that a queue that is empty again leaves no stale series."""

    def __init__(
        self,
        backlogs: Callable[[], Iterable[Backlog]],
        held: Callable[[], Iterable[Held]],
        blocked: Callable[[], Iterable[Blocked]],
    ) -> None:
        self._backlogs = backlogs
        self._held = held
        self._blocked = blocked

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        backlogs = list(self._backlogs())
        # The label is there once there is a second namespace: who has one alone never sees it.
        named = any(backlog.namespace != DEFAULT_NAMESPACE_NAME for backlog in backlogs)
        depth, age, held, blocked = self._families(("namespace",) if named else ())
        for backlog in backlogs:
            labels = [backlog.queue, backlog.kind, backlog.status]
            if named:
                labels.append(backlog.namespace)
            depth.add_metric(labels, backlog.jobs)
            if backlog.oldest_age is not None:
                age.add_metric(labels, backlog.oldest_age.total_seconds())
        for one in self._held():
            held.add_metric([one.queue, one.kind, one.hold, *([one.namespace] if named else [])], one.jobs)
        for each in self._blocked():
            blocked.add_metric([each.queue, *([each.namespace] if named else [])], each.keys)
        yield depth
        yield age
        yield held
        yield blocked

    @staticmethod
    def _families(more: tuple[str, ...] = ()) -> tuple[GaugeMetricFamily, ...]:
        labels = ("queue", "kind", "status", *more)
        return (
            GaugeMetricFamily("jobqueue_queue_depth", "Jobs that have not ended.", labels=labels),
            GaugeMetricFamily(
                "jobqueue_queue_oldest_age_seconds",
                "How long the oldest of them has been due.",
                labels=labels,
            ),
            GaugeMetricFamily(
                "jobqueue_queue_held",
                "Jobs that are held back, by what they wait for.",
                labels=("queue", "kind", "hold", *more),
            ),
            GaugeMetricFamily(
                "jobqueue_queue_blocked_keys",
                "Keys that a failed job blocks, of queues that hold them then.",
                labels=("queue", *more),
            ),
        )


class _WhereUsed(Health):
    """What limits of keys, queues and kinds did, and schedules. A server without them shows none of it."""

    def _counters(self, name: str, text: str, *labels: str) -> Counters:
        names = {"kind": self.kinds, "queue": self.queues}.get(labels[0])
        return Counters(self._counter(name, text, *labels), names)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    @cached_property
    def _drifted(self) -> Counters:
        text = "Keys whose count of tokens was not that of their jobs, and was mended. It should stay 0."
        return self._counters("jobqueue_gate_drift", text, "queue")

    @cached_property
    def _keys(self) -> Gauge:
        text = "Keys with jobs, of queues that limit keys, by what these wait for, as the last walk through them saw."
        return Gauge("jobqueue_queue_keys", text, ("queue", "state"), registry=self.registry)

    @cached_property
    def _key_tokens(self) -> Gauge:
        text = "Jobs of these keys that run or stand in line."
        return Gauge("jobqueue_queue_key_tokens", text, ("queue",), registry=self.registry)

    @cached_property
    def _promoted(self) -> Counters:
        text = "Jobs that waited for their key and were let in: into their line, or straight into a lease."
        return self._counters("jobqueue_promoted", text, "queue", "into")

    @cached_property
    def _at_limit(self) -> Counters:
        text = "For how long a limit of the queue let no more of its jobs start, as this server saw it."
        return self._counters("jobqueue_queue_at_limit_seconds", text, "queue", "limit")

    @cached_property
    def _schedule_fires(self) -> Counters:
        text = "Ticks of schedules, by what became of them."
        return self._counters("jobqueue_schedule_fires", text, "outcome")

    @cached_property
    def _schedule_lag(self) -> Histogram:
        text = "From a tick to its fire, where it fired."
        return self._histogram("jobqueue_schedule_lag_seconds", text, _CALL_SECONDS)

    @cached_property
    def _schedules(self) -> Gauge:
        return Gauge("jobqueue_schedules", "Schedules that there are.", ("state",), registry=self.registry)

    @cached_property
    def _skipped_in_a_row(self) -> Gauge:
        text = "How many ticks of a schedule in a row were left out, of the 20 with most of them."
        labels = ("schedule", "namespace")
        return Gauge("jobqueue_schedule_skipped_in_a_row", text, labels, registry=self.registry)

    @cached_property
    def _key_pauses(self) -> Counters:
        text = "Attempts whose worker paused the key of their job, as after a 429."
        return self._counters("jobqueue_key_pauses", text, "queue")

    def key_paused(self, queue: str) -> None:
        """Counts an attempt that paused its job's key."""
        self._key_pauses[(queue,)].inc()

    def schedule_fired(self, outcome: str, ticks: int, late: float | None) -> None:
        """Counts ticks by what became of them; `late`: how many seconds after its tick one fired."""
        self._schedule_fires[(outcome,)].inc(ticks)
        if late is not None and outcome == "fired":
            self._schedule_lag.observe(max(0.0, late))

    def schedules(self, active: int, paused: int, skipped: Iterable[tuple[str, str, int]]) -> None:
        """Sets how many schedules there are, and which ones were left out how often: (namespace, name, how often)."""
        if not active and not paused and "_schedules" not in self.__dict__:
            return
        self._schedules.labels("active").set(active)
        self._schedules.labels("paused").set(paused)
        self._skipped_in_a_row.clear()
        for namespace, name, times in skipped:
            self._skipped_in_a_row.labels(name, namespace).set(times)

    @cached_property
    def _kind_at_limit(self) -> Counters:
        text = "For how long a limit of the kind let no more of its jobs start, as this server saw it."
        return self._counters("jobqueue_kind_at_limit_seconds", text, "kind", "limit")

    def kind_at_limit(self, kind: str, limit: str, seconds: float) -> None:
        """Counts for how long `max_running` or `rate` of a kind let no more jobs start, while some could wait."""
        self._kind_at_limit[kind, limit].inc(seconds)

    def at_limit(self, queue: str, limit: str, seconds: float) -> None:
        """Counts for how long `max_running` or `rate` of a queue let no more jobs start, while some could wait."""
        self._at_limit[queue, limit].inc(seconds)

    def promoted(self, queue: str, into: str, jobs: int) -> None:
        """Counts jobs that were let in by their key, `into` line or lease."""
        self._promoted[queue, into].inc(jobs)

    def keys(self, counted: Iterable[tuple[str, str, int, int]]) -> None:
        """Sets how many keys with jobs there are: (queue, state, keys, tokens).

        Queues of one name are told together, and those beyond the ones that have a label of their own.
        """
        keys: dict[tuple[str, str], int] = defaultdict(int)
        tokens: dict[str, int] = defaultdict(int)
        for queue, state, some, held in counted:
            told = self.queues.of(queue)
            keys[told, state] += some
            tokens[told] += held
        if not keys and "_keys" not in self.__dict__:
            return
        self._keys.clear()
        self._key_tokens.clear()
        for labels, some in keys.items():
            self._keys.labels(*labels).set(some)
        for told, held in tokens.items():
            self._key_tokens.labels(told).set(held)

    def drifted(self, queue: str) -> None:
        """Counts a key whose tokens were counted anew."""
        self._drifted[(queue,)].inc()


class Metrics(_WhereUsed):
    """The registry of one server, and its metrics.

    Every method is fast enough to be called for each call or each batch (about 1 us a value): the children of labelled
    metrics are kept, because looking one up costs more than counting. Only one thread at a time may count; the endpoint
    reads from another thread.
    """

    def __init__(self) -> None:
        super().__init__()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._enqueued = self._counters("jobqueue_jobs_enqueued", "Jobs stored.", "kind")
        self._duplicates = self._counters("jobqueue_unique_conflicts", _DUPLICATES, "kind", "action")
        self._finished = self._counters(
            "jobqueue_jobs_finished", "Attempts that ended, by what became of the job.", "kind", "outcome"
        )
        self._wait = JobSeconds("jobqueue_job_wait_seconds", "From run_at to the claim.", self.kinds)
        self._run = JobSeconds("jobqueue_job_run_seconds", "From the claim to its settlement.", self.kinds)
        self.registry.register(self._wait)
        self.registry.register(self._run)
        seconds = self._histogram(
            "jobqueue_op_seconds", "A batch, until its commit; a look of a watch.", _CALL_SECONDS, "op"
        )
        jobs = self._histogram(
            "jobqueue_op_batch_jobs", "Jobs in a batch; found by a look.", _BATCH_JOBS, "op"
        )
        self._ops = {op: (seconds.labels(op), jobs.labels(op)) for op in OPS}
        self._told = self._counter("jobqueue_watch_answers", "Jobs told to those who watch them.")
        self._calls = CallSeconds()
        self.registry.register(self._calls)
        self._notices = self._counters(
            "jobqueue_notices", "Notices between servers: sent by this one, received.", "direction"
        )
        self._listens = Counter(
            "jobqueue_listens", "Times that this server began to listen for notices.", registry=self.registry
        )
        self._bulk()
        self._enqueue_refused = self._counters(
            "jobqueue_enqueue_refused", "Enqueues refused for want of room, by the reason.", "reason"
        )
        self._denied = self._counters("jobqueue_denials", "Refused calls, by the reason.", "reason")
        self._denials_dropped = self._counter(
            "jobqueue_audit_denials_dropped",
            "Refused calls without a row of their own in the audit log, since too many others waited.",
        )
        refused = self._counter(
            "jobqueue_connections_refused",
            "Connections to PostgreSQL that this server refused: a former primary's (timeline), another cluster's.",
            "cause",
        )
        self._refused = {cause: refused.labels(cause) for cause in REFUSALS}
        self._gauges = {
            name: Gauge(f"jobqueue_{name}", text, registry=self.registry)
            for name, text in (
                ("sessions", "Sessions of workers that this server knows."),
                ("streams", "Lease streams open on this server."),
                ("credit", "Slots that workers have free."),
                ("leases", "Leases outstanding."),
                ("watches", "WatchJobs streams open on this server."),
                ("calls_in_flight", "Unary calls being handled."),
            )
        }

    def _bulk(self) -> None:
        lost = "Slices of statistics that could not be written, and are lost."
        self._slices_lost = self._counter("jobqueue_statistics_slices_lost", lost)
        text = "Jobs of operations that this server changed, or skipped."
        self._bulk_jobs = self._counters("jobqueue_bulk_jobs", text, "verb", "outcome")
        self._operations = Gauge(
            "jobqueue_operations", "Operations that are kept.", ("verb", "state"), registry=self.registry
        )

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text, with its content type, in the format that an `Accept` header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def pages(self) -> Pages:
        """What answers `/metrics` on a port of its own."""
        answer: Pages = make_wsgi_app(self.registry)
        return answer

    def call_handled(
        self, method: str, transport: str, code: str, seconds: float, ids: Mapping[str, str] | None = None
    ) -> None:
        """Counts a call that ended. `method` is its full name, `code` the name of its google.rpc.Code.

        `ids`, of a sampled call, are the exemplar of its bucket, which readers of OpenMetrics are shown.
        """
        self._calls.observe(method, transport, code, seconds, ids)

    def observe_batch(self, op: str, seconds: float, jobs: int) -> None:
        """Counts a batch that was committed, or a read of the database by a watch. `op` is one of OPS."""
        latency, size = self._ops[op]
        latency.observe(seconds)
        size.observe(jobs)

    def told(self) -> None:
        """Counts an answer of a watch."""
        self._told.inc()

    def enqueued(self, kind: str, jobs: int = 1) -> None:
        """Counts stored jobs of a kind. Replays do not count."""
        self._enqueued[(kind,)].inc(jobs)

    def duplicate(self, kind: str, action: UniqueAction | None) -> None:
        """Counts a unique job that was not stored, by what was done with the one there is; None: refused."""
        self._duplicates[kind, "rejected" if action is None else action.name.lower()].inc()

    def enqueue_refused(self, reason: str) -> None:
        """Counts a call whose jobs there was no room for."""
        self._enqueue_refused[(reason,)].inc()

    def finished(self, kind: str, outcome: str, jobs: int = 1) -> None:
        """Counts attempts of a kind that ended. `outcome` is one of OUTCOMES."""
        self._finished[kind, outcome].inc(jobs)

    def waited(self, kind: str, seconds: Sequence[float]) -> None:
        """Counts claimed jobs of a kind, with the seconds from the run_at of each to its claim, in ascending order."""
        self._wait.observe(kind, seconds)

    def waited_not(self, kind: str, jobs: int) -> None:
        """Counts jobs of a kind that were handed off in the statement that stored them."""
        self._wait.observe_alike(kind, 0.0, jobs)

    def ran(self, kind: str, seconds: float, jobs: int = 1) -> None:
        """Counts settled attempts of a kind, with the seconds from their claim."""
        self._run.observe_alike(kind, seconds, jobs)

    def notice(self, direction: str) -> None:
        """Counts a notice: `sent` to the other servers, or `received` from one."""
        self._notices[(direction,)].inc()

    def listening(self) -> None:
        """Counts openings of the connection for notices. Each one after the first means that a connection was lost."""
        self._listens.inc()

    def slice_lost(self) -> None:
        """Counts a slice of statistics that could not be written."""
        self._slices_lost.inc()

    def bulk_jobs(self, verb: str, outcome: str, jobs: int) -> None:
        """Counts jobs of operations. `outcome` is `changed`, or `skipped` where another caller was first."""
        if jobs:
            self._bulk_jobs[verb, outcome].inc(jobs)

    def operations(self, verb: str, state: str, operations: int) -> None:
        """Sets how many operations there are, of all servers."""
        self._operations.labels(verb, state).set(operations)

    def denied(self, reason: str) -> None:
        """Counts a call that was refused for this reason."""
        self._denied[(reason,)].inc()

    def denials_dropped(self) -> None:
        """Counts a refused call that the audit log has no row for."""
        self._denials_dropped.inc()

    def connection_refused(self, cause: str) -> None:
        """Counts a connection to a PostgreSQL that is not the current primary. `cause` is one of REFUSALS."""
        self._refused[cause].inc()

    def watch(self, gauges: Mapping[str, Callable[[], float]]) -> None:
        """Sets the functions that give the gauges' values at each scrape.

        Args:
            gauges: For each of `sessions`, `streams`, `watches`, `credit`, `leases` and `calls_in_flight` the function
                that answers its value. The endpoint's thread calls it.
        """
        for name, value in gauges.items():
            self._gauges[name].set_function(value)

    def watch_clock(self, ahead: Callable[[], float]) -> None:
        """Reads how far this host's clock is ahead of the database's, in seconds, when it is asked for."""
        Gauge(
            "jobqueue_host_clock_ahead_seconds",
            "How far the clock of this host is ahead of the database's.",
            registry=self.registry,
        ).set_function(ahead)

    def watch_pressure(self, pressure: Callable[[], float]) -> None:
        """Reads how near the server is to refusing enqueues, from 0 to 1, when it is asked for."""
        Gauge(
            "jobqueue_enqueue_pressure",
            "How near this server is to refusing enqueues: 0 is idle, 1 is full.",
            registry=self.registry,
        ).set_function(pressure)

    def watch_certificate(self, not_after: Callable[[], float]) -> None:
        """Reads when the server's certificate ends, in seconds since 1970, when it is asked for."""
        Gauge(
            "jobqueue_tls_not_after_timestamp_seconds",
            "When the certificate of this server ends.",
            registry=self.registry,
        ).set_function(not_after)

    def watch_backlogs(
        self,
        backlogs: Callable[[], Iterable[Backlog]],
        held: Callable[[], Iterable[Held]] = tuple,
        blocked: Callable[[], Iterable[Blocked]] = tuple,
    ) -> None:
        """Sets the function that gives the depths of queues at each scrape.

        Args:
            backlogs: Answers the depths from memory. The endpoint's thread calls it, so it must not use the database.
            held: Answers the jobs that are held back, likewise.
            blocked: Answers the keys that are blocked, likewise.
        """
        self.registry.register(_BacklogCollector(backlogs, held, blocked))

    def watch_wanted(self, wanted: Callable[[], Iterable[Wanted]]) -> None:
        """Sets the function that gives what queues want at each scrape, likewise from memory.

        Args:
            wanted: Answers it; that it is called says that Prometheus reads it.
        """
        self.registry.register(_WantedCollector(wanted))


class JobSeconds(Collector):
    """A histogram by kind, with a value for each job.

    The library's histogram takes a lock and searches its buckets for each value, which costs 2 us a job. This one may
    only be written by the event loop. The endpoint's thread reads it, and sees each list as it is at that moment.
    """

    def __init__(self, name: str, text: str, kinds: Names | None = None) -> None:
        self._name = name
        self._text = text
        self._kinds = kinds or Names()
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, kind: str, seconds: Sequence[float]) -> None:
        """Counts one value for each job, in seconds, in ascending order; at least one."""
        counts, kind = self._of(kind)
        add_ascending(counts, _JOB_SECONDS, seconds)
        self._sums[kind] += sum(seconds)

    def observe_alike(self, kind: str, seconds: float, jobs: int) -> None:
        """Counts the same value, in seconds, for `jobs` jobs."""
        counts, kind = self._of(kind)
        counts[bisect_left(_JOB_SECONDS, seconds)] += jobs
        self._sums[kind] += seconds * jobs

    def _of(self, kind: str) -> tuple[list[int], str]:
        """The counts of a kind, and the label that they are told under."""
        counts = self._counts.get(kind)
        if counts is None:
            kind = self._kinds.of(kind)
            counts = self._counts.get(kind)
        if counts is None:
            self._sums[kind] = 0.0
            counts = self._counts[kind] = [0] * (len(_JOB_SECONDS) + 1)
        return counts, kind

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """The metric's name and labels."""
        return [HistogramMetricFamily(self._name, self._text, labels=["kind"])]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The counts so far."""
        family = HistogramMetricFamily(self._name, self._text, labels=["kind"])
        for kind in list(self._counts):
            below = accumulate(self._counts[kind])
            family.add_metric([kind], list(zip(_bounds(_JOB_SECONDS), below, strict=True)), self._sums[kind])
        yield family


class _Calls:
    """The calls of one method over one transport: how many by code, and their seconds by bucket."""

    __slots__ = ("codes", "counts", "exemplars", "seconds")

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.counts = [0] * (len(_CALL_SECONDS) + 1)
        self.exemplars: dict[int, Exemplar] = {}
        self.seconds = 0.0


class CallSeconds(Collector):
    """Calls by method, transport and code, and a histogram of their seconds: two metrics, one look.

    Those of the library took 1.8 us a call, these take 0.2. As of `JobSeconds`, one thread may write.
    """

    _LABELS = ("grpc_service", "grpc_method", "transport")

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], _Calls] = {}

    def observe(
        self, method: str, transport: str, code: str, seconds: float, ids: Mapping[str, str] | None
    ) -> None:
        """Counts a call, as `Metrics.call_handled` says."""
        calls = self._of.get((method, transport))
        if calls is None:
            calls = self._of[method, transport] = _Calls()
        bucket = bisect_left(_CALL_SECONDS, seconds)
        calls.counts[bucket] += 1
        calls.seconds += seconds
        calls.codes[code] = calls.codes.get(code, 0) + 1
        if ids is not None:
            calls.exemplars[bucket] = Exemplar(dict(ids), seconds, time.time())

    def describe(self) -> Iterable[Metric]:
        """The metrics' names and labels."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """The counts so far."""
        seconds, handled = self._families()
        for (method, transport), calls in list(self._of.items()):
            _, service, name = method.split("/")
            labels, exemplars = [service, name, transport], dict(calls.exemplars)
            buckets = [
                (bound, below, exemplars[number]) if number in exemplars else (bound, below)
                for number, (bound, below) in enumerate(
                    zip(_bounds(_CALL_SECONDS), accumulate(calls.counts), strict=True)
                )
            ]
            seconds.add_metric(labels, buckets, calls.seconds)
            for code, count in list(calls.codes.items()):
                handled.add_metric([*labels, code], count)
        return seconds, handled

    def _families(self) -> tuple[HistogramMetricFamily, CounterMetricFamily]:
        return (
            HistogramMetricFamily(
                "grpc_server_handling_seconds", "Calls, until their answer.", labels=self._LABELS
            ),
            CounterMetricFamily(
                "grpc_server_handled",
                "Calls answered, over both transports.",
                labels=(*self._LABELS, "grpc_code"),
            ),
        )


def _bounds(seconds: Sequence[float]) -> list[str]:
    """Those of a histogram's buckets, as Prometheus writes them."""
    return [*(str(float(bound)) for bound in seconds), "+Inf"]
