"""Addresses to listen on, and the error if one can't be used."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterable


class AddressUnusable(Exception):
    """The server can't listen on an address. The text names the address and what the operator can do."""


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of `host:port` or `[v6]:port`.

    Raises:
        AddressUnusable: The text is not of this form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise AddressUnusable(
            f"{address!r} is no address to listen on: it is written host:port, port 0..65535"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether what listens on a host, by name or address, is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def taken(what: str, address: str, setting: str) -> AddressUnusable:
    """The error for an address that another program has, or that is not this machine's."""
    return AddressUnusable(
        f"{what} can't listen on {address}: another program uses the port, or the address is not this machine's. "
        f"Stop the other program, or choose another address by {setting}."
    )


def check_free(wanted: Iterable[tuple[str, str, str]]) -> None:
    """Checks that the server can listen on the addresses, before it starts anything else.

    Args:
        wanted: For each listener: its name, its address, and the setting of that address.

    Raises:
        AddressUnusable: The first address that can't be used. Two listeners on one port are an error too.
    """
    with contextlib.ExitStack() as held:
        for what, address, setting in wanted:
            host, port = split_address(address)
            try:
                places = {
                    (family, place)
                    for family, _, _, _, place in socket.getaddrinfo(
                        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                    )
                }
                free = [_bound(held, family, place) for family, place in places]
            except OSError as error:
                raise taken(what, address, setting) from error
            # `localhost` stands for two addresses; a machine may have only one of them.
            if not any(free):
                raise taken(what, address, setting)


def _bound(held: contextlib.ExitStack, family: int, place: tuple[object, ...]) -> bool:
    """Binds the address until the stack ends; False if this machine does not have the address.

    Raises:
        OSError: Another program has the address.
    """
    try:
        probe = held.enter_context(socket.socket(family))
        # Servers set it too: they may take a port whose last connections are in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(place)
        # Two sockets that are bound, but do not listen, would not conflict.
        probe.listen(1)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return False
        raise
    return True
