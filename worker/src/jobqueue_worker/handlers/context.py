"""What a built-in handler needs of the Worker runtime, as protocols: tests hand in a plain object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol


class Job(Protocol):
    """The leased job, as far as the handlers read it."""

    @property
    def id(self) -> str:
        """The job's UUID, in its text form."""

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""

    @property
    def kind(self) -> str:
        """The job's kind."""

    @property
    def payload(self) -> Any:
        """The payload, decoded from JSON."""

    @property
    def payload_json(self) -> bytes:
        """The payload as the producer wrote it, number for number."""


class Context(Protocol):
    """One attempt at one job."""

    @property
    def job(self) -> Job:
        """What to do."""

    @property
    def cancelled(self) -> bool:
        """Whether the job's cancellation was requested."""

    def raise_if_cancelled(self) -> None:
        """Raises `jobqueue.Cancelled` if the job's cancellation was requested."""

    async def progress(self, fraction: float, message: str = "") -> None:
        """Tells how far the attempt has come, 0 to 1."""


Handler = Callable[[Context], Awaitable[Any]]
