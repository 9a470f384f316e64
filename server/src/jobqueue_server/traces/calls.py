"""What the chain and the core know of traces. `traces/otel.py` does it; where traces are off there is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from ..model import NewJobs


class TracedCall(Protocol):
    """What `Traces.begin` looks at of a `chain.Call`, which the core does not know."""

    method: str
    transport: str
    metadata: Mapping[str, str | bytes]
    request_id: str


class CallSpan(Protocol):
    """The span of one sampled call.

    Attributes:
        ids: `trace_id` and `span_id`, as fields of log lines.
    """

    ids: Mapping[str, str]

    def sends(self, jobs: Sequence[NewJobs]) -> None:
        """The call enqueues these."""

    def stored(self, job_id: UUID) -> None:
        """It is answered by this job."""

    def ended(self, code: str, reason: str) -> None:
        """It has ended, with the name of its google.rpc.Code, and the reason of its error."""

    def dropped(self) -> None:
        """It was not this call: the general path begins it again."""


class Traces(Protocol):
    """The traces of a server."""

    @property
    def live(self) -> Mapping[str, CallSpan]:
        """The spans of calls that are being handled, by the call's request id. Mostly it is empty."""

    def begin(self, call: TracedCall) -> CallSpan | None:
        """The span of a call that begins; None where its caller is not sampled, as nearly all are not."""

    def now(self) -> int:
        """The time for `inserted`."""

    def inserted(
        self, began: int, jobs: int, headers: Sequence[Mapping[str, str]], error: Exception | None = None
    ) -> None:
        """An insert that calls shared has ended.

        Args:
            began: When it began, as of `now`.
            jobs: How many jobs it brought.
            headers: Those of the first job of each call, of which some are sampled.
            error: Why it failed.
        """

    async def stop(self) -> None:
        """Sends what was not sent yet, for a short while."""
