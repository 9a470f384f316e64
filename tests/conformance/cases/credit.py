"""How much a worker takes."""

from __future__ import annotations

from ..case import case
from ..stage import Stage, id_of, job


@case(
    "credit-full",
    "With all slots taken as many handlers run, and one more job as soon as one is settled.",
    "Capacity",
    short=True,
)
async def credit_full(stage: Stage) -> None:
    worker, stream = await stage.holding(1, 2, 3, slots=3)
    beat = await stream.beats(2)
    assert sorted(beat.held) == [1, 2, 3], f"the heartbeat names {sorted(beat.held)}"
    worker.release(id_of(2))
    await stream.outcome(2)
    stream.deliver(job(4, {"do": "hold"}))
    await stage.started(4)
    beat = await stream.expect("heartbeat", where=lambda beat: 4 in beat.held)
    assert sorted(beat.held) == [1, 3, 4], f"the heartbeat names {sorted(beat.held)}"


@case(
    "credit-zero",
    "Paused, a worker says 0 slots and keeps what it holds; afterwards it says all of them again.",
    "Capacity",
)
async def credit_zero(stage: Stage) -> None:
    worker, stream = await stage.holding(1, slots=3)
    worker.tell(do="pause")
    await stream.expect("capacity", where=lambda capacity: capacity.slots == 0)
    beat = await stream.beats(2)
    assert list(beat.held) == [1], f"the heartbeat names {sorted(beat.held)}"
    worker.release(id_of(1))
    await stream.outcome(1)
    worker.tell(do="resume")
    await stream.expect("capacity", where=lambda capacity: capacity.slots == 3)


@case(
    "receipt-bare",
    "Within 20 ms of a delivery a receipt is on its way, whatever its jobs do (median of nine).",
    "LeaseRequest.last_delivery",
    short=True,
)
async def receipt_bare(stage: Stage) -> None:
    _, stream = await stage.begin(interval=5, slots=27)
    # A machine that builds beside it is slow for a moment: then the next nine count.
    for first in (1, 10, 19):
        for number in range(first, first + 9):
            stream.deliver(job(number, {"do": "hold"}, attempt=1))
            await stage.started(number)
            await stream.expect("receipt")
        # 20 ms are the worker's; the rest is for the way there and back on a machine that is busy.
        if sorted(stream.delays[-9:])[4] < 0.035:
            return
    raise AssertionError(f"receipts took {[round(delay * 1e3) for delay in stream.delays]} ms")


@case(
    "receipt-first",
    "The receipt of an attempt after the first is on its way before its handler begins, which may end the process.",
    "LeaseRequest.last_delivery",
    short=True,
)
async def receipt_first(stage: Stage) -> None:
    _, stream = await stage.begin(interval=5)
    for seq, attempt in enumerate(range(2, 11), start=1):
        # It ends at once: what tells the outcome is the first frame that tells of a handler.
        stream.deliver(job(attempt))
        await stream.outcome(attempt)
        first = next(frame for _, frame in stream.received if frame.last_delivery >= seq)
        said = first.WhichOneof("frame") or "receipt"
        assert said != "settle", f"the receipt of attempt {attempt} came with the outcome of its handler"


@case(
    "receipt-death",
    "Where such a handler ends its process at once, the receipt has left it before (two of three).",
    "LeaseRequest.last_delivery",
)
async def receipt_death(stage: Stage) -> None:
    arrived = 0
    for number in range(2, 5):
        worker, stream = await stage.begin(interval=5)
        stream.deliver(job(number, {"do": "die"}))
        await worker.exit()
        await stream.ended.wait()
        arrived += any(frame.last_delivery for _, frame in stream.received)
    # No library promises more than that it has begun to write.
    assert arrived >= 2, f"{arrived} receipts of 3 arrived"


@case(
    "receipt-always",
    "Every later frame says the last delivery too.",
    "LeaseRequest.last_delivery",
)
async def receipt_always(stage: Stage) -> None:
    _, stream = await stage.holding(1)
    stream.deliver(job(2), job(3, {"do": "fail", "error": "no"}))
    await stream.outcomes(2, 3)
    await stream.beats(2)
    last = [frame.last_delivery for _, frame in stream.received]
    assert last[-1] == 2, f"last_delivery was {last}"
