"""The composition root: builds the whole server in one column, starts it, drains it, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from jobqueue.v1 import jobqueue_pb2, queue_admin_pb2

from . import __version__, logs
from .addresses import check_free
from .background import Background
from .chain import Chain
from .core.audit import Audit
from .core.beat import Beat
from .core.calls import SessionCalls
from .core.cancels import Cancels
from .core.catalog import Catalog
from .core.claim.activity import Activity
from .core.claim.admission import Admission
from .core.claim.claimer import Claimer
from .core.claim.delivery import Delivery
from .core.claim.handoff import HandOff
from .core.claim.takers import Takers
from .core.clock import Clock
from .core.commits import Commits
from .core.enqueue import Enqueuer
from .core.events.ends import EndCounter, Ends
from .core.events.this_server import ThisServer
from .core.expected_clock import ExpectedClock
from .core.follow_ups import FollowUps
from .core.jobs import JobService
from .core.lease.attempt_ends import AttemptEnds
from .core.lease.early_cancels import EarlyCancels
from .core.levels import LEVEL, Levels
from .core.lines import Lines
from .core.load import Load
from .core.losses import Losses
from .core.pace import Pace
from .core.peers import Peers
from .core.progress import ProgressReports
from .core.queues import QueueService
from .core.reaper import Reaper
from .core.resumption import Resumption
from .core.retention import Retention
from .core.sessions import Sessions
from .core.settle import Settler
from .core.silences import Silences
from .core.streams import Streams
from .core.sweep import Sweep
from .core.tuning import Tuning
from .core.waiters import Waiters
from .core.watch import Watches
from .durations import format_duration
from .embedded import EmbeddedPostgres, default_data_dir
from .errors import JobQueueError
from .http import hosts
from .http.app import HttpApp
from .http.cors import Cors
from .http.errors import ErrorForm
from .http.hosts import Hosts
from .http.ops import Operations
from .http.server import HttpServer
from .ids import IdMint
from .memory import FreeMemory
from .metrics import Backlog, Metrics, MetricsEndpoint
from .rpc.job_queue import JobQueueServicer
from .rpc.lease import LeaseServicer
from .rpc.queue_admin import QueueAdminServicer
from .rpc.server import GrpcServer
from .rpc.session_calls import SessionCallsServicer
from .rpc.transport import Limits
from .rpc.watch import WatchServicer
from .settings import Settings, listening
from .store import migrate, pooler
from .store.catalog import CatalogStore
from .store.changes import ChangeStore
from .store.clock import ClockStore, uuid_of
from .store.connect import Connector
from .store.database import Database
from .store.dsn import cause_of, place_of
from .store.jobs import JobStore
from .store.levels import LevelStore, LevelTooLow
from .store.lineage import Lineage
from .store.notices import Notices
from .store.reads import ReadStore
from .store.retention import RetentionStore
from .store.sessions import SessionStore
from .store.watch import WatchStore
from .tls import Tls

_log = logs.get(__name__)

WAIT_FOR_DATABASE = 3.0
DEPTHS_EVERY = 5.0
DRAIN_LOOK = 0.05
# Workers that are sent elsewhere come there one after the other: 5 ms for each, all within 2 s.
DRAIN_SPREAD_EACH = 0.005
DRAIN_SPREAD = 2.0
# How long what is on its way to workers may take to arrive.
DRAIN_QUIET = 2.0
# How long a worker may take to connect elsewhere.
DRAIN_MOVE = 0.5
# With a database that hangs, a batch of outcomes takes as long to be given up: twice the statement timeout.
LAST_OUTCOMES = 12.0
# How long the database's clock must go on from a time that it was set to, before anything is over by it. What was on
# its way when it was set has arrived by then (core/reaper.py), and a step that is taken back at once costs nothing.
REAP_AFTER_STEP = timedelta(seconds=10)
# What retention deletes is gone, and it has time.
DELETE_AFTER_STEP = timedelta(minutes=10)
# What a stream that was told to end gets to write its last frames.
LAST_FRAMES = timedelta(seconds=1)
# Connections beside those of workers, each of which may have one for its stream.
_CONNECTIONS_BESIDE = 2000
# Settings that have no effect where the engine is grpcio: it has no such bounds.
HTTP2_ALONE = frozenset(
    {
        "grpc_max_unfinished",
        "grpc_request_timeout",
        "grpc_stall_timeout",
        "grpc_unread_mib",
        "grpc_all_unread_mib",
        "grpc_held_mib",
        "grpc_all_held_mib",
        "grpc_reset_burst",
        "grpc_reset_rate",
    }
)
# Each connection is one. Shells let a program have 1,024, and more where it asks.
_FILES = 65_536


class App:
    """One server. `await app.start()`, `await app.stop()`; or `await app.run()` for both, until a signal.

    A server that has become too old for its database drains by itself, and `run` then ends with the reason.

    Args:
        settings: What it is to do.
        reuse_port: Whether other processes listen on its ports as well.
        level: What it takes itself for (core/levels.py); tests have servers of two levels.

    Attributes:
        dsn: The database, after `start`.
        grpc_port: Where gRPC answers, after `start`.
        http_port: Where HTTP answers, after `start`; 0 where it is off.
        metrics_port: Where Prometheus reads, after `start`; 0 where it is off.
        on_ready: Called when it answers.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reuse_port: bool = False,
        level: int = LEVEL,
        tuning: Tuning | None = None,
    ) -> None:
        self.settings = settings
        self._tuning = tuning or Tuning()
        self._reuse_port = reuse_port
        self._level = level
        self.on_ready: Callable[[], None] = lambda: None
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.dsn = settings.dsn or ""
        self.grpc_port = 0
        self.http_port = 0
        self.metrics_port = 0
        # Why the server takes no work now; empty where it does.
        self._not_ready = "starting"
        # What came up, to be taken down in reverse.
        self._up = contextlib.AsyncExitStack()
        self._tls: Tls | None = None
        self._ended = asyncio.Event()
        self._leaving = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._outdated: LevelTooLow | None = None

    # ---- one column

    def _build(self) -> None:
        settings = self.settings
        self.metrics = Metrics()
        connector = Connector(
            self.dsn,
            name=f"jobqueue-server {self.name}",
            lineage=Lineage(self.metrics.connection_refused),
        )
        self.database = Database(
            connector, pool_size=settings.db_pool_size, acquire_timeout=settings.db_acquire_timeout
        )
        reaping_clock = ExpectedClock("reaping and timeouts", held_for=REAP_AFTER_STEP)
        retention_clock = ExpectedClock("retention", held_for=DELETE_AFTER_STEP)
        jobs = JobStore(
            self.database,
            key_ttl=settings.idempotency_ttl,
            max_losses=settings.max_losses,
            expected=reaping_clock.now,
        )
        sessions = SessionStore(self.database, jobs, expected=reaping_clock.now)
        reads = ReadStore(self.database)
        catalog_store = CatalogStore(self.database)
        changes = ChangeStore(self.database, cancel_grace=settings.cancel_grace)

        self.clock = Clock(ClockStore(self.database))
        self.catalog = Catalog(catalog_store, open_kinds=settings.kinds == "open")
        self.levels = Levels(LevelStore(self.database), self._level)
        ends = Ends()
        EndCounter(ends, self.metrics)
        self.waiters = Waiters(reads, ends)
        self.server = ThisServer()
        self.beat = Beat(
            sessions,
            self.server,
            self.name,
            self._reachable,
            self._database_away,
            self._too_old,
            (reaping_clock, retention_clock),
            self.levels,
        )
        self.peers = Peers(Notices(connector), self.catalog, self.metrics, self.server, self._tuning)
        self.progress = ProgressReports(jobs)
        self.attempts = AttemptEnds(jobs, self.catalog, self.progress, ends)

        load, tuning = Load(), self._tuning
        self.activity = Activity()
        self.takers = Takers(self.catalog, self.activity)
        self.lines = Lines(self.catalog, self.clock, ends, self.activity.wake, self.peers.tell_ready)
        early = EarlyCancels(settings.cancel_grace, tuning.cancels_kept)
        self.delivery = Delivery(
            jobs, self.catalog, self.takers, self.activity, self.attempts, early, self.metrics
        )
        admission = Admission(self.takers, self.lines, self.activity, load, tuning)
        self.hand_off = HandOff(
            self.takers, self.lines, admission, self.delivery, self.activity, load, tuning
        )
        claimer = Claimer(
            jobs, self.takers, self.lines, self.delivery, self.activity, load, self.metrics, tuning
        )

        silences = Silences(sessions)
        self.sessions = Sessions(
            sessions,
            self.takers,
            Resumption(sessions, self.catalog, self.attempts),
            silences,
            early,
            self.attempts,
            self.peers,
            self.server,
            most=settings.max_sessions,
            max_age=settings.connection_max_age,
            tuning=tuning,
        )
        self.cancels = Cancels(
            sessions,
            self.sessions,
            self.peers,
            self.server,
            early=early,
            grace=settings.cancel_grace,
            tuning=tuning,
        )
        self.peers.on_ready = self.lines.seen
        self.peers.on_cancel = self.cancels.heard
        self.peers.on_taken_back = self.sessions.taken_back
        self.peers.on_gone = self.sessions.gone
        self.peers.on_ended = self.sessions.ended
        self.audit = Audit(jobs, sessions, self.sessions, self.attempts, self.server, tuning)
        losses = Losses(sessions, self.sessions, silences, self.attempts, self.peers, tuning)
        self.reaper = Reaper(
            jobs, sessions, self.sessions, losses, self.audit, self.attempts, self.server, tuning
        )

        self.enqueuer = Enqueuer(
            jobs,
            self.catalog,
            self.hand_off,
            self.clock,
            IdMint(self.clock, uuid_of),
            self.metrics,
            reads,
            load,
            most_waiting=settings.enqueue_queue_limit,
        )
        commits = Commits(jobs, self.attempts, ends, self.metrics)
        follow_ups = FollowUps(commits, jobs, self.enqueuer)
        self.settler = Settler(commits, follow_ups, self.activity, admission)
        self.jobs = JobService(
            self.enqueuer,
            reads,
            changes,
            self.waiters,
            ends,
            on_cancel=self.cancels.cancel,
            on_ready=self.lines.ready,
        )
        self.watches = Watches(
            WatchStore(self.database),
            self.clock,
            self.metrics,
            ends,
            most=settings.max_watches,
            retention=settings.retention,
        )
        self.retention = Retention(
            RetentionStore(self.database, retention=settings.retention, expected=retention_clock.now),
            retention=settings.retention,
        )

        self.chain = Chain(self.metrics)
        self.lease = LeaseServicer(
            self.sessions,
            self.settler,
            self.progress,
            self.clock,
            default_ttl=settings.session_ttl,
            max_streams=settings.max_streams,
            server_name=self.name,
        )
        self.calls = SessionCalls(
            sessions,
            self.sessions,
            self.takers,
            self.delivery,
            self.settler,
            self.attempts,
            self.catalog,
            self.server,
        )
        session_calls = SessionCallsServicer(
            self.calls,
            self.clock,
            default_ttl=settings.session_ttl,
            server_name=self.name,
        )
        queues = QueueService(self.catalog, catalog_store)
        services = [
            (
                jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"],
                _Joined(
                    JobQueueServicer(self.jobs, self.clock),
                    self.lease,
                    session_calls,
                    WatchServicer(self.watches),
                ),
            ),
            (
                queue_admin_pb2.DESCRIPTOR.services_by_name["QueueAdmin"],
                QueueAdminServicer(self.catalog, queues),
            ),
        ]
        self.grpc = GrpcServer(
            self.chain,
            services,
            tls=self._tls,
            reuse_port=self._reuse_port,
            max_connection_age=settings.connection_max_age,
            limits=grpc_limits(settings),
            engine=settings.grpc_engine,
        )
        operations = Operations(self.metrics, lambda: self._not_ready)
        errors = ErrorForm(aip193=settings.http_errors == "aip193")
        http = HttpApp(self.chain, services, operations, errors)
        cors = Cors(http, settings.cors_origins, http.refuse)
        names = settings.http_hosts
        if not hosts.needed(settings.http_addr or "", names):
            names = (hosts.ANY,)
        front = Hosts(cors, names, http.refuse)
        quick = http.quick(front.answers, cors.plain_marks)
        self.http = HttpServer(http, front, quick=quick, tls=self._tls, reuse_port=self._reuse_port)
        self.endpoint = MetricsEndpoint(self.metrics)
        self._backlogs: list[Backlog] = []
        self.metrics.watch_backlogs(lambda: self._backlogs)
        self.metrics.watch(
            {
                "sessions": lambda: len(self.sessions),
                "streams": lambda: self.chain.open_streams - len(self.watches),
                "watches": lambda: len(self.watches),
                "credit": lambda: sum(max(session.free, 0) for session in self.sessions.all()),
                "leases": lambda: sum(len(session.leases) for session in self.sessions.all()),
                "calls_in_flight": lambda: self.chain.in_flight,
            }
        )
        self.background = Background(
            {
                "clock": self.clock.run,
                "catalog": self.catalog.run,
                "enqueue": self.enqueuer.run,
                "enqueue keyed": self.enqueuer.run_keyed,
                "settle": self.settler.run,
                "follow-ups": follow_ups.run,
                "claims": claimer.run,
                "sweep": Sweep(jobs, self.takers, self.lines, tuning).run,
                "sessions": Streams(self.sessions, silences, tuning).run,
                "cancels": self.cancels.run,
                **({"peers": self.peers.run} if settings.notify == "on" else {}),
                "beat": self.beat.run,
                "reaper": self.reaper.run,
                "progress": self.progress.run,
                "waiters": self.waiters.run,
                "retention": self.retention.run,
                "depths": self._watch_depths,
                "free memory": FreeMemory().run,
            }
        )

    # ---- start and stop

    async def start(self) -> None:
        """Brings the database up if it is ours, waits for it if it is not, and then answers.

        Raises:
            MigrationError: The schema is not one that this server knows, or newer servers use it. It says what to do.
            PoolerUnusable: The pooler before the database does not keep connections apart.
            AddressUnusable: A port is taken.
            TlsUnusable: The certificate can't be used.
        """
        up = self._up
        settings = self.settings
        self._tls = Tls.load(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        if settings.grpc_engine == "grpcio":
            for name in sorted(settings.model_fields_set & HTTP2_ALONE):
                _log.warning("a setting has no effect with this engine", setting=name, engine="grpcio")
        if not self._reuse_port:
            check_free(listening(settings))
        if self.settings.dsn is None:
            await self._start_postgres()
        self._build()
        up.push_async_callback(self.database.close)
        await self._wait_for_database()
        await self.clock.measure()
        # Before anything is written: it may be refused.
        await self.beat.start()
        up.push_async_callback(self.beat.stop)
        await self.catalog.load()
        await self.retention.ensure()
        self.background.start()
        up.push_async_callback(self.background.stop)
        # The last of the ports to close: balancers read at /readyz that the server leaves until it has left.
        up.push_async_callback(self.http.stop, LAST_FRAMES)
        up.push_async_callback(self._settle_the_rest)
        if self.settings.metrics_addr is not None:
            self.metrics_port = self.endpoint.start(self.settings.metrics_addr)
            up.push_async_callback(asyncio.to_thread, self.endpoint.stop)
            _log.info("metrics are served", port=self.metrics_port)
        self.grpc_port = await self.grpc.start(self.settings.grpc_addr)
        up.push_async_callback(self.grpc.stop, LAST_FRAMES)
        if self.settings.http_addr is not None:
            self.http_port = await self.http.start(self.settings.http_addr)
            up.push_async_callback(self.http.leave, LAST_FRAMES)
        up.push_async_callback(self.drain)
        if self._outdated is not None:
            raise self._outdated
        await self._serve_if("")
        http = {"http_port": self.http_port} if self.http_port else {}
        tls = {"tls": "on"} if self._tls is not None else {}
        _log.info(
            "jobqueue-server is ready",
            version=__version__,
            grpc=self.settings.grpc_addr,
            port=self.grpc_port,
            engine=self.settings.grpc_engine,
            **http,
            **tls,
        )
        self.on_ready()

    async def _start_postgres(self) -> None:
        folder = Path(self.settings.data_dir or default_data_dir())
        postgres = EmbeddedPostgres(folder)
        self._up.push_async_callback(asyncio.to_thread, postgres.stop)
        await asyncio.to_thread(postgres.start)
        self.dsn = postgres.dsn
        _log.info("an embedded PostgreSQL is up", folder=str(folder))
        await migrate.up(self.dsn)

    async def _wait_for_database(self) -> None:
        while True:
            try:
                await pooler.check(self.dsn)
                await migrate.verify(self.dsn)
                await self.database.open()
                return
            except (JobQueueError, OSError, TimeoutError) as error:
                _log.warning("waiting for the database", **place_of(self.dsn), cause=cause_of(error))
                await asyncio.sleep(WAIT_FOR_DATABASE)

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT, which drain; a second one ends at once.

        Raises:
            LevelTooLow: The database has come to require a newer server. This one has drained.
        """
        _allow_files()
        loop = asyncio.get_running_loop()
        signals = 0

        def on_signal() -> None:
            nonlocal signals
            signals += 1
            if signals > 1:
                _log.warning("a second signal: ending at once")
                self._ended.set()
            self._leaving.set()

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, on_signal)
        starting = asyncio.create_task(self.start())
        waiting = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await waiting
        finally:
            waiting.cancel()
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
            await self.stop()
        if self._outdated is not None:
            raise self._outdated

    def _too_old(self, error: LevelTooLow) -> None:
        _log.error("this server is too old for its database, and leaves", cause=str(error))
        self._outdated = error
        self._begin_to_drain()
        self._leaving.set()

    async def drain(self) -> None:
        """Leaves: no new calls and no new claims; settlements are taken until nothing is held or the grace ends."""
        await self._begin_to_drain()

    def _begin_to_drain(self) -> asyncio.Task[None]:
        """Once, however many ask for it."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return self._draining

    async def _drain(self) -> None:
        _log.info("draining", grace=format_duration(self.settings.shutdown_grace))
        self.chain.draining = True
        await self._serve_if("draining")
        self.activity.pause()
        # What is on its way to a worker arrives before it is sent elsewhere, where it says what it holds.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_QUIET):
                await self.activity.quiet()
        self.calls.leave()
        self.watches.leave()
        linked = [session for session in self.sessions.all() if session.link is not None]
        spread = min(DRAIN_SPREAD, DRAIN_SPREAD_EACH * len(linked))
        for session in linked:
            if session.link is not None:
                session.link.go_away(
                    "DRAINING", self.settings.shutdown_grace, timedelta(seconds=random.uniform(0, spread))
                )
        now = time.monotonic()
        # Those that hold nothing get the time to connect elsewhere first, those that do the whole grace.
        idle_until, until = now + spread + DRAIN_MOVE, now + self.settings.shutdown_grace.total_seconds()
        while (now := time.monotonic()) < until and not self._ended.is_set():
            linked = [session for session in self.sessions.all() if session.link is not None]
            if not linked or (now >= idle_until and not any(session.leases for session in linked)):
                break
            await asyncio.sleep(DRAIN_LOOK)
        await self._end_streams()

    async def _end_streams(self) -> None:
        links = [session.link for session in self.sessions.all() if session.link is not None]
        for link in links:
            link.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_FRAMES.total_seconds()):
                await self.sessions.all_unlinked()

    async def _settle_the_rest(self) -> None:
        """Waits for outcomes in line, unless a second signal came or the database takes too long."""
        ended = asyncio.create_task(self._ended.wait())
        settled = asyncio.create_task(self.settler.drained())
        await asyncio.wait({ended, settled}, timeout=LAST_OUTCOMES, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, settled):
            task.cancel()

    async def stop(self) -> None:
        """Drains, and ends everything that this server started, also where `start` did not get far."""
        was_ready = self._not_ready != "starting"
        await self._up.aclose()
        self._draining = None
        # Of one that never began, what ended it is what matters.
        if was_ready:
            _log.info("jobqueue-server has ended")

    # ---- what happens

    async def _reachable(self, away: str) -> None:
        if not self.chain.draining:
            await self._serve_if(away)
        if not away:
            self.lines.forget()
            self.takers.look_anew()

    async def _serve_if(self, not_ready: str) -> None:
        """Tells balancers, over both transports, whether to send work here."""
        self._not_ready = not_ready
        await self.grpc.set_serving(not not_ready)

    def _database_away(self) -> None:
        for session in self.sessions.all():
            if session.link is not None:
                session.link.go_away("DATABASE_AWAY", None)

    async def _watch_depths(self) -> None:
        pace = Pace(DEPTHS_EVERY)
        while True:
            with contextlib.suppress(JobQueueError), pace.done():
                self._backlogs = [
                    Backlog(queue, kind, status.name.lower(), jobs, timedelta(seconds=age))
                    for queue, kind, status, jobs, _, age in await self.catalog.depths()
                ]
            await asyncio.sleep(pace.left)


