"""Addresses to listen on, and what is said when one is taken."""

from __future__ import annotations


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
    """What to raise when somebody else listens there, or the address is not this machine's."""
    return AddressUnusable(
        f"{what} can't listen on {address}: another program uses the port, or the address is not this machine's. "
        f"Stop the other program, or choose another address by {setting}."
    )
