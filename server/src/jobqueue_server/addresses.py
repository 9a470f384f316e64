"""Addresses to listen on, and what is said when one is taken."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable


class AddressUnusable(Exception):
    """The operator's to mend: the address can't be listened on. The text says which one and what to do."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`.

    Raises:
        AddressUnusable: It is not of this form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise AddressUnusable(
            f"{address!r} is no address to listen on: it is written host:port, port 0..65535"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def taken(what: str, address: str, setting: str) -> AddressUnusable:
    """What to raise when another program listens there, or the address is not this machine's."""
    return AddressUnusable(
        f"{what} can't listen on {address}: another program uses the port, or the address is not this machine's. "
        f"Stop the other program, or choose another address by {setting}."
    )


def check_free(wanted: Iterable[tuple[str, str, str]]) -> None:
    """Looks whether the addresses can be listened on, before anything is started that would have to end again.

    Args:
        wanted: What listens, where, and the setting of that address.

    Raises:
        AddressUnusable: The first that can't, another of them on the same port included.
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
            # `localhost` is two addresses, of which a machine may have one.
            if not any(free):
                raise taken(what, address, setting)


def _bound(held: contextlib.ExitStack, family: int, place: tuple[object, ...]) -> bool:
    """Takes the place until the stack ends; False if this machine has no such address.

    Raises:
        OSError: It is taken.
    """
    try:
        probe = held.enter_context(socket.socket(family))
        # As servers do, which may take a port whose last connections are still being forgotten.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(place)
        # Two that are only bound do not see each other.
        probe.listen(1)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return False
        raise
    return True
