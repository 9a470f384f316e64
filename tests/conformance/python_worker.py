"""The Python client as the worker under test of `tests/conformance`; docs/conformance.md specifies its lines."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobqueue import AesGcm, Discard, Encodings, NewJob, Retry, Snooze, Worker, define_kind
from jobqueue.worker.context import JobContext, Stop

_REASONS = {Stop.CANCEL: "cancel", Stop.REVOKED: "revoked", Stop.SHUTDOWN: "shutdown", Stop.LOST: "lost"}


@dataclass
class Amount:
    """The payload of the typed kind."""

    number: int
    unit: str = "one"


@dataclass
class Doubled:
    """Its output."""

    number: int
    unit: str


TYPED = define_kind(
    "typed",
    Amount,
    output=Doubled,
    version=2,
    aliases=["typed-old"],
    upcasters={1: lambda older: {"number": older["count"]}},
)

ENCODINGS = Encodings([AesGcm({"conformance": bytes(range(32))}, primary="conformance")])


def say(event: str, **fields: object) -> None:
    """One line for the driver, at once and whole."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def started(ctx: JobContext) -> dict[str, Any]:
    """Says that a handler begins; what names its lease in every line."""
    lease = {"job": ctx.job.id, "attempt": ctx.job.attempt}
    raw = ctx.job.payload_json
    say(
        "handler_started",
        **lease,
        kind=ctx.job.kind,
        queue=ctx.job.queue,
        payload_sha256=hashlib.sha256(raw).hexdigest(),
        payload_bytes=len(raw),
        checkpoint_base64=base64.b64encode(ctx.job.checkpoint).decode(),
    )
    return lease


async def double(amount: Amount, ctx: JobContext) -> Doubled:
    """One attempt of the typed kind."""
    lease = started(ctx)
    say("handler_ended", **lease)
    return Doubled(2 * amount.number, amount.unit)


class Handlers:
    """What the jobs do, by their payloads."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holds: dict[str, asyncio.Event] = {}

    def release(self, job: str) -> None:
        """Lets a handler go on, from any thread; also one that has started and holds later."""
        assert self._loop is not None, "nothing has started that could be released"
        self._loop.call_soon_threadsafe(lambda: self._hold(job).set())

    async def handle(self, ctx: JobContext) -> Any:
        """One attempt."""
        self._loop = asyncio.get_running_loop()
        lease = started(ctx)
        try:
            output = None
            for step in ctx.job.payload.get("steps", ()):
                output = await self._step(ctx, lease, step, ctx.job.payload.get("on_cancel", "stop"))
            return output
        finally:
            say("handler_ended", **lease)

    async def _step(
        self, ctx: JobContext, lease: dict[str, Any], step: dict[str, Any], on_cancel: str
    ) -> Any:
        match step["do"]:
            case "hold":
                return await self._wait(ctx, lease, on_cancel)
            case "succeed":
                return step.get("output")
            case "fail":
                if "retry_after_s" in step:
                    after = timedelta(seconds=step["retry_after_s"])
                    raise Retry(step["error"], after=after, pause_key=step.get("pause_key", False))
                raise RuntimeError(step["error"])
            case "discard":
                raise Discard(step["error"])
            case "snooze":
                raise Snooze(timedelta(seconds=step["delay_s"]))
            case "progress":
                ctx.progress(step["fraction"], step["message"])
            case "checkpoint":
                ctx.save_checkpoint(base64.b64decode(step["data_base64"]))
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "follow_up":
                ctx.follow_up(NewJob(step["kind"], payload_json=step["payload"].encode()))
            case other:
                raise Discard(f"no such step: {other}")

    async def _wait(self, ctx: JobContext, lease: dict[str, Any], on_cancel: str) -> None:
        while True:
            try:
                await self._hold(ctx.job.id).wait()
                return
            except asyncio.CancelledError:
                assert ctx.stop_reason is not None
                reason = _REASONS[ctx.stop_reason]
                say("handler_cancelled", **lease, reason=reason, words=ctx.cancel_reason)
                if on_cancel == "stop":
                    raise
                if on_cancel == "succeed":
                    return

    def _hold(self, job: str) -> asyncio.Event:
        return self._holds.setdefault(job, asyncio.Event())


def listen(worker: Worker, handlers: Handlers) -> None:
    """Does what the driver says, until it is gone."""
    for raw in sys.stdin:
        line = json.loads(raw)
        match line["do"]:
            case "release":
                handlers.release(line["job"])
            case "pause":
                worker.pause()
            case "resume":
                worker.resume()
            case "status":
                say("status", **worker.status().as_json())
    os._exit(3)  # no driver, no worker


def tokens() -> Callable[[], str]:
    """Answers another token each time."""
    numbers = itertools.count(1)
    return lambda: f"token-{next(numbers)}"


def run(start: dict[str, Any]) -> None:
    """Runs the worker that the driver asked for."""
    worker = Worker(
        start["addresses"],
        queues=start["queues"],
        concurrency=start["slots"],
        name=start["name"],
        labels=start["labels"],
        session_ttl=timedelta(seconds=start["session_ttl_s"]),
        shutdown_grace=timedelta(seconds=start["shutdown_grace_s"]),
        stop_when_lost=start["stop_when_lost"],
        token=tokens() if start["tokens"] else None,
        encodings=ENCODINGS if start.get("encrypted", False) else None,
    )
    handlers = Handlers()
    for kind in start["kinds"]:
        worker.handler(kind, slots=start["slots_by_kind"].get(kind))(handlers.handle)
    if start.get("typed", False):
        worker.handler(TYPED)(double)
    threading.Thread(target=listen, args=(worker, handlers), daemon=True).start()
    worker.run()


def main() -> int:
    """Exit code 0 after a drain, 1 when the worker gave up."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    start = json.loads(sys.stdin.readline())
    try:
        run(start)
    except Exception as error:
        say("ended", error=f"{type(error).__name__}: {error}")
        return 1
    say("ended", error=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
