"""Clients that ask for HTTP/2 by an upgrade are served as HTTP/1.1, with their bodies."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lease.place import Place

from .conftest import PATIENCE, Caller

PROGRAM = Path(__file__).with_name("Upgrades.java")


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        yield place


async def output(*command: str, within: float = PATIENCE) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(within):
            said, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return said.decode()


@pytest.mark.language("java")
async def test_javas_own_client_is_served_as_it_comes(place: Place) -> None:
    said = await output("java", str(PROGRAM), f"http://127.0.0.1:{place.app.http_port}", within=90)
    put, made, wrong, large, in_chunks, listed = said.splitlines()
    assert put.startswith("200 HTTP_1_1 ")
    assert '"schema":{"required": ["name"]}' in put
    assert made.startswith("201 HTTP_1_1 ")
    assert '"payload":{"name":1}' in made
    assert wrong.startswith("422 HTTP_1_1 ")
    assert large.startswith("201 HTTP_1_1 ")
    assert in_chunks.startswith("201 HTTP_1_1 ")
    assert listed.startswith("200 HTTP_1_1 ")
    assert '"name":"report"' in listed


@pytest.mark.curl
async def test_curl_with_http2_puts_a_kind_with_its_schema(place: Place) -> None:
    assert shutil.which("curl"), "curl is missing: `make check` needs it, `make test` does not"
    assert "HTTP2" in await output("curl", "--version")
    server = f"http://127.0.0.1:{place.app.http_port}"
    body = '{"schema": {"required": ["name"]}}'
    # Two requests by one connection; curl gives up an upgrade that was passed over.
    call = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", body, f"{server}/v1/kinds/report"]
    said = await output(
        "curl", "-s", "--http2", "-w", r"\n%{http_code} %{http_version}\n", *call, "--next",
        "-s", "--http2", "-w", r"\n%{http_code} %{http_version}\n", *call,
    )  # fmt: skip
    put = '{"name":"report","schema":{"required": ["name"]}}'
    first, status, second, again = said.splitlines()
    assert (status, again) == ("200 1.1", "200 1.1")
    assert json.loads(first)["schema"] == json.loads(second)["schema"] == json.loads(put)["schema"]
    caller = Caller(place.app.http_port)
    try:
        kinds = (await caller("GET", "/v1/kinds")).json["kinds"]
    finally:
        await caller.session.close()
    assert {"required": ["name"]} in [kind.get("schema") for kind in kinds]
