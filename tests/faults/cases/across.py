"""Two servers on one database: what passes between them, and one that loses it."""

from __future__ import annotations

import asyncio
import time

import grpc.aio

from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.faults.case import case
from tests.faults.journal import Event
from tests.faults.stage import Stage

TTL = 5.0


@case("across_servers", "enqueued and cancelled on one server, run on another: told at once", bound=90)
async def across_servers(stage: Stage) -> None:
    await told_across(stage, "on", to_start=0.5, to_cancel=0.5)


@case(
    "across_servers_by_polling", "the same without notices between servers: within a second or so", bound=90
)
async def across_servers_by_polling(stage: Stage) -> None:
    # Each looks once a second.
    await told_across(stage, "off", to_start=1.5, to_cancel=1.5)


async def told_across(stage: Stage, notify: str, *, to_start: float, to_cancel: float) -> None:
    """Enqueues and cancels on one server what runs on the other; the limits are in seconds."""
    stage.explained = {Exit.CANCELLED}
    await stage.database()
    first, second = [await stage.server(name, notify=notify) for name in ("first", "second")]
    await stage.workers(["w"], first.address, slots=4, ttl=TTL)
    there = stage.producer(second.address)
    await there.put()
    await stage.started(1)

    async def seen(what: str, id: str) -> Event:
        """What a handler noted of a job."""
        events = lambda: [event for event in stage.events(what) if event.id == id]  # noqa: E731
        found: list[Event] = await stage.until(events, f"a job that {what}", 35)
        return found[0]

    waits = []
    for _ in range(stage.count(10, 3)):
        at = time.time()
        waits.append((await seen("started", await there.put())).at - at)
    stage.figure("enqueue to start elsewhere, most", max(waits), to_start)
    cancels = []
    for _ in range(stage.count(5, 2)):
        id = await there.put(gate="never")
        await seen("started", id)
        at = time.time()
        stage.journal.note("cancel_asked", id=id)
        await there.cancel(id)
        end = await seen("ended", id)
        assert end.how == "cancel", end
        cancels.append(end.at - at)
    stage.figure("cancel to handler elsewhere, most", max(cancels), to_cancel)
    await stage.over()
    cancelled = await stage.value(
        "select count(*) from finished_job where status = $1", int(Status.CANCELLED)
    )
    assert cancelled == len(cancels), f"{cancelled} of {len(cancels)} are CANCELLED"


@case(
    "server_cut_off",
    "one server of two can't reach the database: its workers go to the other, no job harmed",
    bound=90,
)
async def server_cut_off(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    to_database, dsn = await stage.database_proxy()
    first, second = await stage.server("first", dsn), await stage.server("second")
    gate = stage.folder / "gate"
    await stage.workers(["w0", "w1"], first.address, second.address, slots=4, ttl=TTL)
    here, there = stage.producer(first.address), stage.producer(second.address)
    await here.put_many(8, gate=str(gate))
    await stage.started(8)
    at = stage.fault("the first server can't reach the database")
    to_database.black_hole()

    def moved() -> float:
        back = {event.who: event.at for event in stage.events("welcome", since=at)}
        return max(back.values()) if len(back) == 2 else 0

    # A server that could not renew for 8 s sends GoAway; its heartbeat is tried for 2 s each half second.
    stage.figure("silence to workers moved", await stage.until(moved, "both workers elsewhere", 30) - at, 14)
    started = time.monotonic()
    try:
        await here.put(timeout=20)
        raise AssertionError("acknowledged without a database")
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
    stage.figure("refusal of the one cut off", time.monotonic() - started, 13)
    await there.put_many(20)
    gate.touch()
    await stage.over()
    # Longer than ttl and 12 s: the sessions that it may still count as its own are not its to end.
    await asyncio.sleep(12)
    back_at = stage.fault("the database can be reached again")
    to_database.passing()
    to_database.reset()

    async def serves() -> bool:
        try:
            await here.put(timeout=5)
            return True
        except grpc.aio.AioRpcError:
            return False

    await stage.until(serves, "service of the one that was cut off", 20)
    stage.figure("back to the first OK", time.time() - back_at, 2)
    await stage.over()
    harmed = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs harmed", harmed, 0, "")
