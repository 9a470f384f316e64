"""What is marked `unit` is pure: it opens no socket and no database, and starts no process."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

_UNIT = "unit"
_REFUSED = frozenset(
    {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "socket.bind", "socket.connect", "socket.sendto"}
    | {"socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"}
)


class NotPure(Exception):
    """A test that is marked `unit` did what only others may."""


class Pure:
    """The hooks of it: Python tells an audit hook of each socket and process, whichever library asks for it."""

    def __init__(self) -> None:
        self._guarded: str | None = None
        self._hooked = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        """Its fixtures are a part of a test."""
        yield from self._guard(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Its body."""
        yield from self._guard(item)

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """With `-m unit` only files that name the marker are imported: all of them take longer than the tests."""
        if config.option.markexpr != _UNIT or not collection_path.name.startswith("test_"):
            return None
        return (
            True if collection_path.is_file() and f"mark.{_UNIT}" not in collection_path.read_text() else None
        )

    def _guard(self, item: pytest.Item) -> Generator[None]:
        if item.get_closest_marker(_UNIT) is None:
            yield
            return
        if not self._hooked:
            # There is no way to take it away again.
            sys.addaudithook(self._audit)
            self._hooked = True
        self._guarded = item.nodeid
        try:
            yield
        finally:
            self._guarded = None

    def _audit(self, event: str, _: tuple[object, ...]) -> None:
        if self._guarded is not None and event in _REFUSED:
            raise NotPure(
                f"{self._guarded} is marked `unit`, and those do no {event}: mark it otherwise, or not at all"
            )
