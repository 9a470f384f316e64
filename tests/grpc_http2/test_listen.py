"""Where a server listens: ports shared, ports taken, and both families of addresses."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

import pytest
import uvloop

from tests.accepting import CALLERS, turns_until_all_are_answered

from .conftest import Serve, Served, start
from .wire import PREFACE, SETTINGS, Wire, frame

OK = 0


async def test_a_port_that_is_taken_is_refused(served: Served) -> None:
    with pytest.raises(OSError, match=r"[Aa]ddress already in use") as refused:
        await start("127.0.0.1", served.port)
    assert refused.value.errno == errno.EADDRINUSE
    async with await Wire.open(served.port) as wire:
        assert (await wire.answer(await wire.call())).status == OK


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has `localhost` mean what it means on most machines; some have it for IPv4 alone."""
    resolve = socket.getaddrinfo

    def both(host: str | None, *given: Any, **named: Any) -> list[Any]:
        hosts = ["127.0.0.1", "::1"] if host == "localhost" else [host]
        return [place for one in hosts for place in resolve(one, *given, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", both)


def _free_at_both() -> int:
    """A port that nobody has at either address of this machine."""
    while True:
        with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6) as one:
            with socket.create_server(("127.0.0.1", port := int(one.getsockname()[1]))):
                return port


@pytest.mark.usefixtures("two_addresses")
async def test_localhost_is_refused_if_one_of_its_addresses_is_taken() -> None:
    """It would be half a server: callers of the other address would meet another program."""
    port = _free_at_both()
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        with pytest.raises(OSError, match="Address already in use"):
            await start("localhost", port)
    # Nothing of the refused one is left.
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match="assign requested address") as refused:
        await start("192.0.2.1", 0)
    assert refused.value.errno == errno.EADDRNOTAVAIL


async def test_servers_may_share_a_port(serve: Serve) -> None:
    first = await serve(reuse_port=True)
    second = await serve("127.0.0.1", first.port, reuse_port=True)
    assert second.port == first.port
    for _ in range(200):
        async with await Wire.open(first.port) as wire:
            assert (await wire.answer(await wire.call())).status == OK
        if first.handlers.contexts and second.handlers.contexts:
            return
    raise AssertionError("one of the two got no connection of 200")


async def test_ipv6_is_served_and_named(serve: Serve) -> None:
    served = await serve("::1")
    async with await Wire.open(served.port, host="::1") as wire:
        assert (await wire.answer(await wire.call())).status == OK
    assert served.handlers.contexts[0].peer().startswith("ipv6:[::1]:")


@pytest.mark.parametrize("host", ["localhost", "::", ""])
@pytest.mark.usefixtures("two_addresses")
async def test_a_name_of_both_families_is_served_on_both(serve: Serve, host: str) -> None:
    served = await serve(host)
    for place in ("127.0.0.1", "::1"):
        async with await Wire.open(served.port, host=place) as wire:
            assert (await wire.answer(await wire.call())).status == OK


def test_callers_that_come_at_once_are_taken_several_in_a_turn() -> None:
    """libuv takes one of a listening socket in each: of 1,000 workers that connect anew the last one waited 20 s."""

    async def work() -> int:
        served = await start()
        try:
            return await turns_until_all_are_answered(served.port, PREFACE + frame(SETTINGS, 0, 0))
        finally:
            await served.server.stop(0)

    assert uvloop.run(work()) < CALLERS / 2
