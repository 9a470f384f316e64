"""The documents and the page are handed out by the server itself, and the page can call nobody else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from jobqueue_server.http import docs
from tests.http.conftest import Served, served

from .conftest import Document

__all__ = ["served"]


async def fetch(served: Served, path: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    """GET of anything: status, headers, body."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with served.call.session.get(f"http://127.0.0.1:{served.call.port}{path}", headers=sent) as answer:
        return answer.status, answer.headers, await answer.read()


@pytest.mark.parametrize("path", ["/openapi.json", "/api-docs/openapi.json"])
async def test_the_document_is_handed_out(served: Served, document: Document, path: str) -> None:
    answer = await served.call("GET", path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == document


async def test_so_is_that_of_openapi_2(served: Served, swagger: Document) -> None:
    answer = await served.call("GET", "/swagger.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == swagger


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_the_page_takes_everything_from_this_server(served: Served, path: str) -> None:
    page = await served.call("GET", path)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 5
    for name in named:
        assert "//" not in name
        status, headers, body = await fetch(served, f"/{name}")
        assert status == 200, name
        assert body
        assert headers["X-Content-Type-Options"] == "nosniff"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "connect-src 'self'" in policy
    assert "http" not in policy
    assert "unsafe" not in policy.replace("style-src 'self' 'unsafe-inline'", "")


async def test_the_page_is_swagger_ui_of_a_version_that_reads_3_1(served: Served) -> None:
    script = (await served.call("GET", "/docs/swagger-ui-bundle.js")).text
    version = re.search(r'version:"(\d+)\.\d+\.\d+"|PACKAGE_VERSION:"(\d+)\.', script)
    assert version is not None
    assert int(version[1] or version[2]) >= 5
    assert "validatorUrl: null" in (await served.call("GET", "/docs/docs.js")).text


@pytest.mark.parametrize("path", docs.PATHS)
async def test_who_has_it_is_not_sent_it_again(served: Served, path: str) -> None:
    _, first, _ = await fetch(served, path)
    tag = first["ETag"]
    status, again, body = await fetch(served, path, If_None_Match=f'"other", {tag}')
    assert (status, body, again["ETag"]) == (304, b"", tag)
    assert "Content-Length" not in again
    assert first["Cache-Control"] in ("no-cache", "public, max-age=86400")
    status, _, _ = await fetch(served, path, If_None_Match='W/"0"')
    assert status == 200


async def test_head_tells_how_long_the_document_is(served: Served) -> None:
    head = await served.call("HEAD", "/openapi.json")
    body = await served.call("GET", "/openapi.json", Accept_Encoding="identity")
    assert (head.status, head.text) == (200, "")
    assert json.loads(body.text)["openapi"] == "3.1.0"


async def mounted(served: Served, path: str) -> Document:
    """A document of the server, mounted below /queue in another application."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "method": "GET",
        "root_path": "/queue",
        "path": f"/queue{path}",
        "raw_path": f"/queue{path}".encode(),
        "query_string": b"",
        "headers": [],
    }
    await served.app(scope, receive, send)
    found: Document = json.loads(sent[1]["body"])
    return found


async def test_below_another_application_the_documents_say_where_they_are(
    served: Served, document: Document, swagger: Document
) -> None:
    (server,) = document["servers"]
    told = await mounted(served, "/openapi.json")
    assert told == {**document, "servers": [{**server, "url": "/queue/"}]}
    assert await mounted(served, "/swagger.json") == {**swagger, "basePath": "/queue"}


async def test_they_are_there_while_the_server_leaves(served: Served) -> None:
    served.chain.draining = True
    assert (await served.call("GET", "/docs")).status == 200
