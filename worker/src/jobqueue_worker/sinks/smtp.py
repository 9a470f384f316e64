"""A mail server on loopback that writes each message into a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

LOOPBACK = "127.0.0.1"


class SmtpSink:
    """Takes every mail and writes it as `NNNN.eml`; listens on loopback only.

    Needs the extra `sinks` of jobqueue-worker.

    Args:
        folder: Where to write; made if missing.
        port: 0 takes a free one.
        on_received: Called with the path of each message once it is written whole.
    """

    def __init__(
        self, folder: Path, *, port: int = 0, on_received: Callable[[Path], None] | None = None
    ) -> None:
        self._folder = folder
        self._wanted_port = port
        self._on_received = on_received
        self._server: asyncio.Server | None = None
        self._count = 0
        self.received: asyncio.Queue[Path] = asyncio.Queue()

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            RuntimeError: It was not started.
        """
        if self._server is None:
            raise RuntimeError("the SMTP sink has no port before start()")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listens; returns once it does."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._count = sum(1 for _ in self._folder.glob("*.eml"))
        self._server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(self, enable_SMTPUTF8=True, hostname="localhost"), LOOPBACK, self._wanted_port
        )

    async def stop(self) -> None:
        """Stops listening."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd for each message."""
        content = envelope.content or b""
        self._count += 1
        path = self._folder / f"{self._count:04}.eml"
        write_whole(path, content if isinstance(content, bytes) else content.encode("utf-8"))
        self.received.put_nowait(path)
        if self._on_received is not None:
            self._on_received(path)
        return "250 Message accepted for delivery"


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that programs that watch the folder never see half of it."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    os.replace(part, path)
