"""A real server for tests: the one that the environment names, or one that is started and ends with the tests."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from google.protobuf.message import Message

from ..calls import call
from ..channel import Access
from ..sync import run_waiting
from ..v1 import access_admin_pb2 as pb
from ..v1 import access_pb2
from ..v1.access_admin_pb2_grpc import AccessAdminStub

_START_WITHIN = 120.0
# A server ends within a second or two of its input. A child of this process that was made by a fork holds the other end
# of that input open, so the end never comes.
_ENDS_WITHIN = 10.0
_ENDS_AT_THE_LATEST = 60.0
_DEADLINE = timedelta(seconds=30)
_MISSING = """there is no server for tests. One of these makes one known:
  pip install 'jobqueue-server[embedded]'            a server is started, and ends with the tests (Linux)
  JOBQUEUE_SERVER_COMMAND='/opt/jq/jobqueue-server'  the same, by that command
  JOBQUEUE_TEST_SERVER=127.0.0.1:50051               one that runs, such as a container of it
  JOBQUEUE_TEST_KEY=jq_...                           and the key of an administrator, where it asks for keys"""


class ServerMissing(Exception):
    """There is no server for tests, or it does not start. The text says what would help."""


@dataclass(frozen=True, slots=True)
class ScopeKey:
    """A namespace that was made for one test, and a key that permits everything in it.

    Attributes:
        target: The server.
        namespace: Its name.
        key: The key.
    """

    target: str
    namespace: str
    key: str


class TestServer:
    """A real server, for tests that share it: each has a namespace of its own, so they do not see each other's jobs.

    It is found in this order; nothing is downloaded. JOBQUEUE_TEST_SERVER: the address of one that runs, with the key
    of an administrator in JOBQUEUE_TEST_KEY. JOBQUEUE_SERVER_COMMAND: what is run, with `ephemeral` behind it.
    `jobqueue-server` beside this Python, or on PATH.

    A server that was started ends by `close`, and with this process in whatever way that ends. One that is shared ends
    with the last of the processes that share it.

    Attributes:
        target: Its address, HOST:PORT.
        key: An administrator's.
    """

    # For pytest it is no test.
    __test__ = False

    def __init__(self, target: str, key: str, process: subprocess.Popen[str] | None = None) -> None:
        self.target = target
        self.key = key
        self._process = process

    @classmethod
    def start(cls, *, shared: bool | None = None) -> Self:
        """Finds or starts it. Starting takes some seconds.

        Args:
            shared: Whether all processes of this user that ask for a shared one get the same server, such as the
                workers of pytest-xdist. None: as JOBQUEUE_TEST_SHARED says (1 or 0), and not where it is not set.

        Raises:
            ServerMissing: There is none, or it does not start.
        """
        if target := os.environ.get("JOBQUEUE_TEST_SERVER"):
            return cls(target, os.environ.get("JOBQUEUE_TEST_KEY", ""))
        if shared is None:
            shared = os.environ.get("JOBQUEUE_TEST_SHARED", "0") not in ("", "0")
        command = [*_command(), "ephemeral", *(["--shared"] if shared else [])]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise ServerMissing(f"{shlex.join(command)} can't be started: {error}") from error
        assert process.stdout is not None
        overdue = threading.Timer(_START_WITHIN, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            line = process.stdout.readline()
            if not line:
                code = process.wait()
                raise ServerMissing(
                    f"{shlex.join(command)} ended with {code} before it answered; its words are above. "
                    "A server that does not know this command is too old for this client"
                )
            said = json.loads(line)
            return cls(said["grpc"], said["key"], process)
        except BaseException:
            process.kill()
            _ended(process)
            raise
        finally:
            overdue.cancel()

    def close(self) -> None:
        """Ends the server, if it was started here: by the end of its input, or after ten seconds by SIGTERM."""
        process, self._process = self._process, None
        if process is not None:
            _ended(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_scope(self) -> ScopeKey:
        """Makes a namespace, and a key that permits everything in it.

        Raises:
            JobQueueError: The server refuses it, such as for a key that is no administrator's of `default`.
        """
        return run_waiting(self._open_scope())

    def close_scope(self, namespace: str) -> None:
        """Disables a namespace: its workers and clients are refused from then on. It stays until the server ends."""
        run_waiting(self._ask(pb.DisableNamespaceRequest(name=namespace), pb.DisableNamespaceResponse))

    async def _open_scope(self) -> ScopeKey:
        name = f"t-{uuid.uuid4().hex}"
        await self._ask(pb.CreateNamespaceRequest(name=name), pb.CreateNamespaceResponse)
        permissions = access_pb2.Access
        everything = pb.Grant(
            permissions=[permissions.ENQUEUE, permissions.WORK, permissions.READ, permissions.OPERATE],
            queues=["*"],
            payloads=True,
        )
        grants = [everything, pb.Grant(permissions=[permissions.ADMIN])]
        made = await self._ask(
            pb.CreateKeyRequest(name="tests", grants=grants, namespace=name), pb.CreateKeyResponse
        )
        return ScopeKey(self.target, name, made.secret)

    async def _ask(self, request: Message, answer: type[Any]) -> Any:
        method = request.DESCRIPTOR.name.removesuffix("Request")
        access = Access(None, self.key or None)
        async with access.async_channel(self.target) as channel:
            stub: Any = AccessAdminStub(channel)
            return await call(
                getattr(stub, method), request, access, deadline=_DEADLINE, retry=False, answer=answer
            )


def _ended(process: subprocess.Popen[str]) -> None:
    """Closes the input of the process, and waits until it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(_ENDS_AT_THE_LATEST)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    process.stdout.close()


def _command() -> list[str]:
    """What starts a server.

    Raises:
        ServerMissing: Nothing is known.
    """
    if given := os.environ.get("JOBQUEUE_SERVER_COMMAND"):
        return shlex.split(given)
    beside = Path(sys.executable).with_name("jobqueue-server")
    found = str(beside) if beside.exists() else shutil.which("jobqueue-server")
    if found is None:
        raise ServerMissing(_MISSING)
    return [found]
