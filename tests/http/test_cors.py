"""Pages in a browser: those of the server itself and of the allow-list may call and read, others may not even send."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from jobqueue_server.http.hosts import needed

from .conftest import Served, serving

JOB = {"kind": "send_email", "payload": {"to": "a@example.com"}}
PAGE = "https://app.example.com"
FROM_PAGE = {"Origin": PAGE, "Sec_Fetch_Site": "cross-site"}
PREFLIGHT = {
    "Origin": PAGE,
    "Access_Control_Request_Method": "POST",
    "Access_Control_Request_Headers": "content-type,idempotency-key",
}
# A link that somebody follows, as browsers mark it.
LINK = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


@pytest.mark.parametrize(
    "marks",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{PAGE}.evil.example"},
        {"Origin": "http://app.example.com"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        LINK,
    ],
)
async def test_a_page_that_is_not_in_the_list_may_not_call(marks: dict[str, str]) -> None:
    async with serving(origins=[PAGE]) as served:
        answer = await served.call("POST", "/v1/jobs", JOB, **marks)
        assert (answer.status, answer.reason) == (403, "ORIGIN_FOREIGN")
        assert "JOBQUEUE_CORS_ORIGINS" in answer.json["message"]
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert not served.core.calls


async def test_without_a_list_no_page_of_another_site_may_call(served: Served) -> None:
    for method, marks in [("POST", FROM_PAGE), ("OPTIONS", PREFLIGHT), ("GET", FROM_PAGE)]:
        answer = await served.call(method, "/v1/jobs", **marks)
        assert (answer.status, answer.reason) == (403, "ORIGIN_FOREIGN")
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert not served.core.calls


@pytest.mark.parametrize("origins", [(), (PAGE,)])
async def test_a_page_of_the_server_itself_and_a_program_may_call(origins: tuple[str, ...]) -> None:
    async with serving(origins=origins) as served:
        own = f"http://127.0.0.1:{served.call.port}"
        for marks in ({"Origin": own, "Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}, {}):
            assert (await served.call("POST", "/v1/jobs", JOB, **marks)).status == 201


async def test_a_refusal_is_counted_and_has_a_request_id(served: Served) -> None:
    refused = await served.call("GET", "/v1/jobs", Origin=PAGE, X_Request_Id="call-7")
    assert refused.headers["X-Request-Id"] == "call-7"
    await served.call("HEAD", "/v1/jobs", Host="evil.example")
    labels = {"grpc_service": "-", "grpc_method": "-", "transport": "http", "grpc_code": "PERMISSION_DENIED"}
    counted = served.metrics.registry.get_sample_value("grpc_server_handled_total", labels)
    assert counted == 2


async def test_a_link_from_another_site_can_be_followed_but_not_embedded(served: Served) -> None:
    assert (await served.call("GET", "/health", **LINK)).status == 200
    assert (await served.call("GET", "/health", **{**LINK, "Sec_Fetch_Dest": "iframe"})).status == 403
    assert (await served.call("GET", "/health", **{**LINK, "Sec_Fetch_Mode": "no-cors"})).status == 403


async def test_a_page_of_the_list_may_call_and_read_what_it_needs() -> None:
    async with serving(origins=["http://localhost:3000", PAGE]) as served:
        answer = await served.call("POST", "/v1/jobs", JOB, **FROM_PAGE)
        assert answer.status == 201
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Vary"] == "Origin"
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert {"Location", "Retry-After", "X-Request-Id", "Idempotency-Replayed"} <= exposed
        assert "Access-Control-Allow-Credentials" not in answer.headers
        # An error is as readable as an answer.
        refused = await served.call("GET", "/v1/jobs/nothing", **FROM_PAGE)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (400, PAGE)
        # What is kept for one who sends no origin must not be given to a page.
        assert (await served.call("GET", f"/v1/jobs/{uuid4()}")).headers["Vary"] == "Origin"


async def test_a_preflight_of_a_page_of_the_list_is_permitted() -> None:
    async with serving(origins=[PAGE]) as served:
        answer = await served.call("OPTIONS", "/v1/jobs", **PREFLIGHT)
        assert (answer.status, answer.text) == (204, "")
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert {"POST", "DELETE", "PUT"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        assert answer.headers["Access-Control-Allow-Headers"] == "content-type,idempotency-key"
        assert int(answer.headers["Access-Control-Max-Age"]) >= 600
        assert "Origin" in answer.headers["Vary"]
        other = await served.call("OPTIONS", "/v1/jobs", **{**PREFLIGHT, "Origin": "https://evil.example"})
        assert (other.status, other.reason) == (403, "ORIGIN_FOREIGN")
        # One that is no preflight asks what the path takes.
        plain = await served.call("OPTIONS", "/v1/jobs", Origin=PAGE)
        assert plain.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize("marks", [FROM_PAGE, {"Origin": "null", "Sec_Fetch_Site": "cross-site"}, {}])
async def test_every_page_may_call_where_that_was_said(marks: dict[str, str]) -> None:
    async with serving(origins=["*"]) as served:
        answer = await served.call("POST", "/v1/jobs", JOB, **marks)
        assert answer.status == 201
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


REBOUND: dict[str, Any] = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}


async def test_a_page_whose_name_was_led_to_this_machine_gets_nothing(served: Served) -> None:
    for method, marks in [("POST", REBOUND), ("GET", {"Host": "evil.example"})]:
        answer = await served.call(method, "/v1/jobs", **marks)
        assert (answer.status, answer.reason) == (421, "HOST_UNKNOWN")
        assert "JOBQUEUE_HTTP_HOSTS" in answer.json["message"]
    assert not served.core.calls


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080",
        "[::1]:8080",
        "10.1.2.3",
        "localhost",
        "LOCALHOST.:8080",
        "a.localhost",
        "Jobs.example.com:80",
    ],
)
async def test_addresses_localhost_and_the_names_of_the_list_are_answered(host: str) -> None:
    async with serving(hosts=["jobs.Example.com"]) as served:
        assert (await served.call("GET", "/v1/jobs", Host=host)).status == 200


async def test_any_name_is_answered_where_that_was_said() -> None:
    async with serving(hosts=["*"]) as served:
        assert (await served.call("GET", "/v1/jobs", Host="any.example")).status == 200


@pytest.mark.parametrize(
    ("address", "names", "checked"),
    [
        ("127.0.0.1:8080", (), True),
        ("[::1]:8080", (), True),
        ("localhost:8080", (), True),
        ("0.0.0.0:8080", (), False),
        ("jobs.example.com:8080", (), False),
        ("0.0.0.0:8080", ("jobs.example.com",), True),
    ],
)
def test_names_are_checked_on_a_loopback_and_where_they_were_told(
    address: str, names: tuple[str, ...], checked: bool
) -> None:
    assert needed(address, names) is checked
