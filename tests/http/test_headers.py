"""Headers, by vectors that any implementation could run: timeouts, encodings that are taken, origins, hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobqueue_server.errors import FieldInvalid, JobQueueError
from jobqueue_server.http.answer import Answer, Asgi
from jobqueue_server.http.compression import compressed
from jobqueue_server.http.cors import Cors
from jobqueue_server.http.errors import ErrorForm
from jobqueue_server.http.headers import seconds_allowed
from jobqueue_server.http.hosts import Hosts

pytestmark = pytest.mark.unit

HERE = Path(__file__).parent
SMALL, LARGE = Answer(200, b"{}"), Answer(200, b'{"a":"' + b"b" * 2000 + b'"}')


def vectors(name: str) -> list[Any]:
    read: list[Any] = json.loads((HERE / "vectors" / name).read_text())
    return read


async def status(app: Asgi, method: str, headers: dict[str, str]) -> int:
    """What an application answers to a request of these headers."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "method": method, "headers": lines}, receive, send)
    return int(sent[0]["status"])


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """What stands behind: it answers 200 to everything."""
    await Answer(200).send(send, head=False)


async def refuse(scope: Any, send: Any, error: JobQueueError) -> None:
    await ErrorForm().answer(error).send(send, head=False)


@pytest.mark.parametrize("vector", vectors("timeouts.json"), ids=lambda vector: str(vector["headers"]))
def test_a_call_has_the_time_that_its_headers_say(vector: dict[str, Any]) -> None:
    if "refused" not in vector:
        assert seconds_allowed(vector["headers"]) == pytest.approx(vector["seconds"])
        return
    with pytest.raises(FieldInvalid) as refused:
        seconds_allowed(vector["headers"])
    assert [violation.field for violation in refused.value.violations] == [vector["refused"]]


@pytest.mark.parametrize(
    "vector", vectors("accept_encoding.json"), ids=lambda vector: str(vector["accept_encoding"])
)
async def test_an_answer_is_encoded_as_its_caller_takes_it(vector: dict[str, Any]) -> None:
    accepted = vector["accept_encoding"]
    metadata = {} if accepted is None else {"accept-encoding": accepted}
    for answer, packed in ((LARGE, vector["large"]), (SMALL, vector["small"])):
        made = await compressed(answer, metadata)
        assert (("Content-Encoding", "gzip") in made.headers) is packed
        assert (made.body == answer.body) is not packed


@pytest.mark.parametrize("vector", vectors("origins.json"), ids=lambda vector: str(list(vector.values())))
async def test_a_page_may_call_if_it_is_ours_or_listed(vector: dict[str, Any]) -> None:
    cors = Cors(behind, vector["listed"], refuse)
    assert await status(cors, vector["method"], vector["headers"]) == vector["status"]


@pytest.mark.parametrize("vector", vectors("hosts.json"), ids=lambda vector: str(list(vector.values())))
async def test_a_name_is_answered_if_it_is_ours(vector: dict[str, Any]) -> None:
    hosts = Hosts(behind, vector["listed"], refuse)
    answered = await status(hosts, "GET", {"host": vector["host"]} if vector["host"] else {})
    assert answered == (200 if vector["answered"] else 421)
