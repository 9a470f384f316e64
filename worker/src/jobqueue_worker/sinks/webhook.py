"""A webhook receiver on loopback that checks signatures and writes each request into a folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from .smtp import LOOPBACK, write_whole


class WebhookSink:
    """Takes every POST and writes it as `NNNN.json`; listens on loopback only.

    A request whose signature does not hold is written as well, says so, and is answered 401.

    Args:
        folder: Where to write; made if missing.
        secret: Standard Webhooks secret (whsec_...) of the senders. None: nothing is verified.
        port: 0 takes a free one.
        on_received: Called with the path of each request once it is written whole.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secret: SecretStr | None = None,
        port: int = 0,
        on_received: Callable[[Path], None] | None = None,
    ) -> None:
        self._folder = folder
        self._webhook = Webhook(secret.get_secret_value()) if secret is not None else None
        self._wanted_port = port
        self._on_received = on_received
        self._runner: web.AppRunner | None = None
        self._count = 0
        self.received: asyncio.Queue[Path] = asyncio.Queue()

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            RuntimeError: It was not started.
        """
        if self._runner is None:
            raise RuntimeError("the webhook sink has no port before start()")
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://{LOOPBACK}:{self.port}/"

    async def start(self) -> None:
        """Listens; returns once it does."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._count = sum(1 for _ in self._folder.glob("*.json"))
        app = web.Application(client_max_size=4 << 20)
        app.router.add_post("/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self._wanted_port).start()

    async def stop(self) -> None:
        """Stops listening."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        verified, problem = self._verify(body, dict(request.headers))
        self._count += 1
        path = self._folder / f"{self._count:04}.json"
        record: dict[str, Any] = {
            "path": request.path_qs,
            "headers": dict(request.headers),
            "verified": verified,
            "problem": problem,
            # As text: decoding and encoding again would not show what was sent.
            "body": body.decode("utf-8", "replace"),
        }
        write_whole(path, json.dumps(record, indent=2, ensure_ascii=False).encode("utf-8"))
        self.received.put_nowait(path)
        if self._on_received is not None:
            self._on_received(path)
        return web.json_response({"received": self._count}, status=401 if problem else 200)

    def _verify(self, body: bytes, headers: dict[str, str]) -> tuple[bool, str | None]:
        if self._webhook is None:
            return False, None
        try:
            self._webhook.verify(body, headers, json_parse=False)
        except Exception as error:
            # A malformed signature makes the library raise what its parsing raises.
            return False, str(error)
        return True, None
