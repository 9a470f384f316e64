"""The gRPC server: its services, health, reflection, and what it is set to on the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default as default_pool
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from ..addresses import split_address, taken
from ..chain import Chain
from ..model import MAX_MESSAGE_BYTES
from ..tls import Tls
from .adapter import generic_handler
from .engines import ENGINES, Engine
from .health import SERVICE as HEALTH_SERVICE
from .health import Health
from .transport import Limits, Server

_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"

# Longer than between heartbeats, so that a worker that is heard is not pinged beside them.
_KEEPALIVE_SECONDS = 8
_KEEPALIVE_TIMEOUT_SECONDS = 3


class GrpcServer:
    """Serves servicers through the chain.

    Args:
        chain: What every call passes.
        services: Each service's descriptor and its servicer, as `rpc.adapter.generic_handler` takes them.
        tls: The certificate; None: plain text.
        reuse_port: Whether several servers may listen on the same port, each getting a share of the connections.
            Otherwise a second one is refused, instead of quietly taking half of the first one's.
        max_connection_age: After it, a tenth sooner or later, a connection takes no new calls and its caller connects
            anew, so that load spreads over servers that came later; calls under way, streams too, go on. None: never.
        max_calls_per_connection: Calls and streams under way on one connection; further ones wait on its other side.
        limits: What callers can make it hold and do.
        engine: What it speaks HTTP/2 by. `grpcio` keeps a few of the limits only: see docs/engines.md.
    """

    def __init__(
        self,
        chain: Chain,
        services: Sequence[tuple[ServiceDescriptor, object]],
        *,
        tls: Tls | None = None,
        reuse_port: bool = False,
        max_connection_age: timedelta | None = None,
        max_calls_per_connection: int = 4096,
        limits: Limits | None = None,
        engine: Engine = "http2",
    ) -> None:
        self._tls = tls
        self._server: Server = ENGINES[engine](
            most_bytes=MAX_MESSAGE_BYTES,
            most_streams=max_calls_per_connection,
            max_connection_age=None if max_connection_age is None else max_connection_age.total_seconds(),
            keepalive=_KEEPALIVE_SECONDS,
            keepalive_timeout=_KEEPALIVE_TIMEOUT_SECONDS,
            reuse_port=reuse_port,
            limits=limits,
        )
        self._server.add_generic_rpc_handlers(
            tuple(generic_handler(service, servicer, chain) for service, servicer in services)
        )
        names = [service.full_name for service, _ in services]
        self._health = Health(names)
        self._health.register(self._server)
        names += [HEALTH_SERVICE, reflection.SERVICE_NAME, _REFLECTION_V1]
        _add_reflection(self._server, names)

    async def start(self, address: str) -> int:
        """Listens on `host:port` and answers the port, which differs from the asked one if that was 0.

        The health stays NOT_SERVING until `set_serving`.

        Raises:
            AddressUnusable: The port is taken, or the address is not this machine's.
        """
        host, port = split_address(address)
        await self._health.set_serving(False)
        try:
            return await self._server.listen(host, port, self._tls)
        except OSError as error:
            raise taken("The gRPC server", address, "JOBQUEUE_GRPC_ADDR") from error

    async def set_serving(self, serving: bool) -> None:
        """Sets what the health check answers for the server and for each service."""
        await self._health.set_serving(serving)

    async def stop(self, grace: timedelta) -> None:
        """Takes no new calls, and cuts off those that are not done after the grace.

        It does not tell the streams: whoever serves them ends them before.
        """
        await self._server.stop(grace.total_seconds())


def _add_reflection(server: Server, names: Sequence[str]) -> None:
    """Reflection in both versions: the package has v1alpha only, and the messages of v1 are the same on the wire."""
    servicer = reflection.aio.ReflectionServicer(service_names=names, pool=_Symbols())
    # The types of handlers are those of servers with threads.
    make: Any = grpc
    method = make.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
            for name in (reflection.SERVICE_NAME, _REFLECTION_V1)
        )
    )


class _Symbols:
    """The pool of descriptors for reflection, which finds methods by their names too, and reflection v1.

    The pool of protobuf's C implementation finds no methods, and `grpcurl describe SERVICE.METHOD` then says not found.
    Of reflection the package brings the file of v1alpha alone.
    """

    def __init__(self) -> None:
        self._pool: Any = default_pool()
        # In a pool of its own: another package of this process may bring v1.
        self._v1: Any = DescriptorPool()
        self._v1.AddSerializedFile(_reflection_v1().SerializeToString())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileByName(self, name: str) -> FileDescriptor:
        """The file of this name.

        Raises:
            KeyError: There is no such file.
        """
        return self._first(lambda pool: pool.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """The file in which a type, a service or a method is declared.

        Raises:
            KeyError: There is no such symbol.
        """
        return self._first(lambda pool: _declaring(pool, symbol))

    def _first(self, find: Callable[[Any], FileDescriptor]) -> FileDescriptor:
        try:
            return find(self._pool)
        except KeyError:
            return find(self._v1)


def _declaring(pool: Any, symbol: str) -> FileDescriptor:
    file: FileDescriptor
    try:
        file = pool.FindFileContainingSymbol(symbol)
    except KeyError:
        service, _, method = symbol.rpartition(".")
        file = pool.FindServiceByName(service).methods_by_name[method].containing_service.file
    return file


def _reflection_v1() -> FileDescriptorProto:
    """The file of reflection v1, which differs from that of v1alpha by its names alone."""
    alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha)
    return text_format.Parse(text.replace("v1alpha", "v1"), FileDescriptorProto())
