"""The kit without pytest's fixtures, as docs/testing.md says it for unittest, whose cases pytest runs too."""

from __future__ import annotations

import unittest

import pytest

from jobqueue import Kind
from jobqueue.testing import SyncTestScope, TestServer

pytestmark = pytest.mark.slow

server: TestServer


def setUpModule() -> None:
    global server
    server = unittest.enterModuleContext(TestServer.start())


class Orders(unittest.TestCase):
    def setUp(self) -> None:
        self.scope = self.enterContext(SyncTestScope(server))

    def test_an_order_is_enqueued(self) -> None:
        self.scope.client.put_kind(Kind(name="order"))
        self.scope.client.enqueue("order", {"id": 7})
        self.scope.assert_enqueued("order", {"id": 7}, count=1)

    def test_another_test_sees_nothing_of_it(self) -> None:
        self.scope.assert_not_enqueued("order")
