"""ARCHITECTURE.md and the maps in docs are true: files and names exist, no module is forgotten, the pictures too."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server.core.lease.states import TABLE
from jobqueue_server.lifecycle import CANCELLABLE, DELETABLE, EXITS, RETRYABLE, Status

from .markdown import ROOT, blocks, code_words

pytestmark = pytest.mark.unit

TEXT = "\n".join(
    (ROOT / name).read_text() for name in ("ARCHITECTURE.md", "docs/code-map.md", "docs/lifecycle.md")
)
SERVER = ROOT / "server/src/jobqueue_server"
TRANSPORT = ROOT / "server/src/grpc_http2"
CLIENT = ROOT / "clients/python/src/jobqueue"
WORKER = ROOT / "worker/src/jobqueue_worker"
# Where a path of the document may begin; the sections on client and worker name theirs.
STARTS = (ROOT, SERVER, SERVER.parent, *(SERVER / "store").rglob("sql"), CLIENT, WORKER)

_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*(/|\.(py|sql|proto|md|txt|binpb|json))")
_MEMBER = re.compile(r"([A-Z]\w+)\.(\w+)")


def named_paths() -> list[str]:
    return sorted({word for word in code_words(TEXT) if _PATH.fullmatch(word)})


@pytest.mark.parametrize("path", named_paths())
def test_each_file_that_is_named_exists(path: str) -> None:
    assert any((start / path).exists() for start in STARTS)


def modules(package: Path) -> list[str]:
    """The modules of a package, by their paths in it."""
    found = (path.relative_to(package) for path in package.rglob("*.py"))
    # The document says of the transport that it is a package of its own.
    prefix = "grpc_http2/" if package == TRANSPORT else ""
    return sorted(f"{prefix}{path}" for path in found if not path.name.startswith("__"))


@pytest.mark.parametrize("package", [SERVER, TRANSPORT, CLIENT, WORKER], ids=lambda package: package.name)
def test_each_module_has_its_line(package: Path) -> None:
    named = set(named_paths())
    # A row of client or worker may stand for a folder; each module of the server has its own.
    folders = () if package in (SERVER, TRANSPORT) else tuple(path for path in named if path.endswith("/"))

    forgotten = [
        module for module in modules(package) if module not in named and not module.startswith(folders)
    ]

    assert not forgotten


@cache
def members() -> set[tuple[str, str]]:
    """Every (class, method) of the three packages, and every (message, field) of the contract."""
    found: set[tuple[str, str]] = set()
    for package in (SERVER, TRANSPORT, CLIENT, WORKER):
        for path in package.rglob("*.py"):
            if "v1" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    found |= {
                        (node.name, each.name)
                        for each in node.body
                        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                    }
    for module in (job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            found |= {(message.name, field.name) for field in message.fields}
    return found


@pytest.mark.parametrize("name", sorted({word for word in code_words(TEXT) if _MEMBER.fullmatch(word)}))
def test_each_method_that_is_named_exists(name: str) -> None:
    owner, _, member = name.partition(".")

    assert (owner, member) in members()


def drawn(first_state: str) -> set[tuple[str, str, str]]:
    """The arrows of a picture: from, to, event; a cancel that was asked for is part of the event."""
    picture = next(block.text for block in blocks(TEXT) if f"[*] --> {first_state}:" in block.text)
    arrows: set[tuple[str, str, str]] = set()
    for start, end, label in re.findall(r"^\s*(\S+) --> (\S+): (.+)$", picture, re.MULTILINE):
        condition, colon, events = label.rpartition(": ")
        for event in events.split(", "):
            arrows.add((start, end, f"{condition}{colon}{event}"))
    return arrows


def test_the_picture_of_the_lifecycle_is_the_table() -> None:
    asked = "with a cancel asked for: "
    table = {("[*]", "QUEUED", "enqueue"), ("[*]", "RUNNING", "hand-off")}
    table |= {(status.name, "RUNNING", "claim") for status in (Status.QUEUED, Status.RETRYING)}
    for event, way in EXITS.items():
        name = event.name.lower().replace("_", " ")
        table |= {("RUNNING", status.name, name) for status in way.wanted}
        if way.with_cancel not in way.wanted:
            table.add(("RUNNING", way.with_cancel.name, asked + name))
    table |= {(status.name, "CANCELLED", "cancel") for status in CANCELLABLE - {Status.RUNNING}}
    table |= {(status.name, "QUEUED", "retry") for status in RETRYABLE}
    table |= {(status.name, "[*]", "delete") for status in DELETABLE}

    assert drawn("QUEUED") == table


def test_the_picture_of_a_session_is_its_table() -> None:
    table = {("[*]", "OPENING", "Hello")}
    table |= {(state.name, after.name, event.value) for (state, event), after in TABLE.items()}

    assert drawn("OPENING") == table