class _Joined:
    """One servicer out of several, each with its own methods; one that was asked for is found at once after that."""

    def __init__(self, *servicers: object) -> None:
        self._servicers = servicers

    def __getattr__(self, name: str) -> object:
        for servicer in self._servicers:
            if hasattr(servicer, name):
                found = self.__dict__[name] = getattr(servicer, name)
                return found
        raise AttributeError(name)


def _allow_files() -> None:
    """Has the system give as many open files as there may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def grpc_limits(settings: Settings) -> Limits:
    """What callers of gRPC can make the server hold and do."""
    connections = settings.grpc_max_connections
    return Limits(
        connections=settings.max_streams + _CONNECTIONS_BESIDE if connections is None else connections,
        greeting=settings.grpc_preface_timeout.total_seconds(),
        receiving=settings.grpc_max_unfinished,
        request=settings.grpc_request_timeout.total_seconds(),
        connection_unread=settings.grpc_unread_mib << 20,
        unread=settings.grpc_all_unread_mib << 20,
        stall=settings.grpc_stall_timeout.total_seconds(),
        connection_held=settings.grpc_held_mib << 20,
        held=settings.grpc_all_held_mib << 20,
        reset_burst=settings.grpc_reset_burst,
        resets_per_second=settings.grpc_reset_rate,
    )
