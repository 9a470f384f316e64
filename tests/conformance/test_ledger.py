"""What the ledger calls a fault of the worker, and what it does not: frames cross each other on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.v1 import lease_pb2 as pb

from .ledger import Ledger, Verdict

pytestmark = pytest.mark.unit


class Wire:
    """A stream on which one job was delivered."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.stream = self.ledger.open()
        self._beats = 0
        self.says(hello=pb.Hello(worker="w", subscriptions=[pb.Subscription(kinds=["work"])]))
        self.ledger.told(self.stream, pb.LeaseResponse(welcome=pb.Welcome(session_token="token")))
        job = pb.LeasedJob(lease_id=1, id="job", attempt=1)
        self.ledger.told(self.stream, pb.LeaseResponse(delivery=pb.Delivery(seq=1, jobs=[job])))

    def says(self, seen: int = 0, **frame: Any) -> None:
        self.ledger.said(self.stream, pb.LeaseRequest(last_delivery=seen, **frame))

    def beats(self, *held: int, seen: int = 1) -> list[str]:
        """A heartbeat of the worker, and what is found wrong by then."""
        self._beats += 1
        self.says(seen, heartbeat=pb.Heartbeat(seq=self._beats, held=held))
        return [each.partition(":")[0] for each in self.ledger.violations]


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.TRY_AGAIN])
def test_two_heartbeats_may_cross_an_answer_that_opens_a_lease_again(verdict: int) -> None:
    wire = Wire()
    assert wire.beats(1) == []
    wire.says(1, settle=pb.Settle(seq=1, succeeded=[1]))
    wire.ledger.answer(1, verdict)
    assert wire.beats() == []
    assert wire.beats() == []
    assert wire.beats(1) == []


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.TRY_AGAIN])
def test_the_third_heartbeat_after_such_an_answer_names_the_lease(verdict: int) -> None:
    wire = Wire()
    wire.says(1, settle=pb.Settle(seq=1, succeeded=[1]))
    wire.ledger.answer(1, verdict)
    assert [wire.beats() for _ in range(3)] == [[], [], ["heartbeat"]]


def test_two_heartbeats_may_cross_a_delivery_and_the_third_says_that_it_was_seen() -> None:
    assert [wire.beats(seen=0) for wire in [Wire()] for _ in range(3)] == [[], [], ["receipt"]]
    wire = Wire()
    assert [wire.beats(seen=0), wire.beats(seen=0), wire.beats(1)] == [[], [], []]


def test_a_delivery_that_crosses_a_move_needs_no_receipt() -> None:
    wire = Wire()
    wire.beats(1)
    moved = wire.ledger.open()
    hello = pb.Hello(worker="w", subscriptions=[pb.Subscription(kinds=["work"])])
    hello.resume.session_token = "token"
    hello.resume.held.add(lease_id=1, job_id="job", attempt=1)
    wire.ledger.said(moved, pb.LeaseRequest(hello=hello))
    crossed = pb.LeasedJob(lease_id=2, id="other", attempt=1)
    wire.ledger.told(wire.stream, pb.LeaseResponse(delivery=pb.Delivery(seq=2, jobs=[crossed])))
    assert [wire.beats(1) for _ in range(4)] == [[]] * 4


def test_a_lease_that_is_held_is_named_by_every_heartbeat() -> None:
    wire = Wire()
    assert [wire.beats(1), wire.beats()] == [[], ["heartbeat"]]
