"""The documents as they are handed out, and a whole server to hold them against."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from jobqueue_server.http.transcoding.binding import Binding
from tests.http.conftest import Caller
from tests.lease.place import Place
from tools import generate
from tools.openapi import version2, version31

Document = dict[str, Any]


def read_document() -> Document:
    document: Document = json.loads(version31.DOCUMENT.read_text())
    return document


def operations(document: Document) -> dict[str, tuple[str, str, Document]]:
    """Every operation: method, path and what is said of it, by its id."""
    found = [
        (said["operationId"], method.upper(), path, said)
        for path, item in document["paths"].items()
        for method, said in item.items()
    ]
    assert len({name for name, *_ in found}) == len(found)
    return {name: (method, path, said) for name, method, path, said in found}


@cache
def bindings() -> dict[str, Binding]:
    """Every route that the server has, by its method's name."""
    routes = version31.routes().bindings
    assert len({route.method.name for route in routes}) == len(routes)
    return {route.method.name: route for route in routes}


def validator(document: Document, schema: Document) -> Any:
    """Of a schema that may refer to the components of the document."""
    whole = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


@pytest.fixture(scope="session", autouse=True)
def googleapis() -> None:
    """buf finds google/api/*.proto without network."""
    generate.lay_out_googleapis()


@pytest.fixture(scope="session")
def document() -> Document:
    return read_document()


@pytest.fixture(scope="session")
def swagger() -> Document:
    found: Document = json.loads(version2.DOCUMENT.read_text())
    return found


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn, http_addr="127.0.0.1:0", kinds="declared") as place:
        yield place


@pytest.fixture
async def call(place: Place) -> AsyncIterator[Caller]:
    caller = Caller(place.app.http_port)
    yield caller
    await caller.session.close()
