"""A server and a client on a database of the test's own."""

from __future__ import annotations

from tests.client.conftest import client as client
from tests.client.conftest import server as server
