"""The names of spans and attributes are a list that dashboards build on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobqueue import trace_names as of_workers
from jobqueue_server.traces import names as of_servers

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
#: OpenTelemetry's, of its conventions 1.43, and ours, which begin with `jobqueue.`.
SERVERS = {
    "rpc.system.name", "rpc.method", "rpc.response.status_code", "rpc.system", "rpc.service", "rpc.grpc.status_code",
    "messaging.system", "messaging.operation.name", "messaging.operation.type", "messaging.destination.name",
    "messaging.message.id", "messaging.batch.message_count", "db.system.name", "error.type", "jobqueue.kind",
    "jobqueue.sampled_calls",
}  # fmt: skip
WORKERS = {
    "messaging.system", "messaging.operation.name", "messaging.operation.type", "messaging.destination.name",
    "messaging.message.id", "error.type", "exception.type", "exception.message", "exception.stacktrace",
    "jobqueue.kind", "jobqueue.attempt", "jobqueue.lease_id", "jobqueue.wait_ms", "jobqueue.outcome",
}  # fmt: skip
_is_name = re.compile(r"[a-z]+(\.[a-z_]+)+").fullmatch


def names_of(module):
    return {
        value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and _is_name(value)
    }


def test_the_names_of_servers_and_workers_are_these():
    assert names_of(of_servers) == SERVERS
    assert names_of(of_workers) == WORKERS


def test_they_are_opentelemetrys_own():
    from opentelemetry.semconv import attributes as stable
    from opentelemetry.semconv._incubating import attributes

    texts = "".join(
        path.read_text()
        for package in (attributes, stable)
        for folder in package.__path__
        for path in Path(folder).glob("*.py")
    )
    theirs = set(re.findall(r'^[A-Z_]+: Final = "([a-z._]+)"', texts, re.MULTILINE))
    assert {name for name in SERVERS | WORKERS if not name.startswith("jobqueue.")} <= theirs


@pytest.mark.parametrize(
    "path",
    [
        "clients/go/otel/names.go",
        "clients/typescript/src/worker/traceNames.ts",
        "clients/java/opentelemetry/src/main/java/dev/jobqueue/opentelemetry/Names.java",
        "clients/rust/src/trace_names.rs",
    ],
)
def test_workers_in_all_languages_have_the_same(path):
    found = set(re.findall(r'"([a-z]+(?:\.[a-z_]+)+)"', (ROOT / path).read_text()))
    assert found == WORKERS


def test_the_page_names_all_of_them():
    page = (ROOT / "docs/traces.md").read_text()
    assert [name for name in sorted(SERVERS | WORKERS) if f"`{name}`" not in page] == []
