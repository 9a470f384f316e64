"""How outcomes are told, and what their answers mean."""

from __future__ import annotations

import base64
import json
import time

import grpc

from ..case import case
from ..server import Result, Stream
from ..stage import Stage, id_of, job


@case(
    "settle-outcomes",
    "Success with and without output, failure, permanent failure, snooze: each as the handler ended.",
    "Outcome",
    short=True,
)
async def settle_outcomes(stage: Stage) -> None:
    _, stream = await stage.begin(slots=8)
    output = {"text": "ä€𝄞", "list": [1, 2.5, None, True]}
    stream.deliver(
        job(1),
        job(2, {"do": "succeed", "output": output}),
        job(3, {"do": "fail", "error": "not this time"}),
        job(4, {"do": "fail", "error": "later", "retry_after_s": 90}),
        job(5, {"do": "discard", "error": "never"}),
        job(6, {"do": "snooze", "delay_s": 60}),
    )
    found = await stream.outcomes(1, 2, 3, 4, 5, 6)
    plain = [settle for settle in stream.all("settle") if 1 in settle.succeeded]
    assert plain, "a success without output is not in `succeeded`"
    assert json.loads(found[2].success.output_json) == output, (
        f"the output is {found[2].success.output_json!r}"
    )
    assert "not this time" in found[3].failure.error, f"the error is {found[3].failure.error!r}"
    assert not found[3].failure.permanent, "a failure is said to be permanent"
    assert not found[3].failure.HasField("retry_after"), "a failure has a wait that nobody asked for"
    assert found[4].failure.retry_after.ToSeconds() == 90, f"retry_after is {found[4].failure.retry_after}"
    assert found[5].failure.permanent, "a permanent failure is not"
    assert "never" in found[5].failure.error, f"the error is {found[5].failure.error!r}"
    assert found[6].snooze.delay.ToSeconds() == 60, f"the snooze is {found[6].snooze.delay}"


@case(
    "pause-key",
    "A failure whose handler pauses its key says for how long, a day at most; one that does not leaves it out.",
    "Outcome.pause_key",
)
async def pause_key(stage: Stage) -> None:
    _, stream = await stage.begin(slots=8)
    stream.deliver(
        job(1, {"do": "fail", "error": "429", "retry_after_s": 90, "pause_key": True}),
        job(2, {"do": "fail", "error": "429", "retry_after_s": 90, "pause_key": False}),
        job(3, {"do": "fail", "error": "429", "retry_after_s": 259_200, "pause_key": True}),
    )
    outcomes = await stream.outcomes(1, 2, 3)
    found = [outcomes[number] for number in (1, 2, 3)]
    paused = [each.pause_key.ToSeconds() if each.HasField("pause_key") else None for each in found]
    assert paused == [90, None, 86_400], f"the pauses are {paused}"
    waits = [each.failure.retry_after.ToSeconds() for each in found]
    assert waits == [90, 90, 259_200], f"the waits are {waits}"


@case(
    "settle-follow-ups", "Follow-ups go with the success, their payload byte for byte.", "Success.follow_ups"
)
async def settle_follow_ups(stage: Stage) -> None:
    _, stream = await stage.begin()
    payload = '{"n": 12345678901234567890}'
    stream.deliver(job(1, *({"do": "follow_up", "kind": f"next{n}", "payload": payload} for n in (1, 2))))
    success = (await stream.outcome(1)).success
    found = [(each.kind, each.payload_json) for each in success.follow_ups]
    assert found == [("next1", payload.encode()), ("next2", payload.encode())], f"follow-ups are {found}"


@case(
    "progress",
    "Progress is told while the handler runs, and the newest checkpoint before the outcome: the next attempt wants it.",
    "Progress",
)
async def progress(stage: Stage) -> None:
    worker, stream = await stage.begin()
    first, last = b"\x00\xffhalf", b"\x00\xffmore"
    stream.deliver(
        job(
            1,
            {"do": "progress", "fraction": 0.5, "message": "half of it"},
            {"do": "checkpoint", "data_base64": base64.b64encode(first).decode()},
            {"do": "hold"},
            {"do": "checkpoint", "data_base64": base64.b64encode(last).decode()},
            {"do": "fail", "error": "go on from there"},
        )
    )
    await stage.started(1)
    await stream.expect("progress", where=lambda said: said.HasField("fraction"))
    await stream.beats(1)
    assert _told(stream, "fraction") == [0.5], f"fractions are {_told(stream, 'fraction')}"
    assert _told(stream, "checkpoint") == [first], f"checkpoints are {_told(stream, 'checkpoint')}"
    worker.release(id_of(1))
    await stream.outcome(1)
    assert _told(stream, "checkpoint") == [first, last], (
        "the newest checkpoint was not told before the outcome"
    )


def _told(stream: Stream, name: str) -> list[object]:
    return [getattr(said, name) for said in stream.all("progress") if said.HasField(name)]


@case(
    "settle-packs",
    "While an answer is awaited outcomes gather: 2,500 quick jobs take few frames, none of more than 1,000.",
    "Settle",
)
async def settle_packs(stage: Stage) -> None:
    worker, stream = await stage.begin(interval=5, slots=2500)
    stream.answers = False
    stream.deliver(job(2500))
    first = await stream.expect("settle")
    stream.deliver(*(job(number) for number in range(1, 2500)))
    await worker.count("handler_ended", 2500)
    stream.answer(first)
    stream.answers = True
    await stream.outcomes(*range(1, 2500))
    frames = len(stream.all("settle"))
    assert frames <= 250, f"2500 outcomes took {frames} frames"


