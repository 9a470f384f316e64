"""Takes addresses to listen on."""

from __future__ import annotations

import errno
import socket

BACKLOG = 4096
# libuv takes one connection of a listening socket in a turn of the loop. Where a turn takes 20 ms, that is 50 a second.
ACCEPTED_AT_ONCE = 8


def listening_together(listening: socket.socket) -> list[socket.socket]:
    """The socket and copies of it: the loop takes a connection of each in one turn.

    Args:
        listening: One that listens. Its copies share its queue; each is to be closed.
    """
    return [listening, *(listening.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]


def listening_sockets(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """Sockets on every address of a host's name, some on each, all on one port, which the system chooses if it is 0.

    Args:
        host: A name or an address; empty: all that the machine has.
        port: 0 to 65535.
        reuse_port: Whether other programs may listen on the same port, each getting a share of the connections.

    Raises:
        OSError: Another program has it, or it is not this machine's.
    """
    places = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    refused: OSError | None = None
    sockets: list[socket.socket] = []
    each = list(dict.fromkeys((family, place) for family, _, _, _, place in places))
    for family, place in each:
        # Where 0.0.0.0 is one of them, `::` has no room for IPv4.
        both = place[0] == "::" and len(each) == 1
        try:
            taken = socket.create_server(
                (place[0], port),
                family=family,
                backlog=BACKLOG,
                reuse_port=reuse_port,
                dualstack_ipv6=both and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for other in sockets:
                    other.close()
                raise
            # `localhost` may be two addresses, of which a machine has one.
            refused = error
            continue
        taken.setblocking(False)
        # Its connections have it from it: asyncio sets it for none of these, and an answer then waits for 40 ms.
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets += listening_together(taken)
        port = taken.getsockname()[1]
    if not sockets:
        raise refused or OSError(f"{host} is no address")
    return sockets
