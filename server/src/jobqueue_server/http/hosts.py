"""Under which names the server answers, so that a page whose own name leads here (DNS rebinding) gets nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from . import headers
from .answer import Asgi, Receive, Refuse, Scope, Send
from .errors import Refused

#: The entry of the list that stands for every name.
ANY = "*"


class Hosts:
    """Stands before an ASGI application: a request for a name that is not this server's is refused.

    To a browser a page belongs to the site whose name it came by; when that name is made to lead to this machine, the
    page calls us as its own site, and nothing in its requests says otherwise but `Host`. An address in `Host` is no
    name that could be led elsewhere, and a request without `Host` comes from no browser.

    Args:
        app: What it stands before.
        names: Answered beside addresses and localhost; `*` is every name.
        refuse: How a refusal is answered.
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
        """Whether a request for this name, or address, is this server's."""
        return self._any or not host or self._is_ours(host)

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        return name in self._names or name == "localhost" or name.endswith(".localhost") or _is_address(name)


def needed(address: str, names: Sequence[str]) -> bool:
    """Whether names are to be checked: where they are told, and on a loopback, whose names are known.

    On any other address a server may have names that it does not know of.
    """
    host = address.rpartition(":")[0].strip("[]")
    return (
        bool(names) or host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
    )


def _name(host: str) -> str:
    """The host of `host:port`, in lower case, without the dot that ends a full name."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().removesuffix(".")


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
