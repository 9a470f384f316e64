"""One HTTP request: its path in this application, its body, and whether its caller is still connected."""

from __future__ import annotations

import asyncio
from urllib.parse import quote, unquote

from grpc_http2 import PeerCertificate, PeerGone

from ..model import MAX_MESSAGE_BYTES
from . import compression, headers
from .answer import Receive, Scope
from .errors import Refused


class Request:
    """A request, from ASGI.

    Attributes:
        method: GET, POST, ...
        metadata: The headers, names in lower case.
        root: The path where this application is mounted, as in a URL; "" for the root.
        raw_path: The path below `root`, as it was sent: %2F is not a slash.
        path: The same path, decoded.
        query: The part after the question mark, not decoded.
        peer: The caller's address, as gRPC writes it.
        certificate: The caller's certificate; None if it showed none.
        gone: Whether the caller has hung up.
    """

    __slots__ = (
        "_receive",
        "_watcher",
        "certificate",
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
        self.certificate: PeerCertificate | None = scope.get("certificate")
        self.gone = False
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None

    async def body(self) -> bytes:
        """Reads the whole body, inflated. It never holds more than the limit of a message.

        Raises:
            PeerGone: The caller hung up before the end of the body.
            Refused: The body is too large, or has an unknown encoding.
            FieldInvalid: The body does not match its encoding.
        """
        inflater = compression.inflater(self.metadata)
        if headers.content_length(self.metadata) > MAX_MESSAGE_BYTES:
            raise _too_large(inflater)
        parts: list[bytes] = []
        # The bytes received, and their inflated size.
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
        """From now on, cancels the running task when the caller hangs up. The body must have been read."""
        task = asyncio.current_task()
        assert task is not None
        self._watcher = asyncio.create_task(self._wait_until_gone(task))

    def unwatch(self) -> None:
        """Stops that. It must come before the end of the answer, which looks like a caller that hung up."""
        # Given up: the traceback of its end has a frame that names this request.
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()

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
    """The path where the application is mounted, and the path below it, raw and decoded.

    Servers and frameworks differ in whether paths begin with `root_path`: in ASGI both do, older servers have removed
    it from `path` or from both. So it is removed if a path begins with it. If `raw_path` is missing, or differs from
    `path` because a middleware has changed that, `path` counts.
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
    """A caller's address, as gRPC writes it."""
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
