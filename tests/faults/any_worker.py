"""A worker of any language as these cases want one: around the worker under test of docs/conformance.md.

Its frames pass through relays in this process, and what its handlers begin and end it prints: both are noted. A
handler whose payload says `"steps": [{"do": "hold"}]` ends only after this process has noted its beginning and let it
go on. The language's own process is in the group of this one, and is killed, stopped and resumed with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from jobqueue.v1 import lease_pb2
from tests.conformance.languages import ROOT, languages

from .frames import FrameJournal
from .journal import Journal
from .relay import Relay

log = logging.getLogger(__name__)


class NotedFrames(FrameJournal):
    """The frames of one stream; keeps what was delivered, and says when the session is open."""

    def __init__(self, worker: AnyWorker) -> None:
        super().__init__(worker.journal, worker.leases)
        self._worker = worker

    def received(self, frame: lease_pb2.LeaseResponse) -> None:
        super().received(frame)
        if frame.HasField("welcome"):
            log.info("session %d opened at a server", frame.welcome.session_id)
        for job in frame.delivery.jobs:
            self._worker.jobs[job.id, job.attempt] = job


class AnyWorker:
    """The worker under test of one language, with its journal.

    Attributes:
        journal: Of its frames and handlers.
        leases: Those of its session by their numbers.
        jobs: What was delivered, by job and attempt.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.journal = Journal(options.folder, options.name)
        self.leases: dict[int, tuple[str, int]] = {}
        self.jobs: dict[tuple[str, int], lease_pb2.LeasedJob] = {}
        self._told: dict[tuple[str, int], str] = {}
        self._holds: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Its exit code."""
        options = self._options
        addresses = [await Relay(target, lambda: NotedFrames(self)).start() for target in options.addresses]
        pipe = asyncio.subprocess.PIPE
        command = languages()[options.language].command
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.terminate)
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._say(
            do="start", addresses=addresses, queues=["default"], kinds=["work"], slots=options.slots,
            slots_by_kind={}, name=options.name, labels={}, session_ttl_s=options.ttl,
            shutdown_grace_s=options.grace, stop_when_lost=False, tokens=False,
        )  # fmt: skip
        async for raw in process.stdout:
            self._heard(json.loads(raw))
        return await process.wait()

    def _say(self, **line: object) -> None:
        self._stdin.write(json.dumps(line).encode() + b"\n")

    def _heard(self, event: dict[str, Any]) -> None:
        if event["event"] == "ended":
            log.info("ended: %s", event["error"])
            return
        lease = (event["job"], event["attempt"])
        match event["event"]:
            case "handler_started":
                self._note("started", lease, kind=event["kind"])
                hold = asyncio.create_task(self._hold(lease))
                self._holds.add(hold)
                hold.add_done_callback(self._holds.discard)
            case "handler_cancelled":
                self._told[lease] = event["reason"]
            case "handler_ended":
                self._note("ended", lease, kind=self.jobs[lease].kind, how=self._told.get(lease, "returned"))

    def _note(self, what: str, lease: tuple[str, int], **said: object) -> None:
        self.journal.note(what, id=lease[0], attempt=lease[1], **said)

    async def _hold(self, lease: tuple[str, int]) -> None:
        """Takes as long as the payload says; the first attempt until its gate, where it has one, is a file."""
        payload = json.loads(self.jobs[lease].payload_json)
        await asyncio.sleep(payload.get("seconds", 0))
        gate = payload.get("gate") if lease[1] == 1 else None
        while gate is not None and not os.path.exists(gate):
            await asyncio.sleep(0.02)
        self._say(do="release", job=lease[0])


def main() -> int:
    """The exit code of the language's process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--language", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--slots", required=True, type=int)
    parser.add_argument("--ttl", required=True, type=float)
    parser.add_argument("--grace", required=True, type=float)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return asyncio.run(AnyWorker(options).run())


if __name__ == "__main__":
    sys.exit(main())
