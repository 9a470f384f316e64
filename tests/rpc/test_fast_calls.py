"""Calls on the fast path end when their time is up, no earlier and not much later."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop

from jobqueue_server.chain import Begun, Call, Chain
from jobqueue_server.errors import JobQueueError
from jobqueue_server.fast_path import Deadlines, FastCall
from jobqueue_server.metrics import Metrics

pytestmark = pytest.mark.unit

PATIENCE = 10.0


class Job:
    """What an insert is to answer."""

    pressure = 0.0

    def __init__(self) -> None:
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def give_up(self) -> None:
        self.done.cancel()


class Told(FastCall[datetime]):
    """What its caller is told, as the result of `told`."""

    def __init__(self, chain: Chain, deadlines: Deadlines, *, seconds: float) -> None:
        self.told: asyncio.Future[tuple[Any, float]] = asyncio.get_running_loop().create_future()
        self.deadline = time.monotonic() + seconds
        self.job = Job()
        call = Call("/jobqueue.v1.JobQueue/EnqueueJob", "grpc", {}, deadline=self.deadline)
        begun = chain.begin(call)
        assert isinstance(begun, Begun)
        ticket: Any = self.job
        super().__init__(begun, ticket, deadlines)

    def _answer(self, at: datetime) -> datetime:
        return at

    def _send(self, answer: datetime) -> None:
        self.told.set_result((answer, time.monotonic()))

    def _tell(self, error: JobQueueError | None) -> None:
        self.told.set_result((error and error.code, time.monotonic()))


def run(work: Coroutine[Any, Any, None]) -> None:
    """On the loop of the server, whose clock stands within a turn."""
    uvloop.run(asyncio.wait_for(work, PATIENCE))


def test_a_turn_of_the_loop_that_takes_long_ends_no_call_early() -> None:
    """A timer of the server's loop counts from the beginning of its turn, which on a busy server is long ago."""

    async def main() -> None:
        chain, deadlines = Chain(Metrics()), Deadlines()
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251
        call = Told(chain, deadlines, seconds=0.2)
        code, at = await call.told
        assert code == "DEADLINE_EXCEEDED"
        assert at >= call.deadline
        assert call.job.done.cancelled(), "nobody waits for it any more"
        assert chain.in_flight == 0

    run(main())


def test_each_call_ends_by_its_own_deadline() -> None:
    async def main() -> None:
        chain, deadlines = Chain(Metrics()), Deadlines()
        calls = [Told(chain, deadlines, seconds=seconds) for seconds in (0.3, 0.1, 0.2, 0.0, -1.0)]
        ends = [(await call.told)[1] for call in calls]
        assert all(end >= call.deadline for call, end in zip(calls, ends, strict=True))
        in_order = sorted(zip([call.deadline for call in calls], ends, strict=True))
        assert [end for _, end in in_order] == sorted(ends), "none waits for one that has longer"

    run(main())


def test_what_is_answered_is_told_once_and_not_kept_until_its_deadline() -> None:
    async def main() -> None:
        chain, deadlines = Chain(Metrics()), Deadlines()
        call = Told(chain, deadlines, seconds=0.1)
        last = Told(chain, deadlines, seconds=0.1)
        now = datetime.now(UTC)
        call.job.done.set_result(now)
        assert (await call.told)[0] == now
        call.cancel()
        assert (await last.told)[0] == "DEADLINE_EXCEEDED"

        kept = Told(chain, deadlines, seconds=30)
        kept.job.done.set_result(now)
        await kept.told
        gone = weakref.ref(kept)
        del kept
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None
        assert chain.in_flight == 0

    run(main())
