"""A worker in Python whose handler reads its payload and answers it: `python -m bench.workers.handlers WAY SERVER`.

What its ways differ in is what the gate `handlers` measures. bench/programs.py lists those of the other languages, and
says what `kit` in the place of both arguments is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from jobqueue import AesGcm, Encodings, JobContext, JobKind, Middleware, Worker, Zstd, define_kind

from .kit import tell

SLOTS = 1000
KEYS = {"bench": bytes(range(32))}


@dataclass(frozen=True)
class Order:
    """What a payload is where the kind is typed."""

    id: int
    customer: str
    paid: bool
    lines: list[str]
    note: str


@dataclass(frozen=True)
class Total:
    """What a handler answers."""

    id: int
    lines: int


def order(number: int, size: int) -> Order:
    """An order that is about so many bytes of JSON."""
    lines = [f"line {number} of an order, {each:04}" for each in range(max(1, (size - 110) // 32))]
    return Order(number, f"c-{number}", True, lines, "leave it at the door")


def payload(way: str, number: int, size: int) -> Any:
    """One, as the way's kind takes it."""
    made = order(number, size)
    return made if way == "typed" else asdict(made)


class Nothing(Middleware):
    """Goes around, and does nothing."""

    @contextmanager
    def handle(self, ctx: JobContext) -> Iterator[None]:
        """Nothing before, nothing after."""
        yield


def encodings() -> Encodings:
    """Compression and encryption, of payloads of any size."""
    return Encodings([Zstd(over=0), AesGcm(KEYS, primary="bench")])


#: By way: the kind of its jobs.
KINDS: dict[str, JobKind[Any, Any]] = {
    "plain": define_kind("plain"),
    "typed": define_kind("typed", Order, output=Total),
    "middleware": define_kind("middleware"),
    "encoded": define_kind("encoded"),
}


async def _plain(ctx: JobContext) -> Any:
    payload = ctx.job.payload
    return {"id": payload["id"], "lines": len(payload["lines"])}


async def _typed(given: Order, ctx: JobContext) -> Total:
    return Total(given.id, len(given.lines))


def worker(way: str, server: str) -> Worker:
    """The worker of a way."""
    made = Worker(
        server,
        concurrency=SLOTS,
        middleware=[Nothing(), Nothing(), Nothing()] if way == "middleware" else [],
        encodings=encodings() if way == "encoded" else None,
    )
    if way == "typed":
        made.handler(KINDS[way])(_typed)
    else:
        made.handler(way)(_plain)
    return made


if __name__ == "__main__":
    if sys.argv[1:] == ["kit"]:
        tell()
    else:
        worker(*sys.argv[1:]).run()
