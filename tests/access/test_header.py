"""Whatever stands in `authorization` has its reason, the same over each transport, and none of it is logged."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server import logs
from jobqueue_server.core.access.failures import FailedAttempts
from tests.grpc_http2.wire import Answer, Wire

from .house import ALL, House, grant
from .test_secrets import logged

MISSING, INVALID = "CREDENTIALS_MISSING", "CREDENTIALS_INVALID"
# Bytes that a value may have in HTTP/1.1 and in HTTP/2.
_BYTES = [9, *range(32, 127), *range(128, 256)]
MARK = "not-to-be-told"
# `KEY` stands for a good key. Several values: the header comes as often.
CASES: dict[str, tuple[list[str], str]] = {
    "none": ([], MISSING),
    "empty": ([""], INVALID),
    "blanks": (["   "], INVALID),
    "scheme alone": (["Bearer"], INVALID),
    "scheme and a blank": (["Bearer "], INVALID),
    "key alone": (["KEY"], INVALID),
    "lower case": (["bearer KEY"], "OK"),
    "upper case": (["BEARER KEY"], "OK"),
    "odd case": (["bEaReR KEY"], "OK"),
    "blanks before the key": (["Bearer    KEY"], "OK"),
    "blanks around": (["  Bearer KEY  "], "OK"),
    "tab before the key": (["Bearer\tKEY"], INVALID),
    "no blank": (["BearerKEY"], INVALID),
    "other scheme": (["Basic KEY"], INVALID),
    "two schemes": (["Basic Bearer KEY"], INVALID),
    "two schemes with a comma": (["Basic eDp5, Bearer KEY"], INVALID),
    "two keys": (["Bearer KEY KEY"], INVALID),
    "two keys with a comma": (["Bearer KEY,KEY"], INVALID),
    "more after the key": ([f"Bearer KEY{MARK}"], INVALID),
    "quoted": (['Bearer "KEY"'], INVALID),
    "latin letters": (["Bearer KEYé"], INVALID),
    "a letter like a Latin one": (["Béarer KEY"], INVALID),
    "no-break space": (["Bearer\u00a0KEY"], INVALID),
    "utf-8": ([f"Bearer {MARK}\u20ac".encode().decode("latin-1")], INVALID),
    "long": (["Bearer " + MARK + "x" * 12_000], INVALID),
    "long and of blanks": (["Bearer " + " " * 12_000 + "KEYx"], INVALID),
    # Of a repeated name the last value counts, as of any other.
    "twice the same": (["Bearer KEY", "Bearer KEY"], "OK"),
    "twice, bad last": (["Bearer KEY", f"Bearer {MARK}"], INVALID),
    "twice, bad first": ([f"Bearer {MARK}", "Bearer KEY"], "OK"),
    "twice, empty last": (["Bearer KEY", ""], INVALID),
    "tabs around": (["\tBearer KEY\t"], "OK"),
}
#: Over what any transport takes as a head.
LARGE = "Bearer " + MARK + "x" * 65_536


@dataclass
class Ways:
    """The ways in: HTTP/1.1, and the gRPC transport that the server has; each by the fast path and off it."""

    house: House
    rest: int
    grpc: int

    async def reasons(self, values: list[str]) -> dict[str, str]:
        """With what reason each of them refuses calls with these headers; OK where it does not."""
        return {
            "rest, fast": await self._http(b"POST /v1/jobs", values, b'{"kind":"work"}'),
            "rest": await self._http(b"GET /v1/jobs/" + str(uuid4()).encode(), values, b""),
            "grpc, fast": await self._grpc(
                "EnqueueJob",
                jobqueue_pb2.EnqueueJobRequest(
                    job=job_pb2.NewJob(kind="work"), payload_format=job_pb2.PAYLOAD_FORMAT_JSON
                ).SerializeToString(),
                values,
            ),
            "grpc": await self._grpc(
                "GetJob", jobqueue_pb2.GetJobRequest(id=str(uuid4())).SerializeToString(), values
            ),
        }

    async def _http(self, begins: bytes, values: list[str], body: bytes) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.rest)
        try:
            shown = b"".join(b"authorization: %b\r\n" % value.encode("latin-1") for value in values)
            head = b"%b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n" % begins
            writer.write(head + shown + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
            answer = await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()
        said, _, content = answer.partition(b"\r\n\r\n")
        if b" 401 " in said.partition(b"\r\n")[0]:
            assert b"\r\nwww-authenticate: bearer" in said.lower()
        return _passed(json.loads(content)["details"][0]["reason"] if said[9:12] != b"201" else "OK")

    async def _grpc(self, method: str, request: bytes, values: list[str]) -> str:
        async with await Wire.open(self.grpc) as wire:
            shown = [("authorization", value) for value in values]
            stream = await wire.call(f"/jobqueue.v1.JobQueue/{method}", request, *shown)
            while not (wire.closed or (stream in wire.answers and wire.answers[stream].over)):
                await wire.receive()
            answer = wire.answers.get(stream, Answer(reset=0))
        if answer.status == 0:
            return "OK"
        if answer.status is None:
            return "closed"
        raw = dict(answer.trailers).get("grpc-status-details-bin")
        if raw is None:
            return f"status {answer.status}"
        details = status_pb2.Status.FromString(base64.b64decode(raw + "=" * (-len(raw) % 4))).details
        info = error_details_pb2.ErrorInfo.FromString(details[0].value)
        return _passed(info.reason)


def _passed(reason: str) -> str:
    """The job that is asked for is none: who is told so was let in."""
    return "OK" if reason == "JOB_NOT_FOUND" else reason


@pytest.fixture(params=["http2", "grpcio"])
async def ways(
    request: pytest.FixtureRequest, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Ways]:
    # All callers here have one address; and the filter of log lines would hide what is looked for.
    monkeypatch.setattr(FailedAttempts, "refuses", lambda *_: False)
    monkeypatch.setattr(logs, "_without_keys", lambda line: line)
    async with House(dsn, http_addr="127.0.0.1:0", grpc_engine=request.param) as house:
        yield Ways(house, house.app.http_port, house.app.grpc_port)


async def test_each_way_of_writing_it_has_its_reason_and_the_same_over_each_transport(ways: Ways) -> None:
    key = (await ways.house.key(grant(ALL))).text
    found = {}
    with logged("debug") as stream:
        for name, (values, _) in CASES.items():
            found[name] = await ways.reasons([value.replace("KEY", key) for value in values])
    assert found == {name: dict.fromkeys(found[name], reason) for name, (_, reason) in CASES.items()}
    told = stream.getvalue()
    assert '"level": "debug"' in told
    assert [line for line in told.splitlines() if any(part in line for part in (MARK, key, key[14:]))] == []


@pytest.mark.slow
async def test_what_is_over_a_transports_head_is_refused_and_the_next_call_is_served(ways: Ways) -> None:
    key = (await ways.house.key(grant(ALL))).text
    with logged("debug") as stream:
        found = await ways.reasons([LARGE])
        served = await ways.reasons([f"Bearer {key}"])
    # The bound is the transport's, and so is what it says.
    assert set(found.values()) <= {"REQUEST_MALFORMED", "status 8", "closed"}, found
    assert set(served.values()) == {"OK"}
    assert MARK not in stream.getvalue()


@pytest.mark.slow
async def test_no_bytes_in_it_do_harm_or_let_a_caller_in(ways: Ways) -> None:
    key = (await ways.house.key(grant(ALL))).text
    draw = random.Random(11)
    with logged("debug") as stream:
        for number in range(150):
            begin = draw.choice(["", "Bearer ", "bearer ", "Bearer " + key[: draw.randrange(3, 60)]])
            value = begin + MARK + bytes(draw.choices(_BYTES, k=draw.randrange(1, 60))).decode("latin-1")
            found = await ways.reasons([value])
            assert set(found.values()) == {INVALID}, (number, value, found)
        served = await ways.reasons([f"Bearer {key}"])
    assert set(served.values()) == {"OK"}
    assert MARK not in stream.getvalue()


@pytest.mark.cases(3)
@pytest.mark.parametrize("byte", [0, 1, 10, 13, 127])
async def test_a_byte_that_no_header_may_have_ends_in_a_refusal(ways: Ways, byte: int) -> None:
    key = (await ways.house.key(grant(ALL))).text
    with logged("debug") as stream:
        found = await ways.reasons([f"Bearer {key}{chr(byte)}{MARK}"])
        served = await ways.reasons([f"Bearer {key}"])
    assert "OK" not in found.values(), found
    assert not any(reason in ("INTERNAL", "status 2", "status 13") for reason in found.values()), found
    assert set(served.values()) == {"OK"}
    assert MARK not in stream.getvalue()
