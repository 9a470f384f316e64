"""The cases of grpcio on both engines, the flags of messages, and the table. `make interop` runs every client."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueue_server.rpc.engines import ENGINES
from tests.grpc_http2.wire import Answer, Caller, message

from . import messages
from .cases import CASES, OVER_TLS, WITHOUT
from .clients import ROOT, Files, clients
from .document import CAN_NOT, FAILED, NOT_RUN, read, render, told
from .engines import start
from .serving import lay_out, served

GRPCIO = clients()["grpcio"]


def possible(cases: Any) -> list[tuple[str, str]]:
    return [
        (engine, case)
        for engine in ENGINES
        for case in cases
        if case not in GRPCIO.without and case not in WITHOUT[engine]
    ]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, tuple[str, str]]:
    return lay_out(tmp_path_factory.mktemp("interop"), java=False)


@pytest.fixture(scope="module")
def plain() -> Iterator[dict[str, int]]:
    """The port of each engine."""
    with served("http2") as http2, served("grpcio") as grpcio:
        yield {"http2": http2, "grpcio": grpcio}


@pytest.mark.cases(8)
@pytest.mark.parametrize(("by", "case"), possible(CASES))
def test_the_client_of_grpcio_runs_the_case(
    by: str, case: str, plain: dict[str, int], laid_out: tuple[Files, tuple[str, str]]
) -> None:
    assert not GRPCIO.run(case, plain[by], laid_out[0], tls=False)


@pytest.mark.parametrize("by", ENGINES)
def test_the_client_of_grpcio_speaks_tls(by: str, laid_out: tuple[Files, tuple[str, str]]) -> None:
    files, pair = laid_out
    with served(by, pair) as port:
        assert not GRPCIO.run("ping_pong", port, files, tls=True)


def test_a_case_that_does_not_hold_is_told(
    plain: dict[str, int], laid_out: tuple[Files, tuple[str, str]]
) -> None:
    """This engine takes a message for compressed that is not."""
    fault = GRPCIO.run("client_compressed_unary", plain["grpcio"], laid_out[0], tls=False)

    assert "the call succeeded instead of ending with StatusCode.INVALID_ARGUMENT" in fault


@pytest.fixture(params=ENGINES)
async def caller(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    running = await start(request.param)
    async with await Caller.greet(running.port) as one:
        yield one
    await running.stop(0)


async def ask(caller: Caller, method: str, request: Any) -> Answer:
    stream = await caller.begin(f"/grpc.testing.TestService/{method}", ("grpc-accept-encoding", "gzip"))
    await caller.say(stream, message(request.SerializeToString()), end=True)
    return await caller.answer(stream)


def taken_apart(answer: Answer, kind: Any) -> list[tuple[bool, int]]:
    """Of each message, whether it is compressed, and the size of its payload."""
    found, at = [], 0
    while at < len(answer.data):
        flag, size = struct.unpack_from(">BI", answer.data, at)
        body = bytes(answer.data[at + 5 : at + 5 + size])
        whole = zlib.decompress(body, zlib.MAX_WBITS | 16) if flag else body
        found.append((bool(flag), len(kind.FromString(whole).payload.body)))
        at += 5 + size
    return found


@pytest.mark.parametrize("compressed", [True, False])
async def test_a_unary_answer_is_compressed_as_the_request_asks(caller: Caller, compressed: bool) -> None:
    request = messages.SimpleRequest(response_size=314_159, response_compressed={"value": compressed})
    answer = await ask(caller, "UnaryCall", request)

    assert taken_apart(answer, messages.SimpleResponse) == [(compressed, 314_159)]


async def test_each_message_of_a_stream_is_compressed_as_the_request_asks(caller: Caller) -> None:
    asked = [(True, 31_415), (False, 92_653), (True, 1_000)]
    parameters = [{"size": size, "compressed": {"value": value}} for value, size in asked]
    request = messages.StreamingOutputCallRequest(response_parameters=parameters)
    answer = await ask(caller, "StreamingOutputCall", request)

    assert taken_apart(answer, messages.StreamingOutputCallResponse) == asked


@pytest.mark.parametrize(
    ("request_of", "said"),
    [
        ({"response_size": -1}, "a payload of -1 bytes is asked for; it may have 0 to 16777216"),
        ({"response_type": 7}, "response_type is 7; COMPRESSABLE (0) is the only one"),
        ({"response_status": {"code": 99}}, "response_status.code is 99; a status of gRPC is 0 to 16"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_in_words(
    caller: Caller, request_of: dict[str, Any], said: str
) -> None:
    answer = await ask(caller, "UnaryCall", messages.SimpleRequest(**request_of))

    assert (answer.status, answer.text) == (3, said)


def test_the_document_tells_every_client_and_case_and_none_fails() -> None:
    assert told() == render(read()), "run `make interop`"
    cells = [cell.strip() for line in told().splitlines() for cell in line.split("|")]
    assert not {FAILED, NOT_RUN} & set(cells)
    assert read().h2spec == (146, 3)


def test_what_a_client_does_not_run_is_a_case_and_has_its_reason() -> None:
    without = [*WITHOUT.values(), *(client.without for client in clients().values())]

    assert {case for each in without for case in each} <= CASES.keys()
    assert set(OVER_TLS) <= CASES.keys()
    assert f"({CAN_NOT})" in told()


def test_locks_name_no_registry() -> None:
    folder = ROOT / "tests" / "interop"
    locks = [
        folder / "node" / "package-lock.json",
        folder / "rust" / "versions.lock",
        folder / "go" / "go.sum",
    ]

    assert not [lock for lock in locks if "://" in _without_funding(lock)]


def _without_funding(lock: Path) -> str:
    """The lock, but for addresses of people who want support."""
    return "\n".join(line for line in lock.read_text().splitlines() if '"url":' not in line)


@pytest.mark.slow
def test_an_engine_or_client_that_is_not_there_is_named() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.interop", "--client", "grpc-cobol"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 2
    assert "no client grpc-cobol; there are grpc-go, grpc-java" in ran.stdout
