"""The leases of a worker's session as the server's part sees them, over all its streams; finds what breaks a rule."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jobqueue.v1 import lease_pb2 as pb

from .rules import RULES

Verdict = pb.SettleResult.Verdict
# The case `receipt-bare` measures the 20 ms; everywhere else a machine that is busy is no fault of the worker.
_RECEIPT_WITHIN = 20.0
# A worker sends no heartbeat while two are not answered, and reads answers in their turn. So the third heartbeat that
# comes after something was said to it was sent by a worker that had read it; the two before may have crossed it.
_READ_BY = 3
_OPEN_AGAIN = (Verdict.TRY_AGAIN, Verdict.INVALID)


@dataclass(slots=True)
class Lease:
    """One lease of the session.

    Attributes:
        stream: On which it was delivered, as a number.
        seq: Of the Delivery that it came in.
        seen: Whether the worker said that it saw it.
        settled_on: The stream on which its newest outcome came. 0: on none.
        answered: Whether that outcome was answered for good.
        gone: Whether it was revoked, or its session ended.
        crossed: Whether it came while another stream was asked to resume the session, which can't have named it.
        reopened: On which stream, and before which heartbeat, its outcome was answered as one that is to come again. A
            worker that has not read that yet takes the lease for settled.
    """

    number: int
    job_id: str
    attempt: int
    stream: int
    seq: int
    seen: bool = False
    settled_on: int = 0
    answered: bool = False
    gone: bool = False
    crossed: bool = False
    reopened: tuple[int, int] = (0, 0)

    @property
    def open(self) -> bool:
        """Whether the worker must still name it."""
        return self.seen and not self.answered and not self.gone and not self.crossed


@dataclass(slots=True)
class StreamNotes:
    """What was said on one stream. `beats_before`: how many heartbeats had come when a delivery was sent."""

    number: int
    frames: int = 0
    heartbeats: int = 0
    settles: int = 0
    receipt: int = 0
    delivered: dict[int, float] = field(default_factory=dict)
    beats_before: dict[int, int] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    ended: float | None = None


class Ledger:
    """Notes every frame of all streams.

    Attributes:
        violations: What broke a rule, one sentence each.
        slots: How many the worker was told to have. None: not told yet.
        tokens: Those of the session that were sent, newest last.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.slots: int | None = None
        self.tokens: list[str] = []
        self._leases: dict[int, Lease] = {}
        self._streams: dict[int, StreamNotes] = {}
        self._resuming = 0

    def breaks(self, rule: str, what: str) -> None:
        """Notes that a rule was broken."""
        assert rule in RULES, rule
        self.violations.append(f"{rule}: {what}")

    def open(self) -> int:
        """A new stream; its number, from 1."""
        number = len(self._streams) + 1
        self._streams[number] = StreamNotes(number)
        return number

    def ended(self, stream: int) -> None:
        """A stream is over."""
        self._streams[stream].ended = time.monotonic()

    def delays(self, stream: int) -> list[float]:
        """How long each receipt took, in seconds."""
        return self._streams[stream].delays

    def held(self) -> set[int]:
        """Those that are neither settled nor gone."""
        return {each.number for each in self._leases.values() if not each.settled_on and not each.gone}

    def all_answered(self) -> bool:
        """Whether nothing is left of the session."""
        return all(each.answered or each.gone for each in self._leases.values())

    # ---- what the server says

    def told(self, stream: int, frame: pb.LeaseResponse) -> None:
        """A frame of the server."""
        name = frame.WhichOneof("frame")
        if name == "welcome":
            self.tokens.append(frame.welcome.session_token)
            self._resuming = 0
            for lease in frame.welcome.revoked:
                self._gone(lease.lease_id)
        elif name == "delivery":
            notes = self._streams[stream]
            notes.delivered[frame.delivery.seq] = time.monotonic()
            if stream >= self._resuming:
                # Or it may not be receipted: the new stream's Hello does not name it.
                notes.beats_before[frame.delivery.seq] = notes.heartbeats
            for job in frame.delivery.jobs:
                self._leases[job.lease_id] = Lease(
                    job.lease_id,
                    job.id,
                    job.attempt,
                    stream,
                    frame.delivery.seq,
                    crossed=stream < self._resuming,
                )
        elif name == "control":
            for number in frame.control.revoke.lease_ids:
                self._gone(number)

    def answer(self, number: int, verdict: int) -> None:
        """An outcome is answered."""
        lease = self._leases.get(number)
        if lease is not None:
            lease.answered = verdict not in _OPEN_AGAIN
            if not lease.answered and lease.settled_on:
                lease.reopened = (lease.settled_on, self._streams[lease.settled_on].heartbeats)
                lease.settled_on = 0

    def forget(self) -> None:
        """The session is over, and all its leases with it."""
        for lease in self._leases.values():
            lease.gone = True
        self._leases.clear()
        self.tokens.clear()

    def _gone(self, number: int) -> None:
        if number in self._leases:
            self._leases[number].gone = True

    # ---- what the worker says

    def said(self, stream: int, frame: pb.LeaseRequest) -> None:
        """A frame of the worker, held against the rules."""
        notes = self._streams[stream]
        notes.frames += 1
        name = frame.WhichOneof("frame")
        if (name == "hello") != (notes.frames == 1):
            self.breaks("first-frame", f"frame {notes.frames} of stream {stream} is {name or 'a receipt'}")
        self._receipt(notes, frame.last_delivery)
        checks: dict[str, Callable[[StreamNotes, Any], None]] = {
            "hello": self._hello,
            "capacity": self._capacity,
            "heartbeat": self._heartbeat,
            "settle": self._settle,
            "progress": self._progress,
        }
        if name is not None and name in checks:
            checks[name](notes, getattr(frame, name))

    def _receipt(self, notes: StreamNotes, last: int) -> None:
        now = time.monotonic()
        if last < notes.receipt:
            self.breaks("receipt", f"last_delivery went from {notes.receipt} to {last}")
        if last > len(notes.delivered):
            self.breaks("receipt", f"last_delivery is {last}, {len(notes.delivered)} were sent")
            return
        for seq in range(notes.receipt + 1, last + 1):
            delay = now - notes.delivered[seq]
            notes.delays.append(delay)
            if delay > _RECEIPT_WITHIN:
                self.breaks("receipt", f"the receipt of delivery {seq} took {delay:.1f} s")
        for lease in self._leases.values():
            if lease.stream == notes.number and lease.seq <= last:
                lease.seen = True
        notes.receipt = max(last, notes.receipt)

    def _hello(self, notes: StreamNotes, hello: pb.Hello) -> None:
        self._resuming = notes.number
        if not 1 <= len(hello.worker) <= 128:
            self.breaks("hello", f"the worker's name has {len(hello.worker)} characters")
        if not 1 <= len(hello.subscriptions) <= 1000 or not all(each.kinds for each in hello.subscriptions):
            self.breaks("hello", f"subscriptions are {list(hello.subscriptions)}")
        self._capacity(notes, hello.capacity)
        if hello.HasField("resume"):
            self._resume(hello.resume)

    def _resume(self, resume: pb.Resume) -> None:
        if not self.tokens or resume.session_token != self.tokens[-1]:
            self.breaks("resume", "the token is not the newest one that was sent")
        held = {each.lease_id: each for each in resume.held}
        unanswered = {each.lease_id: each for each in resume.unanswered}
        if (
            len(held) + len(unanswered) != len(resume.held) + len(resume.unanswered)
            or held.keys() & unanswered
        ):
            self.breaks("resume", f"a lease is named twice: {sorted(held)}, {sorted(unanswered)}")
        for number, named in {**held, **unanswered}.items():
            lease = self._leases.get(number)
            if lease is None or (lease.job_id, lease.attempt) != (named.job_id, named.attempt):
                self.breaks("resume", f"{_text(named)} is no lease of this session")
        for lease in self._leases.values():
            if lease.gone and lease.number in held.keys() | unanswered.keys():
                self.breaks("resume", f"lease {lease.number} was revoked, and is named")
            elif lease.open and lease.number not in held.keys() | unanswered.keys():
                self.breaks("resume", f"lease {lease.number} was seen and is not answered, and is not named")
            elif lease.settled_on and not lease.answered and lease.number in held:
                self.breaks("resume", f"lease {lease.number} was settled, and is named as held")

    def _capacity(self, _: StreamNotes, capacity: pb.Capacity) -> None:
        most = 10_000 if self.slots is None else self.slots
        for slots in (capacity.slots, *capacity.slots_by_kind.values()):
            if not 0 <= slots <= most:
                self.breaks("capacity", f"{slots} slots are said, of {most}")

    def _heartbeat(self, notes: StreamNotes, heartbeat: pb.Heartbeat) -> None:
        notes.heartbeats += 1
        if heartbeat.seq != notes.heartbeats:
            self.breaks(
                "heartbeat", f"its number is {heartbeat.seq}, it is the {notes.heartbeats}. of its stream"
            )
        named = set(heartbeat.held)
        if unknown := named - self._leases.keys():
            self.breaks("heartbeat", f"it names {sorted(unknown)}, which are no leases of this session")
        for seq in range(notes.receipt + 1, len(notes.delivered) + 1):
            if seq in notes.beats_before and heartbeat.seq >= notes.beats_before[seq] + _READ_BY:
                self.breaks("receipt", f"heartbeat {heartbeat.seq} does not say that delivery {seq} was seen")
        missing = {
            each.number
            for each in self._leases.values()
            if each.open
            and not each.settled_on
            and not (each.reopened[0] == notes.number and heartbeat.seq < each.reopened[1] + _READ_BY)
        } - named
        if missing:
            self.breaks("heartbeat", f"it does not name {sorted(missing)}, which are held")

    def _settle(self, notes: StreamNotes, settle: pb.Settle) -> None:
        notes.settles += 1
        if settle.seq != notes.settles:
            self.breaks("settle", f"its number is {settle.seq}, it is the {notes.settles}. of its stream")
        numbers = [*settle.succeeded, *(each.lease_id for each in settle.outcomes)]
        if not 1 <= len(numbers) <= 1000 or len(set(numbers)) != len(numbers):
            self.breaks("settle", f"it holds {len(numbers)} outcomes of {len(set(numbers))} leases")
        if not all(each.WhichOneof("outcome") for each in settle.outcomes):
            self.breaks("settle", "an outcome is not set")
        for number in numbers:
            lease = self._leases.get(number)
            if lease is None:
                self.breaks("settle", f"{number} is no lease of this session")
                continue
            if lease.gone:
                self.breaks("revoked", f"lease {number} was revoked, and is settled")
            if lease.answered or lease.settled_on == notes.number:
                self.breaks("settle-once", f"the outcome of lease {number} came again")
            lease.settled_on = notes.number
            lease.seen = True

    def _progress(self, _: StreamNotes, progress: pb.Progress) -> None:
        lease = self._leases.get(progress.lease_id)
        if lease is None or lease.settled_on:
            self.breaks("progress", f"lease {progress.lease_id} is not held")
        if progress.HasField("fraction") and not 0 <= progress.fraction <= 1:
            self.breaks("progress", f"the fraction is {progress.fraction}")

    def close(self) -> None:
        """The case is over: what never came is missing."""
        now = time.monotonic()
        for notes in self._streams.values():
            for seq, sent in notes.delivered.items():
                if seq > notes.receipt and (notes.ended or now) - sent > _RECEIPT_WITHIN:
                    self.breaks("receipt", f"delivery {seq} of stream {notes.number} has none")


def _text(named: Any) -> str:
    return f"({named.lease_id}, {named.job_id!r}, {named.attempt})"
