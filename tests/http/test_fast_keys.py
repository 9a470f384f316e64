"""POST /v1/jobs with an idempotency key on the fast path: each answer is byte for byte that of the general path."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from jobqueue_server.errors import DatabaseAway
from jobqueue_server.http.in_flight import InFlightRequests
from jobqueue_server.store.intake.intake import IntakeStore
from tests.lease.place import Held, Place, leaving_nothing_to_the_collector

from .test_fast_path import (
    GENERAL,
    HEADERS,
    TRACE,
    Wire,
    alike,
    fast,
    none_under_way,
    place,
    request,
    wire,
)

__all__ = ["fast", "place", "wire"]

BODY = b'{"kind":"work","payload":{"n":1}}'
OTHER = b'{"kind":"work","payload":{"n":2}}'
LARGE = b'{"kind":"work","payload":"%b"}' % (b"x" * 2000)


def keyed(key: bytes, more: bytes = b"") -> bytes:
    return HEADERS + b"idempotency-key: %b\r\n" % key + more


def again(answer: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Without what two answers of one job differ in."""
    head, body = answer
    changes = (
        (rb"date: [^\r]*", b"date"),
        (rb"x-request-id: [^\r]*", b"x-request-id"),
        # Of an insert that took long.
        (rb"jobqueue-pressure: [0-9.]+\r\n", b""),
    )
    for pattern, by in changes:
        head = re.sub(pattern, by, head)
    return head, body


def id_of(answer: tuple[bytes, bytes]) -> str:
    found: str = json.loads(answer[1])["job"]["id"] if b'"job"' in answer[1] else json.loads(answer[1])["id"]
    return found


@pytest.fixture
async def wires(place: Place) -> AsyncIterator[list[Wire]]:
    opened = [Wire(*await asyncio.open_connection("127.0.0.1", place.app.http_port)) for _ in range(3)]
    await opened[0].post(BODY)  # makes the lane
    yield opened
    for each in opened:
        each.writer.close()


KEYS = [b"k", b"order 4711", b'"quoted \\ key"', b"a:b/c?d", b"x" * 128, b"x" * 255]


@pytest.mark.cases(4)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("more", [b"", b"accept-encoding: gzip\r\n" + TRACE % 3])
async def test_a_new_job_its_replay_and_another_request_are_answered_byte_for_byte(
    wires: list[Wire], fast: list[object], key: bytes, more: bytes
) -> None:
    wire = wires[0]
    ours, general = key[:-1] + b"f", key[:-1] + b"g"
    for body in (BODY, LARGE):
        fast.clear()
        new = await wire.post(body, keyed(ours, more))
        assert len(fast) == 1
        assert new[0].startswith(b"HTTP/1.1 201")
        other = await wire.post(body, keyed(general, more + GENERAL))
        if b"gzip" in new[0]:
            new, other = (new[0], b""), (other[0], b"")
        assert alike(new) == alike((other[0], other[1].replace(json_of(general), json_of(ours))))
        replay = await wire.post(body, keyed(ours, more))
        assert replay[0].startswith(b"HTTP/1.1 200")
        assert b"idempotency-replayed: true\r\n" in replay[0]
        assert again(replay) == again(await wire.post(body, keyed(ours, more + GENERAL)))
        conflict = await wire.post(OTHER, keyed(ours, more))
        assert conflict[0].startswith(b"HTTP/1.1 409")
        assert b"IDEMPOTENCY_KEY_REUSED" in conflict[1]
        assert again(conflict) == again(await wire.post(OTHER, keyed(ours, more + GENERAL)))
        assert len(fast) == 3
        ours, general = ours[:-1] + b"F", general[:-1] + b"G"


def json_of(key: bytes) -> bytes:
    return json.dumps(key.decode()).encode()


async def test_each_call_has_its_own_key(wires: list[Wire], fast: list[object], place: Place) -> None:
    fast.clear()
    for key in (b"a", b"b", b"c", b"with spaces", b"with other spaces"):
        head, body = await wires[0].post(BODY, keyed(key))
        assert head.startswith(b"HTTP/1.1 201")
        assert json.loads(body)["idempotency_key"] == key.decode()
    without = await wires[0].post(BODY)
    assert json.loads(without[1])["idempotency_key"] == ""
    assert len(fast) == 6
    assert await place.value("select count(distinct idempotency_key) from job") == 5


