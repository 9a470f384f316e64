"""How a session survives its streams."""

from __future__ import annotations

import asyncio
import itertools
import time

import grpc

from jobqueue.v1 import lease_pb2 as pb

from ..case import case
from ..stage import Stage, id_of, job


@case(
    "resume-names",
    "After a break it resumes, names exactly what it holds and what is unanswered, and sends the latter again.",
    "Resume",
    short=True,
)
async def resume_names(stage: Stage) -> None:
    worker, stream = await stage.holding(1, 2, 3)
    stream.answers = False
    worker.release(id_of(2))
    await stream.outcome(2)
    await stream.beats(1)
    stream.end()
    second = await stage.server.stream()
    hello = await second.welcome(token="token-2")
    resume = hello.resume
    assert sorted(each.lease_id for each in resume.held) == [1, 3], f"held are {list(resume.held)}"
    assert [each.lease_id for each in resume.unanswered] == [2], f"unanswered are {list(resume.unanswered)}"
    assert resume.last_delivery == 1, f"last_delivery is {resume.last_delivery}"
    await second.outcome(2)
    worker.release(id_of(1), id_of(3))
    await second.outcomes(1, 3)
    assert len(worker.said("handler_started")) == 3, "a handler was started again"


@case(
    "resume-offline",
    "What ends while there is no stream is named as unanswered and sent on the next one.",
    "Resume.unanswered",
)
async def resume_offline(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stage.server.refuses = lambda _: grpc.StatusCode.UNAVAILABLE
    stream.end()
    await stream.ended.wait()
    worker.release(id_of(1))
    await worker.event("handler_ended", job=id_of(1))
    second = await stage.lets_in()
    hello = await second.welcome(token="token-2")
    assert [each.lease_id for each in hello.resume.unanswered] == [1], f"Resume says {hello.resume}"
    await second.outcome(1)


@case(
    "resume-revoked",
    "What Welcome calls revoked is stopped and not settled, held or unanswered; what it kept goes on.",
    "Welcome.revoked",
    short=True,
)
async def resume_revoked(stage: Stage) -> None:
    worker, stream = await stage.holding(1, 2, 3)
    stream.answers = False
    worker.release(id_of(3))
    await stream.outcome(3)
    stream.end()
    second = await stage.server.stream()
    gone = [{"lease_id": number, "job_id": id_of(number), "attempt": number} for number in (1, 3)]
    await second.welcome(
        token="token-2", revoked=gone, kept=[{"lease_id": 2, "job_id": id_of(2), "attempt": 2}]
    )
    await worker.event("handler_cancelled", job=id_of(1), reason="revoked")
    await second.beats(2)
    worker.release(id_of(2))
    await second.outcome(2)


@case(
    "resume-lost-welcome",
    "If no Welcome came it says the same token again; if one came, the new one.",
    "Welcome.session_token",
)
async def resume_lost_welcome(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stream.end()
    for _ in range(2):
        lost = await stage.server.stream()
        hello = await lost.expect("hello")
        assert hello.resume.session_token == "token-1", "it does not know its token any more"
        lost.end()
    third = await stage.server.stream()
    await third.welcome(token="token-3")
    await third.beats(1)
    third.end()
    fourth = await stage.server.stream()
    hello = await fourth.welcome(token="token-4")
    assert hello.resume.session_token == "token-3", "it goes on with an old token"
    worker.release(id_of(1))
    await fourth.outcome(1)


@case(
    "session-unknown",
    "SESSION_UNKNOWN ends the session: its handlers are stopped, nothing of it is settled, and a new one is opened.",
    "Errors of Lease",
    short=True,
)
async def session_unknown(stage: Stage) -> None:
    worker, stream = await stage.holding(1, 2)
    stream.answers = False
    worker.release(id_of(2))
    await stream.outcome(2)
    stream.end()
    refused = await stage.server.stream()
    await refused.expect("hello")
    refused.end(grpc.StatusCode.NOT_FOUND, "SESSION_UNKNOWN")
    await worker.event("handler_cancelled", job=id_of(1), reason="revoked")
    fresh = await stage.server.stream()
    hello = await fresh.welcome(token="token-of-another")
    assert not hello.HasField("resume"), "it resumes a session that is over"
    await fresh.beats(2)
    fresh.deliver(job(101))
    await fresh.outcome(101)


@case(
    "session-ended",
    "SESSION_ENDED means the same, as the answer to a resume and as the end of a stream.",
    "Errors of Lease",
    short=True,
)
async def session_ended(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stream.end(grpc.StatusCode.NOT_FOUND, "SESSION_ENDED")
    await worker.event("handler_cancelled", job=id_of(1), reason="revoked")
    fresh = await stage.server.stream()
    hello = await fresh.welcome(token="token-of-another")
    assert not hello.HasField("resume"), "it resumes a session that has ended"
    fresh.deliver(job(101, {"do": "hold"}))
    await stage.started(101)
    fresh.end()
    refused = await stage.server.stream()
    await refused.expect("hello")
    refused.end(grpc.StatusCode.NOT_FOUND, "SESSION_ENDED")
    await worker.event("handler_cancelled", job=id_of(101), reason="revoked")
    last = await stage.server.stream()
    hello = await last.welcome(token="token-of-a-third")
    assert not hello.HasField("resume"), "it resumes a session that has ended"
    await last.beats(2)


@case(
    "session-goes-on",
    "SESSION_SUPERSEDED and SESSION_SILENT end a stream and not its session, which is resumed.",
    "Errors of Lease",
    short=True,
)
async def session_goes_on(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    for number, reason in enumerate(("SESSION_SUPERSEDED", "SESSION_SILENT"), start=2):
        stream.end(grpc.StatusCode.ABORTED, reason)
        stream = await stage.server.stream()
        hello = await stream.welcome(token=f"token-{number}")
        assert [each.lease_id for each in hello.resume.held] == [1], (
            f"after {reason} Resume says {hello.resume}"
        )
        await stream.beats(1)
    assert not worker.said("handler_cancelled"), "a handler was stopped"
    worker.release(id_of(1))
    await stream.outcome(1)


@case(
    "session-orphans",
    "A handler that outlives its session takes up a slot of the next one until it ends.",
    "Capacity",
)
async def session_orphans(stage: Stage) -> None:
    worker, stream = await stage.begin(slots=3)
    stream.deliver(job(1, {"do": "hold"}, on_cancel="ignore"))
    await stage.started(1)
    stream.end()
    refused = await stage.server.stream()
    await refused.expect("hello")
    refused.end(grpc.StatusCode.NOT_FOUND, "SESSION_UNKNOWN")
    fresh = await stage.server.stream()
    hello = await fresh.welcome(token="token-of-another")
    capacity = hello.capacity if hello.HasField("capacity") else await fresh.expect("capacity")
    assert capacity.slots == 2, f"it says {capacity.slots} slots, while a handler still takes one of 3"
    worker.release(id_of(1))
    await fresh.expect("capacity", where=lambda capacity: capacity.slots == 3)
    await fresh.beats(2)


@case(
    "lost-stops",
    "With `stop_when_lost` it stops its handlers a ttl after it sent the last heartbeat that was answered.",
    "Welcome.session_ttl",
    short=True,
)
async def lost_stops(stage: Stage) -> None:
    ttl = 9
    worker = await stage.start(stop_when_lost=True)
    stream = await stage.server.stream()
    await stream.welcome(interval=2.5, ttl=ttl)
    stream.deliver(job(1, {"do": "hold"}), job(2, {"do": "hold"}, on_cancel="succeed"))
    await stage.started(1, 2)
    await stream.expect("heartbeat", where=lambda beat: beat.seq == 1)
    stream.pongs = False
    beat = await stream.expect("heartbeat", where=lambda beat: beat.seq == 2)
    sent = time.monotonic()
    # So late that it can be told which of the two counts, also where the worker is late by as much as this less a bit:
    # when the heartbeat was sent, not when its answer came. Yet 3 s before the ttl of the first heartbeat is over: that
    # one counts while this one is not answered.
    late = 3.5
    await asyncio.sleep(late)
    stream.send(pong=pb.Pong(seq=beat.seq))
    await stream.expect("heartbeat")
    stage.server.refuses = lambda _: grpc.StatusCode.UNAVAILABLE
    stream.end()
    await worker.event("handler_cancelled", job=id_of(1), reason="lost")
    await worker.event("handler_cancelled", job=id_of(2), reason="lost")
    took = time.monotonic() - sent
    assert ttl - 0.2 < took < ttl + late - 0.3, f"its handlers were told after {took:.1f} s of {ttl} s"
    await worker.count("handler_ended", 2)
    # The server may know the session all the same: what became of the jobs is told it.
    second = await stage.lets_in()
    hello = await second.welcome(token="token-2")
    assert sorted(each.lease_id for each in hello.resume.unanswered) == [1, 2], f"Resume says {hello.resume}"
    outcomes = await second.outcomes(1, 2)
    assert outcomes[1].WhichOneof("outcome") == "release", (
        f"a handler that stopped for it answered {outcomes[1]}"
    )
    assert outcomes[2].WhichOneof("outcome") == "success", f"a handler that was done answered {outcomes[2]}"


@case(
    "lost-runs-on",
    "By default its handlers run on, however long it is cut off: the server may grant an amnesty.",
    "Welcome.session_ttl",
)
async def lost_runs_on(stage: Stage) -> None:
    worker = await stage.start()
    stream = await stage.server.stream()
    await stream.welcome(interval=0.25, ttl=1)
    stream.deliver(job(1, {"do": "hold"}))
    await stage.started(1)
    stage.server.refuses = lambda _: grpc.StatusCode.UNAVAILABLE
    stream.end()
    await asyncio.sleep(2)  # two ttls, in which nothing is to happen
    assert not worker.said("handler_cancelled"), "a handler was stopped by the worker's own clock"
    second = await stage.lets_in()
    hello = await second.welcome(token="token-2")
    assert [each.lease_id for each in hello.resume.held] == [1], f"Resume says {hello.resume}"
    worker.release(id_of(1))
    await second.outcome(1)


@case(
    "restart",
    "A server that goes and comes back at its address finds the session going on.",
    "Resume",
)
async def restart(stage: Stage) -> None:
    worker, _ = await stage.holding(1, 2)
    await stage.server.restart()
    second = await stage.server.stream()
    hello = await second.welcome(token="token-2")
    assert sorted(each.lease_id for each in hello.resume.held) == [1, 2], (
        f"held are {list(hello.resume.held)}"
    )
    worker.release(id_of(1), id_of(2))
    await second.outcomes(1, 2)


_STORM = 4.0


def _calm(tries: list[float], what: str) -> None:
    """Not more often than backoff allows, and not in step with others."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    shown = [round(gap, 2) for gap in gaps]
    assert len(tries) >= 3, f"it did not go on trying after {what}: {shown}"
    # 12 are a wait of a third of a second on average; the first one may be short.
    assert len(tries) <= 16, f"{len(tries)} tries in {_STORM:g} s after {what}: {shown}"
    assert sum(gap < 0.02 for gap in gaps) <= 1, f"it tried again without a wait after {what}: {shown}"
    assert max(gaps) - min(gaps) > 0.02, f"it waits the same each time after {what}: {shown}"


@case(
    "storm-refused",
    "A server that refuses is asked again after waits that grow and differ: at most 16 times in 4 s.",
    "Errors of Lease",
)
async def storm_refused(stage: Stage) -> None:
    _, stream = await stage.begin()
    stage.server.refuses = lambda _: grpc.StatusCode.UNAVAILABLE
    stage.server.tries.clear()
    stream.end()
    await _while_it_storms(stage)
    _calm(stage.server.tries.copy(), "a refusal")
    back = await stage.lets_in()
    await back.welcome(token="token-2")
    await back.beats(1)


@case(
    "storm-welcomed",
    "Nor is a server that welcomes and hangs up asked more often.",
    "Errors of Lease",
)
async def storm_welcomed(stage: Stage) -> None:
    await stage.start()
    tries = stage.server.tries
    ends = None
    number = 0
    while ends is None or time.monotonic() < ends:
        stream = await stage.server.stream()
        number += 1
        await stream.welcome(token=f"token-{number}")
        stream.end()
        await stream.ended.wait()
        ends = ends or tries[0] + _STORM
    _calm([each for each in tries if each <= ends], "a Welcome and a hang-up")


async def _while_it_storms(stage: Stage) -> None:
    try:
        await stage.worker.event("ended", within=_STORM)
    except AssertionError:
        return
    raise AssertionError("it gave up")
