"""What a worker says about itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ..case import case
from ..server import WITHIN
from ..stage import Stage, id_of, job


async def _status(stage: Stage, **like: Any) -> dict[str, Any]:
    """The status, once it has these fields."""
    ends = time.monotonic() + WITHIN
    while True:
        stage.worker.tell(do="status")
        found = await stage.worker.event("status")
        if found.items() >= like.items():
            return found
        assert time.monotonic() < ends, f"its status is {found}, not {like}"
        await asyncio.sleep(0.05)


@case(
    "status-states",
    "Its status goes from starting to serving, to reconnecting when the stream is lost, back, and to draining.",
    "docs/clients-health.md",
    short=True,
)
async def status_states(stage: Stage) -> None:
    worker = await stage.start(slots=3)
    stream = await stage.server.stream()
    found = await _status(stage, state="starting", session=0, running=0)
    assert found["kinds"] == ["work"], f"its kinds are {found['kinds']}"
    await stream.welcome()
    found = await _status(stage, state="serving", session=7, slots=3)
    assert all(found[name] for name in ("server", "since", "last_heard")), f"its status is {found}"
    stream.deliver(job(1, {"do": "hold"}))
    await stage.started(1)
    await _status(stage, state="serving", running=1, orphans=0)
    stream.end()
    # The next stream is there, and no Welcome yet.
    second = await stage.server.stream()
    found = await _status(stage, state="reconnecting", running=1)
    assert found["last_error"], "it does not say why"
    await second.welcome(token="token-2")
    await _status(stage, state="serving", session=7)
    worker.terminate()
    await second.expect("drain")
    await _status(stage, state="draining", running=1)
    worker.release(id_of(1))
    assert await worker.exit() == 0, f"its exit code is not 0\n{worker.tail()}"


@case(
    "kinds-unknown",
    "It warns of kinds that Welcome calls unknown, once for each set of them, and its status names them.",
    "Welcome.unknown_kinds",
    short=True,
)
async def kinds_unknown(stage: Stage) -> None:
    worker = await stage.start(kinds=["work", "rare"])
    for number, (unknown, warned) in enumerate(
        [(["rare"], 1), (["rare"], 1), (["rare", "work"], 2), ([], 2)]
    ):
        stream = await stage.server.stream()
        await stream.welcome(token=f"token-{number}", unknown_kinds=unknown)
        await _status(stage, state="serving", unknown_kinds=unknown)
        await stream.beats(2)
        said = [line for line in worker.warnings() if "knows no kind" in line]
        assert len(said) == warned, f"it warned {len(said)} times, not {warned}: {said}"
        if said:
            assert all(word in said[0] for word in ("rare", "PutKind")), f"it warned: {said[0]}"
        stream.end()
    last = await stage.server.stream()
    await last.welcome(token="last")
