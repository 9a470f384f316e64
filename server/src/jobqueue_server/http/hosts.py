"""The names under which the server answers, as a protection against DNS rebinding."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from ..addresses import is_loopback
from . import headers
from .answer import Asgi, Receive, Refuse, Scope, Send
from .errors import Refused

# An IPv6 address in brackets or a name, and a port. It is matched as a whole: what stands behind a port is no port.
_with_port = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:]+))(?::[0-9]*)?", re.IGNORECASE | re.ASCII).fullmatch

#: The entry of the list for every name.
ANY = "*"


class Hosts:
    """Wraps an ASGI application, and refuses a request for a name that is not this server's.

    In a browser a page belongs to the site of its name. If an attacker makes that name resolve to this machine, the
    page calls this server as its own site, and only `Host` shows it. An address in `Host` does not resolve to another
    machine, and a request without `Host` does not come from a browser.

    Args:
        app: The application.
        names: The server's names, in addition to addresses and localhost; `*` for every name.
        refuse: Answers a request with an error.
    """

    def __init__(self, app: Asgi, names: Sequence[str], refuse: Refuse) -> None:
        self._app = app
        self._any = ANY in names
        self._names = frozenset(name.lower() for name in names)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] == "http":
            host = headers.one(scope["headers"], b"host")
            if not self.answers(host):
                await self._refuse(scope, send, _refused(host))
                return
        await self._app(scope, receive, send)

    def answers(self, host: str) -> bool:
        """Whether the server answers a request with this `Host`."""
        return self._any or not host or self._is_ours(host)

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        return name in self._names or name == "localhost" or name.endswith(".localhost") or _is_address(name)


def needed(address: str, names: Sequence[str]) -> bool:
    """Whether names must be checked: if names are set, or the server listens on a loopback address.

    On another address a server may have names that it does not know.
    """
    return bool(names) or is_loopback(address.rpartition(":")[0].strip("[]"))


def _name(host: str) -> str:
    """The host of `host:port`, in lower case, without the dot of a full name; empty for any other text."""
    found = _with_port(host)
    if found is None:
        return ""
    address, name = found.groups()
    return str(address or name).lower().removesuffix(".")


@lru_cache(maxsize=256)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refused(host: str) -> Refused:
    return Refused(
        421,
        "PERMISSION_DENIED",
        f"this server does not answer under the name {host[:200]}; call it by its address, or list the name in "
        "JOBQUEUE_HTTP_HOSTS",
    )
