"""KEDA's service, called as a client calls it that was generated from KEDA's own .proto."""

from __future__ import annotations

from typing import Any

from google.protobuf.message_factory import GetMessageClass

from jobqueue_server.rpc.keda import externalscaler_pb2 as pb

from .hand_worker import PATIENCE
from .place import Caller

SERVICE = pb.DESCRIPTOR.services_by_name["ExternalScaler"]


def ref(**metadata: str) -> pb.ScaledObjectRef:
    """A ScaledObject whose trigger says this."""
    return pb.ScaledObjectRef(name="workers", namespace="prod", scalerMetadata=metadata)


def _way(method: str) -> tuple[str, Any, Any]:
    answer: Any = GetMessageClass(SERVICE.methods_by_name[method].output_type)
    return (
        f"/{SERVICE.full_name}/{method}",
        lambda message: message.SerializeToString(),
        answer.FromString,
    )


async def ask(caller: Caller, method: str, request: Any) -> Any:
    """The answer of a unary method."""
    call: Any = caller.channel.unary_unary(*_way(method))
    return await call(request, timeout=PATIENCE)


def stream(caller: Caller, method: str, request: Any) -> Any:
    """The call of a stream."""
    call: Any = caller.channel.unary_stream(*_way(method))
    return call(request)
