"""What a worker was told at its making."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import jobqueue
from jobqueue.calls import seconds
from jobqueue.channel import Access, checked_target


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The settings of a worker; `Worker` describes them."""

    targets: tuple[str, ...]
    access: Access
    queues: tuple[str, ...]
    concurrency: int
    name: str
    labels: Mapping[str, str]
    session_ttl: timedelta | None
    shutdown_grace: timedelta
    stop_when_lost: bool
    health: str | None = None

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError("a worker needs the address of a server, for example '127.0.0.1:50051'")
        for target in self.targets:
            checked_target(target)
        if not self.queues:
            raise ValueError("queues is empty: name at least one, for example ['default']")
        if not 1 <= self.concurrency <= 10_000:
            raise ValueError(f"concurrency is {self.concurrency}; it is 1 to 10000")
        if not 1 <= len(self.name) <= 128:
            raise ValueError(f"name has {len(self.name)} characters; it has 1 to 128")
        seconds(self.shutdown_grace, "shutdown_grace")
        if self.session_ttl is not None:
            seconds(self.session_ttl, "session_ttl")
        if self.session_ttl is not None and not timedelta(seconds=5) <= self.session_ttl <= timedelta(
            hours=1
        ):
            raise ValueError(f"session_ttl is {self.session_ttl}; it is 5 seconds to 1 hour")
        if self.shutdown_grace < timedelta(0):
            raise ValueError(f"shutdown_grace is {self.shutdown_grace}; it must not be negative")
        if self.health is not None:
            split_address(self.health)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`.

    Raises:
        ValueError: The text is not of this form.
    """
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%]+)\]|([^\[\]:]+)):(\d{1,5})", address, re.ASCII)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"health is {address!r}; it is HOST:PORT, such as 127.0.0.1:8081 or [::1]:8081")
    return match[1] or match[2], int(match[3])


def default_name() -> str:
    """Host and process, as `Job.locked_by` shows them."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}"


def client_name() -> str:
    """This library, for the server's logs."""
    return f"jobqueue-python/{jobqueue.__version__}"