@pytest.mark.parametrize(
    "line",
    [
        b"idempotency-key: \r\n",
        b"idempotency-key: %b\r\n" % (b"x" * 256),
        b"idempotency-key: \xc3\xa4\r\n",
        b"idempotency-key: a\tb\r\n",
        b"idempotency-key: a\r\nidempotency-key: b\r\n",
    ],
)
async def test_a_key_that_may_be_refused_takes_the_general_path(
    wires: list[Wire], fast: list[object], line: bytes
) -> None:
    fast.clear()
    answer = await wires[0].post(BODY, HEADERS + line)
    assert fast == []
    if not answer[0].startswith(b"HTTP/1.1 201"):
        assert alike(answer) == alike(await wires[0].post(BODY, HEADERS + line + GENERAL))


async def test_two_calls_at_once_with_one_key_make_one_job(
    wires: list[Wire], fast: list[object], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, IntakeStore, "enqueue")
    fast.clear()
    for more, one in zip((b"", b"", GENERAL), wires, strict=True):
        one.writer.write(request(BODY, keyed(b"k", more)))
        await held.one_waits()
    async with asyncio.timeout(20):
        while place.app.chain.in_flight < 3:
            await asyncio.sleep(0.01)
    held.go_on.set()
    answers = [await one.answer() for one in wires]
    assert [head[9:12] for head, _ in answers] == [b"201", b"200", b"200"]
    assert len({id_of(answer) for answer in answers}) == 1
    assert len(fast) == 2
    assert await place.value("select count(*) from job where idempotency_key = 'k'") == 1


