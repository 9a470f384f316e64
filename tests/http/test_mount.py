"""The application below a path of somebody else's: both conventions of servers, other protocols, and its places."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, unquote

import pytest

from jobqueue_server.chain import Chain
from jobqueue_server.http.app import HttpApp
from jobqueue_server.http.ops import Operations
from jobqueue_server.metrics import Metrics

from .feed import CONTRACT, Feed, feed_service

pytestmark = pytest.mark.unit


def an_app(feed: Feed | None = None) -> HttpApp:
    metrics = Metrics()
    return HttpApp(
        Chain(metrics), [(feed_service(), feed or Feed())], Operations(metrics, lambda: ""), contract=CONTRACT
    )


def by_asgi(root: str, raw: str) -> dict[str, Any]:
    """`path` and `raw_path` are whole, as ASGI has it (uvicorn since 0.26, starlette since 0.33)."""
    return {"root_path": root, "path": unquote(raw), "raw_path": raw.encode()}


def by_older_frameworks(root: str, raw: str) -> dict[str, Any]:
    """`path` is what is left below the mount, `raw_path` is whole."""
    return {"root_path": root, "path": unquote(raw).removeprefix(root.rstrip("/")), "raw_path": raw.encode()}


def by_older_servers(root: str, raw: str) -> dict[str, Any]:
    """Both are what is left, as a proxy before the server has cut the rest off."""
    below = unquote(raw).removeprefix(root.rstrip("/"))
    return {"root_path": root, "path": below, "raw_path": quote(below).encode()}


def without_raw_path(root: str, raw: str) -> dict[str, Any]:
    return {"root_path": root, "path": unquote(raw)}


CONVENTIONS = [by_asgi, by_older_frameworks, by_older_servers, without_raw_path]


class Parent:
    """An ASGI application of somebody else, with ours below it."""

    def __init__(self, convention: Any, root: str) -> None:
        self.feed = Feed()
        self.app = an_app(self.feed)
        self.convention = convention
        self.root = root

    async def __call__(self, method: str, raw: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        scope = {
            "type": "http",
            "method": method,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            **self.convention(self.root, raw),
        }
        sent: list[dict[str, Any]] = []

        whole = iter([{"type": "http.request", "body": body}])

        async def receive() -> dict[str, Any]:
            for event in whole:
                return event
            return await asyncio.Future()

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers, b"".join(event["body"] for event in sent[1:])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("root", ["", "/queue", "/my queue/v1", "/queue/", "/ä"])
async def test_below_a_path_of_another_application_all_is_as_at_the_root(convention: Any, root: str) -> None:
    call = Parent(convention, root)
    mount = quote(root.rstrip("/"))
    status, headers, body = await call("POST", f"{mount}/v1/events", b'{"token": "t"}')
    assert (status, headers["location"]) == (201, f"{mount}/v1/events/t"), body
    assert (await call("GET", f"{mount}/health"))[0] == 200
    assert (await call("OPTIONS", f"{mount}/v1/events"))[1]["allow"] == "OPTIONS, POST"
    status, _, body = await call("GET", f"{mount}/v1/nothing")
    assert status == 404
    assert b"/v1/nothing" in body


@pytest.mark.parametrize("convention", [by_asgi, by_older_frameworks, without_raw_path])
async def test_a_mount_may_be_called_as_a_path_of_ours_begins(convention: Any) -> None:
    status, headers, _ = await Parent(convention, "/v1")("POST", "/v1/v1/events", b'{"token": "t"}')
    assert (status, headers["location"]) == (201, "/v1/v1/events/t")


@pytest.mark.parametrize("convention", CONVENTIONS)
async def test_a_path_that_only_begins_like_the_mount_is_not_below_it(convention: Any) -> None:
    status, _, _ = await Parent(convention, "/v1/ev")("POST", "/v1/events", b"{}")
    assert status == (404 if convention in (by_older_frameworks, by_older_servers) else 201)


@pytest.mark.parametrize("convention", [by_asgi, by_older_frameworks])
async def test_a_slash_within_a_segment_is_none_below_a_mount_either(convention: Any) -> None:
    call = Parent(convention, "/my queue")
    call.feed.line.put_nowait(None)
    assert (await call("GET", "/my%20queue/v1/events/a%2Fb:follow"))[0] == 200
    assert [request.after for request in call.feed.requests] == ["a/b"]


async def test_what_a_parent_has_made_of_the_path_counts() -> None:
    def rewritten(root: str, raw: str) -> dict[str, Any]:
        return {"path": "/v1/events", "raw_path": raw.encode()}

    assert (await Parent(rewritten, "")("POST", "/elsewhere", b"{}"))[0] == 201


async def test_a_server_that_asks_whether_it_is_up_is_told() -> None:
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(asked)}

    async def send(event: dict[str, Any]) -> None:
        told.append(event["type"])

    await an_app()({"type": "lifespan"}, receive, send)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_websockets_are_refused() -> None:
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(event: dict[str, Any]) -> None:
        told.append(event["type"])

    await an_app()({"type": "websocket", "path": "/v1/events"}, receive, send)
    assert told == ["websocket.close"]


async def test_a_protocol_that_is_not_known_is_named() -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(ValueError, match="gopher"):
        await an_app()({"type": "gopher"}, never, never)


async def test_nothing_is_left_running_behind_an_answer() -> None:
    body = iter([{"type": "http.request", "body": b"{}"}])

    async def receive() -> dict[str, Any]:
        for event in body:
            return event
        await asyncio.Event().wait()
        raise AssertionError

    async def send(event: dict[str, Any]) -> None:
        await asyncio.sleep(0)

    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": []}
    await an_app()({**scope, **by_asgi("", "/v1/events")}, receive, send)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
