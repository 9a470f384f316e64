"""The dashboard's files over HTTP: where they are, for how long they are kept, and what a browser may do with them."""

from __future__ import annotations

import gzip
import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from jobqueue_server.chain import Chain
from jobqueue_server.http import ui
from jobqueue_server.http.app import HttpApp
from jobqueue_server.http.ops import Operations
from jobqueue_server.metrics import Metrics

from .feed import CONTRACT, Feed, feed_service

pytestmark = pytest.mark.unit

FOLDER = Path(ui.__file__).parent / "ui"
#: What all that a browser can load may weigh, in bytes, as it is and compressed: it is there at once, also over a
#: slow line.
MOST, MOST_COMPRESSED = 220_000, 75_000


class Reply:
    def __init__(self, start: dict[str, Any], body: bytes) -> None:
        self.status: int = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body = body


class Served:
    """The application, called as a server calls it."""

    def __init__(self, mode: str = "on") -> None:
        metrics = Metrics()
        operations = Operations(metrics, lambda: "", ui.Dashboard(mode))
        services = [(feed_service(), Feed())]
        self.app = HttpApp(Chain(metrics), services, operations, contract=CONTRACT)

    async def get(self, path: str, root: str = "", method: str = "GET", **headers: str) -> Reply:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "root_path": root,
            "path": root + path,
            "raw_path": (root + path).encode(),
            "query_string": b"",
            "headers": lines,
        }
        await self.app(scope, receive, send)
        return Reply(sent[0], b"".join(event.get("body", b"") for event in sent[1:]))


def references(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg))"', page)


async def page_of(served: Served) -> str:
    return (await served.get("/ui/")).body.decode()


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/queues", "/ui/queues/mail", "/ui/queues/main.js", "/ui/jobs/a%2Fb/c"]
)
async def test_every_place_in_the_page_is_answered_by_the_page(path: str):
    reply = await Served().get(path)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    # However deep the place is, the page finds its files and its calls below whatever a proxy has put before it.
    (base,) = re.findall(r'<base href="([^"]+)">', reply.body.decode())
    assert urljoin(f"https://jobs.example.com/queue{path}", base) == "https://jobs.example.com/queue/ui/"


async def test_a_page_may_run_its_own_scripts_alone_and_be_framed_by_nobody():
    policy = (await Served().get("/ui/queues")).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }


async def test_the_page_tells_no_other_site_where_it_was_and_asks_the_browser_for_nothing():
    headers = (await Served().get("/ui/")).headers
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert "camera=()" in headers["permissions-policy"]


async def test_files_are_kept_for_ever_since_each_version_has_a_folder_of_its_own():
    served = Served()
    found = references(await page_of(served))
    assert len(found) >= 6
    for name in found:
        reply = await served.get(f"/ui/{name}")
        assert reply.status == 200, name
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_file_of_another_version_is_not_there_so_versions_never_mix():
    reply = await Served().get("/ui/0123456789ab/app/main.js")
    assert reply.status == 404
    assert reply.headers["cache-control"] == "no-cache"


async def loaded(served: Served) -> dict[str, Reply]:
    """Each file that a browser can load from the page on, compressed, by its path."""
    page = await served.get("/ui/", accept_encoding="gzip")
    found = {"/ui/": page}
    wanted = {f"/ui/{name}" for name in references(gzip.decompress(page.body).decode())}
    while more := wanted - found.keys():
        for path in sorted(more):
            found[path] = await served.get(path, accept_encoding="gzip")
            assert found[path].status == 200, path
            if path.endswith(".js"):
                text = gzip.decompress(found[path].body).decode()
                # No module is loaded later: then a new server would have another version of it.
                assert "import(" not in text
                wanted |= {urljoin(path, name) for name in re.findall(r'from"([^"]+)"', text)}
    return found


async def test_all_that_a_browser_can_load_is_served_and_nothing_else():
    version = ui.Dashboard("on")
    assert sorted(await loaded(Served())) == sorted(["/ui/", *version.paths])


