"""What reaches a handler."""

from __future__ import annotations

import base64
import hashlib
import time

from ..case import case
from ..server import duration
from ..stage import Stage, id_of, job


@case(
    "delivery-many",
    "Each of a hundred jobs in one delivery starts one handler, and each is settled.",
    "Delivery",
)
async def delivery_many(stage: Stage) -> None:
    worker, stream = await stage.begin(slots=100)
    stream.deliver(*(job(number) for number in range(1, 101)))
    await stream.outcomes(*range(1, 101))
    await worker.count("handler_ended", 100)
    assert len(worker.said("handler_started")) == 100


@case(
    "delivery-fields",
    "A handler is told id, attempt, kind, queue and checkpoint of its job.",
    "LeasedJob",
)
async def delivery_fields(stage: Stage) -> None:
    worker, stream = await stage.begin(queues=["default", "other"], kinds=["work", "rare"])
    stream.deliver(job(1, kind="rare", attempt=7, queue="other", checkpoint=b"\x00\xffgo on"))
    started = await worker.event("handler_started", job=id_of(1), attempt=7, kind="rare", queue="other")
    checkpoint = base64.b64decode(started["checkpoint_base64"])
    assert checkpoint == b"\x00\xffgo on", f"the checkpoint is {checkpoint!r}"
    await stream.outcome(1)


@case(
    "lease-ids",
    "A lease's number keeps all its 63 bits, in settlements, heartbeats and controls.",
    "LeasedJob.lease_id",
)
async def lease_ids(stage: Stage) -> None:
    worker, stream = await stage.begin()
    big = (2**31 - 1) << 32
    numbers = [big + 1, big + 2, big + 3]
    stream.deliver(*(job(n, {"do": "hold"}, lease=number) for n, number in enumerate(numbers)))
    await stage.started(0, 1, 2)
    beat = await stream.beats(2)
    assert sorted(beat.held) == numbers, f"the heartbeat names {sorted(beat.held)}"
    worker.release(id_of(0))
    stream.cancel(numbers[1])
    await stream.outcomes(*numbers[:2])
    assert not worker.said("handler_ended", job=id_of(2)), "another one was cancelled"


async def _same_bytes(stage: Stage, *texts: str) -> None:
    worker, stream = await stage.begin()
    for number, text in enumerate(texts, start=1):
        raw = text.encode()
        stream.deliver(job(number, payload_json=raw))
        started = await worker.event("handler_started", job=id_of(number))
        assert started["payload_bytes"] == len(raw), f"{started['payload_bytes']} bytes of {len(raw)} arrived"
        assert started["payload_sha256"] == hashlib.sha256(raw).hexdigest(), f"other bytes for {text[:80]!r}"
        await stream.outcome(number)


@case("payload-huge", "A payload of 1 MiB reaches the handler byte for byte.", "LeasedJob.payload_json")
async def payload_huge(stage: Stage) -> None:
    start = '{"steps": [], "text": "'
    await _same_bytes(stage, start + "x" * (1024 * 1024 - len(start) - 2) + '"}')


@case(
    "payload-unicode",
    "Letters of all planes, escapes, half of a surrogate pair and white space reach the handler byte for byte.",
    "LeasedJob.payload_json",
)
async def payload_unicode(stage: Stage) -> None:
    await _same_bytes(
        stage,
        '{"steps":[],"text":"ä€𝄞\u2028\u2029\ufeff é\\u0000 "}',
        r'{"steps":[], "text":"\u00e9\ud834\udd1e \ud800 \/ \" "}',
        ' \n{ "steps" : [ ] ,\t"b":1, "a":2, "b":3 } \r\n',
    )


@case(
    "payload-digits",
    "Numbers of 20 digits and more, zeros after the point, minus zero: byte for byte.",
    "LeasedJob.payload_json",
    short=True,
)
async def payload_digits(stage: Stage) -> None:
    await _same_bytes(
        stage,
        '{"steps":[],"n":12345678901234567890,"m":-98765432109876543210,"x":1.0,"y":-0,"z":1E+2}',
        '{"steps":[],"n":123456789012345678901234567890.123456789012345678901234567890}',
    )


@case(
    "clock-skew",
    "Clocks an hour apart change nothing: the server's decides, and no worker ends or refuses an attempt by its own.",
    "LeasedJob.timeout",
)
async def clock_skew(stage: Stage) -> None:
    worker, stream = await stage.begin()
    now = int(time.time())
    for number, skew in ((1, -3600), (2, 3600)):
        stream.deliver(job(number, {"do": "hold"}, created_at={"seconds": now + skew}, timeout=duration(1)))
    await stage.started(1, 2)
    await stream.beats(8)  # beyond the timeout, which the server alone ends
    assert not worker.said("handler_cancelled"), "it ended the attempt by its own clock"
    worker.release(id_of(1))
    assert (await stream.outcome(1)).WhichOneof("outcome") == "success"
    stream.revoke(2)
    await worker.event("handler_cancelled", job=id_of(2), reason="revoked")
