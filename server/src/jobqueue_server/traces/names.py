"""The names of attributes. OpenTelemetry's conventions for messaging are not stable: they change here alone.

`clients/python/src/jobqueue/trace_names.py` has those of workers. `tests/traces/test_names.py` holds both against a
list.
"""

from __future__ import annotations

RPC_SYSTEM, RPC_METHOD, RPC_STATUS = "rpc.system.name", "rpc.method", "rpc.response.status_code"
#: How the systems are called, by `Call.transport`.
RPC_SYSTEMS = {"grpc": "grpc", "http": "http_json"}
#: Names of before, sent as well where OTEL_SEMCONV_STABILITY_OPT_IN has `rpc/dup`.
OLD_RPC_SYSTEM, OLD_RPC_SERVICE, OLD_RPC_STATUS = "rpc.system", "rpc.service", "rpc.grpc.status_code"

MESSAGING_SYSTEM, MESSAGING_OPERATION, MESSAGING_OPERATION_TYPE = (
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
)
MESSAGING_DESTINATION, MESSAGING_MESSAGE_ID, MESSAGING_BATCH = (
    "messaging.destination.name",
    "messaging.message.id",
    "messaging.batch.message_count",
)
DATABASE_SYSTEM, ERROR_TYPE = "db.system.name", "error.type"
#: Ours. The kind of the jobs, and how many calls with a span share an insert.
KIND, SAMPLED_CALLS = "jobqueue.kind", "jobqueue.sampled_calls"

#: What all of ours say of themselves.
SYSTEM = "jobqueue"
#: The operation of an enqueue, and its type.
ENQUEUE, SEND = "enqueue", "send"
#: The span of an insert that calls share, and where it goes.
INSERT, POSTGRESQL = "insert jobs", "postgresql"
