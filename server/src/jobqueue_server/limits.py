"""What callers of gRPC can make the server hold and do, and how many files the process may open for them."""

from __future__ import annotations

import resource

from .rpc.transport import Limits
from .settings import Settings

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


def allow_files() -> None:
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