async def test_a_key_that_is_free_when_its_job_is_looked_up_is_stored(
    wires: list[Wire], fast: list[object], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await wires[0].post(BODY, keyed(b"k"))
    find_keys = IntakeStore.find_keys

    async def vanished(self: IntakeStore, *args: Any) -> Any:
        monkeypatch.setattr(IntakeStore, "find_keys", find_keys)
        await place.sql("delete from idempotency_key")
        return await find_keys(self, *args)

    monkeypatch.setattr(IntakeStore, "find_keys", vanished)
    fast.clear()
    again = await wires[0].post(BODY, keyed(b"k"))
    assert len(fast) == 1
    assert id_of(again) != id_of(first)
    general = await wires[0].post(BODY, keyed(b"g", GENERAL))
    assert alike(again) == alike((general[0], general[1].replace(b'"g"', b'"k"')))
    assert id_of(await wires[0].post(BODY, keyed(b"k"))) == id_of(again)


async def test_an_expired_key_makes_a_new_job(wires: list[Wire], place: Place) -> None:
    first = await wires[0].post(BODY, keyed(b"k"))
    await place.sql("update idempotency_key set expires_at = now()")
    second = await wires[0].post(OTHER, keyed(b"k"))
    assert second[0].startswith(b"HTTP/1.1 201")
    assert id_of(second) != id_of(first)


async def test_a_replay_shows_the_job_as_it_is_now(wires: list[Wire], place: Place) -> None:
    first = await wires[0].post(BODY, keyed(b"k"))
    await place.cancel(id_of(first))
    replay = await wires[0].post(BODY, keyed(b"k"))
    assert json.loads(replay[1])["status"] == "CANCELLED"
    assert again(replay) == again(await wires[0].post(BODY, keyed(b"k", GENERAL)))


@pytest.mark.parametrize("more", [b"", GENERAL])
async def test_a_replay_whose_job_can_not_be_read_gets_the_error(
    wires: list[Wire], place: Place, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wires[0].post(BODY, keyed(b"k"))
    held = Held(monkeypatch, IntakeStore, "find_keys")
    held.error = DatabaseAway("the database can't be reached")
    held.go_on.set()
    head, body = await wires[0].post(BODY, keyed(b"k", more))
    assert head.startswith(b"HTTP/1.1 503")
    assert b"DATABASE_AWAY" in body
    held.error = RuntimeError("a secret")
    head, body = await wires[0].post(BODY, keyed(b"k", more))
    assert head.startswith(b"HTTP/1.1 500")
    assert b"error_id" in body
    assert b"secret" not in body
    assert place.app.chain.in_flight == 0


@pytest.mark.parametrize("more", [b"", GENERAL])
@pytest.mark.parametrize("method", ["enqueue", "find_keys"])
async def test_a_call_out_of_time_is_told_so(
    wires: list[Wire], place: Place, more: bytes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wires[0].post(BODY, keyed(b"k"))
    held = Held(monkeypatch, IntakeStore, method)
    monkeypatch.setattr("jobqueue_server.chain.UNARY_SECONDS", 0.2)
    head, body = await wires[0].post(BODY, keyed(b"k", more))
    assert head.startswith(b"HTTP/1.1 504")
    assert b"DEADLINE_EXCEEDED" in body
    await none_under_way(place)
    monkeypatch.undo()
    held.go_on.set()
    assert (await wires[0].post(BODY, keyed(b"k")))[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("method", ["enqueue", "find_keys"])
async def test_a_caller_who_hangs_up_is_forgotten_and_its_key_is_not(
    wires: list[Wire], place: Place, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await wires[0].post(BODY, keyed(b"k"))
    held = Held(monkeypatch, IntakeStore, method)
    wires[1].writer.write(request(BODY, keyed(b"k")))
    await held.one_waits()
    wires[1].writer.transport.abort()
    await none_under_way(place)
    held.go_on.set()
    assert id_of(await wires[0].post(BODY, keyed(b"k"))) == id_of(first)
    assert place.app.intake.waiting.jobs == 0
    assert await place.value("select count(*) from job where idempotency_key = 'k'") == 1


@pytest.mark.slow
@pytest.mark.parametrize("more", [b"", GENERAL])
@pytest.mark.parametrize("method", ["enqueue", "find_keys"])
async def test_a_server_that_leaves_tells_those_that_it_can_not_wait_for(
    wires: list[Wire], place: Place, more: bytes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wires[0].post(BODY, keyed(b"k"))
    held = Held(monkeypatch, IntakeStore, method)
    wires[0].writer.write(request(BODY, keyed(b"k", more)))
    await held.one_waits()
    left: list[InFlightRequests] = []
    leave = InFlightRequests.leave

    async def noted(self: InFlightRequests, grace: timedelta) -> None:
        left.append(self)
        await leave(self, timedelta(milliseconds=50))

    monkeypatch.setattr(InFlightRequests, "leave", noted)
    stopping = asyncio.create_task(place.app.stop())
    head, body = await wires[0].answer()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"DRAINING" in body
    assert left
    held.go_on.set()
    await stopping


@pytest.mark.slow
@pytest.mark.parametrize("more", [b"", GENERAL])
async def test_what_a_server_that_leaves_has_in_line_is_not_stored(
    wires: list[Wire], place: Place, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second one is to be in line.
    place.app.intake._slow_lane.beside.slow_after = 60.0
    held = Held(monkeypatch, IntakeStore, "enqueue")
    wires[0].writer.write(request(BODY, keyed(b"first", more)))
    await held.one_waits()
    wires[1].writer.write(request(BODY, keyed(b"in line", more)))
    async with asyncio.timeout(20):
        while place.app.intake.waiting.jobs < 2:
            await asyncio.sleep(0.01)
    stopping = asyncio.create_task(place.app.stop())
    for one in wires[:2]:
        assert b"DRAINING" in (await one.answer())[1]
    assert place.app.intake.waiting.jobs == 1
    held.go_on.set()
    await stopping


async def test_calls_leave_nothing_to_the_collector(wires: list[Wire], fast: list[object]) -> None:
    await wires[0].post(BODY, keyed(b"k0"))
    for body in (BODY, OTHER):
        await wires[0].post(body, keyed(b"k0"))
    fast.clear()
    with leaving_nothing_to_the_collector():
        for number in range(3):
            await wires[0].post(BODY, keyed(b"k%d" % number))
            await wires[0].post(OTHER, keyed(b"k%d" % number))
    assert len(fast) == 6
    fast.clear()


async def test_a_server_without_the_fast_path_answers_the_same(
    wires: list[Wire], dsn: str, fast: list[object]
) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0", fast_path="off") as other:
        reader, writer = await asyncio.open_connection("127.0.0.1", other.app.http_port)
        without = Wire(reader, writer)
        fast.clear()
        new = await wires[0].post(BODY, keyed(b"f"))
        general = await without.post(BODY, keyed(b"g"))
        assert alike(new) == alike((general[0], general[1].replace(b'"g"', b'"f"')))
        for body in (BODY, OTHER):
            for key in (b"f", b"g"):
                answer = await wires[0].post(body, keyed(key))
                assert again(answer) == again(await without.post(body, keyed(key)))
        assert len(fast) == 5
        writer.close()
