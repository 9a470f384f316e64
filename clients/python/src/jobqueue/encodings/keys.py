"""Keys by their names: of a mapping, or of a function that may be slow."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from ..encoded import KeyUnknown

#: Answers the key of a name, None if there is none; or an awaitable of it. A plain function is called in a thread.
AskForKey: TypeAlias = Callable[[str], "bytes | Awaitable[bytes | None] | None"]
_BYTES = 32
# So long a key of a function is kept, and so long that it has none.
_KEPT_SECONDS, _MISSING_SECONDS = 300.0, 15.0
# So many of them are kept: names come from who enqueues.
_MOST_KEPT = 256
#: What a function is asked for.
NAME = re.compile(r"[\w.:/-]{1,255}")


class Keys:
    """Keys by their names.

    Args:
        given: A mapping, which may change meanwhile, or a function.

    Raises:
        TypeError: It is neither, or a name is no text.
        ValueError: A key does not have 32 bytes.
    """

    def __init__(self, given: Mapping[str, bytes] | AskForKey) -> None:
        self._mapping = given if isinstance(given, Mapping) else None
        self._ask = None if isinstance(given, Mapping) else given
        if self._ask is not None and not callable(self._ask):
            raise TypeError(f"keys is of type {type(given).__name__}; it must be a mapping or a function")
        for name, key in (self._mapping or {}).items():
            check_name(name)
            _checked(name, key)
        call = getattr(self._ask, "__call__", None)  # noqa: B004
        self._is_async = inspect.iscoroutinefunction(self._ask) or inspect.iscoroutinefunction(call)
        self._keeping = threading.Lock()
        self._kept: dict[str, tuple[float, bytes | None]] = {}
        self._asking: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[bytes]] = {}

    @property
    def asks(self) -> bool:
        """Whether they come from a function."""
        return self._ask is not None

    async def get(self, name: str) -> bytes:
        """A key. A function is asked once for all that wait for the same.

        It is asked again after five minutes; where it had no key, after 15 seconds.

        Raises:
            KeyUnknown: There is none, or it is no name for which a function is asked.
            ValueError: It does not have 32 bytes.
        """
        if self._mapping is not None:
            return _checked(name, self._mapping.get(name))
        if not NAME.fullmatch(name):
            raise KeyUnknown(name)
        until, kept = self._kept.get(name, (0.0, None))
        if time.monotonic() < until:
            return _checked(name, kept)
        loop = asyncio.get_running_loop()
        task = self._asking.get((loop, name))
        if task is None:
            task = self._asking[loop, name] = loop.create_task(self._asked(name))
            task.add_done_callback(lambda done: self._answered(loop, name, done))
        # One that waits no longer must not end it for the others.
        return await asyncio.shield(task)

    async def _asked(self, name: str) -> bytes:
        assert self._ask is not None
        # One that blocks must not stop the loop, and with it all jobs of a worker.
        answer = self._ask(name) if self._is_async else await asyncio.to_thread(self._ask, name)
        found = await answer if inspect.isawaitable(answer) else answer
        if found is not None:
            found = _checked(name, found)
        self._keep(name, found)
        return _checked(name, found)

    def _keep(self, name: str, key: bytes | None) -> None:
        until = time.monotonic() + (_MISSING_SECONDS if key is None else _KEPT_SECONDS)
        with self._keeping:
            self._kept[name] = (until, key)
            if len(self._kept) > _MOST_KEPT:
                # Those that are missing go first.
                del self._kept[min(self._kept, key=lambda each: self._kept[each][0])]

    def _answered(self, loop: asyncio.AbstractEventLoop, name: str, task: asyncio.Task[bytes]) -> None:
        del self._asking[loop, name]
        if not task.cancelled():
            task.exception()  # is then not told of as one that nothing has looked at


def check_name(name: object) -> None:
    """Returns if a key's name is a text.

    Raises:
        TypeError: It is not. The error has its type alone, since it may be the key.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a key is of type {type(name).__name__}; it must be a text")


def _checked(name: str, key: object) -> bytes:
    if key is None:
        raise KeyUnknown(name)
    if not isinstance(key, bytes) or len(key) != _BYTES:
        # Its type and length alone: a key must not get into a log.
        what = f"{len(key)} bytes" if isinstance(key, bytes) else f"of type {type(key).__name__}"
        raise ValueError(f"the key {name!r} is {what}; it must be {_BYTES} bytes")
    return key
