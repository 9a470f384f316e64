"""Decides which network addresses a job may make this worker connect to.

A producer chooses the url in a payload, and the worker is inside of the operator's network. Without this check a job
could read a cloud's metadata service or call the admin port of another machine (server-side request forgery). Public
addresses are allowed. All others are refused, unless the operator has allowed them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# From the IANA registries of special-purpose addresses (RFC 6890 and its updates). The standard library's
# `is_global` changes its mind between patch releases and knows neither metadata services nor tunnels.
_REFUSED: tuple[tuple[IPNetwork, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("169.254.169.254/32", "a metadata service"),
        ("169.254.170.2/32", "a metadata service"),
        ("100.100.100.200/32", "a metadata service"),
        ("168.63.129.16/32", "a metadata service"),
        ("fd00:ec2::254/128", "a metadata service"),
        ("fd20:ce::254/128", "a metadata service"),
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 clothes"),
        ("::/96", "an IPv4 address in IPv6 clothes"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("2001::/32", "a Teredo tunnel"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "a 6to4 tunnel"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
# The addresses that IANA assigns for the public IPv6 internet. No public server has one of the others.
_GLOBAL_UNICAST = IPv6Network("2000::/3")


class AddressRefused(OSError):
    """The policy forbids a connection. An OSError, since it rises through code that expects those."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the operator allowed: addresses or a host name, on one port or on all."""

    network: IPNetwork | None
    name: str | None
    port: int | None

    def covers(self, address: IPAddress, port: int, name: str | None) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        return name is not None and _canonical(name) == self.name


class AddressPolicy:
    """Public addresses, and what the operator allows besides.

    Args:
        allow: Rules such as `10.0.0.0/8`, `127.0.0.1:8099`, `[::1]:8099`, `[fd00::/8]:443` or `hooks.internal:443`.
        setting: Name of the setting that `allow` came from, for messages.

    Raises:
        ValueError: A rule that cannot be read.
    """

    def __init__(self, allow: Iterable[str] = (), *, setting: str = "webhook_allow") -> None:
        self._rules = tuple(_parse_rule(text, setting) for text in allow)
        self._setting = setting

    def check(self, host: str, port: int, *, name: str | None = None) -> None:
        """Passes if a connection to the address `host` is permitted.

        Args:
            host: The very address that will be connected to, not a name.
            port: The port.
            name: The host name that resolved to it, if there was one.

        Raises:
            AddressRefused: It is not permitted; says why and who can permit it.
        """
        try:
            address = ip_address(host)
        except ValueError:
            # Such as 127.1 or 0x7f000001, which the system's connect() would understand.
            raise AddressRefused(f"{host!r} is not an address in the usual form") from None
        what = refusal(address)
        if what is None or any(rule.covers(_plain(address), port, name) for rule in self._rules):
            return
        via = f" (from {name})" if name is not None else ""
        raise AddressRefused(
            f"{address}{via} is {what}, and jobs may reach public addresses only; "
            f"the operator of the worker can allow it with {self._setting}={_show(address, port)}"
        )


def refusal(address: IPAddress) -> str | None:
    """What makes `address` unfit for jobs, or None for a public one."""
    plain = _plain(address)
    for network, what in _REFUSED:
        if plain.version == network.version and plain in network:
            return what
    if plain.version == 6 and plain not in _GLOBAL_UNICAST:
        return "not a public address"
    return None


def _plain(address: IPAddress) -> IPAddress:
    """Without a zone such as %eth0, which would keep it from being found in a network."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return IPv6Address(int(address))
    return address


def _show(address: IPAddress, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _canonical(name: str) -> str:
    return name.rstrip(".").lower()


def _parse_rule(text: str, setting: str) -> _Rule:
    try:
        return _Rule(ip_network(text), None, None)
    except ValueError:
        pass
    host, colon, port_text = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if (
        not colon
        or not host
        or not port_text.isascii()
        or not port_text.isdigit()
        or not 0 < int(port_text) < 65536
    ):
        raise ValueError(
            f"{setting}: {text!r} is neither a network (10.0.0.0/8, without host bits) nor host:port "
            "(127.0.0.1:8099, [::1]:8099, hooks.internal:443)"
        )
    try:
        return _Rule(ip_network(host), None, int(port_text))
    except ValueError:
        if "/" in host or ":" in host:
            raise ValueError(f"{setting}: {host!r} in {text!r} is not a network") from None
        return _Rule(None, _canonical(host), int(port_text))
