"""Connections that fall silent, break, stutter and crawl."""

from __future__ import annotations

import asyncio
import time

from jobqueue_server.lifecycle import Event as Exit
from tests.faults.case import case
from tests.faults.proxy import Proxy
from tests.faults.stage import Stage

FOUND_WITHIN = 16.0


@case(
    "half_open",
    "a connection goes silent both ways, and each way alone: found by both ends, no job harmed",
    bound=120,
)
async def half_open(stage: Stage) -> None:
    # What was on its way into the hole goes back uncharged.
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    second = await stage.proxy(server.address)
    firsts = {name: await stage.proxy(server.address) for name in ("both", "up", "down")}
    gate = stage.folder / "gate"
    # The usual ttl of 30 s: heartbeats every 5 s. In a small run the shortest, and more heartbeats.
    ttl = stage.count(30, 5)
    for name, first in firsts.items():
        await stage.workers([name], first.address, second.address, slots=4, ttl=ttl)
    producer = stage.producer(server.address)
    await producer.put_many(12, gate=str(gate))
    await stage.started(12)
    at = stage.fault("silence: both ways, up only, down only")
    firsts["both"].black_hole()
    firsts["up"].one_way(firsts["up"].up)
    firsts["down"].one_way(firsts["down"].down)
    found: dict[str, float] = {}

    async def all_found() -> bool:
        rows = await stage.sql("select name from worker_session where silent_since is not null or epoch > 1")
        for row in rows:
            found.setdefault(row["name"], time.time() - at)
        return len(found) == 3

    await stage.until(all_found, f"every silent connection found by the server; it found {found}", 40)

    def all_back() -> dict[str, float]:
        back = {event.who: event.at - at for event in stage.events("welcome", since=at)}
        return back if len(back) == 3 else {}

    back = await stage.until(all_back, "every worker back on another connection", 40)
    for name in firsts:
        stage.figure(f"found by the server, {name}", found[name], FOUND_WITHIN)
        stage.figure(f"worker back, {name}", back[name], FOUND_WITHIN)
    gate.touch()
    await stage.over()
    for first in firsts.values():
        first.passing()
    harmed = await stage.value(
        "select count(*) from finished_job where losses + failures > 0 or attempts > 1"
    )
    stage.figure("jobs harmed", harmed, 0, "")


@case(
    "flapping", "resets, half-closes, silences and crawling between workers and server under load", bound=120
)
async def flapping(stage: Stage) -> None:
    stage.explained = {Exit.UNDELIVERED}
    await stage.database()
    server = await stage.server("server")
    proxies = [await stage.proxy(server.address) for _ in range(3)]
    for number, proxy in enumerate(proxies):
        await stage.workers([f"w{number}"], proxy.address, slots=8, ttl=30)
    producer = stage.producer(server.address)

    def silence(proxy: Proxy) -> None:
        proxy.black_hole()

    def crawl(proxy: Proxy) -> None:
        proxy.slow(0.05)

    ways = {"reset": Proxy.reset, "half-close": Proxy.half_close, "silence": silence, "crawl": crawl}
    async with producer.load(60, seconds=0.05) as acknowledged:
        for number in range(stage.count(40)):
            name = stage.random.choice(list(ways))
            proxy = stage.random.choice(proxies)
            stage.fault(f"{name} {number + 1}", proxy=proxies.index(proxy))
            ways[name](proxy)
            await asyncio.sleep(stage.random.uniform(0.1, 0.8))
            proxy.passing()
    await stage.over()
    stage.figure("jobs", len(acknowledged), unit="")
    harmed = await stage.value("select count(*) from finished_job where losses + failures > 0")
    stage.figure("jobs harmed", harmed, 0, "")
    again = await stage.value("select count(*) from finished_job where attempts > 1")
    stage.figure("jobs delivered again", again, unit="")


@case("far_away", "50 ms each way between workers, server and database: slower, and nothing else", bound=90)
async def far_away(stage: Stage) -> None:
    await stage.database()
    to_database, dsn = await stage.database_proxy()
    server = await stage.server("server", dsn)
    proxy = await stage.proxy(server.address)
    await stage.workers(["w0", "w1"], proxy.address, slots=16, ttl=5)
    producer = stage.producer(server.address)
    stage.fault("50 ms each way, everywhere")
    proxy.slow(0.05)
    to_database.slow(0.05)
    started = time.monotonic()
    await producer.put_many(stage.count(400))
    await stage.over()
    stage.figure("400 jobs", time.monotonic() - started, 30)
    again = await stage.value("select count(*) from finished_job where attempts > 1")
    stage.figure("jobs that ran again", again, 0, "")
