"""What a worker says and is told on Lease, noted in its journal frame by frame: the truth of the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jobqueue.v1 import lease_pb2

from .journal import Journal

Verdict = lease_pb2.SettleResult.Verdict
Note = tuple[str, Mapping[str, object]]


def token_of(payload: bytes) -> str:
    """What the producer put into a payload, so that each job can be told from every other."""
    return str(json.loads(payload)["token"])


class FrameJournal:
    """Notes the frames of one stream.

    Args:
        journal: The worker's.
        leases: The leases of the worker's session by their number, over all its streams: one mapping for all of them.
    """

    def __init__(self, journal: Journal, leases: dict[int, tuple[str, int]]) -> None:
        self._journal = journal
        self._leases = leases
        self._session = 0
        self._settles: dict[int, list[tuple[int, str]]] = {}

    def sent(self, frame: lease_pb2.LeaseRequest) -> None:
        """A frame that is about to be written."""
        which = frame.WhichOneof("frame")
        if which == "heartbeat":
            self._journal.note("beat", session=self._session, seq=frame.heartbeat.seq)
        elif which in ("hello", "capacity"):
            capacity = frame.capacity if which == "capacity" else frame.hello.capacity
            self._journal.note("capacity", slots=capacity.slots)
        elif which == "drain":
            self.left()
        elif which == "settle":
            settle = frame.settle
            outcomes = [(lease_id, "success") for lease_id in settle.succeeded]
            outcomes += [(each.lease_id, str(each.WhichOneof("outcome"))) for each in settle.outcomes]
            self._settles[settle.seq] = outcomes
            self._journal.note_all(self._notes("settling", outcomes))

    def left(self) -> None:
        """The worker drains, by a frame or by closing its side."""
        self._journal.note("drain", session=self._session)

    def received(self, frame: lease_pb2.LeaseResponse) -> None:
        """A frame that was read."""
        which = frame.WhichOneof("frame")
        if which == "welcome":
            welcome = frame.welcome
            self._session = welcome.session_id
            self._journal.note(
                "welcome",
                session=welcome.session_id,
                ttl=welcome.session_ttl.ToTimedelta().total_seconds(),
                kept=[(lease.job_id, lease.attempt) for lease in welcome.kept],
                revoked=[(lease.job_id, lease.attempt) for lease in welcome.revoked],
            )
        elif which == "delivery":
            self._leases.update({job.lease_id: (job.id, job.attempt) for job in frame.delivery.jobs})
            self._journal.note_all(
                ("delivered", {**self._name(job.lease_id), "token": token_of(job.payload_json)})
                for job in frame.delivery.jobs
            )
        elif which == "settled":
            self._journal.note_all(self._answers(frame.settled))
        elif which == "pong":
            self._journal.note("pong", session=self._session, seq=frame.pong.seq)
        elif which == "control":
            action = frame.control.WhichOneof("action")
            told = getattr(frame.control, str(action))
            self._journal.note_all(
                ("told", {**self._name(lease_id), "action": action, "reason": told.reason})
                for lease_id in told.lease_ids
                if lease_id in self._leases
            )
        elif which == "go_away":
            self._journal.note("go_away", session=self._session, reason=frame.go_away.reason)
        elif which == "goodbye":
            self._journal.note("goodbye", session=self._session)

    def _name(self, lease_id: int) -> dict[str, object]:
        id, attempt = self._leases[lease_id]
        return {"session": self._session, "id": id, "attempt": attempt}

    def _notes(self, what: str, outcomes: list[tuple[int, str]]) -> Iterator[Note]:
        """Forged numbers name no lease, and so no history."""
        for lease_id, outcome in outcomes:
            if lease_id in self._leases:
                yield what, {**self._name(lease_id), "outcome": outcome}

    def _answers(self, settled: lease_pb2.Settled) -> Iterator[Note]:
        results = {result.lease_id: result for result in settled.exceptions}
        for lease_id, outcome in self._settles.pop(settled.seq, ()):
            if lease_id in self._leases:
                said = {**self._name(lease_id), "outcome": outcome, "verdict": "APPLIED"}
                result = results.get(lease_id)
                if result is not None:
                    said["verdict"] = Verdict.Name(result.verdict)
                    if result.HasField("run_at"):
                        said["run_at"] = result.run_at.ToNanoseconds() / 1e9
                yield "settled", said


class JournalledCall:
    """A Lease call of grpc.aio whose frames are noted as they pass."""

    def __init__(self, call: Any, frames: FrameJournal) -> None:
        self._call = call
        self._frames = frames

    async def read(self) -> Any:
        """The next frame, or the end."""
        frame = await self._call.read()
        if isinstance(frame, lease_pb2.LeaseResponse):
            self._frames.received(frame)
        return frame

    async def write(self, frame: lease_pb2.LeaseRequest) -> None:
        """Writes a frame."""
        self._frames.sent(frame)
        await self._call.write(frame)

    async def done_writing(self) -> None:
        """Closes the worker's side."""
        self._frames.left()
        await self._call.done_writing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class JournalledStub:
    """The stubs of a server whose Lease streams are noted in one journal."""

    def __init__(self, stub: Any, journal: Journal, leases: dict[int, tuple[str, int]]) -> None:
        self._stub = stub
        self._journal = journal
        self._leases = leases

    def Lease(self) -> JournalledCall:
        """A stream."""
        return JournalledCall(self._stub.Lease(), FrameJournal(self._journal, self._leases))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)
