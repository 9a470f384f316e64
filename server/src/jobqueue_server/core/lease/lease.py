"""Leases: what leases of one claim share, one lease, and what is left of one that is over."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ..catalog.catalog import Lane


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A cancel that was asked for: why, in its caller's words, and how long from then on the server waits."""

    reason: str
    grace: timedelta

    @classmethod
    def of(cls, reason: str, left: timedelta | None) -> CancelRequest:
        """From the columns of the database, where the grace may be over already."""
        return cls(reason, max(left or timedelta(), timedelta()))


@dataclass(slots=True, eq=False)
class LeaseTemplate:
    """What leases of one claim or insert share.

    `terms`: the values of `fields.TERMS`; empty after a resume. `keyed`: whether each of the jobs has a key.
    `weight`: how many slots each of them takes, also if its kind says otherwise later.
    """

    lane: Lane
    attempt: int
    failures: int
    started_at: datetime
    terms: tuple[Any, ...] = ()
    isolated: bool = False
    keyed: bool = False
    weight: int = 1
    since: float = field(default_factory=time.monotonic)


class Lease:
    """One session's right to run one attempt of one job.

    What few leases ever have is the class's until then: of tens of thousands a second each costs what it is written.

    Attributes:
        lease_id, job_id, template: What it is.
        payload, checkpoint: Of the job, and of the attempts before; let go once they are sent.
        key: That of the job; empty: it has none.
        size: Bytes of the payload.
        seq: The delivery that carried it; 0: not sent yet.
        fraction: The progress that its worker last told.
        settling: Whether its outcome is on the way to the database.
        asked: A cancel, as it stood at the moment of a resume.
        cancel_sent: Whether its worker heard of a cancel on this stream.
    """

    checkpoint = b""
    key = ""
    seq = 0
    fraction = 0.0
    settling = False
    asked: CancelRequest | None = None
    cancel_sent = False

    def __init__(self, lease_id: int, job_id: UUID, template: LeaseTemplate, payload: bytes = b"") -> None:
        self.lease_id = lease_id
        self.job_id = job_id
        self.template = template
        self.payload = payload
        self.size = len(payload)

    @classmethod
    def taken_over(
        cls, lease_id: int, job_id: UUID, template: LeaseTemplate, size: int, asked: CancelRequest | None
    ) -> Lease:
        """One that its worker still holds after a break: it was delivered, by a stream before this one."""
        lease = cls(lease_id, job_id, template)
        lease.seq = -1
        lease.size = size
        if asked is not None:
            lease.asked = asked
        return lease

    @staticmethod
    def settle(
        held: Mapping[int, Lease], lease_ids: Iterable[int]
    ) -> tuple[list[Lease], list[Lease], list[int]]:
        """Outcomes of leases are on their way from now on.

        Returns:
            Those for which that is new, those whose outcome was on its way already, and numbers that are not held.
        """
        fresh: list[Lease] = []
        again: list[Lease] = []
        unheld: list[int] = []
        for lease_id in lease_ids:
            lease = held.get(lease_id)
            if lease is None:
                unheld.append(lease_id)
            elif lease.settling:
                again.append(lease)
            else:
                lease.settling = True
                fresh.append(lease)
        return fresh, again, unheld

    def settles(self) -> None:
        """The outcome of this lease is on its way."""
        self.settling = True

    def unsettled(self) -> None:
        """The outcome of this lease was not applied."""
        self.settling = False

    def goes_on_from(self, checkpoint: bytes) -> None:
        """Gives the lease the checkpoint of an earlier attempt."""
        self.checkpoint = checkpoint

    def has_key(self, key: str) -> None:
        """The job has this key."""
        self.key = key

    def progressed(self, fraction: float) -> None:
        """The worker reported progress."""
        self.fraction = fraction

    def told(self) -> None:
        """A cancel was sent to the worker."""
        self.cancel_sent = True

    @property
    def attempt(self) -> int:
        """Which attempt of the job it is, from 1."""
        return self.template.attempt

    @property
    def lane(self) -> Lane:
        """The lane of the job."""
        return self.template.lane


@dataclass(frozen=True, slots=True)
class Named:
    """A lease as a worker names it after a break."""

    lease_id: int
    job_id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Lingering:
    """A lease that is over, and whose handler still runs as far as the worker's heartbeats say: it takes up its slot.

    What a worker names of its own accord is not known: `job_id` and `kind` are None then. `weight`: of its slots.
    """

    job_id: UUID | None
    attempt: int
    kind: str | None
    size: int
    weight: int = 1


class Remembered:
    """Leases that are over: number -> (job id, attempt). The newest of them, at most twice as many as are worth it."""

    def __init__(self) -> None:
        self._newer: dict[int, tuple[UUID, int]] = {}
        self._older: dict[int, tuple[UUID, int]] = {}
        self.add = self._newer.__setitem__

    def get(self, lease_id: int) -> tuple[UUID, int] | None:
        """The job and attempt of a lease; None if it is not known, or no longer."""
        return self._newer.get(lease_id) or self._older.get(lease_id)

    def __contains__(self, lease_id: int) -> bool:
        return lease_id in self._newer or lease_id in self._older

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def forget_beyond(self, count: int) -> None:
        """Begins anew after so many, and forgets those before them."""
        if len(self._newer) >= count:
            self._older, self._newer = self._newer, {}
            self.add = self._newer.__setitem__
