"""What the server asks of single fields beyond their types, by the constants that its checks use.

Bounds of a Duration have no form in JSON Schema; they are `x-minimum` and `x-maximum`. What has none at all stands in
the fields' comments: sizes in bytes, a time ahead of now, one field that must fit another. tests/openapi sends what is
just within each of these and what is just beyond, and looks for fields without any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from jobqueue_server.core.stats.history import LONGEST, MIN_STEP
from jobqueue_server.fields import FIELDS
from jobqueue_server.grants import MAX_GRANTS, MAX_PATTERNS
from jobqueue_server.model import (
    MAX_AHEAD,
    MAX_ANNOTATION_BYTES,
    MAX_ANNOTATIONS,
    MAX_ATTEMPTS_LIMIT,
    MAX_BACKOFF,
    MAX_BATCH_JOBS,
    MAX_ERROR_TYPE_CHARS,
    MAX_FOLLOW_UPS,
    MAX_HEADERS_BYTES,
    MAX_KEY_CHARS,
    MAX_KEY_PAUSE,
    MAX_KIND_VERSION,
    MAX_LABEL_NAME,
    MAX_LABEL_VALUE,
    MAX_LABELS,
    MAX_POINTER_CHARS,
    MAX_POINTERS,
    MAX_PRIORITY,
    MAX_RATE_COUNT,
    MAX_RATE_PERIOD,
    MAX_RETENTION_OF_A_QUEUE,
    MAX_RUNNING_OF_A_KEY,
    MAX_RUNNING_OF_A_QUEUE,
    MAX_SESSION_TTL,
    MAX_SETTLE_OUTCOMES,
    MAX_SLOT_WEIGHT,
    MAX_TIMEOUT,
    MAX_WAIT,
    MAX_WAITING,
    MAX_WAITING_OF_A_KEY,
    MAX_WATCHED_IDS,
    MAX_WORKER_NAME,
    MIN_BACKOFF,
    MIN_PRIORITY,
    MIN_RATE_PERIOD,
    MIN_RETENTION_OF_A_QUEUE,
    MIN_SESSION_TTL,
    MIN_TIMEOUT,
    MIN_UNIQUE_PERIOD,
    UniqueField,
)
from jobqueue_server.rpc.access_admin import (
    MAX_GRACE,
    MAX_KEY_NAME_CHARS,
    MAX_LIFETIME,
    MAX_NETWORKS,
    MAX_RATE,
    MAX_REVOKE_REASON_CHARS,
    MIN_LIFETIME,
)
from jobqueue_server.rpc.audit import (
    MAX_ACTION_CHARS,
    MAX_OBJECT_CHARS,
    MAX_OUTCOME_CHARS,
    MAX_PRINCIPAL_CHARS,
)
from jobqueue_server.rpc.bulk import MAX_FILTER_IDS, MAX_PER_SECOND, MAX_REASONS, MAX_SPREAD
from jobqueue_server.rpc.checks import MAX_PAGE_TOKEN_CHARS, MAX_REASON_CHARS, MAX_WATCH_TOKEN_CHARS
from jobqueue_server.rpc.hello import MAX_CLIENT, MAX_NAMED, MAX_SLOTS, MAX_SUBSCRIPTIONS
from jobqueue_server.rpc.identities import KINDS as KINDS_OF_IDENTITIES
from jobqueue_server.rpc.identities import MAX_CLAIM_CHARS, MAX_ISSUER_CHARS, MAX_PATTERN_CHARS
from jobqueue_server.rpc.key_policy import MAX_ETAG_CHARS
from jobqueue_server.rpc.kind_values import ANNOTATION_NAME
from jobqueue_server.rpc.kind_values import PATHS as KIND_PATHS
from jobqueue_server.rpc.queue_keys import BY_NAME, BY_WAITING
from jobqueue_server.rpc.queue_keys import MAX_TOKEN_CHARS as MAX_KEYS_TOKEN_CHARS
from jobqueue_server.rpc.schedule_values import (
    MAX_COUNT,
    MAX_CRON_LINES,
    MAX_EVERY,
    MAX_FAILURES,
    MAX_JITTER,
    MAX_KEEP_RUNS,
    MAX_RUNS_TOKEN_CHARS,
    MIN_EVERY,
    PATHS,
)
from jobqueue_server.rpc.unary_sessions import MAX_TOKEN_CHARS

Schema = dict[str, Any]

_NAME = "[a-z0-9][a-z0-9_.-]{0,127}"
_NO_CONTROL = r"[^\u0000-\u001f\u007f-\u009f]"
_NO_NUL = r"^[^\u0000]*$"
_POINTER = r"^(/([^~/\u0000]|~[01])*)+$"
_LABEL = f"[A-Za-z0-9][A-Za-z0-9_./-]{{0,{MAX_LABEL_NAME - 1}}}"

_LARGEST_INT32 = 2**31 - 1
_OF_OPERATIONS: dict[str, Schema] = {
    "per_second": {"minimum": 0, "maximum": MAX_PER_SECOND},
    "max_jobs": {"pattern": "^[0-9]{1,18}$"},
    "request_id": {"maxLength": MAX_KEY_CHARS, "pattern": f"^{_NO_CONTROL}*$"},
    "expected": {"pattern": "^[0-9]{1,18}$"},
}


def _span(low: timedelta, high: timedelta) -> Schema:
    """The bounds of a Duration, as one is written."""
    return {"x-minimum": _written(low), "x-maximum": _written(high)}


def _written(span: timedelta) -> str:
    seconds, fraction = divmod(span, timedelta(seconds=1))
    return f"{seconds}.{fraction.microseconds:06d}".rstrip("0").rstrip(".") + "s"


def _mask(paths: Iterable[str]) -> str:
    """The pattern of a FieldMask of some of these paths, in the spelling of JSON or in that of the .proto."""
    spelt = {path: re.sub(r"_([a-z])", lambda found: found[1].upper(), path) for path in paths}
    either = "|".join(dict.fromkeys((*spelt.values(), *spelt))).replace(".", r"\.")
    return f"^(({either})(,({either}))*)?$"


CRON_LINE = r"^(@(hourly|daily|weekly|monthly|yearly)|[^ \u0000]+( +[^ \u0000]+){4,5})$"
TIME_ZONE = "^[A-Za-z0-9_+/-]*$"
NAME: Schema = {"pattern": f"^{_NAME}$"}
NAME_OR_EMPTY: Schema = {"pattern": f"^({_NAME})?$"}
UUID: Schema = {"format": "uuid", "minLength": 36, "maxLength": 36}
SESSION_ID: Schema = {"pattern": "^[1-9][0-9]{0,17}$", "examples": ["4711"]}
PAGE_SIZE: Schema = {"minimum": 0, "maximum": _LARGEST_INT32}
PAGE_TOKEN: Schema = {"maxLength": MAX_PAGE_TOKEN_CHARS, "pattern": _NO_NUL}
KEY: Schema = {"minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": _NO_NUL}
MAX_ATTEMPTS: Schema = {"minimum": 0, "maximum": MAX_ATTEMPTS_LIMIT}
LABELS: Schema = {
    "maxProperties": MAX_LABELS,
    "propertyNames": {"pattern": f"^{_LABEL}$"},
    "additionalProperties": {
        "type": "string",
        "maxLength": MAX_LABEL_VALUE,
        "pattern": f"^{_NO_CONTROL}*$",
    },
}
ANNOTATIONS: Schema = {
    "maxProperties": MAX_ANNOTATIONS,
    "propertyNames": {"pattern": f"^{ANNOTATION_NAME}$"},
    "additionalProperties": {"type": "string", "maxLength": MAX_ANNOTATION_BYTES, "pattern": _NO_NUL},
}
LABEL_FILTER: Schema = {
    "maxItems": MAX_LABELS,
    "items": {"type": "string", "pattern": f"^{_LABEL}={_NO_CONTROL}{{0,{MAX_LABEL_VALUE}}}$"},
}
TOKEN: Schema = {"minLength": 1, "maxLength": MAX_TOKEN_CHARS, "pattern": _NO_NUL}
RESUME_TOKEN: Schema = {"maxLength": MAX_WATCH_TOKEN_CHARS, "pattern": _NO_NUL}
ATTEMPT: Schema = {"minimum": 1, "maximum": _LARGEST_INT32}
BACKOFF = _span(MIN_BACKOFF, MAX_BACKOFF)
TIMEOUT = _span(MIN_TIMEOUT, MAX_TIMEOUT)
AHEAD = _span(timedelta(), MAX_AHEAD)
KEY_PAUSE = _span(timedelta(), MAX_KEY_PAUSE)
WAIT = _span(timedelta(), MAX_WAIT)
# How long a queue keeps jobs that ended.
KEPT = _span(MIN_RETENTION_OF_A_QUEUE, MAX_RETENTION_OF_A_QUEUE)
LEASES: Schema = {"maxItems": MAX_NAMED}
SLOTS: Schema = {"minimum": 0, "maximum": MAX_SLOTS}
KEY_ID: Schema = {"pattern": "^[0-9a-hjkmnp-tv-z]{10}$"}
IDENTITY_ID: Schema = {"pattern": "^[1-9][0-9]{0,17}$"}
LIFETIME = _span(MIN_LIFETIME, MAX_LIFETIME)
#: A name, or the beginning of one and `*`.
PATTERNS: Schema = {
    "maxItems": MAX_PATTERNS,
    "items": {"type": "string", "pattern": rf"^(\*|{_NAME}|[a-z0-9][a-z0-9_.-]{{0,126}}\*)$"},
}

# An object or a boolean. Said by what it is not, since generators can't make a type of a choice between the two.
_NEITHER: list[Schema] = [
    {"type": "array", "items": {}},
    {"type": "null"},
    {"type": "number"},
    {"type": "string"},
]
JSON_SCHEMA: Schema = {"not": {"anyOf": _NEITHER}}

#: By the field's full name without the package.
LIMITS: dict[str, Schema] = {
    "NewJob.kind": NAME,
    "NewJob.queue": NAME_OR_EMPTY,
    "NewJob.priority": {"minimum": MIN_PRIORITY, "maximum": MAX_PRIORITY},
    "NewJob.max_attempts": MAX_ATTEMPTS,
    **{
        f"NewJob.{field.name}": {"maxLength": field.most, "pattern": f"^{_NO_CONTROL}*$"}
        for field in FIELDS
        if field.most
    },
    "NewJob.key": {"maxLength": MAX_KEY_CHARS, "pattern": _NO_NUL},
    "Unique.key": {"maxLength": MAX_KEY_CHARS, "pattern": _NO_NUL},
    "Unique.payload_fields": {
        "maxItems": MAX_POINTERS,
        "items": {"type": "string", "maxLength": MAX_POINTER_CHARS, "pattern": _POINTER},
    },
    "Unique.period": _span(MIN_UNIQUE_PERIOD, MAX_AHEAD),
    "Unique.replace": {"maxItems": len(UniqueField)},
    "Unique.max_delay": AHEAD,
    "Unique.cancel_running": {"const": False},
    "NewJob.labels": LABELS,
    "NewJob.delay": AHEAD,
    "NewJob.timeout": TIMEOUT,
    # Names and values together; a name has a character at least.
    "NewJob.headers": {
        "propertyNames": {"pattern": "^[!-~]+$", "maxLength": MAX_HEADERS_BYTES},
        "additionalProperties": {
            "type": "string",
            "maxLength": MAX_HEADERS_BYTES - 1,
            "pattern": f"^{_NO_CONTROL}*$",
        },
    },
    "RetryPolicy.min_backoff": BACKOFF,
    "RetryPolicy.max_backoff": BACKOFF,
    "Job.id": UUID,
    "EnqueueResult.id": UUID,
    "LeasedJob.id": UUID,
    "JobProgress.fraction": {"minimum": 0, "maximum": 1},
    "BatchEnqueueJobsRequest.jobs": {"minItems": 1, "maxItems": MAX_BATCH_JOBS},
    "GetJobRequest.id": UUID,
    "CancelJobRequest.id": UUID,
    "RetryJobRequest.id": UUID,
    "ReleaseJobRequest.id": UUID,
    "DeleteJobRequest.id": UUID,
    "WaitJobRequest.id": UUID,
    "WaitJobRequest.timeout": WAIT,
    "CancelJobRequest.reason": {"maxLength": MAX_REASON_CHARS, "pattern": _NO_NUL},
    "ListJobsRequest.page_size": PAGE_SIZE,
    "ListJobsRequest.page_token": PAGE_TOKEN,
    "ListJobsRequest.queue": NAME_OR_EMPTY,
    "ListJobsRequest.kind": NAME_OR_EMPTY,
    "ListJobsRequest.labels": LABEL_FILTER,
    "WatchJobsRequest.ids": {"maxItems": MAX_WATCHED_IDS, "items": {"type": "string", **UUID}},
    "WatchJobsRequest.queue": NAME_OR_EMPTY,
    "WatchJobsRequest.kind": NAME_OR_EMPTY,
    "WatchJobsRequest.labels": LABEL_FILTER,
    "WatchJobsRequest.resume_token": RESUME_TOKEN,
    "JobFilter.ids": {"maxItems": MAX_FILTER_IDS, "items": {"type": "string", **UUID}},
    "JobFilter.queue": NAME_OR_EMPTY,
    "JobFilter.kind": NAME_OR_EMPTY,
    "JobFilter.labels": LABEL_FILTER,
    "JobFilter.reason": {
        "maxItems": MAX_REASONS,
        "items": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]{0,62}$"},
    },
    "JobFilter.error_type": {"maxLength": MAX_ERROR_TYPE_CHARS, "pattern": f"^{_NO_CONTROL}*$"},
    **{
        f"{verb}JobsRequest.{field}": limit
        for verb in ("Retry", "Cancel", "Delete", "Update")
        for field, limit in _OF_OPERATIONS.items()
    },
    "RetryJobsRequest.spread": _span(timedelta(), MAX_SPREAD),
    "RetryJobsRequest.delay": AHEAD,
    "RetryJobsRequest.to_queue": NAME_OR_EMPTY,
    "UpdateJobsRequest.spread": _span(timedelta(), MAX_SPREAD),
    "UpdateJobsRequest.delay": AHEAD,
    "UpdateJobsRequest.to_queue": NAME_OR_EMPTY,
    "UpdateJobsRequest.priority": {"minimum": MIN_PRIORITY, "maximum": MAX_PRIORITY},
    "UpdateJobsRequest.max_attempts": {"minimum": 0, "maximum": MAX_ATTEMPTS_LIMIT},
    "CancelJobsRequest.reason": {"maxLength": MAX_REASON_CHARS, "pattern": _NO_NUL},
    "ListWorkersRequest.page_size": PAGE_SIZE,
    "ListWorkersRequest.page_token": PAGE_TOKEN,
    "ListWorkersRequest.queue": NAME_OR_EMPTY,
    "ListWorkersRequest.kind": NAME_OR_EMPTY,
    "ListWorkersRequest.name": {"maxLength": MAX_WORKER_NAME, "pattern": _NO_NUL},
    "GetWorkerRequest.session_id": SESSION_ID,
    "DrainWorkerRequest.session_id": SESSION_ID,
    "DrainWorkerRequest.reason": {"maxLength": MAX_REASON_CHARS, "pattern": _NO_NUL},
    "ListOperationsRequest.filter": {"maxLength": 0},
    "ListOperationsRequest.page_size": PAGE_SIZE,
    "ListOperationsRequest.page_token": PAGE_TOKEN,
    "GetOperationRequest.name": UUID,
    "WaitOperationRequest.name": UUID,
    "WaitOperationRequest.timeout": WAIT,
    "CancelOperationRequest.name": UUID,
    "DeleteOperationRequest.name": UUID,
    "ResumeOperationRequest.id": UUID,
    "Hello.worker": {"minLength": 1, "maxLength": MAX_WORKER_NAME, "pattern": _NO_NUL},
    "Hello.client": {"maxLength": MAX_CLIENT, "pattern": _NO_NUL},
    "Hello.labels": LABELS,
    "Hello.session_ttl": _span(MIN_SESSION_TTL, MAX_SESSION_TTL),
    "Hello.subscriptions": {"minItems": 1, "maxItems": MAX_SUBSCRIPTIONS},
    "Subscription.queue": NAME_OR_EMPTY,
    # Pairs of queue and kind, each counted once.
    "Subscription.kinds": {
        "minItems": 1,
        "maxItems": MAX_SUBSCRIPTIONS,
        "items": {"type": "string", **NAME},
    },
    "Resume.session_token": {"minLength": 1},
    "Resume.held": LEASES,
    "Resume.unanswered": LEASES,
    "HeldLeases.leases": LEASES,
    "HeldLease.job_id": UUID,
    "HeldLease.attempt": ATTEMPT,
    "Capacity.slots": SLOTS,
    "Capacity.slots_by_kind": {"additionalProperties": {"type": "integer", "format": "int32", **SLOTS}},
    "Capacity.bytes": {"pattern": "^[0-9]{1,19}$"},
    "ClaimJobsRequest.max_jobs": {"minimum": 0, "maximum": MAX_BATCH_JOBS},
    "ClaimJobsRequest.wait": WAIT,
    # In a call, which knows no lease by its number.
    "Outcome.job_id": UUID,
    "Outcome.attempt": ATTEMPT,
    "Outcome.pause_key": KEY_PAUSE,
    "Failure.retry_after": AHEAD,
    "Snooze.delay": AHEAD,
    "SettleJobsRequest.outcomes": {"minItems": 1, "maxItems": MAX_SETTLE_OUTCOMES},
    "ClaimJobsRequest.session_token": TOKEN,
    "SettleJobsRequest.session_token": TOKEN,
    "HeartbeatSessionRequest.session_token": TOKEN,
    "CloseSessionRequest.session_token": TOKEN,
    "Success.follow_ups": {"maxItems": MAX_FOLLOW_UPS},
    "GetQueueRequest.name": NAME,
    "ListQueueKeysRequest.queue": NAME,
    "ListQueueKeysRequest.page_size": PAGE_SIZE,
    "ListQueueKeysRequest.page_token": {"maxLength": MAX_KEYS_TOKEN_CHARS, "pattern": _NO_NUL},
    "ListQueueKeysRequest.order_by": {"pattern": f"^({BY_NAME}|{BY_WAITING})?$"},
    "GetQueueKeyRequest.queue": NAME,
    "GetQueueKeyRequest.key": KEY,
    "UpdateQueueKeyRequest.update_mask": {
        "pattern": _mask(["max_running", "paused"]),
        "examples": ["maxRunning,paused"],
    },
    "QueueKey.queue": NAME,
    "QueueKey.key": KEY,
    "QueueKey.max_running": {"minimum": 0, "maximum": MAX_RUNNING_OF_A_KEY},
    "QueueKey.etag": {"maxLength": MAX_ETAG_CHARS, "pattern": _NO_NUL},
    "UnblockQueueKeyRequest.queue": NAME,
    "UnblockQueueKeyRequest.key": KEY,
    "Queue.name": NAME,
    "Limits.max_running": {"minimum": 0, "maximum": MAX_RUNNING_OF_A_QUEUE},
    "Kind.slot_weight": {"minimum": 0, "maximum": MAX_SLOT_WEIGHT},
    "Queue.max_waiting": {"minimum": 0, "maximum": MAX_WAITING},
    "Retention.succeeded": KEPT,
    "Retention.failed_permanent": KEPT,
    "Retention.cancelled": KEPT,
    "Queue.etag": {"maxLength": MAX_ETAG_CHARS, "pattern": _NO_NUL},
    "KeyPolicy.max_running": {"minimum": 0, "maximum": MAX_RUNNING_OF_A_KEY},
    "KeyPolicy.max_waiting": {"minimum": 0, "maximum": MAX_WAITING_OF_A_KEY},
    "Rate.count": {"minimum": 1, "maximum": MAX_RATE_COUNT},
    "Rate.period": _span(MIN_RATE_PERIOD, MAX_RATE_PERIOD),
    "Rate.burst": {"minimum": 0, "maximum": MAX_RATE_COUNT},
    "Schedule.name": NAME,
    "Schedule.labels": LABELS,
    "Schedule.etag": {"maxLength": MAX_ETAG_CHARS, "pattern": _NO_NUL},
    "ScheduleSpec.cron": {
        "maxItems": MAX_CRON_LINES,
        # What the fields of a line may be has no form here; the server says what is wrong with one.
        "items": {"type": "string", "pattern": CRON_LINE},
    },
    "ScheduleSpec.every": _span(MIN_EVERY, MAX_EVERY),
    "ScheduleSpec.phase": _span(timedelta(), MAX_EVERY - timedelta(seconds=1)),
    "ScheduleSpec.time_zone": {"pattern": TIME_ZONE, "examples": ["Europe/Berlin"]},
    "ScheduleSpec.jitter": _span(timedelta(), MAX_JITTER),
    "SchedulePolicy.catch_up_window": AHEAD,
    "SchedulePolicy.pause_after_failures": {"minimum": 0, "maximum": MAX_FAILURES},
    "SchedulePolicy.keep_runs": {"minimum": 0, "maximum": MAX_KEEP_RUNS},
    **{
        f"{method}Request.name": NAME
        for method in (
            "GetSchedule",
            "DeleteSchedule",
            "PauseSchedule",
            "ResumeSchedule",
            "RunSchedule",
            "BackfillSchedule",
            "ListScheduleRuns",
        )
    },
    "ListSchedulesRequest.page_size": PAGE_SIZE,
    "ListSchedulesRequest.page_token": PAGE_TOKEN,
    "ListSchedulesRequest.kind": NAME_OR_EMPTY,
    "ListSchedulesRequest.queue": NAME_OR_EMPTY,
    "ListSchedulesRequest.labels": LABEL_FILTER,
    "UpdateScheduleRequest.update_mask": {
        "pattern": _mask(PATHS),
        "examples": ["spec,policy.keepRuns"],
    },
    "DeleteScheduleRequest.etag": {"maxLength": MAX_ETAG_CHARS, "pattern": _NO_NUL},
    "PauseScheduleRequest.note": {"maxLength": MAX_REASON_CHARS, "pattern": _NO_NUL},
    "RunScheduleRequest.request_id": _OF_OPERATIONS["request_id"],
    "BackfillScheduleRequest.max_ticks": _OF_OPERATIONS["max_jobs"],
    "BackfillScheduleRequest.per_second": _OF_OPERATIONS["per_second"],
    "BackfillScheduleRequest.request_id": _OF_OPERATIONS["request_id"],
    "ListScheduleRunsRequest.page_size": PAGE_SIZE,
    "ListScheduleRunsRequest.page_token": {"maxLength": MAX_RUNS_TOKEN_CHARS, "pattern": _NO_NUL},
    "PreviewScheduleRequest.count": {"minimum": 0, "maximum": MAX_COUNT},
    "PauseQueueRequest.name": NAME,
    "PauseQueueRequest.reason": {"maxLength": MAX_REASON_CHARS, "pattern": _NO_NUL},
    "ExplainJobRequest.id": UUID,
    "GetQueueDemandRequest.queue": NAME,
    "QueryStatsRequest.queue": NAME_OR_EMPTY,
    "QueryStatsRequest.kind": NAME_OR_EMPTY,
    "QueryStatsRequest.step": _span(MIN_STEP, LONGEST),
    "CountJobsRequest.queue": NAME_OR_EMPTY,
    "CountJobsRequest.kind": NAME_OR_EMPTY,
    "CountJobsRequest.labels": LABEL_FILTER,
    "ResumeQueueRequest.name": NAME,
    "ListQueuesRequest.page_size": PAGE_SIZE,
    "ListQueuesRequest.page_token": PAGE_TOKEN,
    "ListKindsRequest.page_size": PAGE_SIZE,
    "ListKindsRequest.page_token": PAGE_TOKEN,
    "Kind.name": NAME,
    "Kind.max_attempts": MAX_ATTEMPTS,
    "Kind.timeout": TIMEOUT,
    "Kind.schema": JSON_SCHEMA,
    "Kind.output_schema": JSON_SCHEMA,
    "Kind.version": {"minimum": 0, "maximum": MAX_KIND_VERSION},
    "Kind.annotations": ANNOTATIONS,
    "PutKindRequest.update_mask": {
        "pattern": _mask(KIND_PATHS),
        "examples": ["schema,maxAttempts"],
    },
    "Grant.permissions": {"minItems": 1},
    "Grant.queues": PATTERNS,
    "Grant.kinds": PATTERNS,
    "RateLimit.per_second": {"minimum": 1, "maximum": MAX_RATE},
    "RateLimit.burst": {"minimum": 0, "maximum": MAX_RATE},
    "CreateKeyRequest.name": {
        "minLength": 1,
        "maxLength": MAX_KEY_NAME_CHARS,
        "pattern": f"^{_NO_CONTROL}*$",
    },
    "CreateKeyRequest.grants": {"minItems": 1, "maxItems": MAX_GRANTS},
    "CreateKeyRequest.expires_in": LIFETIME,
    "CreateKeyRequest.networks": {"maxItems": MAX_NETWORKS},
    "CreateKeyRequest.namespace": NAME_OR_EMPTY,
    "GetKeyRequest.id": KEY_ID,
    "GetKeyRequest.namespace": NAME_OR_EMPTY,
    "ListKeysRequest.page_size": PAGE_SIZE,
    "ListKeysRequest.page_token": PAGE_TOKEN,
    "ListKeysRequest.namespace": NAME_OR_EMPTY,
    "RotateKeyRequest.id": KEY_ID,
    "RotateKeyRequest.grace": _span(timedelta(), MAX_GRACE),
    "RotateKeyRequest.expires_in": LIFETIME,
    "RotateKeyRequest.namespace": NAME_OR_EMPTY,
    "RevokeKeyRequest.id": KEY_ID,
    "RevokeKeyRequest.reason": {"maxLength": MAX_REVOKE_REASON_CHARS, "pattern": _NO_NUL},
    "RevokeKeyRequest.namespace": NAME_OR_EMPTY,
    "PutIdentityRequest.kind": {"enum": list(KINDS_OF_IDENTITIES)},
    "PutIdentityRequest.pattern": {
        "minLength": 1,
        "maxLength": MAX_PATTERN_CHARS,
        "pattern": r"^(\*|[^*\u0000-\u001f\u007f]+\*?)$",
    },
    "PutIdentityRequest.issuer": {"maxLength": MAX_ISSUER_CHARS, "pattern": _NO_NUL},
    "PutIdentityRequest.claim": {"maxLength": MAX_CLAIM_CHARS, "pattern": _NO_NUL},
    "PutIdentityRequest.grants": {"minItems": 1, "maxItems": MAX_GRANTS},
    "PutIdentityRequest.namespace": NAME_OR_EMPTY,
    "ListIdentitiesRequest.page_size": PAGE_SIZE,
    "ListIdentitiesRequest.page_token": PAGE_TOKEN,
    "ListIdentitiesRequest.namespace": NAME_OR_EMPTY,
    "DeleteIdentityRequest.id": IDENTITY_ID,
    "DeleteIdentityRequest.namespace": NAME_OR_EMPTY,
    "CreateNamespaceRequest.name": NAME,
    "ListNamespacesRequest.page_size": PAGE_SIZE,
    "ListNamespacesRequest.page_token": PAGE_TOKEN,
    "DisableNamespaceRequest.name": NAME,
    "EnableNamespaceRequest.name": NAME,
    "ListAuditRequest.page_size": PAGE_SIZE,
    "ListAuditRequest.page_token": PAGE_TOKEN,
    "ListAuditRequest.namespace": NAME_OR_EMPTY,
    "ListAuditRequest.action": {"maxLength": MAX_ACTION_CHARS, "pattern": _NO_NUL},
    "ListAuditRequest.principal": {"maxLength": MAX_PRINCIPAL_CHARS, "pattern": _NO_NUL},
    "ListAuditRequest.object": {"maxLength": MAX_OBJECT_CHARS, "pattern": _NO_NUL},
    "ListAuditRequest.outcome": {"maxLength": MAX_OUTCOME_CHARS, "pattern": _NO_NUL},
}

#: Values of enums that a request may not give, by the field that holds them.
NOT_TAKEN: dict[str, frozenset[str]] = {
    "ListJobsRequest.status": frozenset({"STATUS_UNSPECIFIED"}),
    "CountJobsRequest.status": frozenset({"STATUS_UNSPECIFIED"}),
    "JobFilter.status": frozenset({"STATUS_UNSPECIFIED"}),
    "ListWorkersRequest.state": frozenset({"STATE_UNSPECIFIED"}),
    "Grant.permissions": frozenset({"PERMISSION_UNSPECIFIED", "PUBLIC"}),
    "Unique.replace": frozenset({"FIELD_UNSPECIFIED"}),
    "SchedulePolicy.overlap": frozenset({"BUFFER_ALL", "CANCEL_RUNNING"}),
    "RunScheduleRequest.overlap": frozenset({"BUFFER_ALL", "CANCEL_RUNNING"}),
    "BackfillScheduleRequest.overlap": frozenset({"BUFFER_ONE", "BUFFER_ALL", "CANCEL_RUNNING"}),
}
