"""The composition root: builds the whole server in one column, starts it, drains it, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from jobqueue.v1 import jobqueue_pb2, queue_admin_pb2

from . import __version__, logs
from .addresses import check_free
from .background import Background
from .chain import Chain
from .core.attempt.progress import ProgressReports
from .core.attempt.room import AttemptRoom
from .core.catalog.catalog import Catalog
from .core.catalog.queues import QueueService
from .core.claim.load import Load
from .core.claim.room import ClaimRoom
from .core.events.database_state import DatabaseState
from .core.events.ends import EndCounter, Ends
from .core.events.exchange import Exchange
from .core.events.notices import Peers
from .core.events.this_server import ThisServer
from .core.intake.room import IntakeRoom
from .core.lease.attempt_ends import AttemptEnds
from .core.lease.early_cancels import EarlyCancels
from .core.operate.changes import JobChanges
from .core.query.reads import JobReads
from .core.query.waiters import Waiters
from .core.query.watch import Watches
from .core.session.room import SessionRoom
from .core.session.server_heartbeat import ServerHeartbeat
from .core.tuning import Tuning
from .core.upkeep.clock import Clock
from .core.upkeep.expected_clock import ExpectedClock
from .core.upkeep.levels import LEVEL, Levels
from .core.upkeep.retention import Retention
from .drain import LAST_FRAMES, Drain
from .embedded import EmbeddedPostgres, default_data_dir
from .errors import JobQueueError
from .gauges import Gauges
from .http.front import http_server
from .http.ops import Operations
from .ids import IdMint
from .limits import HTTP2_ALONE, allow_files, grpc_limits
from .memory import FreeMemory
from .metrics import Metrics, MetricsEndpoint
from .rpc.fast.servicer import FastPathServicer
from .rpc.job_queue import JobQueueServicer
from .rpc.lease import LeaseServicer
from .rpc.queue_admin import QueueAdminServicer
from .rpc.server import GrpcServer
from .rpc.unary_sessions import UnarySessionServicer
from .rpc.union import ServicerUnion
from .rpc.watch import WatchServicer
from .serving import Serving
from .settings import Settings, listening
from .store import migrate, pooler
from .store.attempt.attempts import AttemptStore
from .store.catalog.catalog import CatalogStore
from .store.claim.claims import ClaimStore
from .store.connect import Connector
from .store.database import Database
from .store.dsn import cause_of, place_of
from .store.events.notices import Notices
from .store.intake.intake import IntakeStore
from .store.lineage import Lineage
from .store.operate.changes import ChangeStore
from .store.query.reads import ReadStore
from .store.query.watch import WatchStore
from .store.session.sessions import SessionStore
from .store.upkeep.clock import ClockStore, uuid_of
from .store.upkeep.levels import LevelStore, LevelTooLow
from .store.upkeep.retention import RetentionStore
from .tls import Tls

_log = logs.get(__name__)

WAIT_FOR_DATABASE = 3.0
# How long the database's clock must go on from a time that it was set to, before anything is over by it. What was on
# its way when it was set has arrived by then (core/session/reaper.py), and a step that is taken back at once costs
# nothing.
REAP_AFTER_STEP = timedelta(seconds=10)
# What retention deletes is gone, and it has time.
DELETE_AFTER_STEP = timedelta(minutes=10)


class App:
    """One server. `await app.start()`, `await app.stop()`; or `await app.run()` for both, until a signal.

    A server that has become too old for its database drains by itself, and `run` then ends with the reason.

    Args:
        settings: What it is to do.
        reuse_port: Whether other processes listen on its ports as well.
        level: What it takes itself for (core/upkeep/levels.py); tests have servers of two levels.
        on_ready: Called with this App when it answers.
        tuning: Other numbers than those that the core is tuned by.

    Attributes:
        dsn: The database, after `start`.
        grpc_port: Where gRPC answers, after `start`.
        http_port: Where HTTP answers, after `start`; 0 where it is off.
        metrics_port: Where Prometheus reads, after `start`; 0 where it is off.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reuse_port: bool = False,
        level: int = LEVEL,
        on_ready: Callable[[App], None] | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        self.settings = settings
        self._tuning = tuning or Tuning()
        self._reuse_port = reuse_port
        self._level = level
        self._on_ready = on_ready
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.dsn = settings.dsn or ""
        self.grpc_port = 0
        self.http_port = 0
        self.metrics_port = 0
        # What came up, to be taken down in reverse.
        self._up = contextlib.AsyncExitStack()
        self._tls: Tls | None = None
        self.leaving: Drain | None = None
        self._asked_to_leave = asyncio.Event()
        self._outdated: LevelTooLow | None = None

    # ---- the parts, from the bottom up

    # fmt: off
    def _build(self) -> Drain:
        settings, tuning = self.settings, self._tuning
        # What all of them share.
        self.metrics = Metrics()
        self.server = ThisServer()
        self.peers = Peers(self.server, tuning)
        reachable = DatabaseState()
        ends = Ends()
        EndCounter(ends, self.metrics)
        load = Load()
        reaping_clock = ExpectedClock("reaping and timeouts", held_for=REAP_AFTER_STEP)
        retention_clock = ExpectedClock("retention", held_for=DELETE_AFTER_STEP)

        # The database.
        name = f"jobqueue-server {self.name}"
        connector = Connector(self.dsn, name=name, lineage=Lineage(self.metrics.connection_refused))
        self.database = Database(
            connector, pool_size=settings.db_pool_size, acquire_timeout=settings.db_acquire_timeout
        )
        ending = AttemptStore(
            self.database, max_losses=settings.max_losses, expected=reaping_clock.now
        )
        sessions = SessionStore(self.database, ending, expected=reaping_clock.now)
        reads = ReadStore(self.database)
        changes = ChangeStore(self.database, cancel_grace=settings.cancel_grace)
        retention = RetentionStore(
            self.database, retention=settings.retention, expected=retention_clock.now
        )

        # The core, room by room.
        self.clock = Clock(ClockStore(self.database))
        self.catalog = Catalog(CatalogStore(self.database), open_kinds=settings.kinds == "open")
        self.retention = Retention(retention, retention=settings.retention)
        self.exchange = Exchange(
            Notices(connector), self.peers, self.server, self.catalog, self.metrics, tuning
        )
        self.waiters = Waiters(reads, ends)
        self.watches = Watches(
            WatchStore(self.database), self.clock, self.metrics, ends,
            most=settings.max_watches, retention=settings.retention,
        )
        self.progress = ProgressReports(ending)
        self.attempts = AttemptEnds(ending, self.catalog, self.progress, ends)
        early = EarlyCancels(settings.cancel_grace, tuning.cancels_kept)
        self.claim = ClaimRoom(
            ClaimStore(self.database), self.catalog, self.clock, self.attempts, early, ends,
            self.peers, reachable, load, self.metrics, tuning,
        )
        self.intake = IntakeRoom(
            IntakeStore(self.database, key_ttl=settings.idempotency_ttl), reads, self.catalog,
            self.clock, IdMint(self.clock, uuid_of), self.claim, load, self.metrics, tuning,
            most_waiting=settings.enqueue_queue_limit,
        )
        self.attempt = AttemptRoom(
            ending, self.claim, self.intake, self.attempts, ends, self.metrics, tuning
        )
        self.session = SessionRoom(
            sessions, self.catalog, self.claim, self.attempt, self.attempts, early,
            self.peers, self.server, reachable, tuning,
            most=settings.max_sessions, max_age=settings.connection_max_age,
            cancel_grace=settings.cancel_grace,
        )
        self.sessions = self.session.sessions
        self.levels = Levels(LevelStore(self.database), self._level)
        self.heartbeat = ServerHeartbeat(
            sessions, self.server, self.name, reachable, self._too_old,
            (reaping_clock, retention_clock), self.levels,
        )
        self.reads = JobReads(reads, self.waiters)
        self.changes = JobChanges(changes, self.session.cancels, self.claim.lines, ends)

        # The transports.
        self.chain = Chain(self.metrics)
        queues = QueueService(self.catalog, CatalogStore(self.database))
        lease = LeaseServicer(
            self.sessions, self.attempt.settler, self.progress, self.clock,
            default_ttl=settings.session_ttl, max_streams=settings.max_streams,
            server_name=self.name,
        )
        unary = UnarySessionServicer(
            self.session.unary, self.clock,
            default_ttl=settings.session_ttl, server_name=self.name,
        )
        fast = [FastPathServicer(self.intake.enqueuer)] if settings.fast_path == "on" else []
        job_queue = ServicerUnion(
            JobQueueServicer(self.intake.enqueuer, self.reads, self.changes, self.clock),
            lease, unary, WatchServicer(self.watches), *fast,
        )
        services = [
            (jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"], job_queue),
            (
                queue_admin_pb2.DESCRIPTOR.services_by_name["QueueAdmin"],
                QueueAdminServicer(self.catalog, queues),
            ),
        ]
        self.grpc = GrpcServer(
            self.chain, services, tls=self._tls, reuse_port=self._reuse_port,
            max_connection_age=settings.connection_max_age, limits=grpc_limits(settings),
            engine=settings.grpc_engine,
        )
        self.serving = Serving(self.grpc, self.chain, reachable)
        self.http = http_server(
            settings, self.chain, services, Operations(self.metrics, self.serving.not_ready),
            tls=self._tls, reuse_port=self._reuse_port,
        )
        self.endpoint = MetricsEndpoint(self.metrics)
        gauges = Gauges(self.metrics, self.chain, self.sessions, self.watches, self.catalog)

        # What runs all the time, and how it ends.
        self.background = Background(
            {
                "clock": self.clock.run,
                "catalog": self.catalog.run,
                **self.intake.background(),
                **self.attempt.background(),
                **self.claim.background(),
                **self.session.background(),
                **({"peers": self.exchange.run} if settings.notify == "on" else {}),
                "heartbeat": self.heartbeat.run,
                "progress": self.progress.run,
                "waiters": self.waiters.run,
                "retention": self.retention.run,
                "depths": gauges.run,
                "free memory": FreeMemory().run,
            }
        )
        return Drain(
            self.chain, self.serving, self.claim.activity, self.sessions, self.session.unary,
            self.watches, self.attempt.settler, tuning, grace=settings.shutdown_grace,
        )
    # fmt: on

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
        leaving = self.leaving = self._build()
        up.push_async_callback(self.database.close)
        await self._wait_for_database()
        await self.clock.measure()
        # Before anything is written: it may be refused.
        await self.heartbeat.start()
        up.push_async_callback(self.heartbeat.stop)
        await self.catalog.load()
        await self.retention.ensure()
        self.background.start()
        up.push_async_callback(self.background.stop)
        # The last of the ports to close: balancers read at /readyz that the server leaves until it has left.
        up.push_async_callback(self.http.stop, LAST_FRAMES)
        up.push_async_callback(leaving.settle_the_rest)
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
        await self.serving.serve_if("")
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
        if self._on_ready is not None:
            self._on_ready(self)

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
        allow_files()
        loop = asyncio.get_running_loop()
        signals = 0

        def on_signal() -> None:
            nonlocal signals
            signals += 1
            if signals > 1:
                _log.warning("a second signal: ending at once")
                if self.leaving is not None:
                    self.leaving.now.set()
            self._asked_to_leave.set()

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, on_signal)
        starting = asyncio.create_task(self.start())
        waiting = asyncio.create_task(self._asked_to_leave.wait())
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
        if self.leaving is not None:
            self.leaving.begin()
        self._asked_to_leave.set()

    async def drain(self) -> None:
        """Leaves: no new calls and no new claims; settlements are taken until nothing is held or the grace ends."""
        if self.leaving is not None:
            await self.leaving.begin()

    async def stop(self) -> None:
        """Drains, and ends everything that this server started, also where `start` did not get far."""
        await self._up.aclose()
        # Of one that never began, what ended it is what matters.
        if self.leaving is not None and self.serving.began:
            _log.info("jobqueue-server has ended")
