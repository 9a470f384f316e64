"""Kinds that never, may or must be encoded: what a server is told of them, and what it then refuses."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import (
    Client,
    Encodings,
    JobContext,
    NewJob,
    PayloadInvalid,
    Upcast,
    Worker,
    Zstd,
    define_kind,
)
from jobqueue.typed.changes import breaks
from tests.client.conftest import RunningServer

from .made import SECRET, WITHIN, both

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]


@dataclass
class Mail:
    text: str


@dataclass
class First:
    words: str


said = {
    rule: define_kind(f"mail.{rule or 'unsaid'}", Mail, encodings=rule)
    for rule in ("", "never", "allowed", "required")
}


async def taken(client: Client, kind: str, payload: Any) -> bool:
    try:
        await client.enqueue(kind, payload)
    except PayloadInvalid:
        return False
    return True


async def sealed(encodings: Encodings, kind: str) -> Any:
    (text,) = await encodings.payloads([NewJob(kind, {"text": "x" * 500})])
    return json.loads(text or b"")


@pytest.mark.parametrize(
    ("rule", "encodes", "takes"),
    [
        ("", False, ["plain"]),
        ("", True, ["plain", "encrypted", "compressed"]),
        ("never", True, ["plain"]),
        ("allowed", False, ["plain", "encrypted", "compressed"]),
        ("allowed", True, ["plain", "encrypted", "compressed"]),
        ("required", False, ["encrypted"]),
        ("required", True, ["encrypted"]),
    ],
)
async def test_a_server_takes_what_the_kind_says(
    server: RunningServer, client: Client, rule: str, encodes: bool, takes: list[str]
):
    kind = said[rule]
    async with Client(server.address, encodings=both() if encodes else None) as telling:
        (synced,) = await telling.sync_kinds([kind])
        assert synced.changed
        (again,) = await telling.sync_kinds([kind])
        assert not again.changed
    payloads = {
        "plain": {"text": "x"},
        "encrypted": await sealed(both(), kind.name),
        "compressed": await sealed(Encodings([Zstd(over=10)]), kind.name),
        "wrong": {"text": 7},
        "null": None,
        "encrypted by nothing": {**await sealed(both(), kind.name), "encodings": []},
        "beside plain text": {**await sealed(both(), kind.name), "to": "evil"},
        "another form": {**await sealed(both(), kind.name), "$jobqueue.encoded": 2},
    }
    found = [name for name, payload in payloads.items() if await taken(client, kind.name, payload)]
    assert found == takes


@pytest.mark.curl
async def test_plain_text_by_curl_is_refused_where_a_kind_requires_encryption(dsn: str):
    server = RunningServer(dsn, http_addr="127.0.0.1:0")
    try:
        async with Client(server.address, encodings=both()) as telling:
            await telling.sync_kinds([said["required"]])
        body = {"kind": "mail.required", "payload": {"text": SECRET}}
        curl = ("curl", "-s", f"http://127.0.0.1:{server.http_port}/v1/jobs", "--json", json.dumps(body))
        asked = await asyncio.create_subprocess_exec(*curl, stdout=asyncio.subprocess.PIPE)
        answer = json.loads((await asked.communicate())[0])
        (info,) = [each for each in answer["details"] if "reason" in each]
        assert info["reason"] == "PAYLOAD_INVALID"
        assert SECRET not in json.dumps(answer)
        curl = (*curl[:-1], json.dumps({**body, "payload": await sealed(both(), "mail.required")}))
        asked = await asyncio.create_subprocess_exec(*curl, stdout=asyncio.subprocess.PIPE)
        assert json.loads((await asked.communicate())[0])["status"] == "QUEUED"
    finally:
        await asyncio.to_thread(server.stop)


async def test_the_error_of_a_kind_that_may_be_encoded_is_that_of_its_plain_payload(client: Client):
    kind = define_kind(
        "mail.versions", Mail, version=2, upcasters={1: Upcast(lambda old: old, First)}, encodings="allowed"
    )
    await client.sync_kinds([kind])
    with pytest.raises(PayloadInvalid, match=r"payload\.text"):
        await client.enqueue(kind.name, {"text": 7}, headers={"x-payload-version": "2"})
    with pytest.raises(PayloadInvalid, match=r"payload\.words"):
        await client.enqueue(kind.name, {"words": 7})


async def test_a_worker_tells_the_server_that_its_kinds_may_be_encoded_and_runs_them(server: RunningServer):
    kind = define_kind("mail.told", Mail, output=Mail)

    async def answer(mail: Mail, ctx: JobContext) -> Mail:
        return Mail(mail.text[::-1])

    worker = Worker(server.address, sync_kinds=True, encodings=both())
    worker.handler(kind)(answer)
    serving = asyncio.create_task(worker.serve())
    try:
        async with Client(server.address, encodings=both()) as client:
            job = None
            while job is None:
                try:
                    job = await client.enqueue(kind, Mail(SECRET))
                except PayloadInvalid:
                    await asyncio.sleep(0.05)
            done = await client.wait(job.id, timeout=WITHIN)
            assert kind.output_of(done) == Mail(SECRET[::-1])
            assert kind.payload_of(done) == Mail(SECRET)
    finally:
        worker.stop(grace=timedelta(0))
        await serving


def test_what_a_rule_changes_of_a_schema_breaks_where_plain_text_is_refused_from_now_on():
    plain = said["never"].schema()
    assert breaks(plain, said["allowed"].schema()) == ()
    assert breaks(said["allowed"].schema(), said["required"].schema())
    assert breaks(said["required"].schema(), said["allowed"].schema()) == ()


def test_a_rule_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'never', 'allowed' or 'required'"):
        define_kind("mail", Mail, encodings="always")  # type: ignore[call-overload]
