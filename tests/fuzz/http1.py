"""Cases for HTTP/1.1: the bytes of a conversation, changed, get the same answers in whatever pieces they come."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.http.conftest import Served, serving
from tests.http.pipe import Pipe, cut
from tests.http.test_fast_path import alike

from .case import Failures
from .corpus import conversations
from .lines import Changer

# So many turns of the loop without anything new, and nothing comes any more; the most that there are.
_STILL, _TURNS = 30, 20_000
_GOOD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
_answers = re.compile(rb"(?=HTTP/1\.1 [0-9]{3} )")


@dataclass
class Heard:
    """The answers, whether the server closed, and what is wrong."""

    answers: list[bytes]
    closed: bool
    wrong: list[str] = field(default_factory=list)


class Fuzzed:
    """A server over a core that stores nothing."""

    def __init__(self, served: Served, failures: Failures) -> None:
        self._served = served
        self._failures = failures
        self._corpus = conversations("http1")

    async def case(self, chance: random.Random) -> list[str]:
        """One case; what is wrong."""
        sent = Changer(chance, self._corpus).conversation()
        places = sorted(chance.randint(0, len(sent)) for _ in range(chance.choice((1, 2, 5, 20))))
        ways = [[sent], cut(sent, places)]
        if len(sent) < 1500 and chance.random() < 0.2:
            ways.append([sent[at : at + 1] for at in range(len(sent))])
        whole, *others = [await self._heard(pieces) for pieces in ways]
        wrong = whole.wrong
        for other in others:
            wrong += other.wrong
            if (whole.answers, whole.closed) != (other.answers, other.closed) and not _was_late(whole, other):
                wrong.append(f"{sent!r}, in pieces: {places}\n{whole}\n{other}")
        if chance.random() < 0.05:
            good = await self._heard([_GOOD])
            wrong += good.wrong
            if not (len(good.answers) == 1 and b" 200 " in good.answers[0]):
                wrong.append(f"a good request is answered {good}")
        return wrong + self._failures.take()

    async def _heard(self, pieces: list[bytes]) -> Heard:
        state: Any = self._served.server._server.server_state
        pipe = Pipe(self._served.server)
        wrong = []
        waited = 0
        for piece in pieces:
            # No other turn than it needs: a fault may else come before or behind an answer.
            while not pipe.reads and not pipe.closed:
                await asyncio.sleep(0)
                waited += 1
                if waited > _TURNS:
                    return Heard([], False, ["it never reads again"])
            if pipe.closed:
                break
            pipe.data_received(piece)
        said, still = -1, 0
        while still < _STILL:
            await asyncio.sleep(0)
            now = len(pipe.sent) + pipe.unread + pipe.closed
            still = still + 1 if now == said else 0
            said = now
        closed = pipe.closed
        pipe.hang_up()
        for _ in range(_TURNS):
            if not state.tasks and not state.connections:
                break
            await asyncio.sleep(0)
        left = {"tasks": len(state.tasks), "connections": len(state.connections)}
        wrong += [f"{count} {name} are left after the end" for name, count in left.items() if count]
        self._served.core.enqueued.clear()
        # Whether a body is asked for that comes anyway is a matter of time.
        parts = [one for one in _answers.split(pipe.sent) if one and not one.startswith(b"HTTP/1.1 100 ")]
        return Heard([alike((one, b""))[0] for one in parts], closed, wrong)


def _was_late(one: Heard, other: Heard) -> bool:
    """Whether they differ in the end alone: a request that was answered before all of it had come can't be refused."""
    most = max(len(one.answers), len(other.answers))
    same = one.answers[: most - 1] == other.answers[: most - 1]
    return one.closed and other.closed and same


@asynccontextmanager
async def fuzzed() -> AsyncIterator[Fuzzed]:
    """What cases run on."""
    async with serving() as served:
        with Failures() as failures:
            yield Fuzzed(served, failures)