@case(
    "settle-final",
    "APPLIED, ALREADY_APPLIED, STALE_LEASE, NOT_FOUND and a verdict of a later version end the matter: not sent again.",
    "SettleResult.Verdict",
    short=True,
)
async def settle_final(stage: Stage) -> None:
    _, stream = await stage.begin(slots=8)
    verdicts = {1: 1, 2: Result.ALREADY_APPLIED, 3: Result.STALE_LEASE, 4: Result.NOT_FOUND, 5: 99}
    stream.verdicts = lambda number: verdicts[number]
    stream.deliver(*(job(number) for number in (1, 2, 3, 4, 5)))
    await stream.outcomes(1, 2, 3, 4, 5)
    beat = await stream.beats(3)
    assert not beat.held, f"the heartbeat still names {sorted(beat.held)}"
    # And not on the next stream either.
    stream.end()
    second = await stage.server.stream()
    hello = await second.welcome(token="token-2")
    named = [each.lease_id for each in (*hello.resume.held, *hello.resume.unanswered)]
    assert not named, f"Resume names {named}"
    await second.beats(2)
    assert not second.all("settle"), "an outcome was sent again"


@case(
    "settle-invalid",
    "A lease whose outcome is called INVALID is settled otherwise.",
    "SettleResult.Verdict.INVALID",
    short=True,
)
async def settle_invalid(stage: Stage) -> None:
    _, stream = await stage.begin()
    verdicts = iter([Result.INVALID])
    stream.verdicts = lambda _: next(verdicts, Result.APPLIED)
    stream.deliver(job(1, {"do": "succeed", "output": "refused"}))
    await stream.outcome(1)
    second = await stream.outcome(1)
    assert second.WhichOneof("outcome") in ("failure", "release"), (
        f"it says {second.WhichOneof('outcome')} again"
    )


@case(
    "settle-try-again",
    "An outcome that is answered TRY_AGAIN is sent again, the same, after a wait, until it is taken.",
    "SettleResult.Verdict.TRY_AGAIN",
)
async def settle_try_again(stage: Stage) -> None:
    _, stream = await stage.begin()
    stream.verdicts = lambda _: Result.TRY_AGAIN
    stream.deliver(job(1, {"do": "succeed", "output": 5}))
    first = await stream.outcome(1)
    sent = time.monotonic()
    assert await stream.outcome(1) == first, "it is another outcome"
    assert time.monotonic() - sent > 0.02, "it was sent again without a wait"
    stream.verdicts = lambda _: Result.APPLIED
    assert await stream.outcome(1) == first, "it is another outcome"
    await stream.beats(2)


@case(
    "settle-slow-answer",
    "Without an answer an outcome is kept, and not sent again on the same stream.",
    "Settle",
)
async def settle_slow_answer(stage: Stage) -> None:
    _, stream = await stage.begin()
    stream.answers = False
    stream.deliver(job(1))
    settle = await stream.expect("settle")
    await stream.beats(5)
    stream.answer(settle)
    stream.answers = True
    stream.deliver(job(2))
    await stream.outcome(2)


_TOO_LARGE = (grpc.StatusCode.INVALID_ARGUMENT, "BODY_TOO_LARGE")


@case(
    "settle-too-large",
    "After BODY_TOO_LARGE it settles one a frame; an outcome that is refused alone becomes a failure with its size.",
    "Errors of Lease",
    short=True,
)
async def settle_too_large(stage: Stage) -> None:
    _, lost = await stage.begin(slots=100)
    lost.answers = False
    outputs = {number: {"do": "succeed", "output": "x" * 1000 * number} for number in (1, 2, 3)}
    lost.deliver(job(9), *(job(number, step) for number, step in outputs.items()))
    first = await lost.outcomes(1, 2, 3, 9)
    lost.end()

    # How many frames these were is a matter of luck. On a new stream all that was not answered goes in one.
    stream = await stage.server.stream()
    stream.answers = False
    await stream.welcome(token="token-2")
    await stream.outcomes(1, 2, 3, 9)
    counts = [len(settle.outcomes) + len(settle.succeeded) for settle in stream.all("settle")]
    assert counts == [4], f"what was not answered came in frames of {counts} outcomes"
    stream.end(*_TOO_LARGE, words="the frame has more bytes than the server takes")

    second = await stage.server.stream()
    second.answers = False
    hello = await second.welcome(token="token-3")
    unanswered = sorted(each.lease_id for each in hello.resume.unanswered)
    assert unanswered == [1, 2, 3, 9], f"Resume names {unanswered}"
    again = await second.outcomes(1, 2, 3, 9)
    assert all(again[number] == first[number] for number in (1, 2, 3)), "it is another outcome"
    counts = [len(settle.outcomes) + len(settle.succeeded) for settle in second.all("settle")]
    assert counts == [1, 1, 1, 1], f"after a frame that was too large frames hold {counts} outcomes"
    for settle in second.all("settle"):
        if {each.lease_id for each in settle.outcomes} & {1} or settle.succeeded:
            second.answer(settle)
    await second.beats(3)  # it has read the answers
    second.end(*_TOO_LARGE, words="the frame has more bytes than the server takes")

    # Which of the two it was it knows by their size.
    third = await stage.server.stream()
    hello = await third.welcome(token="token-4")
    unanswered = sorted(each.lease_id for each in hello.resume.unanswered)
    assert unanswered == [2, 3], f"Resume names {unanswered}"
    last = await third.outcomes(2, 3)
    assert last[2] == first[2], "an outcome that was not too large is another one"
    assert last[3].WhichOneof("outcome") == "failure", "an outcome that is too large alone is sent again"
    size = str(first[3].ByteSize())
    assert size in last[3].failure.error, f"{last[3].failure.error!r} does not say that it had {size} bytes"
    assert not last[3].failure.permanent, "a failure is said to be permanent"
    await third.beats(2)
    assert len(third.all("settle")) == 2, "an outcome was sent again"
