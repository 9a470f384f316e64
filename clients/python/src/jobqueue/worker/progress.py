"""Progress on its way to the server: the newest of each lease, ten times a second at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jobqueue.v1 import lease_pb2 as pb

_INTERVAL = 0.1


class ProgressReports:
    """Gathers what handlers say, so that a chatty one costs no more than a quiet one.

    Args:
        loop: The session's loop.
        send: Sends a frame, if there is a stream.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[pb.LeaseRequest], bool]) -> None:
        self._loop = loop
        self._send = send
        self._newest: dict[int, pb.Progress] = {}

    def put(self, lease_id: int, fraction: float | None, message: str, checkpoint: bytes | None) -> None:
        """Takes a report; what it does not say stays as it was."""
        if not self._newest:
            self._loop.call_later(_INTERVAL, self._flush)
        progress = self._newest.setdefault(lease_id, pb.Progress(lease_id=lease_id))
        if fraction is not None:
            progress.fraction = fraction
        if message:
            progress.message = message
        if checkpoint is not None:
            progress.checkpoint = checkpoint

    def before_settling(self, lease_id: int) -> None:
        """Sends a checkpoint that waits: behind the outcome it would come too late for the next attempt."""
        progress = self._newest.get(lease_id)
        if progress is not None and progress.HasField("checkpoint"):
            del self._newest[lease_id]
            self._send(pb.LeaseRequest(progress=progress))

    def _flush(self) -> None:
        newest, self._newest = self._newest, {}
        for progress in newest.values():
            self._send(pb.LeaseRequest(progress=progress))
