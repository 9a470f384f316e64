"""One server for all tests of the command line; each uses a queue of its own."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.client_cli.programs import Cli, serving
from tests.conftest import Cluster


@pytest.fixture(scope="session")
def address(cluster: Cluster, template: str) -> Iterator[str]:
    name = cluster.create(template)
    with serving(cluster.dsn_of(name)) as address:
        yield address
    cluster.drop(name)


@pytest.fixture
def cli(address: str) -> Cli:
    return Cli(address)


@pytest.fixture
def queue() -> str:
    return f"q-{uuid4().hex[:8]}"
