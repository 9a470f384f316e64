"""Cancelled, timed out, revoked: how a handler is stopped."""

from __future__ import annotations

from ..case import case
from ..server import Result
from ..stage import Stage, id_of, job


@case(
    "cancel-stops",
    "A cancel reaches the handler; when it stops, the outcome is a cancellation. Its neighbour runs on.",
    "CancelLeases",
    short=True,
)
async def cancel_stops(stage: Stage) -> None:
    worker, stream = await stage.holding(1, 2)
    stream.cancel(1, reason="not wanted any more")
    await worker.event("handler_cancelled", job=id_of(1), reason="cancel")
    outcome = await stream.outcome(1)
    assert outcome.WhichOneof("outcome") == "cancellation", f"the outcome is {outcome.WhichOneof('outcome')}"
    assert not worker.said("handler_ended", job=id_of(2)), "its neighbour ended"


@case(
    "cancel-done",
    "A handler that was done before the cancel stopped it answers its success.",
    "CancelLeases",
)
async def cancel_done(stage: Stage) -> None:
    worker, stream = await stage.begin()
    stream.deliver(job(1, {"do": "hold"}, {"do": "succeed", "output": "done"}, on_cancel="succeed"))
    await stage.started(1)
    stream.cancel(1)
    await worker.event("handler_cancelled", job=id_of(1), reason="cancel")
    outcome = await stream.outcome(1)
    assert outcome.success.output_json == b'"done"', f"the outcome is {outcome}"


@case(
    "cancel-early",
    "A cancel or a revoke right behind its delivery reaches the handler, or keeps it from beginning.",
    "CancelLeases, RevokeLeases",
)
async def cancel_early(stage: Stage) -> None:
    _, stream = await stage.begin()
    # The first attempt begins at once, the others after their receipt.
    stream.deliver(job(1, {"do": "hold"}), job(2, {"do": "hold"}), job(3, {"do": "hold"}))
    stream.cancel(1, 2, reason="at once")
    stream.revoke(3)
    outcomes = await stream.outcomes(1, 2)
    kinds = [outcomes[number].WhichOneof("outcome") for number in (1, 2)]
    assert kinds == ["cancellation", "cancellation"], f"they are settled as {kinds}"
    await stream.expect("heartbeat", where=lambda beat: not beat.held)


@case(
    "cancel-unknown",
    "A cancel of a lease that the worker does not hold is ignored, and one that is said twice counts once.",
    "CancelLeases",
)
async def cancel_unknown(stage: Stage) -> None:
    worker, stream = await stage.begin()
    stream.deliver(job(1, {"do": "hold"}, on_cancel="ignore"))
    await stage.started(1)
    stream.cancel(77, 1)
    stream.cancel(1)
    await worker.event("handler_cancelled", job=id_of(1), reason="cancel")
    await stream.beats(2)
    worker.release(id_of(1))
    outcome = await stream.outcome(1)
    assert outcome.WhichOneof("outcome") == "success", f"the outcome is {outcome.WhichOneof('outcome')}"


@case(
    "revoke-stops",
    "A revoked lease's handler is stopped and told so; nothing is settled; the heartbeats name it no more.",
    "RevokeLeases",
    short=True,
)
async def revoke_stops(stage: Stage) -> None:
    worker, stream = await stage.holding(1, 2)
    stream.revoke(1)
    await worker.event("handler_cancelled", job=id_of(1), reason="revoked")
    await worker.event("handler_ended", job=id_of(1))
    await stream.beats(2)
    beat = await stream.beats(1)
    assert list(beat.held) == [2], f"the heartbeat names {sorted(beat.held)}"


@case(
    "revoke-deaf",
    "A handler that does not stop keeps its slot: heartbeats name its lease until it ends, and nothing is settled.",
    "RevokeLeases",
    short=True,
)
async def revoke_deaf(stage: Stage) -> None:
    worker, stream = await stage.begin()
    stream.deliver(job(1, {"do": "hold"}, on_cancel="ignore"))
    await stage.started(1)
    stream.revoke(1)
    await worker.event("handler_cancelled", job=id_of(1), reason="revoked")
    beat = await stream.beats(3)
    assert list(beat.held) == [1], f"the heartbeat names {sorted(beat.held)} while the handler runs"
    worker.release(id_of(1))
    await worker.event("handler_ended", job=id_of(1))
    await stream.expect("heartbeat", where=lambda beat: not beat.held)
    await stream.beats(2)


@case(
    "revoke-waiting",
    "An outcome that waits to be sent again is dropped when its lease is revoked.",
    "RevokeLeases",
)
async def revoke_waiting(stage: Stage) -> None:
    _, stream = await stage.begin()
    stream.verdicts = lambda _: Result.TRY_AGAIN
    stream.deliver(job(1))
    # The wait before the third time is long enough for the revoke to be read.
    for _ in range(3):
        await stream.outcome(1)
    stream.revoke(1)
    await stream.beats(3)
    beat = await stream.beats(1)
    assert not beat.held, f"the heartbeat names {sorted(beat.held)}"


@case(
    "cancel-then-revoke",
    "When the grace of a cancel is over the lease is revoked: the late answer is not sent.",
    "CancelLeases.grace",
)
async def cancel_then_revoke(stage: Stage) -> None:
    worker, stream = await stage.begin()
    stream.deliver(job(1, {"do": "hold"}, on_cancel="ignore"))
    await stage.started(1)
    stream.cancel(1, grace=1)
    await worker.event("handler_cancelled", job=id_of(1), reason="cancel")
    stream.revoke(1, reason="CANCEL_GRACE_ENDED")
    await stream.beats(2)
    worker.release(id_of(1))
    await worker.event("handler_ended", job=id_of(1))
    await stream.beats(2)
