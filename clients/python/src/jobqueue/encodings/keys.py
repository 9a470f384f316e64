"""Keys by their names: of a mapping, or of a function that may be slow."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from ..encoded import KeyUnknown

#: Answers the key of a name, None if there is none; or an awaitable of it.
AskForKey: TypeAlias = Callable[[str], "bytes | Awaitable[bytes | None] | None"]
_BYTES = 32
# So long a key of a function is kept.
_KEPT_SECONDS = 300.0


class Keys:
    """Keys by their names.

    Args:
        given: A mapping, which may change meanwhile, or a function.

    Raises:
        TypeError: It is neither.
        ValueError: A key does not have 32 bytes.
    """

    def __init__(self, given: Mapping[str, bytes] | AskForKey) -> None:
        self._mapping = given if isinstance(given, Mapping) else None
        self._ask = None if isinstance(given, Mapping) else given
        if self._ask is not None and not callable(self._ask):
            raise TypeError(f"keys is of type {type(given).__name__}; it must be a mapping or a function")
        for name, key in (self._mapping or {}).items():
            _checked(name, key)
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._asking: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[bytes]] = {}

    @property
    def asks(self) -> bool:
        """Whether they come from a function."""
        return self._ask is not None

    async def get(self, name: str) -> bytes:
        """A key. A function is asked once for all that wait for the same, and again after five minutes.

        Raises:
            KeyUnknown: There is none.
            ValueError: It does not have 32 bytes.
        """
        if self._mapping is not None:
            return _checked(name, self._mapping.get(name))
        until, key = self._kept.get(name, (0.0, b""))
        if time.monotonic() < until:
            return key
        loop = asyncio.get_running_loop()
        task = self._asking.get((loop, name))
        if task is None:
            task = self._asking[loop, name] = loop.create_task(self._asked(name))
            task.add_done_callback(lambda done: self._answered(loop, name, done))
        # One that waits no longer must not end it for the others.
        return await asyncio.shield(task)

    async def _asked(self, name: str) -> bytes:
        assert self._ask is not None
        answer = self._ask(name)
        key = _checked(name, await answer if inspect.isawaitable(answer) else answer)
        self._kept[name] = (time.monotonic() + _KEPT_SECONDS, key)
        return key

    def _answered(self, loop: asyncio.AbstractEventLoop, name: str, task: asyncio.Task[bytes]) -> None:
        del self._asking[loop, name]
        if not task.cancelled():
            task.exception()  # is then not told of as one that nothing has looked at


def _checked(name: str, key: object) -> bytes:
    if key is None:
        raise KeyUnknown(name)
    if not isinstance(key, bytes) or len(key) != _BYTES:
        # Its type and length alone: a key must not get into a log.
        what = f"{len(key)} bytes" if isinstance(key, bytes) else f"of type {type(key).__name__}"
        raise ValueError(f"the key {name!r} is {what}; it must be {_BYTES} bytes")
    return key
