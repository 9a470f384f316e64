"""Ports of loopback that a test names before it is listened on, or between two that listen there."""

from __future__ import annotations

import secrets
import socket

# Below those that the kernel gives to who listens on port 0 and to who connects (`ip_local_port_range`): of these, each
# may be somebody else's a moment later.
_FIRST, _BEYOND = 10_000, 32_768


def free_port() -> int:
    """A port that is free, and that nobody is given who did not ask for it."""
    while True:
        port = _FIRST + secrets.randbelow(_BEYOND - _FIRST)
        with socket.socket() as probe:
            # As a server does, which may take a port whose last connections are still being forgotten.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def free_address() -> str:
    """Such a port with its host."""
    return f"127.0.0.1:{free_port()}"
