"""One HTTP request: where it leads within this application, its body, and whether its caller is still there."""

from __future__ import annotations

import asyncio
from urllib.parse import quote, unquote

from grpc_http2 import PeerGone

from ..model import MAX_MESSAGE_BYTES
from . import compression, headers
from .answer import Receive, Scope
from .errors import Refused


class Request:
    """What ASGI says of a request.

    Attributes:
        method: GET, POST, ...
        metadata: Its headers, names in lower case.
        root: Where this application is mounted, "" for the root; as it stands in a URL.
        raw_path: The path below that, as it was sent, in which %2F is no slash.
        path: The same, decoded.
        query: What follows the question mark, undecoded.
        peer: The caller's address, in the form in which gRPC names it.
        gone: The caller has hung up.
    """

    __slots__ = (
        "_receive",
        "_watcher",
        "gone",
        "metadata",
        "method",
        "path",
        "peer",
        "query",
        "raw_path",
        "root",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.metadata = headers.metadata(scope["headers"])
        self.root, self.raw_path, self.path = _place(scope)
        self.query: bytes = scope.get("query_string", b"")
        self.peer = _peer(scope)
        self.gone = False
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None

    async def body(self) -> bytes:
        """The whole body, inflated, of which no more is ever held than a message may have.

        Raises:
            PeerGone: The caller has hung up before all of it was there.
            Refused: It is too large, or encoded in a way that is not known here.
            FieldInvalid: It is not what its encoding says.
        """
        inflater = compression.inflater(self.metadata)
        if headers.content_length(self.metadata) > MAX_MESSAGE_BYTES:
            raise _too_large(inflater)
        parts: list[bytes] = []
        # What has come, and what it has become.
        received = size = 0
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise PeerGone
            part = event.get("body", b"")
            received += len(part)
            if inflater is not None:
                part = inflater.feed(part, MAX_MESSAGE_BYTES + 1 - size)
            size += len(part)
            if max(size, received) > MAX_MESSAGE_BYTES:
                raise _too_large(inflater)
            parts.append(part)
            if not event.get("more_body", False):
                if inflater is not None:
                    inflater.finish()
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def watch(self) -> None:
        """From now on the running task is cancelled when the caller hangs up. The body must have been read."""
        task = asyncio.current_task()
        assert task is not None
        self._watcher = asyncio.create_task(self._wait_until_gone(task))

    def unwatch(self) -> None:
        """No longer. Before the end of an answer is sent, which looks like a caller that hung up."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _wait_until_gone(self, task: asyncio.Task[object]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        task.cancel()


def _too_large(inflater: compression.Inflater | None) -> Refused:
    inflated = " once inflated" if inflater else ""
    message = f"the body is over {MAX_MESSAGE_BYTES} bytes{inflated}; send smaller ones, or store the data elsewhere"
    return Refused(413, "INVALID_ARGUMENT", message)


def _place(scope: Scope) -> tuple[str, bytes, str]:
    """Where the application is mounted, and the path below, raw and decoded.

    Servers and frameworks differ in whether paths begin with `root_path`: ASGI says that both do, older ones have cut
    it off of `path` alone, or of both. So it is cut off where it is there. Where `raw_path` is missing, or says
    something else than `path` because a middleware has rewritten that, `path` counts.
    """
    path: str = scope["path"]
    raw: str = (scope.get("raw_path") or b"").decode("latin-1")
    root: str = scope.get("root_path", "").rstrip("/")
    if root:
        if _decoded(raw) != root + path:
            path = _below(root, path)
        steps = raw.split("/")
        depth = root.count("/") + 1
        if _decoded("/".join(steps[:depth])) == root:
            raw = "/" + "/".join(steps[depth:])
    if _decoded(raw) != path:
        raw = quote(path)
    return quote(root), raw.encode("latin-1"), path


def _decoded(raw: str) -> str:
    return unquote(raw) if "%" in raw else raw


def _below(root: str, path: str) -> str:
    if path == root:
        return "/"
    return path[len(root) :] if path.startswith(root + "/") else path


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    if not client:
        return ""
    return peer_name(client[0], client[1])


def peer_name(host: str, port: int) -> str:
    """A caller's address in the form in which gRPC names it."""
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
