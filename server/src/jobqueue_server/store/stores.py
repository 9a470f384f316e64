"""The database as the rooms of the core see it: the store of each room, and the notices between servers."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from .. import logs
from ..errors import JobQueueError
from . import migrate, pooler
from .access.access import AccessStore
from .access.audit import AuditStore
from .attempt.attempts import AttemptStore
from .bulk.changes import ChangeStore
from .bulk.jobs import BulkStore
from .bulk.operations import OperationStore
from .catalog.catalog import CatalogStore
from .catalog.undeclared import UndeclaredStore
from .claim.claims import ClaimStore
from .connect import Connector
from .database import Database
from .dsn import cause_of, place_of
from .events.notices import Notices
from .insight.insight import InsightStore
from .insight.workers import WorkerStore
from .intake.intake import IntakeStore
from .policy.queue_keys import QueueKeyStore
from .policy.semaphores import SemaphoreStore
from .query.reads import ReadStore
from .query.watch import WatchStore
from .schedule.fires import FireStore
from .schedule.schedules import ScheduleStore
from .session.sessions import SessionStore
from .stats.counts import CountStore
from .stats.slices import SliceStore
from .upkeep.audit_partitions import AuditPartitionStore
from .upkeep.clock import ClockStore, Expected
from .upkeep.condition import ConditionStore
from .upkeep.forgetting import ForgettingStore
from .upkeep.levels import LevelStore
from .upkeep.retention import RetentionStore
from .upkeep.role import RoleStore
from .upkeep.standstill import StandstillStore

_log = logs.get(__name__)

_TRY_AGAIN_AFTER = 3.0


class Stores:
    """Each is an attribute, beside `database`, the pool that all of them run their statements on.

    Args:
        connector: Makes connections.
        reaping: What the database's clock should show, for statements that take leases and sessions away.
        expiry: The same, for statements that delete what is past its retention.
        pool_size: How many connections there may be at once.
        acquire_timeout: How long a statement waits for one.
        max_losses: Losses that end a job.
        cancel_grace: How long a worker has to stop.
        key_ttl: How long an idempotency key stands for its job.
        retention: How long a job is kept after its end.
        audit_retention: How long a row of the audit log is kept.
    """

    def __init__(
        self,
        connector: Connector,
        reaping: Expected,
        expiry: Expected,
        *,
        pool_size: int,
        acquire_timeout: timedelta,
        max_losses: int,
        cancel_grace: timedelta,
        key_ttl: timedelta,
        retention: timedelta,
        audit_retention: timedelta,
    ) -> None:
        self._connector = connector
        self.database = database = Database(connector, pool_size=pool_size, acquire_timeout=acquire_timeout)
        self.notices = Notices(connector)
        self.attempts = AttemptStore(database, max_losses=max_losses, expected=reaping)
        self.sessions = SessionStore(database, self.attempts, expected=reaping)
        self.access = AccessStore(database)
        self.audit = AuditStore(database)
        self.intake = IntakeStore(database, key_ttl=key_ttl)
        self.claims = ClaimStore(database)
        self.semaphores = SemaphoreStore(database)
        self.queue_keys = QueueKeyStore(database)
        self.insight = InsightStore(database)
        self.workers = WorkerStore(database)
        self.reads = ReadStore(database)
        self.watch = WatchStore(database)
        self.changes = ChangeStore(database, cancel_grace=cancel_grace)
        self.schedules = ScheduleStore(database)
        self.fires = FireStore(database)
        self.operations = OperationStore(database)
        self.bulk = BulkStore(database, cancel_grace=cancel_grace)
        self.slices = SliceStore(database, expected=expiry)
        self.counts = CountStore(database)
        self.catalog = CatalogStore(database)
        self.undeclared = UndeclaredStore(database)
        self.clock = ClockStore(database)
        self.levels = LevelStore(database)
        self.role = RoleStore(database)
        self.standstill = StandstillStore(database)
        self.condition = ConditionStore(database, retention=retention)
        self.forgetting = ForgettingStore(database, expected=expiry)
        self.retention = RetentionStore(database, retention=retention, expected=expiry)
        self.audit_partitions = AuditPartitionStore(database, retention=audit_retention, expected=expiry)

    async def open(self) -> None:
        """Waits until the database answers, and opens the pool.

        Raises:
            MigrationError: The schema is not one that this server knows, or newer servers use it.
            PoolerUnusable: The pooler before the database does not keep connections apart.
        """
        dsn = self._connector.dsn
        while True:
            try:
                await pooler.check(dsn)
                await migrate.verify(dsn)
                await self.database.open()
                return
            except (JobQueueError, OSError, TimeoutError) as error:
                _log.warning("waiting for the database", **place_of(dsn), cause=cause_of(error))
                await asyncio.sleep(_TRY_AGAIN_AFTER)

    async def close(self) -> None:
        """Closes the pool."""
        await self.database.close()
