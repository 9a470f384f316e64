"""Tells systemd how this program does, where a unit of `Type=notify` has started it."""

from __future__ import annotations

import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


def tell(state: str) -> None:
    """Sends systemd a line. Elsewhere, and where systemd does not listen any more, it does nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # `@` stands for the zero byte of a name that is in no folder.
            sender.connect("\0" + address[1:] if address[0] == "@" else address)
            sender.send(state.encode())
    except OSError:
        # The server serves all the same.
        pass
