"""The services of the contract, each with its servicer."""

from __future__ import annotations

from google.longrunning import operations_pb2
from google.protobuf.descriptor import ServiceDescriptor

from jobqueue.v1 import (
    access_admin_pb2,
    bulk_pb2,
    insight_pb2,
    jobqueue_pb2,
    queue_admin_pb2,
    schedule_pb2,
)

from ..core.access.room import AccessRoom
from ..core.attempt.room import AttemptRoom
from ..core.bulk.room import BulkRoom
from ..core.catalog.room import CatalogRoom
from ..core.insight.room import InsightRoom
from ..core.intake.room import IntakeRoom
from ..core.lease.room import LeaseRoom
from ..core.policy.room import PolicyRoom
from ..core.query.room import QueryRoom
from ..core.schedule.room import ScheduleRoom
from ..core.session.room import SessionRoom
from ..core.stats.room import StatsRoom
from ..core.upkeep.room import UpkeepRoom
from ..settings import Settings
from .access_admin import AccessAdminServicer
from .audit import AuditServicer
from .bulk import BulkServicer
from .fast.servicer import FastPathServicer
from .identities import IdentityServicer
from .insight import InsightServicer
from .job_queue import JobQueueServicer
from .keda import externalscaler_pb2
from .keda.servicer import ExternalScalerServicer
from .lease import LeaseServicer
from .operations import OperationsServicer
from .overview import OverviewServicer
from .queue_admin import QueueAdminServicer
from .queue_keys import QueueKeyServicer
from .schedules import SchedulesServicer
from .stats import StatsServicer
from .unary_sessions import UnarySessionServicer
from .union import ServicerUnion
from .watch import WatchServicer
from .workers import WorkerServicer

Services = list[tuple[ServiceDescriptor, object]]


def services_of(
    settings: Settings,
    upkeep: UpkeepRoom,
    access: AccessRoom,
    catalog: CatalogRoom,
    query: QueryRoom,
    lease: LeaseRoom,
    policy: PolicyRoom,
    intake: IntakeRoom,
    attempt: AttemptRoom,
    session: SessionRoom,
    insight: InsightRoom,
    stats: StatsRoom,
    schedule: ScheduleRoom,
    bulk: BulkRoom,
    *,
    server_name: str,
) -> Services:
    """What both transports serve: the servicers convert, call these rooms, and render."""
    clock = upkeep.clock
    job_queue = ServicerUnion(
        JobQueueServicer(intake.enqueuer, query.reads, bulk.changes, clock),
        WatchServicer(query.watches),
        *_of_workers(settings, catalog, lease, attempt, session, upkeep, server_name),
        *([FastPathServicer(intake.enqueuer, clock)] if settings.fast_path == "on" else []),
    )
    access_admin = ServicerUnion(
        AccessAdminServicer(access.admin),
        IdentityServicer(access.identities),
        AuditServicer(access.audit_log),
    )
    queue_admin = ServicerUnion(
        QueueAdminServicer(catalog.catalog, catalog.queues), QueueKeyServicer(policy.queue_keys)
    )
    schedules = SchedulesServicer(schedule.schedules, schedule.runs, bulk.operations, clock)
    return [
        (jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"], job_queue),
        (queue_admin_pb2.DESCRIPTOR.services_by_name["QueueAdmin"], queue_admin),
        (access_admin_pb2.DESCRIPTOR.services_by_name["AccessAdmin"], access_admin),
        (insight_pb2.DESCRIPTOR.services_by_name["Insight"], _insight(insight, stats)),
        (
            externalscaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"],
            ExternalScalerServicer(insight.scaling),
        ),
        (bulk_pb2.DESCRIPTOR.services_by_name["Bulk"], BulkServicer(bulk.operations, clock)),
        (schedule_pb2.DESCRIPTOR.services_by_name["Schedules"], schedules),
        (operations_pb2.DESCRIPTOR.services_by_name["Operations"], OperationsServicer(bulk.operations)),
    ]


def _insight(insight: InsightRoom, stats: StatsRoom) -> ServicerUnion:
    return ServicerUnion(
        InsightServicer(insight.explain, insight.demands),
        OverviewServicer(insight.overviews, insight.fleet),
        StatsServicer(stats.histories, stats.counts),
        WorkerServicer(insight.workers),
    )


def _of_workers(
    settings: Settings,
    catalog: CatalogRoom,
    lease: LeaseRoom,
    attempt: AttemptRoom,
    session: SessionRoom,
    upkeep: UpkeepRoom,
    server_name: str,
) -> tuple[LeaseServicer, UnarySessionServicer]:
    """The stream, and the calls of workers without one."""
    ttl = settings.session_ttl
    stream = LeaseServicer(
        session.sessions,
        attempt.settler,
        lease.progress,
        session.drains,
        catalog.undeclared,
        upkeep.clock,
        default_ttl=ttl,
        max_streams=settings.max_streams,
        server_name=server_name,
    )
    calls = UnarySessionServicer(
        session.unary, catalog.undeclared, upkeep.clock, default_ttl=ttl, server_name=server_name
    )
    return stream, calls
