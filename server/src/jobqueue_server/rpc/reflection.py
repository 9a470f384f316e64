"""Serves reflection in both versions, from memory, and finds methods by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default as default_pool
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from ..chain import DOCUMENTS, Chain
from ..errors import JobQueueError
from .adapter import call_of
from .trailers import refusal
from .transport import Server

V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = reflection.SERVICE_NAME


def add_reflection(server: Server, names: Sequence[str], chain: Chain, *, public: bool) -> None:
    """Reflection in both versions: the package has v1alpha only, and the messages of v1 are the same on the wire.

    Args:
        server: What serves it.
        names: Of the services that are shown.
        chain: Its access step says who may ask.
        public: All may.
    """
    servicer = _Reflection(None if public else chain, service_names=names, pool=_Symbols())
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
            for name in (V1ALPHA, V1)
        )
    )


class _Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """The package's servicer, with a cache of each file and its imports.

    Without it a call would take 0.3 ms, before it is known who calls.
    """

    def __init__(self, chain: Chain | None, **how: Any) -> None:
        super().__init__(**how)
        self._chain = chain
        self._files: dict[str, list[bytes]] = {}

    async def ServerReflectionInfo(self, request_iterator: Any, unused_context: Any) -> AsyncIterator[Any]:
        """What the package answers, for callers that may call something."""
        if self._chain is not None:
            call = call_of(DOCUMENTS, unused_context)
            try:
                await self._chain.authorize(call)
            except JobQueueError as error:
                await unused_context.abort(*refusal(call, error))
        async for answer in super().ServerReflectionInfo(request_iterator, unused_context):
            yield answer

    def _file_by_filename(self, request: Any, filename: str) -> Any:
        return self._answer(request, lambda: self._pool.FindFileByName(filename))

    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        return self._answer(request, lambda: self._pool.FindFileContainingSymbol(fully_qualified_name))

    def _answer(self, request: Any, find: Callable[[], FileDescriptor]) -> Any:
        answer: Any = reflection_pb2
        try:
            file = find()
        except KeyError:
            code, name = grpc.StatusCode.NOT_FOUND.value
            error = answer.ErrorResponse(error_code=code, error_message=name)
            return answer.ServerReflectionResponse(error_response=error, original_request=request)
        known = self._files.get(file.name)
        if known is None:
            known = self._files[file.name] = [each.serialized_pb for each in _with_imports(file, {}).values()]
        files = answer.FileDescriptorResponse(file_descriptor_proto=known)
        return answer.ServerReflectionResponse(file_descriptor_response=files, original_request=request)


def _with_imports(file: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The file and all its imports, by name."""
    found[file.name] = file
    for imported in file.dependencies:
        if imported.name not in found:
            _with_imports(imported, found)
    return found


class _Symbols:
    """The pool of descriptors for reflection. It also finds methods by name, and has the file of reflection v1.

    The pool of protobuf's C implementation does not find methods, so that `grpcurl describe SERVICE.METHOD` would fail.
    The package has only the file of v1alpha.
    """

    def __init__(self) -> None:
        self._pool: Any = default_pool()
        # In a separate pool: another package of this process may have v1 too.
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
    """The file of reflection v1. It differs from the file of v1alpha only in its names."""
    alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha)
    return text_format.Parse(text.replace("v1alpha", "v1"), FileDescriptorProto())
