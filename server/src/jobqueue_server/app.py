"""The whole server: the list of its parts, how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from . import __version__, logs, systemd
from .addresses import check_free
from .background import Background
from .core.access.room import AccessRoom
from .core.attempt.room import AttemptRoom
from .core.bulk.room import BulkRoom
from .core.catalog.room import CatalogRoom
from .core.claim.room import ClaimRoom
from .core.events.room import EventsRoom
from .core.insight.room import InsightRoom
from .core.intake.room import IntakeRoom
from .core.lease.room import LeaseRoom
from .core.policy.room import PolicyRoom
from .core.query.room import QueryRoom
from .core.schedule.room import ScheduleRoom
from .core.session.room import SessionRoom
from .core.stats.room import StatsRoom
from .core.tuning import Tuning
from .core.upkeep.expected_clock import ExpectedClocks
from .core.upkeep.levels import LEVEL
from .core.upkeep.room import UpkeepRoom
from .drain import Drain
from .embedded import EmbeddedPostgres, default_data_dir
from .gate import chain_of
from .gauges import Gauges
from .issuers import read_issuers
from .limits import HTTP2_ALONE, allow_files
from .memory import FreeMemory
from .metrics import Metrics
from .rpc.services import services_of
from .security import Seen, warnings_of
from .settings import Settings, listening
from .store import migrate
from .store.connect import Connector
from .store.lineage import Lineage
from .store.stores import Stores
from .store.upkeep.levels import LevelTooLow
from .tls import Tls, revoked_of, tls_of, watching
from .traces.calls import Traces
from .traces.started import traces_of
from .transports import Transports
from .well import show_health

_log = logs.get(__name__)


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
        asked_to_leave: Set, it has `run` drain and return.
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
        self._traces: Traces | None = None
        self.leaving: Drain | None = None
        self.asked_to_leave = asyncio.Event()
        self._outdated: LevelTooLow | None = None

    # ---- the parts, from the bottom up: each is made of those above it

    # fmt: off
    def _build(self) -> Drain:
        settings, tuning = self.settings, self._tuning
        retention, cancel_grace, grace = settings.retention, settings.cancel_grace, settings.shutdown_grace
        self.metrics = metrics = Metrics()

        # The database.
        lineage = Lineage(metrics.connection_refused, metrics.failover)
        connector = Connector(self.dsn, name=f"jobqueue-server {self.name}", lineage=lineage)
        expected = ExpectedClocks()
        self.stores = stores = Stores(
            connector, expected.reaping.now, expected.retention.now,
            pool_size=settings.db_pool_size, acquire_timeout=settings.db_acquire_timeout,
            key_ttl=settings.idempotency_ttl, max_losses=settings.max_losses,
            cancel_grace=cancel_grace, retention=retention, audit_retention=settings.audit_retention,
        )

        # The core, room by room.
        self.upkeep = upkeep = UpkeepRoom(stores, expected, level=self._level, retention=retention)
        self.catalog = catalog = CatalogRoom(stores, kinds=settings.kinds, most=settings.max_queues)
        self.events = events = EventsRoom(stores, catalog, metrics, tuning, exchanges=settings.notify == "on")
        self.access = access = AccessRoom(
            stores, upkeep, events.server.count, events.peers, metrics, tuning, issuers=read_issuers(settings),
            revoked=revoked_of(self._tls), server_name=self.name, used=bool(settings.auth),
        )
        self.query = query = QueryRoom(stores, upkeep, catalog, events, metrics,
                                       most_watches=settings.max_watches, retention=retention)
        self.stats = stats = StatsRoom(stores, upkeep, catalog, events, metrics)
        self.lease = lease = LeaseRoom(stores, catalog, events, tuning, cancel_grace=cancel_grace)
        self.claim = claim = ClaimRoom(stores, upkeep, catalog, events, lease, metrics, tuning)
        self.policy = policy = PolicyRoom(stores, catalog, events, claim, metrics, tuning)
        self.intake = intake = IntakeRoom(stores, upkeep, catalog, events, claim, query, metrics, tuning,
                                          most_waiting=settings.enqueue_queue_limit, traces=self._traces)
        self.attempt = attempt = AttemptRoom(
            stores, catalog, events, lease, claim, policy, intake, metrics, tuning
        )
        self.session = session = SessionRoom(
            stores, upkeep, access, catalog, events, lease, claim, attempt, metrics, tuning,
            server_name=self.name, on_outdated=self._too_old, most=settings.max_sessions,
            max_age=settings.connection_max_age, cancel_grace=cancel_grace,
        )
        self.insight = insight = InsightRoom(stores, upkeep, catalog, events, query, stats, session)
        self.schedule = schedule = ScheduleRoom(stores, upkeep, access, events, intake, metrics)
        bulk = BulkRoom(stores, access, catalog, events, claim, intake, session, schedule, metrics)
        # The transports, over one chain.
        self.chain = chain = chain_of(settings, access, metrics, self._traces)
        services = services_of(
            settings, upkeep, access, catalog, query, lease, policy, intake, attempt, session,
            insight, stats, schedule, bulk, server_name=self.name,
        )
        self.transports = Transports(settings, chain, services, metrics, events.database, upkeep.standstill,
                                     self._tls, reuse_port=self._reuse_port)

        # What runs all the time, and how it ends.
        gauges = Gauges(metrics, chain, session.sessions, query.watch_limit, insight, catalog, upkeep.clock)
        well = show_health(metrics, self.transports.serving, stores, upkeep, catalog, events, claim)
        rooms = (upkeep, access, catalog, events, query, stats, lease, claim, policy, intake, attempt, session, insight,
                 schedule, bulk)
        own = {"depths": gauges.run, "free memory": FreeMemory().run} | well | watching(self._tls, metrics)
        self.background = Background(*(room.background() for room in rooms), own)
        return Drain(chain, self.transports.serving, query, claim, attempt, session, insight, tuning, grace=grace)
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
        self._tls = tls_of(settings)
        self._traces = traces_of(os.environ, up, server=self.name)
        if settings.grpc_engine == "grpcio":
            for name in sorted(settings.model_fields_set & HTTP2_ALONE):
                _log.warning("a setting has no effect with this engine", setting=name, engine="grpcio")
        if not self._reuse_port:
            check_free(listening(settings))
        if self.settings.dsn is None:
            await self._start_postgres()
        leaving = self.leaving = self._build()
        up.push_async_callback(self.stores.close)
        await self.stores.open()
        await self.upkeep.clock.measure()
        if settings.dsn is not None:
            await self._warn_of_what_is_seen()
        # Before anything is written: it may be refused.
        await self.session.heartbeat.start()
        up.push_async_callback(self.session.heartbeat.stop)
        await self.access.load()
        await self.catalog.catalog.load()
        await self.upkeep.start(paused=settings.start == "paused", by=self.name)
        up.push_async_callback(self.access.leave)
        up.push_async_callback(self.stats.slices.stop)
        self.background.start()
        up.push_async_callback(self.background.stop)
        up.push_async_callback(self.transports.stop)
        up.push_async_callback(leaving.settle_the_rest)
        await self.transports.start(up)
        self.grpc_port, self.http_port = self.transports.grpc_port, self.transports.http_port
        self.metrics_port = self.transports.metrics_port
        up.push_async_callback(self.drain)
        if self._outdated is not None:
            raise self._outdated
        await self.transports.serving.serve_if("")
        tls = {"tls": "on"} if self._tls is not None else {}
        _log.info(
            "jobqueue-server is ready",
            version=__version__,
            grpc=self.settings.grpc_addr,
            port=self.grpc_port,
            engine=self.settings.grpc_engine,
            **self.transports.http_shown(),
            **tls,
        )
        if not settings.auth:
            _log.info("no keys are asked for: every caller may do everything; see JOBQUEUE_AUTH")
        if self._on_ready is not None:
            self._on_ready(self)

    async def _warn_of_what_is_seen(self) -> None:
        seen = Seen(await self.stores.role.read_role(), self.upkeep.clock.host_ahead)
        for warning in warnings_of(self.settings, seen):
            _log.warning(warning)

    async def _start_postgres(self) -> None:
        folder = Path(self.settings.data_dir or default_data_dir())
        postgres = EmbeddedPostgres(folder)
        self._up.push_async_callback(asyncio.to_thread, postgres.stop)
        await asyncio.to_thread(postgres.start)
        self.dsn = postgres.dsn
        _log.info("an embedded PostgreSQL is up", folder=str(folder))
        await migrate.up(self.dsn)

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
            self.asked_to_leave.set()

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, on_signal)
        if self.settings.tls_cert is not None:
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        starting = asyncio.create_task(self.start())
        waiting = asyncio.create_task(self.asked_to_leave.wait())
        try:
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await waiting
        finally:
            systemd.tell(systemd.STOPPING)
            waiting.cancel()
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
            await self.stop()
        if self._outdated is not None:
            raise self._outdated

    def _hang_up(self) -> None:
        if self._tls is not None:
            self._tls.look()

    def _too_old(self, error: LevelTooLow) -> None:
        _log.error("this server is too old for its database, and leaves", cause=str(error))
        self._outdated = error
        if self.leaving is not None:
            self.leaving.begin()
        self.asked_to_leave.set()

    async def drain(self) -> None:
        """Leaves: no new calls and no new claims; settlements are taken until nothing is held or the grace ends."""
        if self.leaving is not None:
            await self.leaving.begin()

    async def stop(self) -> None:
        """Drains, and ends everything that this server started, also where `start` did not get far."""
        await self._up.aclose()
        # Of one that never began, what ended it is what matters.
        if self.leaving is not None and self.transports.serving.began:
            _log.info("jobqueue-server has ended")
