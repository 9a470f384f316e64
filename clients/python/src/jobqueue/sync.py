"""The SyncClient: the Client for programs without asyncio."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, Unpack

import grpc

from .channel import Token
from .client import Client, ClientKeywords
from .environment import from_environment
from .jobs import Job
from .observer import Observer
from .traces import Traces
from .watch import Watch

if TYPE_CHECKING:
    from .encodings import Encodings
    from .middleware import Middleware
    from .sync_schedules import SyncSchedules

P = ParamSpec("P")
T = TypeVar("T")
Of = TypeVar("Of")

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


def run_waiting(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the background loop and waits for it; an interrupt (Ctrl-C) cancels it."""
    future: Future[T] = asyncio.run_coroutine_threadsafe(work, _background_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class _Waiting(Protocol[Of]):
    """What has the methods of another one, waiting."""

    _client: Of


def blocking(
    method: Callable[Concatenate[Of, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[_Waiting[Of], P], T]:
    """The same method, waiting: with the signature and the docstring of the other."""

    @wraps(method)
    def waiting(self: _Waiting[Of], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_waiting(method(self._client, *args, **kwargs))

    return waiting


def iterating(
    method: Callable[Concatenate[Of, P], AsyncIterator[T]],
) -> Callable[Concatenate[_Waiting[Of], P], Iterator[T]]:
    """The same iterator, waiting."""

    @wraps(method)
    def waiting(self: _Waiting[Of], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        found = method(self._client, *args, **kwargs)
        while True:
            try:
                yield run_waiting(_next(found))
            except StopAsyncIteration:
                return

    return waiting


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
        run_waiting(self._watch.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the stream. A later `for` goes on where it was."""
        run_waiting(self._watch.aclose())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Job:
        """The next change. As `Watch.__anext__`, with StopIteration at the end."""
        try:
            return run_waiting(self._watch.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class SyncClient:
    """A connection to a JobQueue server, for threads. Make one and keep it; it may be used by many threads at once.

    Every method is that of `Client`, run on a loop in a background thread. The calls about schedules are those of
    `schedules`.

    Args:
        target: The server's address.
        credentials: TLS, as of `tls_credentials` or `grpc.ssl_channel_credentials`. None: plain text.
        token: Sent as `authorization: Bearer <token>`; a function is asked anew at each call.
        deadline: For calls without their own.
        adaptive: As of `Client`, for all threads together.
        traces: As of `Client`.
        observer: As of `Client`.
        encodings: As of `Client`.
        middleware: As of `Client`. Its `enqueue` runs on the client's loop, with the caller's context variables.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: Token | None = None,
        deadline: timedelta = timedelta(seconds=30),
        adaptive: bool = False,
        traces: Traces | None = None,
        observer: Observer | None = None,
        middleware: Sequence[Middleware] = (),
        encodings: Encodings | None = None,
    ) -> None:
        self._client = Client(
            target,
            credentials=credentials,
            token=token,
            deadline=deadline,
            adaptive=adaptive,
            traces=traces,
            observer=observer,
            middleware=middleware,
            encodings=encodings,
        )

    @classmethod
    def from_env(cls, **settings: Unpack[ClientKeywords]) -> Self:
        """A client of the server that the environment names. As `Client.from_env`."""
        found = from_environment()
        made = cls(found.server, credentials=found.credentials, token=found.token, **settings)
        made._client._first_use.of_environment = True
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def schedules(self) -> SyncSchedules:
        """The calls about schedules: jobs, and the times at which they are enqueued."""
        # Loaded here: a program without schedules does not wait for their messages.
        from .sync_schedules import SyncSchedules

        return SyncSchedules(self._client.schedules)

    # One line a method; a test holds that none is missing.
    close = blocking(Client.close)
    enqueue = blocking(Client.enqueue)
    enqueue_many = blocking(Client.enqueue_many)
    get = blocking(Client.get)
    list_page = blocking(Client.list_page)
    list = iterating(Client.list)
    cancel = blocking(Client.cancel)
    retry = blocking(Client.retry)
    release = blocking(Client.release)
    delete = blocking(Client.delete)
    retry_jobs = blocking(Client.retry_jobs)
    cancel_jobs = blocking(Client.cancel_jobs)
    delete_jobs = blocking(Client.delete_jobs)
    update_jobs = blocking(Client.update_jobs)
    get_operation = blocking(Client.get_operation)
    list_operations = blocking(Client.list_operations)
    wait_operation = blocking(Client.wait_operation)
    cancel_operation = blocking(Client.cancel_operation)
    resume_operation = blocking(Client.resume_operation)
    delete_operation = blocking(Client.delete_operation)
    wait = blocking(Client.wait)
    explain = blocking(Client.explain)
    watch = _watching(Client.watch)
    overview = blocking(Client.overview)
    watch_overview = iterating(Client.watch_overview)
    stats = blocking(Client.stats)
    count_jobs = blocking(Client.count_jobs)
    list_servers = blocking(Client.list_servers)
    put_kind = blocking(Client.put_kind)
    sync_kinds = blocking(Client.sync_kinds)
    list_kinds = blocking(Client.list_kinds)
    list_queues = blocking(Client.list_queues)
    get_queue = blocking(Client.get_queue)
    get_queue_demand = blocking(Client.get_queue_demand)
    list_workers = blocking(Client.list_workers)
    get_worker = blocking(Client.get_worker)
    drain_worker = blocking(Client.drain_worker)
    pause_queue = blocking(Client.pause_queue)
    update_queue = blocking(Client.update_queue)
    list_queue_keys = blocking(Client.list_queue_keys)
    get_queue_key = blocking(Client.get_queue_key)
    update_queue_key = blocking(Client.update_queue_key)
    unblock_queue_key = blocking(Client.unblock_queue_key)
    resume_queue = blocking(Client.resume_queue)
