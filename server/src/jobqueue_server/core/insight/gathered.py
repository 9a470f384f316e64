"""One read for all that is asked for while the read before goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Batch(Generic[Key, Value]):
    """What the next read is for, and its answer."""

    __slots__ = ("answer", "keys")

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.answer: asyncio.Future[Mapping[Key, Value]] = asyncio.get_running_loop().create_future()
        # An error is looked at also where all callers have hung up.
        self.answer.add_done_callback(_looked_at)


class Gathered(Generic[Key, Value]):
    """Reads for many callers at once: one read goes on at a time, and those who ask meanwhile share the next.

    A caller who is alone waits for no other. An answer is never older than the question. An error is that of all who
    share the read.

    Args:
        read: What it answers for some keys; it may leave some out.
        most: How many keys one read is for. Only a caller who asks for more by itself gets a larger one.
    """

    def __init__(self, read: Callable[[list[Key]], Awaitable[Mapping[Key, Value]]], *, most: int) -> None:
        self._read = read
        self._most = most
        self._waiting: list[_Batch[Key, Value]] = []
        self._reading: asyncio.Task[None] | None = None

    async def get(self, keys: Collection[Key]) -> list[Value]:
        """The values of these keys, in their order, without those that there are none of."""
        if not self._waiting or len(self._waiting[-1].keys | set(keys)) > self._most:
            self._waiting.append(_Batch())
        batch = self._waiting[-1]
        batch.keys.update(keys)
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._run())
        try:
            # A caller that hangs up does not end it for the others.
            found = await asyncio.shield(batch.answer)
        finally:
            # An error has this frame in its traceback, and would hold itself by the batch.
            del batch
        return [found[key] for key in keys if key in found]

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting.pop(0)
                try:
                    batch.answer.set_result(await self._read(list(batch.keys)))
                except Exception as error:
                    batch.answer.set_exception(error)
                # As in `get`.
                del batch
        finally:
            self._reading = None


def _looked_at(answer: asyncio.Future[Value]) -> None:
    if not answer.cancelled():
        answer.exception()
