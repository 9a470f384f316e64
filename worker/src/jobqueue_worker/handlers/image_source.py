"""Fetches the bytes of a source image, from the web or from the operator's folder."""

from __future__ import annotations

import asyncio
import os
import stat
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from jobqueue import Discard, Retry

from .outbound import Outbound, read_at_most

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class WebSource:
    """Images from https urls, and from http ones where the operator allows them.

    Args:
        outbound: The client to fetch with; its policy says which addresses may be reached.
        timeout: Longest time a download may take, redirects included.
        max_bytes: Largest image.
        allow_http: Whether plain http will do.
    """

    def __init__(self, outbound: Outbound, *, timeout: timedelta, max_bytes: int, allow_http: bool) -> None:
        self._outbound = outbound
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._schemes = ("https", "http") if allow_http else ("https",)

    async def fetch(self, url: str) -> bytes:
        """The image's bytes.

        Follows up to five redirects. Each hop is checked as the first was, address and scheme.

        Raises:
            Discard: Not to be had, now or later.
            Retry: Not to be had at the moment.
        """
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                for _ in range(_MAX_REDIRECTS + 1):
                    body, url = await self._get(url)
                    if body is not None:
                        return body
        except TimeoutError:
            raise Retry(f"the image did not arrive within {self._timeout.total_seconds():g} s") from None
        raise Discard(f"payload.source_url leads through more than {_MAX_REDIRECTS} redirects")

    async def _get(self, url: str) -> tuple[bytes | None, str]:
        """The body; or None and where to look instead."""
        scheme = urlsplit(url).scheme
        if scheme not in self._schemes:
            raise Discard(f"images are taken from {' and '.join(self._schemes)} urls, not from {scheme}")
        async with self._outbound.request("GET", url, timeout=self._timeout) as response:
            status = response.status
            if status in _REDIRECTS and "Location" in response.headers:
                return None, urljoin(url, response.headers["Location"])
            if status == 200:
                if (response.content_length or 0) > self._max_bytes:
                    raise self._too_large()
                body, more = await read_at_most(response, self._max_bytes)
                if more:
                    raise self._too_large()
                return body, url
        message = f"the source answered {status} {response.reason or ''}".rstrip()
        raise Retry(message) if status >= 500 or status in (408, 425, 429) else Discard(message)

    def _too_large(self) -> Discard:
        return Discard(f"the source is larger than the {self._max_bytes:,} bytes that this worker takes")


class FolderSource:
    """Images from `file:` urls inside one folder.

    Args:
        folder: The folder. `file:name.png` is relative to it, `file:///path` must be inside.
        max_bytes: Largest image.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    async def fetch(self, url: str) -> bytes:
        """The file's bytes.

        Raises:
            Discard: No such file inside the folder, or too large.
        """
        return await asyncio.to_thread(self._read, url)

    def _read(self, url: str) -> bytes:
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise Discard(
                f"{url!r} is not the url of a local file: write file:name.png or file:///folder/name.png"
            )
        # One message for all, so that a payload cannot ask which files exist elsewhere.
        refused = Discard(
            f"{url!r} is not a readable file inside the folder that this worker takes images from"
        )
        try:
            folder = self._folder.resolve(strict=True)
            path = (folder / unquote(parts.path, errors="strict")).resolve(strict=True)
            if not path.is_relative_to(folder) or path == folder:
                raise refused
            with open(_open_below(folder, path.relative_to(folder)), "rb") as file:
                data = file.read(self._max_bytes + 1)
        except (OSError, ValueError, RuntimeError):
            raise refused from None
        if len(data) > self._max_bytes:
            raise Discard(f"{url!r} is larger than the {self._max_bytes:,} bytes that this worker takes")
        return data


def _open_below(folder: Path, relative: Path) -> int:
    """A descriptor of the regular file `relative` below `folder`, both without links.

    Goes down step by step and refuses links on the way: a path that was checked may have become another since.

    Raises:
        OSError: There is no such regular file.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for number, name in enumerate(relative.parts, start=1):
        last = number == len(relative.parts)
        # Without O_NONBLOCK a named pipe would block the thread until a process writes to it.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_NONBLOCK if last else os.O_DIRECTORY)
        try:
            below = os.open(name, flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor
