"""People who look at the dashboard: plain HTTP clients that make the calls of its pages, when the pages would."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import uvloop

from .. import pages
from ..credentials import bearer
from ..errors import BenchError
from ..pages import Ask
from ..processes import DONE, MESSAGES, REFUSED, Mailbox

_GZIP = 31
_MOST_LINE = 16 << 20
_ENDED = ("SUCCEEDED", "FAILED_PERMANENT", "CANCELLED")


@dataclass(frozen=True, slots=True)
class Viewers:
    """Tabs that are open.

    Attributes:
        overview: How many show the overview.
        jobs: How many show the list of jobs, without a filter.
    """

    overview: int = 20
    jobs: int = 5

    @property
    def count(self) -> int:
        """All of them."""
        return self.overview + self.jobs


def view(mailbox: Mailbox, target: str, viewers: Viewers, key: str) -> None:
    """All viewers in one process, until it is told to stop; it tells what each of them got."""
    uvloop.run(_view(mailbox, target, viewers, key))


async def _view(mailbox: Mailbox, target: str, viewers: Viewers, key: str) -> None:
    asks = [pages.overview()] * viewers.overview + [pages.jobs()] * viewers.jobs
    tabs = [Tab(mailbox, target, each, key, (number + 0.5) / len(asks)) for number, each in enumerate(asks)]
    await asyncio.to_thread(mailbox.ready)
    running = [asyncio.create_task(tab.run()) for tab in tabs]
    try:
        await asyncio.wait([*running, mailbox.stopped()], return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            if task.done():
                task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    mailbox.report(tabs=[dict(tab.got) for tab in tabs])


class Tab:
    """One viewer.

    Args:
        mailbox: Counts answers, messages and refusals, and the tab once each of its calls was answered.
        target: The server.
        asks: The calls of its page.
        key: What it shows; empty: nothing.
        phase: From 0 to 1: how far it is in the pauses between its calls when it comes. Tabs were opened at different
            times, so they don't all ask at once.

    Attributes:
        got: Answers and messages, by the path of the call.
    """

    def __init__(self, mailbox: Mailbox, target: str, asks: Iterable[Ask], key: str, phase: float) -> None:
        self.got = Counter[str]()
        self._mailbox = mailbox
        self._asks = tuple(asks)
        self._missing = {ask.target for ask in self._asks}
        self._place = target
        self._key = key
        self._phase = phase
        self._calls = Connection(target, key)
        self._followed: tuple[str, ...] = ()
        self._following: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Asks until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for ask in self._asks:
                    group.create_task(self._stream(ask) if ask.stream else self._call(ask))
        finally:
            self._calls.close()
            if self._following is not None:
                self._following.cancel()

    async def _call(self, ask: Ask) -> None:
        first = True
        while True:
            if ask.path == pages.LIST:
                await self._list(ask)
            else:
                await self._answer(ask, ask.target)
            if ask.every is None:
                return
            await asyncio.sleep(ask.every * (self._phase if first else 1))
            first = False

    async def _answer(self, ask: Ask, target: str) -> bytes:
        status, body = await self._calls.get(target)
        if status != 200:
            self._mailbox.counts[REFUSED] += 1
            return b""
        self._got(ask)
        return body

    async def _list(self, ask: Ask) -> None:
        """A page of jobs, which takes several calls where each finds few; then the rows are followed."""
        jobs: list[dict[str, Any]] = []
        token = ""
        for _ in range(pages.MOST_CALLS):
            more = f"&page_token={token}" if token else ""
            found = json.loads(await self._answer(ask, ask.target + more) or b"{}")
            jobs += found.get("jobs", ())
            token = found.get("next_page_token", "")
            if not token or len(jobs) >= pages.ROWS:
                break
        ids = tuple(job["id"] for job in jobs if job["status"] not in _ENDED)
        if ids == self._followed and self._following is not None:
            return
        if self._following is not None:
            self._following.cancel()
        self._followed, self._following = ids, None
        if ids:
            query = "&".join(f"ids={id}" for id in ids)
            self._following = asyncio.create_task(self._follow(Ask(pages.FOLLOWED, query, stream=True)))

    async def _follow(self, ask: Ask) -> None:
        """Ends when all of the rows have ended."""
        with suppress(OSError, EOFError):
            await self._stream(ask)

    async def _stream(self, ask: Ask) -> None:
        connection = Connection(self._place, self._key)
        try:
            async for _ in connection.lines(ask.target):
                self._got(ask)
        finally:
            connection.close()
        if ask.path != pages.FOLLOWED:
            raise BenchError(f"{ask.path} ended")

    def _got(self, ask: Ask) -> None:
        self.got[ask.path] += 1
        self._mailbox.counts[MESSAGES] += 1
        if self._missing:
            self._missing.discard(ask.target)
            self._mailbox.counts[DONE] += not self._missing


class Connection:
    """One connection of HTTP/1.1, with one request under way at a time. It accepts gzip, as browsers do."""

    def __init__(self, place: str, key: str = "") -> None:
        self._place = place
        self._key = key
        self._turn = asyncio.Lock()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, target: str) -> tuple[int, bytes]:
        """Status and body."""
        async with self._turn:
            try:
                return await self._get(target)
            except (OSError, EOFError):
                # The server closes what was quiet for a while; a browser then opens another one.
                self.close()
                return await self._get(target)

    async def post(self, target: str, body: object) -> tuple[int, bytes]:
        """The same, of a call with a body."""
        async with self._turn:
            return await self._get(target, json.dumps(body).encode())

    async def _get(self, target: str, sent: bytes | None = None) -> tuple[int, bytes]:
        status, headers = await self._send(target, "application/json", sent)
        body = b"".join([piece async for piece in self._pieces(headers)])
        return status, zlib.decompress(body, _GZIP) if headers.get("content-encoding") == "gzip" else body

    async def lines(self, target: str) -> AsyncIterator[bytes]:
        """The messages of a stream.

        Raises:
            BenchError: It was refused.
        """
        status, headers = await self._send(target, "application/x-ndjson")
        rest = b""
        async for piece in self._pieces(headers):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
        if status != 200:
            raise BenchError(f"{target} was answered by {status}: {rest[:500].decode(errors='replace')}")

    async def _send(self, target: str, accept: str, body: bytes | None = None) -> tuple[int, dict[str, str]]:
        if self._writer is None:
            host, port = self._place.split(":")
            self._reader, self._writer = await asyncio.open_connection(host, int(port), limit=_MOST_LINE)
        assert self._reader is not None
        fields = {
            "host": self._place,
            "accept": accept,
            "accept-encoding": "gzip, deflate, br",
            "cache-control": "no-cache",
            "user-agent": "bench",
            **dict(bearer(self._key)),
        }
        if body is not None:
            fields |= {"content-type": "application/json", "content-length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        method = "GET" if body is None else "POST"
        self._writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))
        said = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in said[1:] if line)
        return int(said[0][9:12]), {name.lower(): value.strip() for name, _, value in pairs}

    async def _pieces(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        reader = self._reader
        assert reader is not None
        if headers.get("transfer-encoding") != "chunked":
            yield await reader.readexactly(int(headers.get("content-length", "0")))
            return
        while size := int((await reader.readline()).partition(b";")[0] or b"0", 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readline()

    def close(self) -> None:
        """Ends it."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
