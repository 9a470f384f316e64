"""Workers: bare streams, so that the server is what is measured, and the Worker of the Python client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import uvloop

from ..load import KIND
from ..processes import Mailbox


@dataclass(frozen=True, slots=True)
class Workers:
    """Who runs the jobs.

    Attributes:
        sort: `bare`: streams that settle each delivery in one frame; `runtime`: the Worker of the Python client.
        streams: How many in all.
        slots: Of each.
        processes: Among which the streams are divided.
        handler_seconds: How long a handler takes; 0: nothing is done.
        own_connections: Whether each bare stream has a connection of its own. Workers of the runtime always have.
        stamped: Whether payloads say when their jobs were due, and how long it took until their handlers began is
            recorded; of every so manieth job (`sample`), and apart for each `window` of so many seconds.
        failing: Whether jobs that ask for it in their payload fail at their first attempt.
        beat: Seconds between the heartbeats of bare streams. None: as Welcome says.
        queues, kinds: What they subscribe to.
        key: What each stream shows as `authorization: Bearer`; empty: none is sent.
    """

    sort: Literal["bare", "runtime"] = "bare"
    streams: int = 4
    slots: int = 1000
    processes: int = 1
    handler_seconds: float = 0.0
    own_connections: bool = False
    stamped: bool = False
    sample: int = 1
    window: float | None = None
    failing: bool = False
    beat: float | None = None
    queues: tuple[str, ...] = ("default",)
    kinds: tuple[str, ...] = (KIND,)
    key: str = field(default="", repr=False)


def work(mailbox: Mailbox, targets: list[str], workers: Workers) -> None:
    """One process of workers, a stream to each of the targets, until it is told to stop."""
    # What is not measured is not loaded.
    if workers.sort == "runtime":
        from .runtime import serve
    else:
        from .bare import serve
    uvloop.run(serve(mailbox, targets, workers))
