"""Workers of each language under load: killed, moved between servers, drained. A case of each for each language."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status
from tests.conformance.languages import languages
from tests.faults.case import case
from tests.faults.stage import Stage

TTL = 5.0
# The handler goes on when its beginning has been noted and its time is over.
HOLD = [{"do": "hold"}]


async def killed(stage: Stage, language: str) -> None:
    """kill -9 of a worker under load, again and again."""
    stage.explained = {Exit.LOST, Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    await stage.workers(["stayer"], server.address, language=language, ttl=TTL)
    [victim] = await stage.workers(["victim-0"], server.address, language=language, ttl=TTL)
    async with stage.producer(server.address).load(60, seconds=0.05, steps=HOLD) as acknowledged:
        for number in range(1, 1 + stage.count(4, 1)):
            await stage.started(20, who=victim.name)
            await asyncio.sleep(stage.random.uniform(0, 0.5))
            stage.fault(f"kill -9 of {victim.name}")
            victim.kill()
            [victim] = await stage.workers([f"victim-{number}"], server.address, language=language, ttl=TTL)
    await stage.over()
    stage.figure("acknowledged", len(acknowledged), unit="")
    ends = await stage.sql("select status, failures, losses, count(*) from finished_job group by 1, 2, 3")
    assert {(row["status"], row["failures"]) for row in ends} == {(Status.SUCCEEDED, 0)}, ends
    # A worker of 8 slots can lose no more than it held.
    lost = sum(row["losses"] * row["count"] for row in ends)
    stage.figure("losses charged", lost, 8 * stage.count(4, 1), "")


async def moved(stage: Stage, language: str) -> None:
    """Servers that leave, and servers that are killed, under load: its workers go on elsewhere with what they hold."""
    # A delivery that crosses a move or was on its way when the server died goes back unstarted.
    stage.explained = {Exit.UNDELIVERED, Exit.RELEASE}
    await stage.database()
    servers = [await stage.server(name, shutdown_grace="3s") for name in ("first", "second")]
    addresses = [server.address for server in servers]
    for number in range(2):
        order = addresses[number:] + addresses[:number]
        await stage.workers([f"w{number}"], *order, language=language, slots=8, ttl=10)
    producers = [stage.producer(address) for address in addresses]
    async with (
        producers[0].load(30, seconds=0.05, steps=HOLD) as here,
        producers[1].load(30, seconds=0.05, steps=HOLD) as there,
        producers[1].load(2, seconds=3, steps=HOLD) as long_there,
    ):
        await stage.started(30)
        for number in range(stage.count(4, 2)):
            which, kill = (0, 1, 1, 0)[number % 4], number % 2 == 1
            stage.fault(f"{'kill -9' if kill else 'SIGTERM'} of server {which + 1}")
            if kill:
                servers[which].kill()
            else:
                servers[which].terminate()
                assert await servers[which].ended() == 0
            servers[which] = await stage.server(
                f"server-{number}", grpc_addr=addresses[which], shutdown_grace="3s"
            )
            await asyncio.sleep(stage.random.uniform(0.5, 1.5))
    await stage.over()
    stage.figure("acknowledged", len(here) + len(there) + len(long_there), unit="")
    stage.figure("moves", len(stage.events("welcome")) - 2, unit="")
    interrupted = [event for event in stage.events("ended") if event.how != "returned"]
    stage.figure("handlers interrupted", len(interrupted), 0, "")
    starts = [event.id for event in stage.events("started")]
    stage.figure("jobs that ran twice", len(starts) - len(set(starts)), 0, "")
    harmed = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs charged", harmed, 0, "")


async def drained(stage: Stage, language: str) -> None:
    """SIGTERM of a worker under load: what ends within its grace ends there, what does not starts elsewhere."""
    stage.explained = {Exit.RELEASE, Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    gate = stage.folder / "gate"
    [leaver] = await stage.workers(["leaver"], server.address, language=language, ttl=TTL, grace=1)
    producer = stage.producer(server.address)
    stuck = await producer.put_many(4, gate=str(gate), steps=HOLD)
    await stage.started(4)
    await stage.workers(["stayer"], server.address, language=language, ttl=TTL)
    async with producer.load(40, seconds=0.1, steps=HOLD):
        await stage.started(8, who="leaver")
        at = stage.fault("SIGTERM of the worker")
        leaver.terminate()
        code = await leaver.ended()
        assert code == 0, f"the worker ended with {code}"

        def elsewhere() -> float:
            starts = {event.id: event.at for event in stage.events("started", who="stayer")}
            return max(starts[id] for id in stuck) if starts.keys() >= set(stuck) else 0

        begun = await stage.until(elsewhere, "a start elsewhere of what did not end")
        stage.figure("SIGTERM to redelivery", begun - at, 1 + 2)
    gate.touch()
    await stage.over()
    twice = [event.id for event in stage.events("started") if event.attempt == 2]
    stage.figure("jobs that ran twice", len(set(twice) - set(stuck)), 0, "")
    charged = await stage.value("select count(*) from finished_job where failures + losses > 0")
    stage.figure("jobs charged", charged, 0, "")


_KINDS: tuple[tuple[str, Callable[[Stage, str], Awaitable[None]], str], ...] = (
    (
        "killed",
        killed,
        "kill -9 of a {} worker under load, again and again: nothing is lost, nothing runs twice unasked",
    ),
    (
        "moved",
        moved,
        "servers end and are killed under load: {} workers go on elsewhere, no job is interrupted",
    ),
    (
        "drained",
        drained,
        "SIGTERM of a {} worker under load: no job is charged, and what can't end starts elsewhere",
    ),
)


def _of(language: str, run: Callable[[Stage, str], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    return lambda stage: run(stage, language)


for name in languages():
    for kind, run, about in _KINDS:
        case(f"{name}_{kind}", about.format(name), bound=120, language=name)(_of(name, run))
