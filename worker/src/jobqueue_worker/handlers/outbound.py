"""The HTTP client for urls that come from payloads: it connects to nothing that the policy refuses."""

from __future__ import annotations

import functools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from jobqueue import Discard, Retry

from .address_policy import AddressPolicy, AddressRefused

_MAX_GRANTED = 1024


def _user_agent() -> str:
    try:
        return f"jobqueue-worker/{version('jobqueue-worker')}"
    except PackageNotFoundError:
        return "jobqueue-worker"


class _Guard(AbstractResolver):
    """Checks addresses twice: as a name is resolved, and as a socket is made for the very address.

    The second check decides. It sees the address that is connected to, whether it came from a name or from the url. The
    name is not looked up again in between, so a second DNS answer can't differ. The first check knows the name, for
    rules with names and for messages.
    """

    def __init__(self, policy: AddressPolicy, resolver: AbstractResolver) -> None:
        self._policy = policy
        self._resolver = resolver
        # (address, port) pairs that were allowed by a rule on their name.
        self._granted: dict[tuple[str, int], None] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            # One bad address refuses the name: a server that is public has no private address beside.
            self._policy.check(result["host"], port, name=host)
            self._grant(result["host"], port)
        return results

    def _grant(self, host: str, port: int) -> None:
        self._granted.pop((host, port), None)
        self._granted[host, port] = None
        if len(self._granted) > _MAX_GRANTED:
            del self._granted[next(iter(self._granted))]

    def make_socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = info
        if (host, port) not in self._granted:
            self._policy.check(host, port)
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        await self._resolver.close()


class _Answers(ResponseHandler):
    """Reads an answer to its end, whatever comes after that.

    aiohttp parses all that has come at once. If an answer and bytes beyond it come together, it fails on the bytes and
    forgets the answer. So it is given line by line until a body begins: an answer's head is read by then. And it tells
    no reader of a body that the rest can't be read: that one would wait until its time is up.
    """

    def data_received(self, data: bytes) -> None:
        start = 0
        while start < len(data) and self.exception() is None:
            end = len(data) if self._body() is not None else data.find(b"\n", start) + 1 or len(data)
            super().data_received(data[start:end])
            start = end
        body = self._body()
        if body is not None and self.exception() is not None:
            body.set_exception(aiohttp.ClientPayloadError("the body is malformed"))

    def _body(self) -> aiohttp.StreamReader | None:
        """The one that is under way."""
        return None if self._payload is None or self._payload.is_eof() else self._payload


class _Connector(aiohttp.TCPConnector):
    """Connections whose answers are read by `_Answers`."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        # There is no public way to say it.
        self._factory = functools.partial(_Answers, loop=self._loop)  # type: ignore[assignment]


class Outbound:
    """Requests to urls from payloads, without redirects, cookies, proxies or decompression.

    Args:
        policy: Says which addresses may be connected to.
        resolver: Looks host names up; the system's resolver by default.
    """

    def __init__(self, policy: AddressPolicy, *, resolver: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        timeout: timedelta,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends a request and gives its response, whatever its status.

        Args:
            method: The HTTP method.
            url: Where to; taken from a payload.
            headers: Headers to send.
            data: The body to send.
            timeout: Bounds the whole exchange: lookup, connect, request, and the body read inside the `async with`.

        Raises:
            Discard: The url or its address is one that no retry makes right.
            Retry: The other side could not be reached or did not answer in time.
        """
        try:
            async with self._open().request(
                method,
                url,
                headers=headers,
                data=data,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout.total_seconds()),
            ) as response:
                yield response
        except aiohttp.InvalidURL as error:
            raise Discard(f"{url!r} is not a url that can be requested: {error}") from None
        except aiohttp.ClientConnectorError as error:
            # A bad certificate has no os_error.
            cause = getattr(error, "os_error", error)
            if isinstance(cause, AddressRefused):
                raise Discard(f"refused to connect: {cause}") from None
            raise Retry(f"{_place(url)} cannot be reached: {cause}") from error
        except TimeoutError as error:
            raise Retry(f"{_place(url)} did not finish within {timeout.total_seconds():g} s") from error
        except aiohttp.ClientResponseError as error:
            # The parser's words quote what came, which may be a secret.
            raise Retry(f"the exchange with {_place(url)} broke off: the answer is not HTTP") from error
        except aiohttp.ClientPayloadError as error:
            raise Retry(
                f"the exchange with {_place(url)} broke off: the answer's body is cut off or malformed"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Retry(
                f"the exchange with {_place(url)} broke off: {str(error) or type(error).__name__}"
            ) from error

    def _open(self) -> aiohttp.ClientSession:
        # Made at the first use: a session belongs to the event loop that it was made in.
        if self._session is None:
            guard = _Guard(self._policy, self._resolver or aiohttp.ThreadedResolver())
            self._session = aiohttp.ClientSession(
                connector=_Connector(resolver=guard, socket_factory=guard.make_socket, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": _user_agent()},
                # A few compressed bytes may unfold into gigabytes.
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding",),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Closes the connections. The object may be used again afterwards."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def read_at_most(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Up to `limit` bytes of the body, and whether there was more."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 << 10):
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), True
    return bytes(body), False


def _place(url: str) -> str:
    """The url without its query and credentials, which may be secrets, for messages."""
    return (
        url.split("?", 1)[0]
        .split("#", 1)[0]
        .rpartition("@")[2]
        .removeprefix("https://")
        .removeprefix("http://")
    )
