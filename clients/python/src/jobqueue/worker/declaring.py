"""Tells a server what a worker's kinds are, before the worker takes jobs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobqueue.backoff import Backoff
from jobqueue.client import Client
from jobqueue.errors import (
    DeadlineExceeded,
    InvalidRequest,
    JobQueueError,
    NotAllowed,
    NotSupported,
    Unavailable,
)

from .logs import log
from .options import WorkerOptions
from .status import StatusBook

if TYPE_CHECKING:
    from jobqueue.encodings import Encodings
    from jobqueue.typed.kind import JobKind

# As long as a session's stream may take to open.
_WITHIN = timedelta(seconds=10)
#: What no other try will mend.
_HOPELESS = (InvalidRequest, NotAllowed, NotSupported)
_UNREACHED = (Unavailable, DeadlineExceeded)


class _Once(Client):
    """Makes each call once: who waits for a server has to say so, and tries again itself."""

    async def _call(self, *args: Any, **more: Any) -> Any:
        return await super()._call(*args, **{**more, "retry": False})


class Declaring:
    """Syncs kinds with the first server that answers, and waits for one as long as it takes.

    Args:
        options: The worker's settings.
        kinds: The kinds.
        book: Where the worker's status is written.
        encodings: The worker's: payloads may then be encoded.
    """

    def __init__(
        self,
        options: WorkerOptions,
        kinds: Sequence[JobKind[Any, Any]],
        book: StatusBook,
        encodings: Encodings | None = None,
    ) -> None:
        self._encodings = encodings
        self._options = options
        self._kinds = kinds
        self._book = book
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Lets `run` return, from any thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def run(self) -> bool:
        """Whether the kinds are synced; False: it was stopped before.

        Raises:
            JobQueueError: A server refused it for what no other try will mend.
        """
        trying = asyncio.create_task(self._try())
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({trying, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if trying.done():
                trying.result()
            return trying.done()
        finally:
            for task in (trying, stopped):
                task.cancel()
            await asyncio.gather(trying, stopped, return_exceptions=True)

    async def _try(self) -> None:
        backoff, said = Backoff(base=0.1, cap=5.0), False
        access = self._options.access
        for target in itertools.cycle(self._options.targets):
            try:
                async with _Once(
                    target,
                    deadline=_WITHIN,
                    credentials=access.credentials,
                    token=access.token,
                    encodings=self._encodings,
                ) as client:
                    synced = await client.sync_kinds(self._kinds)
            except JobQueueError as error:
                hopeless = isinstance(error, _HOPELESS)
                self._book.failing(error, refused=hopeless)
                if hopeless:
                    raise
                if not said:
                    if isinstance(error, _UNREACHED):
                        log.warning("can't reach %s: %s; trying again until a server answers", target, error)
                    else:
                        log.warning("the kinds are not synced with %s yet: %s", target, error)
                    said = True
                asked = error.retry_after.total_seconds() if error.retry_after is not None else 0.0
                await asyncio.sleep(asked + backoff.next())
                continue
            for each in synced:
                if each.newer:
                    log.info(
                        "the kind %s is left as it is: the server has version %d of it",
                        each.kind.name,
                        each.kind.version,
                    )
                elif each.changed:
                    log.info("the kind %s is synced", each.kind.name)
            return
