"""The SyncClient: the Client for programs without asyncio."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

from .channel import Token
from .client import Client
from .jobs import Job
from .watch import Watch

P = ParamSpec("P")
T = TypeVar("T")

# One loop for all clients of the process: gRPC's loops share one poller, and a second one costs both.
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_loop_process = 0


def _background_loop() -> asyncio.AbstractEventLoop:
    global _loop, _loop_process
    with _lock:
        # A forked process has the variable, and not the thread.
        if _loop is None or _loop_process != os.getpid():
            _loop, _loop_process = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="jobqueue-client", daemon=True).start()
        return _loop


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the background loop and waits for it; an interrupt (Ctrl-C) cancels it."""
    future: Future[T] = asyncio.run_coroutine_threadsafe(work, _background_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _blocking(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncClient, P], T]:
    """The same method, waiting: with the signature and the docstring of the other."""

    @wraps(method)
    def blocking(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _run(method(self._client, *args, **kwargs))

    return blocking


def _iterating(
    method: Callable[Concatenate[Client, P], AsyncIterator[T]],
) -> Callable[Concatenate[SyncClient, P], Iterator[T]]:
    """The same iterator, waiting."""

    @wraps(method)
    def iterating(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        found = method(self._client, *args, **kwargs)
        while True:
            try:
                yield _run(_next(found))
            except StopAsyncIteration:
                return

    return iterating


async def _next(found: AsyncIterator[T]) -> T:
    return await anext(found)


def _watching(
    method: Callable[Concatenate[Client, P], Watch],
) -> Callable[Concatenate[SyncClient, P], SyncWatch]:
    """The same watch, waiting."""

    @wraps(method)
    def watching(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> SyncWatch:
        return SyncWatch(method(self._client, *args, **kwargs))

    return watching


class SyncWatch:
    """Jobs as they change, for `for`. Made by `SyncClient.watch`; otherwise as `Watch`. It is for one thread."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def resume_token(self) -> str:
        """Continues after the last answer."""
        return self._watch.resume_token

    @property
    def deleted(self) -> frozenset[str]:
        """Of the ids that were asked for, those of jobs that were deleted meanwhile."""
        return self._watch.deleted

    def __enter__(self) -> Self:
        _run(self._watch.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the stream. A later `for` goes on where it was."""
        _run(self._watch.aclose())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job:
        """The next change. As `Watch.__anext__`, with StopIteration at the end."""
        try:
            return _run(self._watch.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class SyncClient:
    """A connection to a JobQueue server, for threads. Make one and keep it; it may be used by many threads at once.

    Every method is that of `Client`, run on a loop in a background thread.

    Args:
        target: The server's address.
        credentials: TLS, as of `tls_credentials` or `grpc.ssl_channel_credentials`. None: plain text.
        token: Sent as `authorization: Bearer <token>`; a function is asked anew at each call.
        deadline: For calls without their own.
        adaptive: As of `Client`, for all threads together.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: Token | None = None,
        deadline: timedelta = timedelta(seconds=30),
        adaptive: bool = False,
    ) -> None:
        self._client = Client(
            target, credentials=credentials, token=token, deadline=deadline, adaptive=adaptive
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # One line a method; a test holds that none is missing.
    close = _blocking(Client.close)
    enqueue = _blocking(Client.enqueue)
    enqueue_many = _blocking(Client.enqueue_many)
    get = _blocking(Client.get)
    list_page = _blocking(Client.list_page)
    list = _iterating(Client.list)
    cancel = _blocking(Client.cancel)
    retry = _blocking(Client.retry)
    release = _blocking(Client.release)
    delete = _blocking(Client.delete)
    retry_jobs = _blocking(Client.retry_jobs)
    cancel_jobs = _blocking(Client.cancel_jobs)
    delete_jobs = _blocking(Client.delete_jobs)
    get_operation = _blocking(Client.get_operation)
    list_operations = _blocking(Client.list_operations)
    wait_operation = _blocking(Client.wait_operation)
    cancel_operation = _blocking(Client.cancel_operation)
    delete_operation = _blocking(Client.delete_operation)
    wait = _blocking(Client.wait)
    explain = _blocking(Client.explain)
    watch = _watching(Client.watch)
    put_kind = _blocking(Client.put_kind)
    list_kinds = _blocking(Client.list_kinds)
    list_queues = _blocking(Client.list_queues)
    get_queue = _blocking(Client.get_queue)
    get_queue_demand = _blocking(Client.get_queue_demand)
    pause_queue = _blocking(Client.pause_queue)
    update_queue = _blocking(Client.update_queue)
    list_queue_keys = _blocking(Client.list_queue_keys)
    get_queue_key = _blocking(Client.get_queue_key)
    update_queue_key = _blocking(Client.update_queue_key)
    unblock_queue_key = _blocking(Client.unblock_queue_key)
    resume_queue = _blocking(Client.resume_queue)
