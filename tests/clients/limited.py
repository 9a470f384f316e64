"""What stands before a server for callers that call too often: refuses a method once, and says when to come back."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import grpc.aio
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from tests.faults.relay import carry


class Limited(grpc.GenericRpcHandler):
    """A server of some methods on a port of its own. `async with Limited(target, ...) as address`.

    Args:
        target: The server behind it.
        methods: Those that it refuses at their first call, RATE_LIMITED.
        wait: How long such a caller is asked to wait.

    Attributes:
        calls: When each method was called, by its name.
    """

    def __init__(self, target: str, methods: set[str], wait: timedelta) -> None:
        self.calls: dict[str, list[float]] = {}
        self._target = target
        self._methods = methods
        self._wait = wait
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))

    async def __aenter__(self) -> str:
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Each method is a stream of bytes in both directions."""
        name = details.method.rpartition("/")[2]

        async def passing(_: Any, context: Any) -> None:
            calls = self.calls.setdefault(name, [])
            calls.append(time.monotonic())
            if name in self._methods and len(calls) == 1:
                await self._refuse(context)
            await carry(self._target, details.method, context)

        return grpc.stream_stream_rpc_method_handler(passing)

    async def _refuse(self, context: Any) -> None:
        code, words = grpc.StatusCode.RESOURCE_EXHAUSTED, "these credentials may be used less often"
        status = Status(code=code.value[0], message=words)
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(self._wait)
        for detail in (ErrorInfo(reason="RATE_LIMITED", domain="jobqueue"), retry):
            status.details.add().Pack(detail)
        await context.abort(code, words, (("grpc-status-details-bin", status.SerializeToString()),))
