"""How a worker moves from one server to another."""

from __future__ import annotations

import asyncio
import time

import grpc

from jobqueue.v1 import lease_pb2 as pb

from ..case import case
from ..server import duration
from ..stage import Stage, id_of, job


@case(
    "goaway-overlap",
    "On GoAway it opens another stream, and lets the old one go only after the Welcome; heartbeats go on meanwhile.",
    "GoAway",
    servers=2,
    short=True,
)
async def goaway_overlap(stage: Stage) -> None:
    worker, stream = await stage.holding(1, 2)
    stream.send(go_away=pb.GoAway(drain=duration(20), reason="DRAINING"))
    second = await stage.server.stream()
    assert second.server != stream.server, "it came back to the same server, though there is another"
    await stream.beats(2)
    assert not stream.ended.is_set(), "the old stream was let go before the new one was welcomed"
    hello = await second.welcome(token="token-2")
    assert sorted(each.lease_id for each in hello.resume.held) == [1, 2], "Resume does not name what it holds"
    await second.beats(1)
    await stream.ended.wait()
    worker.release(id_of(1), id_of(2))
    await second.outcomes(1, 2)
    assert not worker.said("handler_cancelled"), "a handler was stopped"


@case(
    "goaway-quiet",
    "A planned move is no warning in its log, also where the old stream ends before the Welcome; a loss is one.",
    "GoAway",
    servers=2,
    short=True,
)
async def goaway_quiet(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stream.send(go_away=pb.GoAway(drain=duration(20), reason="MAX_AGE"))
    second = await stage.server.stream()
    await second.expect("hello")
    # So it ends where the server takes the session over: sooner than its Welcome comes, as often as not.
    stream.end(grpc.StatusCode.ABORTED, "SESSION_SUPERSEDED")
    await stream.ended.wait()
    await asyncio.sleep(0.2)  # only for a worker that is wrong: so long its log has time to say so
    second.welcomes("token-2")
    await second.beats(2)
    assert not worker.warnings(), f"a planned move is in its log as {worker.warnings()}"
    second.end()
    third = await stage.server.stream()
    await third.welcome(token="token-3")
    await third.beats(1)
    assert worker.warnings(), f"the loss of a stream is no warning in its log:\n{worker.tail()}"
    worker.release(id_of(1))
    await third.outcome(1)


@case(
    "goaway-after",
    "It waits for `reconnect_after`, and settles on the old stream meanwhile.",
    "GoAway.reconnect_after",
    servers=2,
)
async def goaway_after(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    asked = time.monotonic()
    stream.send(go_away=pb.GoAway(drain=duration(20), reconnect_after=duration(1), reason="MAX_AGE"))
    worker.release(id_of(1))
    await stream.outcome(1)
    assert len(stage.server.tries) == 1, "it did not wait"
    second = await stage.server.stream()
    waited = second.opened - asked
    assert waited >= 0.95, f"it waited {waited:.2f} s of 1 s"
    await second.welcome(token="token-2")


@case(
    "goaway-nowhere",
    "If no other server takes it, it stays: heartbeats and settlements go on, and it keeps trying.",
    "GoAway",
)
async def goaway_nowhere(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stage.server.refuses = lambda _: grpc.StatusCode.UNAVAILABLE
    stream.send(go_away=pb.GoAway(reason="DATABASE_AWAY"))
    await stage.tries(1)
    await stream.beats(4)
    worker.release(id_of(1))
    await stream.outcome(1)
    assert not stream.ended.is_set(), "it let its only stream go"
    second = await stage.lets_in()
    hello = await second.welcome(token="token-2")
    assert hello.HasField("resume"), "it opened a new session"
    await stream.ended.wait()


@case(
    "goaway-crossed",
    "What comes on the old stream after Hello on the new one is not begun: Hello does not name it, so it goes back.",
    "Resume.held",
    servers=2,
)
async def goaway_crossed(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stream.send(go_away=pb.GoAway(drain=duration(20), reason="DRAINING"))
    second = await stage.server.stream()
    await second.expect("hello")
    stream.deliver(job(2))
    await stream.beats(2)
    assert not worker.said("handler_started", job=id_of(2)), "it was begun"
    second.welcomes("token-2")
    await second.beats(3)
    assert not worker.said("handler_started", job=id_of(2)), "it was begun"
    worker.release(id_of(1))
    found = await second.outcomes(1)
    assert found.keys() == {1}, f"the outcomes are of {sorted(found)}"


@case(
    "goaway-crossed-stay",
    "If the new stream is then refused, what crossed is given back and not begun: the session may have gone there.",
    "Resume.held",
    servers=2,
    short=True,
)
async def goaway_crossed_stay(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stream.send(go_away=pb.GoAway(drain=duration(20), reason="DRAINING"))
    second = await stage.server.stream()
    await second.expect("hello")
    stream.deliver(job(2))
    await stream.beats(3)  # it has read it
    stage.server.refuses = lambda _: grpc.StatusCode.UNAVAILABLE
    second.end()
    outcome = (await stream.outcome(2)).WhichOneof("outcome")
    assert outcome == "release", f"the outcome is {outcome}"
    assert not worker.said("handler_started", job=id_of(2)), "it was begun"


@case(
    "pong-missing",
    "Without a Pong for two intervals it connects elsewhere, and resumes.",
    "Pong",
    servers=2,
    short=True,
)
async def pong_missing(stage: Stage) -> None:
    worker, stream = await stage.holding(1, interval=0.5)
    await stream.beats(1)
    stream.pongs = False
    silent = time.monotonic()
    answered = len(stream.all("heartbeat"))
    second = await stage.server.stream()
    took = second.opened - silent
    assert took > 0.4, f"it took {took:.1f} s, with heartbeats every 0.5 s"
    # Two without an answer, and one that is under way. They are counted, since a machine may be as late as it likes.
    unanswered = len(stream.all("heartbeat")) - answered
    assert unanswered <= 3, f"it sent {unanswered} heartbeats that were not answered"
    assert second.server != stream.server, "it came back to the same server, though there is another"
    hello = await second.welcome(token="token-2")
    assert [each.lease_id for each in hello.resume.held] == [1], "Resume does not name what it holds"
    worker.release(id_of(1))
    await second.outcome(1)


@case(
    "credentials-expired",
    "Asked to connect anew since its credentials have expired, it resumes; refused meanwhile, it soon tries again.",
    "GoAway.reason",
    short=True,
)
async def credentials_expired(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stage.server.refuses = lambda _: grpc.StatusCode.UNAUTHENTICATED
    stream.send(go_away=pb.GoAway(reason="CREDENTIALS_EXPIRED"))
    await stream.beats(1)
    second = await stage.lets_in()
    hello = await second.welcome(token="token-2")
    assert [each.lease_id for each in hello.resume.held] == [1], "Resume does not name what it holds"
    worker.release(id_of(1))
    await second.outcome(1)
    assert not worker.said("handler_cancelled"), "a handler was stopped"


@case(
    "credentials-anew",
    "Each stream shows a token that was asked for anew: after the old one was refused, and after any break.",
    "Hello",
    short=True,
)
async def credentials_anew(stage: Stage) -> None:
    worker, first = await stage.holding(1, tokens=True)
    first.end(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_EXPIRED", "the token has expired")
    second = await stage.server.stream()
    await second.welcome(token="token-2")
    await second.beats(1)
    second.end()
    third = await stage.server.stream()
    hello = await third.welcome(token="token-3")
    assert [each.lease_id for each in hello.resume.held] == [1], "Resume does not name what it holds"
    worker.release(id_of(1))
    await third.outcome(1)
    shown = stage.server.shown
    assert all(each.startswith("Bearer token-") for each in shown), f"it showed {shown}"
    assert len(set(shown)) == len(shown) >= 3, f"a token was shown twice: {shown}"


@case(
    "credentials-refused",
    "A server that ends its stream as UNAUTHENTICATED, and refuses the next one so too, is left alone for 30 s.",
    "Hello",
    short=True,
)
async def credentials_refused(stage: Stage) -> None:
    worker, stream = await stage.begin()
    stage.server.refuses = lambda _: grpc.StatusCode.UNAUTHENTICATED
    stream.end(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_REVOKED", "the key was revoked")
    await stage.tries(1)  # it asks again, with what could be a new token
    # Any other wait is 5 s at most.
    await asyncio.sleep(7)
    assert len(stage.server.tries) == 2, f"it tried {len(stage.server.tries) - 1} times within 7 s"
    assert any("credentials" in line for line in worker.warnings()), (
        f"no warning names them:\n{worker.tail()}"
    )


@case(
    "issuer-away",
    "A server that can't read the issuer's keys is asked again soon; what was held is held on.",
    "Resume",
    short=True,
)
async def issuer_away(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stage.server.reason = "ISSUER_AWAY"
    stage.server.refuses = lambda _: grpc.StatusCode.UNAVAILABLE
    stream.end(grpc.StatusCode.UNAVAILABLE, "ISSUER_AWAY", "the keys of the issuer of tokens can't be read")
    await stage.tries(1)
    second = await stage.lets_in()
    hello = await second.welcome(token="token-2")
    assert [each.lease_id for each in hello.resume.held] == [1], "Resume does not name what it holds"
    worker.release(id_of(1))
    await second.outcome(1)
    assert not worker.said("handler_cancelled"), "a handler was stopped"
