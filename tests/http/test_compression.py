"""gzip both ways: what is sent so is read within its bound, and what is answered is what the caller takes."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.http.answer import Answer
from jobqueue_server.http.compression import compressed
from jobqueue_server.model import MAX_MESSAGE_BYTES
from tests.rpc.conftest import a_job

from .conftest import Served

JOB = {"kind": "send_email", "payload": {"to": "a@example.com"}}
BODY = json.dumps(JOB).encode()
PACKED = gzip.compress(BODY, mtime=0)
LARGE = {"text": "x" * 2000}


async def send(served: Served, body: bytes, encoding: str = "gzip") -> Any:
    return await served.call("POST", "/v1/jobs", body, Content_Encoding=encoding)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
async def test_a_body_that_comes_as_gzip_is_read(served: Served, encoding: str) -> None:
    assert (await send(served, PACKED, encoding)).status == 201
    assert json.loads(served.core.enqueued[0].payload) == JOB["payload"]


async def test_it_may_come_in_pieces_of_a_byte(served: Served) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in PACKED:
            yield bytes([byte])

    url = f"http://127.0.0.1:{served.call.port}/v1/jobs"
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with served.call.session.post(url, data=pieces(), headers=headers) as answer:
        assert answer.status == 201


@pytest.mark.parametrize("encoding", ["identity", ""])
async def test_a_body_that_is_said_to_be_plain_is_read_as_it_is(served: Served, encoding: str) -> None:
    assert (await send(served, BODY, encoding)).status == 201


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
async def test_another_encoding_is_refused_with_those_that_are_taken(served: Served, encoding: str) -> None:
    answer = await send(served, BODY, encoding)
    assert (answer.status, answer.reason) == (415, "CONTENT_TYPE_UNSUPPORTED")
    assert answer.headers["Accept-Encoding"] == "gzip, identity"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (BODY, "incorrect header check"),
        (PACKED[:-1], "ends in the middle"),
        (PACKED[:3], "ends in the middle"),
        (PACKED + b"x", "continues after the end"),
        (PACKED + PACKED, "continues after the end"),
        (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "incorrect data check"),
        (zlib.compress(BODY), "incorrect header check"),
    ],
)
async def test_what_is_no_gzip_is_refused_with_the_reason(
    served: Served, body: bytes, complaint: str
) -> None:
    answer = await send(served, body)
    assert (answer.status, answer.reason) == (400, "FIELD_INVALID")
    assert complaint in answer.json["message"]
    assert not served.core.calls


async def test_a_request_without_a_body_may_name_an_encoding(served: Served) -> None:
    assert (await served.call("GET", f"/v1/jobs/{uuid4()}", Content_Encoding="gzip")).status == 200


async def test_a_body_is_bounded_by_what_it_becomes(served: Served) -> None:
    fits = BODY + b" " * (MAX_MESSAGE_BYTES - len(BODY))
    assert (await send(served, gzip.compress(fits))).status == 201
    answer = await send(served, gzip.compress(fits + b" "))
    assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")
    assert "once inflated" in answer.json["message"]


async def test_a_bomb_never_takes_more_memory_than_the_bound(served: Served) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    tracemalloc.start()
    answer = await send(served, bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status == 413
    # Of 64 MiB: the bound, and once more while zlib joins the pieces of it.
    assert peak < 3 * MAX_MESSAGE_BYTES


async def test_what_becomes_nothing_is_bounded_too(served: Served) -> None:
    nothing = zlib.compressobj(wbits=31)
    head = nothing.compress(b"") + nothing.flush(zlib.Z_FULL_FLUSH)

    async def endless() -> AsyncIterator[bytes]:
        yield head
        for _ in range(80):
            yield b"\0\0\0\xff\xff" * (1 << 14)

    url = f"http://127.0.0.1:{served.call.port}/v1/jobs"
    async with served.call.session.post(url, data=endless(), headers={"Content-Encoding": "gzip"}) as answer:
        assert answer.status == 413


async def raw(served: Served, method: str, path: str, accepted: str | None) -> tuple[Any, bytes]:
    """An answer as it is on the wire."""
    url = f"http://127.0.0.1:{served.call.port}{path}"
    sent = {} if accepted is None else {"Accept-Encoding": accepted}
    skipped = ["Accept-Encoding"] if accepted is None else []
    session = served.call.session
    async with session.request(
        method, url, headers=sent, skip_auto_headers=skipped, auto_decompress=False
    ) as answer:
        return answer, await answer.read()


@pytest.mark.parametrize(
    ("accepted", "packed"), [("br, GZIP;q=0.5", True), ("identity, gzip;q=0.5", False), (None, False)]
)
async def test_a_large_answer_is_encoded_as_the_caller_prefers(
    served: Served, accepted: str | None, packed: bool
) -> None:
    served.core.job = a_job(payload=json.dumps(LARGE).encode())
    answer, body = await raw(served, "GET", f"/v1/jobs/{uuid4()}", accepted)
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
    assert answer.headers["Content-Length"] == str(len(body))
    text = gzip.decompress(body) if packed else body
    assert json.loads(text)["payload"] == LARGE


async def test_head_tells_the_length_of_what_get_would_get(served: Served) -> None:
    served.core.job = a_job(payload=json.dumps(LARGE).encode())
    got, body = await raw(served, "GET", f"/v1/jobs/{uuid4()}", "gzip")
    headed, nothing = await raw(served, "HEAD", f"/v1/jobs/{uuid4()}", "gzip")
    assert nothing == b""
    assert headed.headers["Content-Encoding"] == "gzip"
    assert headed.headers["Content-Length"] == got.headers["Content-Length"] == str(len(body))


async def test_a_small_answer_is_encoded_only_for_those_who_take_nothing_else(served: Served) -> None:
    answer, _ = await raw(served, "GET", "/health", "gzip")
    assert "Content-Encoding" not in answer.headers
    for accepted in ("gzip, identity;q=0", "gzip, *;q=0"):
        answer, body = await raw(served, "GET", "/health", accepted)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert json.loads(gzip.decompress(body)) == {"status": "ok"}


@pytest.mark.parametrize("size", [2_000, 1 << 20])
async def test_an_answer_of_any_size_comes_back_as_it_was(size: int) -> None:
    text = json.dumps([str(number) for number in range(size // 8)]).encode()
    answer = await compressed(Answer(200, text), {"accept-encoding": "gzip"})
    assert len(answer.body) < size / 2
    assert gzip.decompress(answer.body) == text


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "application/gzip"])
async def test_what_is_packed_already_is_not_packed_again(content_type: str) -> None:
    answer = Answer(200, bytes(5_000), content_type=content_type)
    assert await compressed(answer, {"accept-encoding": "gzip"}) is answer
