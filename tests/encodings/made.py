"""Encodings and handlers of these tests, at the top of a module, where a process of a handler finds them too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobqueue import AesGcm, Encoding, Encodings, JobContext, NewJob, Retry, Worker, Zstd, define_kind

KEY, NEXT = bytes(range(32)), bytes(range(1, 33))
#: What must not be seen.
SECRET = "the eagle has landed"
STYLES = ["loop", "thread", "process"]
WITHIN = timedelta(seconds=60)


def both(keys: Any = None, primary: str = "a") -> Encodings:
    """Compresses and encrypts."""
    return Encodings([Zstd(over=200), AesGcm(keys or {"a": KEY}, primary=primary)])


async def slow(name: str) -> bytes | None:
    """A key, from somewhere else."""
    await asyncio.sleep(0.005)
    return {"a": KEY}.get(name)


class Broken(Encoding):
    """Can't encode what has a certain text in it, and turns the rest around."""

    name, key_id = "broken", "a"

    def encode(self, data: bytes, key: bytes, authenticated: bytes, idempotency_key: str | None) -> bytes:
        if SECRET.encode() in data:
            raise OSError("no key today")
        return data[::-1]

    def decode(self, data: bytes, key: bytes, authenticated: bytes) -> bytes:
        return data[::-1]


never = define_kind("never", encodings="never")


def handled(ctx: JobContext) -> Any:
    """Answers what it got, after an attempt that leaves a checkpoint, with two follow-ups."""
    if ctx.job.payload.get("checkpoint"):
        ctx.save_checkpoint(SECRET.encode())
        return None
    if ctx.job.attempt == 1:
        ctx.save_checkpoint(f"half of {ctx.job.payload['text']}".encode())
        raise Retry("again", after=timedelta(0))
    if ctx.job.payload.get("output"):
        return SECRET
    ctx.follow_up(NewJob("next", {"text": SECRET}))
    ctx.follow_up(never.new({"text": "in plain text"}))
    return {"got": ctx.job.payload["text"], "checkpoint": ctx.job.checkpoint.decode()}


async def handled_async(ctx: JobContext) -> Any:
    """The same on the loop."""
    return handled(ctx)


HANDLERS: dict[str, Any] = {"loop": handled_async, "thread": handled, "process": handled}


#: Takes encrypted payloads alone, by each of its names.
strict = define_kind("strict", dict, output=dict, encodings="required", aliases=["strict.old"])


@dataclass
class Defaulted:
    """A payload that any object is one of."""

    text: str = ""


#: Kinds whose payloads are not decoded, and whose types take any object.
any_object = define_kind("any_object", dict, output=dict, encodings="never")
all_defaults = define_kind("all_defaults", Defaulted, output=Defaulted, encodings="never")
UNOPENED: dict[str, Any] = {"dict": any_object, "defaults": all_defaults}


def take(payload: Any, ctx: JobContext) -> Any:
    """Answers its payload."""
    return payload


async def take_async(payload: Any, ctx: JobContext) -> Any:
    """The same on the loop."""
    return payload


TAKERS: dict[str, Any] = {"loop": take_async, "thread": take, "process": take}


@asynccontextmanager
async def serving(address: str, encodings: Encodings | None, **handlers: Any) -> AsyncIterator[Worker]:
    """A worker with these handlers, else one of each style, until the block is left."""
    worker = Worker(address, encodings=encodings)
    for style in STYLES if not handlers else ():
        worker.handler(style, run_in=style)(HANDLERS[style])  # type: ignore[call-overload]
    for kind, handler in handlers.items():
        worker.handler(kind)(handler)
    task = asyncio.create_task(worker.serve())
    try:
        yield worker
    finally:
        worker.stop(grace=timedelta(0))
        await task


def envelope(text: bytes | None) -> dict[str, Any]:
    """A text that must be one."""
    assert text is not None
    value: dict[str, Any] = json.loads(text)
    assert value["$jobqueue.encoded"] == 1
    return value