async def test_all_that_a_browser_can_load_keeps_to_its_budget():
    compressed = [reply.body for reply in (await loaded(Served())).values()]
    assert sum(len(gzip.decompress(body)) for body in compressed) <= MOST
    assert sum(map(len, compressed)) <= MOST_COMPRESSED


async def test_files_are_compressed_for_those_who_want_it_and_known_again_by_their_tag():
    served = Served()
    plain = await served.get("/ui/")
    packed = await served.get("/ui/", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    script = f"/ui/{references(plain.body.decode())[-1]}"
    whole, small = await served.get(script), await served.get(script, accept_encoding="gzip, br")
    assert gzip.decompress(small.body) == whole.body
    assert small.headers["vary"] == "Accept-Encoding"
    again = await served.get(script, if_none_match=small.headers["etag"])
    assert (again.status, again.body) == (304, b"")


async def test_a_browser_at_the_root_is_led_to_the_dashboard_and_a_program_is_not():
    served = Served()
    reply = await served.get("/", accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (reply.status, reply.headers["location"]) == (302, "ui/")
    assert reply.headers["vary"] == "Accept"
    assert (await served.get("/", accept="*/*")).status == 200
    assert (await served.get("/ui")).headers["location"] == "ui/"


async def test_it_can_be_turned_off():
    served = Served("off")
    assert (await served.get("/ui/")).status == 404
    assert (await served.get("/", accept="text/html")).status == 200


async def test_the_page_is_told_that_it_is_to_be_read_only():
    assert 'data-mode="read-only"' in await page_of(Served("read-only"))
    assert 'data-mode="on"' in await page_of(Served())


async def test_its_head_is_that_of_its_page():
    head = await Served().get("/ui/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 100


def test_no_module_of_ours_is_longer_than_200_lines():
    ours = [path for path in ui.shipped() if path.is_relative_to(FOLDER / "app")]
    lengths = {path.name: len(path.read_text().splitlines()) for path in ours}
    assert {name: lines for name, lines in lengths.items() if lines > 200} == {}


def test_files_of_other_makers_are_as_they_were_published():
    packages = tomllib.loads((FOLDER / "vendor/vendor.toml").read_text())["package"]
    listed = {file["name"]: file["sha256"] for package in packages for file in package["file"]}
    there = {
        str(path.relative_to(FOLDER / "vendor")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (FOLDER / "vendor").rglob("*")
        if path.is_file() and path.name != "vendor.toml" and not path.name.endswith(".d.ts")
    }
    assert there == listed
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert {package["license"] for package in packages} <= {"MIT", "Apache-2.0"}


def test_the_page_names_no_other_server():
    for path in ui.shipped():
        if path.parent.name == "vendor":
            continue
        named = set(re.findall(r"https?://[^\s\"'`<>)]+", path.read_text()))
        assert named <= {"http://www.w3.org/2000/svg"}, path


async def test_what_lies_between_keeps_one_answer_for_each_encoding_of_every_file():
    served = Served()
    page = await page_of(served)
    for name in ("", *references(page)):
        known = (await served.get(f"/ui/{name}")).headers["etag"]
        for headers in ({}, {"accept_encoding": "gzip"}, {"if_none_match": known}):
            reply = await served.get(f"/ui/{name}", **headers)
            assert reply.headers["vary"] == "Accept-Encoding", (name, headers, reply.status)


async def test_a_file_is_known_again_whether_its_tag_is_weak_or_not():
    served = Served()
    tag = (await served.get("/ui/")).headers["etag"]
    assert tag.startswith("W/")
    for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        assert (await served.get("/ui/", if_none_match=given)).status == 304, given
    assert (await served.get("/ui/", if_none_match='"other"')).status == 200


async def test_it_is_read_and_another_method_is_told_so():
    for path in ("/ui", "/ui/", "/ui/queues/mail"):
        for method in ("POST", "PUT", "DELETE"):
            reply = await Served().get(path, method=method)
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS"), (method, path)
        options = await Served().get(path, method="OPTIONS")
        assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
