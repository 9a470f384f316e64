"""Where `jobqueue-server dev` listens: the usual ports where they are free."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

HOST = "127.0.0.1"


@dataclass
class Ports:
    """Our usual ports where they are free, others where they are not; `moved` says which."""

    usual: bool = True
    moved: list[str] = field(default_factory=list)

    def take(self, what: str, usual: int) -> int:
        """A port for this."""
        if not self.usual:
            return free_port()
        if _is_free(usual):
            return usual
        port = free_port()
        self.moved.append(f"port {usual} is taken: {what} uses {port} instead")
        return port


def free_port() -> int:
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server does, which may take a port whose last connections are still being forgotten.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
