"""Processes for work that would hold up the event loop, and with it the worker's heartbeats."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar, TypeVarTuple

from jobqueue import Retry

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")


def _prepare() -> None:
    # A terminal sends Ctrl-C to all of its processes; the worker drains then and still needs these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_worker, daemon=True).start()


def _end_with_the_worker() -> None:
    # Each process holds both ends of the pipe that calls come over, so that none would notice a kill -9 of the worker.
    worker = multiprocessing.parent_process()
    if worker is not None:
        worker.join()
        os._exit(1)


class CpuPool:
    """A few processes, started at the first use.

    They are spawned: a fork would copy the locks and sockets of gRPC's threads.

    Args:
        processes: How many at most; 0 means one for each processor core.
    """

    def __init__(self, processes: int = 0) -> None:
        self._processes = processes or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, function: Callable[[*Arguments], T], *args: *Arguments) -> T:
        """Calls `function`, which stands at the top level of a module, in one of the processes.

        A caller that is cancelled leaves at once; the process finishes the call and is free again.

        Raises:
            Retry: The process died in the middle, as when the system ran out of memory.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes, multiprocessing.get_context("spawn"), initializer=_prepare
            )
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, function, *args)
        except BrokenProcessPool as error:
            # One death breaks the whole pool; the next call makes a new one.
            if self._pool is pool:
                self._pool = None
            pool.shutdown(wait=False)
            raise Retry(f"the process that ran {function.__name__} died") from error

    async def close(self) -> None:
        """Ends the processes once their current calls are done."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
