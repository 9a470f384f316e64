"""How a worker leaves."""

from __future__ import annotations

from ..case import case
from ..stage import Stage, id_of, job


@case(
    "drain",
    "On SIGTERM it sends Drain, lets handlers finish, settles, takes Goodbye, and exits with 0.",
    "Drain, Goodbye",
    short=True,
)
async def drain(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    worker.terminate()
    await stream.expect("drain")
    await stream.beats(2)
    assert not worker.said("handler_cancelled"), "it stopped a handler within the grace"
    worker.release(id_of(1))
    assert (await stream.outcome(1)).WhichOneof("outcome") == "success"
    assert await worker.exit() == 0, f"its exit code is not 0\n{worker.tail()}"
    assert worker.said("ended"), "it printed no `ended`"


@case(
    "drain-crossed",
    "A job that crosses Drain on the wire is not started, but released.",
    "Drain",
    short=True,
)
async def drain_crossed(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    worker.terminate()
    await stream.expect("drain")
    stream.deliver(job(2))
    found = await stream.outcome(2)
    assert found.WhichOneof("outcome") == "release", f"the outcome is {found.WhichOneof('outcome')}"
    assert not worker.said("handler_started", job=id_of(2)), "it was started"
    worker.release(id_of(1))
    await stream.outcome(1)
    assert await worker.exit() == 0, "its exit code is not 0"


@case(
    "drain-grace",
    "When its grace is over it stops its handlers, gives their jobs back as released, and exits with 0.",
    "Drain, Release",
    short=True,
)
async def drain_grace(stage: Stage) -> None:
    worker, stream = await stage.holding(1, shutdown_grace_s=0.5)
    worker.terminate()
    await stream.expect("drain")
    await worker.event("handler_cancelled", job=id_of(1), reason="shutdown")
    outcome = await stream.outcome(1)
    assert outcome.WhichOneof("outcome") == "release", f"the outcome is {outcome.WhichOneof('outcome')}"
    assert await worker.exit() == 0, "its exit code is not 0"


@case(
    "drain-deaf",
    "A handler that does not stop at the end of the grace does not keep its job: it is released all the same.",
    "Drain, Release",
)
async def drain_deaf(stage: Stage) -> None:
    worker, stream = await stage.begin(shutdown_grace_s=0.5)
    stream.deliver(job(1, {"do": "hold"}, on_cancel="ignore"))
    await stage.started(1)
    worker.terminate()
    await worker.event("handler_cancelled", job=id_of(1), reason="shutdown")
    outcome = await stream.outcome(1)
    assert outcome.WhichOneof("outcome") == "release", f"the outcome is {outcome.WhichOneof('outcome')}"
    assert not worker.said("handler_ended"), "it waited for the handler"


@case(
    "drain-again",
    "A worker whose stream breaks while it drains resumes, drains on the new stream, and leaves with 0.",
    "Drain, Resume",
)
async def drain_again(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    worker.terminate()
    await stream.expect("drain")
    stream.end()
    second = await stage.server.stream()
    await second.welcome(token="token-2")
    await second.expect("drain")
    worker.release(id_of(1))
    await second.outcome(1)
    assert await worker.exit() == 0, "its exit code is not 0"


@case("drain-idle", "A worker that holds nothing leaves at once.", "Drain, Goodbye")
async def drain_idle(stage: Stage) -> None:
    worker, stream = await stage.begin()
    worker.terminate()
    await stream.expect("drain")
    # Half of its grace: it has not waited for that.
    assert await worker.exit(within=15) == 0, "its exit code is not 0"


@case(
    "goodbye-unasked",
    "A Goodbye that it did not ask for ends the session: handlers are stopped, and a new session is opened.",
    "Goodbye",
)
async def goodbye_unasked(stage: Stage) -> None:
    worker, stream = await stage.holding(1)
    stage.ledger.forget()
    stream.send(goodbye={})
    await worker.event("handler_cancelled", job=id_of(1), reason="revoked")
    second = await stage.server.stream()
    hello = await second.welcome(token="token-of-another")
    assert not hello.HasField("resume"), "it resumes a session that is over"
    second.deliver(job(101))
    await second.outcome(101)
