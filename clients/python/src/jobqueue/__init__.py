"""The client of JobQueue: enqueue, read and cancel jobs, and run them."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The default that gRPC documents and does not keep: a server that restarts would write lines of its own to stderr.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

if TYPE_CHECKING:
    from .bulk import (
        BulkState as BulkState,
    )
    from .bulk import (
        JobFilter as JobFilter,
    )
    from .bulk import (
        Operation as Operation,
    )
    from .channel import tls_credentials as tls_credentials
    from .client import Client as Client
    from .encoded import (
        Encoded as Encoded,
    )
    from .encoded import (
        EncodingRequired as EncodingRequired,
    )
    from .encoded import (
        EncodingUnknown as EncodingUnknown,
    )
    from .encoded import (
        KeyUnknown as KeyUnknown,
    )
    from .encoded import (
        Undecodable as Undecodable,
    )
    from .encodings import (
        AesGcm as AesGcm,
    )
    from .encodings import (
        Encoding as Encoding,
    )
    from .encodings import (
        Encodings as Encodings,
    )
    from .encodings import (
        Zstd as Zstd,
    )
    from .errors import (
        DeadlineExceeded as DeadlineExceeded,
    )
    from .errors import (
        Duplicate as Duplicate,
    )
    from .errors import (
        EtagMismatch as EtagMismatch,
    )
    from .errors import (
        FieldViolation as FieldViolation,
    )
    from .errors import (
        FilterChanged as FilterChanged,
    )
    from .errors import (
        IdempotencyKeyReused as IdempotencyKeyReused,
    )
    from .errors import (
        IdentityElsewhere as IdentityElsewhere,
    )
    from .errors import (
        IdentityNotFound as IdentityNotFound,
    )
    from .errors import (
        InvalidRequest as InvalidRequest,
    )
    from .errors import (
        JobNotFound as JobNotFound,
    )
    from .errors import (
        JobNotHeld as JobNotHeld,
    )
    from .errors import (
        JobNotTerminal as JobNotTerminal,
    )
    from .errors import (
        JobQueueError as JobQueueError,
    )
    from .errors import (
        JobTerminal as JobTerminal,
    )
    from .errors import (
        KeyBacklogFull as KeyBacklogFull,
    )
    from .errors import (
        KeyNotBlocked as KeyNotBlocked,
    )
    from .errors import (
        KeyNotFound as KeyNotFound,
    )
    from .errors import (
        KeyPolicyConflict as KeyPolicyConflict,
    )
    from .errors import (
        KeyRevoked as KeyRevoked,
    )
    from .errors import (
        KindUnknown as KindUnknown,
    )
    from .errors import (
        NamespaceDisabled as NamespaceDisabled,
    )
    from .errors import (
        NamespaceNotFound as NamespaceNotFound,
    )
    from .errors import (
        NotAllowed as NotAllowed,
    )
    from .errors import (
        NotFound as NotFound,
    )
    from .errors import (
        NotSupported as NotSupported,
    )
    from .errors import (
        OperationNotDone as OperationNotDone,
    )
    from .errors import (
        OperationNotFound as OperationNotFound,
    )
    from .errors import (
        Overloaded as Overloaded,
    )
    from .errors import (
        PayloadInvalid as PayloadInvalid,
    )
    from .errors import (
        QueueBacklogFull as QueueBacklogFull,
    )
    from .errors import (
        QueueKeysFull as QueueKeysFull,
    )
    from .errors import (
        QueueNotFound as QueueNotFound,
    )
    from .errors import (
        RequestIdReused as RequestIdReused,
    )
    from .errors import (
        ScheduleExists as ScheduleExists,
    )
    from .errors import (
        ScheduleNotFound as ScheduleNotFound,
    )
    from .errors import (
        SchedulesFull as SchedulesFull,
    )
    from .errors import (
        ServerFault as ServerFault,
    )
    from .errors import (
        ServersDiffer as ServersDiffer,
    )
    from .errors import (
        SessionEnded as SessionEnded,
    )
    from .errors import (
        SessionSilent as SessionSilent,
    )
    from .errors import (
        SessionSuperseded as SessionSuperseded,
    )
    from .errors import (
        SessionUnknown as SessionUnknown,
    )
    from .errors import (
        TooLarge as TooLarge,
    )
    from .errors import (
        Unauthenticated as Unauthenticated,
    )
    from .errors import (
        Unavailable as Unavailable,
    )
    from .errors import (
        WaitTimeout as WaitTimeout,
    )
    from .errors import (
        WatchTokenExpired as WatchTokenExpired,
    )
    from .errors import (
        WorkerNotFound as WorkerNotFound,
    )
    from .insight import (
        AttemptDetail as AttemptDetail,
    )
    from .insight import (
        DueDetail as DueDetail,
    )
    from .insight import (
        EndDetail as EndDetail,
    )
    from .insight import (
        Estimate as Estimate,
    )
    from .insight import (
        Explanation as Explanation,
    )
    from .insight import (
        KeyDetail as KeyDetail,
    )
    from .insight import (
        KeyHolder as KeyHolder,
    )
    from .insight import (
        LineDetail as LineDetail,
    )
    from .insight import (
        NameDetail as NameDetail,
    )
    from .insight import (
        PauseDetail as PauseDetail,
    )
    from .insight import (
        QueueDemand as QueueDemand,
    )
    from .insight import (
        Reason as Reason,
    )
    from .insight import (
        ReasonCode as ReasonCode,
    )
    from .insight import (
        TotalDetail as TotalDetail,
    )
    from .insight import (
        WorkersDetail as WorkersDetail,
    )
    from .insight import (
        WorkerSubscription as WorkerSubscription,
    )
    from .jobs import (
        AUTO as AUTO,
    )
    from .jobs import (
        Cancellation as Cancellation,
    )
    from .jobs import (
        EnqueueResult as EnqueueResult,
    )
    from .jobs import (
        FailedAttempt as FailedAttempt,
    )
    from .jobs import (
        Hold as Hold,
    )
    from .jobs import (
        HoldDepth as HoldDepth,
    )
    from .jobs import (
        Job as Job,
    )
    from .jobs import (
        JobPage as JobPage,
    )
    from .jobs import (
        JobProgress as JobProgress,
    )
    from .jobs import (
        KeyOrder as KeyOrder,
    )
    from .jobs import (
        KeyPolicy as KeyPolicy,
    )
    from .jobs import (
        Kind as Kind,
    )
    from .jobs import (
        Limits as Limits,
    )
    from .jobs import (
        NewJob as NewJob,
    )
    from .jobs import (
        OnConflict as OnConflict,
    )
    from .jobs import (
        OnKeyFailure as OnKeyFailure,
    )
    from .jobs import (
        Queue as Queue,
    )
    from .jobs import (
        QueueDepth as QueueDepth,
    )
    from .jobs import (
        Rate as Rate,
    )
    from .jobs import (
        Retention as Retention,
    )
    from .jobs import (
        RetryPolicy as RetryPolicy,
    )
    from .jobs import (
        Status as Status,
    )
    from .jobs import (
        SyncedKind as SyncedKind,
    )
    from .jobs import (
        Unique as Unique,
    )
    from .jobs import (
        UniqueAction as UniqueAction,
    )
    from .jobs import (
        UniqueField as UniqueField,
    )
    from .jobs import (
        UniqueScope as UniqueScope,
    )
    from .jobs import (
        Until as Until,
    )
    from .middleware import (
        Middleware as Middleware,
    )
    from .middleware import (
        NextEnqueue as NextEnqueue,
    )
    from .middleware import (
        Skip as Skip,
    )
    from .middleware import (
        for_kinds as for_kinds,
    )
    from .middleware import (
        with_headers as with_headers,
    )
    from .observer import Attempt as Attempt
    from .observer import Observer as Observer
    from .outcomes import Cancelled as Cancelled
    from .outcomes import Discard as Discard
    from .outcomes import Retry as Retry
    from .outcomes import Snooze as Snooze
    from .overview import (
        Depth as Depth,
    )
    from .overview import (
        Flow as Flow,
    )
    from .overview import (
        GroupBy as GroupBy,
    )
    from .overview import (
        JobCount as JobCount,
    )
    from .overview import (
        Overview as Overview,
    )
    from .overview import (
        OverviewWarning as OverviewWarning,
    )
    from .overview import (
        Point as Point,
    )
    from .overview import (
        QueueOverview as QueueOverview,
    )
    from .overview import (
        Series as Series,
    )
    from .overview import (
        ServerInfo as ServerInfo,
    )
    from .overview import (
        Stats as Stats,
    )
    from .overview import (
        StatTotals as StatTotals,
    )
    from .overview import (
        WarningCode as WarningCode,
    )
    from .overview import (
        WorkersOverview as WorkersOverview,
    )
    from .payload import JsonText as JsonText
    from .queue_keys import (
        KeyFilter as KeyFilter,
    )
    from .queue_keys import (
        QueueKey as QueueKey,
    )
    from .schedule_calls import Schedules as Schedules
    from .schedules import (
        Applied as Applied,
    )
    from .schedules import (
        AppliedSchedule as AppliedSchedule,
    )
    from .schedules import (
        CatchUp as CatchUp,
    )
    from .schedules import (
        NewSchedule as NewSchedule,
    )
    from .schedules import (
        Overlap as Overlap,
    )
    from .schedules import (
        RunCause as RunCause,
    )
    from .schedules import (
        RunOutcome as RunOutcome,
    )
    from .schedules import (
        Schedule as Schedule,
    )
    from .schedules import (
        SchedulePolicy as SchedulePolicy,
    )
    from .schedules import (
        ScheduleRun as ScheduleRun,
    )
    from .schedules import (
        ScheduleSpec as ScheduleSpec,
    )
    from .schedules import (
        ScheduleTick as ScheduleTick,
    )
    from .schedules import (
        TickRule as TickRule,
    )
    from .sync import SyncClient as SyncClient
    from .sync import SyncWatch as SyncWatch
    from .sync_schedules import SyncSchedules as SyncSchedules
    from .typed.checkpoints import CheckpointUnreadable as CheckpointUnreadable
    from .typed.kind import (
        JobKind as JobKind,
    )
    from .typed.kind import (
        JobNotSucceeded as JobNotSucceeded,
    )
    from .typed.kind import (
        PayloadTooNew as PayloadTooNew,
    )
    from .typed.kind import (
        PayloadUnreadable as PayloadUnreadable,
    )
    from .typed.kind import (
        Upcast as Upcast,
    )
    from .typed.kind import (
        define_kind as define_kind,
    )
    from .watch import Watch as Watch
    from .worker import (
        JobContext as JobContext,
    )
    from .worker import (
        JobLogFilter as JobLogFilter,
    )
    from .worker import (
        LeasedJob as LeasedJob,
    )
    from .worker import (
        Worker as Worker,
    )
    from .worker import (
        WorkerStatus as WorkerStatus,
    )
    from .worker_sessions import (
        HeldJob as HeldJob,
    )
    from .worker_sessions import (
        WorkerDrain as WorkerDrain,
    )
    from .worker_sessions import (
        WorkerSession as WorkerSession,
    )
    from .worker_sessions import (
        WorkerState as WorkerState,
    )

# Loaded at their first use: a process that was spawned for a handler, and a command that prints its help, need neither
# gRPC nor the other half of the package.
_HOME = {
    "channel": "tls_credentials",
    "client": "Client",
    "errors": "DeadlineExceeded Duplicate EtagMismatch FieldViolation FilterChanged IdempotencyKeyReused "
    "IdentityElsewhere IdentityNotFound InvalidRequest JobNotFound JobNotHeld JobNotTerminal JobQueueError JobTerminal "
    "KeyBacklogFull KeyNotBlocked KeyNotFound KeyPolicyConflict KeyRevoked KindUnknown NamespaceDisabled "
    "NamespaceNotFound NotAllowed NotFound NotSupported OperationNotDone OperationNotFound Overloaded "
    "PayloadInvalid QueueBacklogFull QueueKeysFull QueueNotFound RequestIdReused ScheduleExists ScheduleNotFound "
    "SchedulesFull ServerFault ServersDiffer SessionEnded SessionSilent "
    "SessionSuperseded SessionUnknown TooLarge Unauthenticated Unavailable WaitTimeout WatchTokenExpired "
    "WorkerNotFound",
    "bulk": "BulkState JobFilter Operation",
    "encoded": "Encoded EncodingRequired EncodingUnknown KeyUnknown Undecodable",
    "encodings": "AesGcm Encoding Encodings Zstd",
    "insight": "AttemptDetail DueDetail EndDetail Estimate Explanation KeyDetail KeyHolder LineDetail NameDetail "
    "PauseDetail QueueDemand Reason ReasonCode TotalDetail WorkerSubscription WorkersDetail",
    "jobs": "AUTO Cancellation EnqueueResult FailedAttempt Hold HoldDepth Job JobPage JobProgress KeyOrder KeyPolicy "
    "Kind Limits NewJob OnConflict OnKeyFailure Queue QueueDepth Rate Retention RetryPolicy Status SyncedKind Unique "
    "UniqueAction UniqueField UniqueScope Until",
    "middleware": "Middleware NextEnqueue Skip for_kinds with_headers",
    "observer": "Attempt Observer",
    "outcomes": "Cancelled Discard Retry Snooze",
    "overview": "Depth Flow GroupBy JobCount Overview OverviewWarning Point QueueOverview Series ServerInfo StatTotals "
    "Stats WarningCode WorkersOverview",
    "payload": "JsonText",
    "queue_keys": "KeyFilter QueueKey",
    "schedule_calls": "Schedules",
    "schedules": "Applied AppliedSchedule CatchUp NewSchedule Overlap RunCause RunOutcome Schedule SchedulePolicy "
    "ScheduleRun ScheduleSpec ScheduleTick TickRule",
    "sync": "SyncClient SyncWatch",
    "sync_schedules": "SyncSchedules",
    "typed.checkpoints": "CheckpointUnreadable",
    "typed.kind": "JobKind JobNotSucceeded PayloadTooNew PayloadUnreadable Upcast define_kind",
    "watch": "Watch",
    "worker": "JobContext JobLogFilter LeasedJob Worker WorkerStatus",
    "worker_sessions": "HeldJob WorkerDrain WorkerSession WorkerState",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
