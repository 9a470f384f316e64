"""Whether an address can be listened on is known before anything is started."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from jobqueue_server.addresses import AddressUnusable, check_free


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        yield somebody.getsockname()[1]


def test_a_free_port_stays_free():
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
    for _ in range(2):
        check_free([("The server", f"127.0.0.1:{port}", "ADDR"), ("Another", "127.0.0.1:0", "OTHER")])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_port_that_somebody_has_is_named_with_its_setting(listening: int, host: str):
    with pytest.raises(
        AddressUnusable, match=rf"^The server can't listen on {host}:{listening}: .* by ADDR\.$"
    ):
        check_free([("Another", "127.0.0.1:0", "OTHER"), ("The server", f"{host}:{listening}", "ADDR")])


def test_two_of_ours_on_one_port_are_found():
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
    with pytest.raises(AddressUnusable, match="^The second"):
        check_free([(what, f"127.0.0.1:{port}", "ADDR") for what in ("The first", "The second")])


@pytest.mark.parametrize("address", ["192.0.2.1:0", "no.such.host.invalid:0"])
def test_an_address_of_another_machine_is_refused(address: str):
    with pytest.raises(AddressUnusable, match="not this machine's"):
        check_free([("The server", address, "ADDR")])
