"""Patroni with two PostgreSQLs and an etcd, as real processes: to be killed, stopped, brought back and switched over.

What runs on a member's host works in that member's folder, and is found by it: Patroni, and all of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from jobqueue_server.embedded.binaries import Account, binaries, run_as
from tests.standby import run
from tools import patroni

#: In seconds, as small as Patroni takes them: the bounds of the suite are made of them.
TTL = 10
LOOP = 2
RETRY = 3
_PASSWORD = "jobqueue"
# From 32768 on the system gives ports to whoever connects: one of Patroni's own connections would take them.
_PORTS = range(20000, 32000)
_DCS: Mapping[str, Any] = {
    "ttl": TTL,
    "loop_wait": LOOP,
    "retry_timeout": RETRY,
    "synchronous_mode": True,
    "postgresql": {
        "use_pg_rewind": True,
        "use_slots": True,
        "parameters": {"max_connections": 100, "wal_level": "replica", "hot_standby": "on", "jit": "off"},
    },
}


def free_port(taken: set[int]) -> int:
    """A port below those that the system gives away."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                if port not in taken:
                    taken.add(port)
                    return port


def asked(port: int, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """What an HTTP API on loopback answers; with a body it is asked to change. None: nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, method="PATCH" if data else "GET"
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return json.loads(answer.read())
    except (OSError, urllib.error.URLError, ValueError):
        return None


# What a run leaves that is killed itself: all that works in its folder, and the folder.
_GUARD = """
import os, shutil, signal, sys
sys.stdin.read()
folder, found = sys.argv[1], True
while found:
    found = False
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd").startswith(folder + "/"):
                os.kill(int(pid), signal.SIGKILL)
                found = True
        except OSError:
            pass
shutil.rmtree(folder, ignore_errors=True)
"""


class Host:
    """What runs in a folder: one program that is started, and whatever it starts."""

    def __init__(self, folder: Path, account: Account | None) -> None:
        self.folder = folder
        folder.mkdir()
        if account is not None:
            os.chown(folder, account.uid, account.gid)
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Starts the program. What it says goes into a file beside its folder."""
        how = run_as(self._account, self.folder)
        how["env"].update(environment)
        with self.folder.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **how
            )

    def pids(self) -> list[int]:
        """All processes whose working folder is this one, or within it."""
        found = []
        for each in Path("/proc").glob("[0-9]*/cwd"):
            # What has ended meanwhile, and what is another user's.
            with suppress(OSError):
                if Path(os.readlink(each)).is_relative_to(self.folder):
                    found.append(int(each.parent.name))
        return found

    def send(self, number: signal.Signals, pids: list[int] | None = None) -> None:
        """Sends all of them a signal."""
        for pid in self.pids() if pids is None else pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        """Stops every process, again until none is new: what is not stopped yet may start another."""
        stopped: set[int] = set()
        while new := set(self.pids()) - stopped:
            self.send(signal.SIGSTOP, sorted(new))
            stopped |= new

    def kill(self) -> None:
        """kill -9 of all that runs here, and waits until it has ended."""
        until = time.monotonic() + 20
        while pids := self.pids():
            self.send(signal.SIGKILL, pids)
            if self._process is not None:
                self._process.poll()
            assert time.monotonic() < until, f"{pids} do not end"
            time.sleep(0.02)
        if self._process is not None:
            self._process.wait(5)
            self._process = None


class Member(Host):
    """A host with a PostgreSQL and its Patroni.

    Attributes:
        port: PostgreSQL's.
        api: Patroni's.
    """

    def __init__(self, name: str, cluster: Cluster) -> None:
        super().__init__(cluster.folder / name, cluster.account)
        self.name = name
        self.port, self.api = free_port(cluster.taken), free_port(cluster.taken)
        self._data = self.folder / "data"
        self._cluster = cluster
        login = {"username": "postgres", "password": _PASSWORD}
        config = {
            "scope": "jobqueue",
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{self.api}", "connect_address": f"127.0.0.1:{self.api}"},
            # By etcd3 Patroni 3.0.2 writes the leader's key without comparing: who was frozen may take it back.
            "etcd": {"host": f"127.0.0.1:{cluster.etcd_port}"},
            "bootstrap": {
                "dcs": _DCS,
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
                "pg_hba": [f"host {what} all 127.0.0.1/32 scram-sha-256" for what in ("all", "replication")],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self._data),
                "bin_dir": str(binaries(cluster.account)),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": {"superuser": login, "replication": login, "rewind": login},
                "parameters": {"unix_socket_directories": ""},
            },
        }  # fmt: skip
        self.config = cluster.folder / f"{name}.json"
        self.config.write_text(json.dumps(config))

    def start(self) -> None:
        """Starts Patroni, which starts PostgreSQL."""
        self.run(self._cluster.program("patroni", str(self.config)), self._cluster.environment)

    @property
    def main(self) -> int:
        """The process of PostgreSQL that all others are started by."""
        return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])

    def postgres(self) -> list[int]:
        """All processes of PostgreSQL: they work in its folder of data, and Patroni does not."""
        return [pid for pid in self.pids() if Path(f"/proc/{pid}/cwd").readlink() == self._data]

    def kill_both(self) -> None:
        """kill -9 of Patroni and of PostgreSQL's main process. What that has started ends by itself."""
        assert self._process is not None
        self.send(signal.SIGKILL, [self._process.pid, self.main])

    def status(self) -> Any:
        """What Patroni says of it; None where it does not answer."""
        return asked(self.api, "/patroni")

    def dsn(self, database: str = "postgres") -> str:
        """This PostgreSQL alone, whatever it is."""
        return f"postgresql://postgres:{_PASSWORD}@127.0.0.1:{self.port}/{database}"


class Cluster:
    """An etcd and two members. `with Cluster() as cluster`: both run, one leads, the other follows synchronously."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jobqueue-ha-"))
        self.folder.chmod(0o755)
        guard = [sys.executable, "-S", "-c", _GUARD, str(self.folder)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)
        self.account = Account.for_this_process()
        self.taken: set[int] = set()
        self._programs = self.folder / "programs"
        self.environment = {
            "PYTHONPATH": str(self._programs / "usr/lib/python3/dist-packages"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.etcd_port, self._peer_port = free_port(self.taken), free_port(self.taken)
        self.etcd = Host(self.folder / "etcd", self.account)
        self.members = [Member("one", self), Member("two", self)]

    def program(self, name: str, *words: str) -> list[str]:
        """The command of a program of Patroni."""
        # Debian's, for which Debian's packages of Python are made.
        return ["/usr/bin/python3", str(self._programs / "usr/bin" / name), *words]

    def __enter__(self) -> Self:
        patroni.unpack(self._programs)
        try:
            self.start_etcd()
            self.members[0].start()
            self.until(lambda: self.leader is not None, "a leader", 60)
            self.members[1].start()
            self.whole()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in (*self.members, self.etcd):
            host.kill()
        self._guard.communicate()
        assert not self.folder.exists()

    def start_etcd(self) -> None:
        """Starts it with what it knew before."""
        here, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        flags = {
            "data-dir": str(self.etcd.folder / "data"),
            "listen-client-urls": here,
            "advertise-client-urls": here,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "log-level": "error",
            "enable-v2": "true",
        }
        command = [
            str(self._programs / "usr/bin/etcd"),
            *(f"--{name}={value}" for name, value in flags.items()),
        ]
        self.etcd.run(command, {})
        self.until(lambda: asked(self.etcd_port, "/health"), "etcd", 20)

    # ---- who is what

    @property
    def leader(self) -> Member | None:
        """The member that takes writes, as Patroni says; None: nobody does."""
        for member in self.members:
            status = member.status()
            if status and status.get("role") in ("master", "primary") and status.get("state") == "running":
                return member
        return None

    def roles(self) -> tuple[Member, Member]:
        """The leader and its standby."""
        leader = self.leader
        assert leader is not None, "nobody leads"
        return leader, next(member for member in self.members if member is not leader)

    def whole(self, within: float = 60.0) -> tuple[Member, Member]:
        """Waits until one leads and the other follows synchronously: who they are."""
        for member in self.members:
            member.send(signal.SIGCONT)
            if member.status() is None and not member.pids():
                member.start()
        self.until(self._is_whole, "a leader with a synchronous standby", within)
        return self.roles()

    def _is_whole(self) -> bool:
        leader = self.leader
        if leader is None:
            return False
        listed = (asked(leader.api, "/cluster") or {}).get("members", [])
        # What Patroni has noted for a failover, which is a moment later than what PostgreSQL says.
        return any(each.get("role") == "sync_standby" for each in listed)

    def strict(self, on: bool) -> None:
        """Whether commits wait for a standby also while there is none."""
        leader, _ = self.roles()
        assert asked(leader.api, "/config", {"synchronous_mode_strict": on})

    def switch_over(self) -> None:
        """By patronictl, as an operator does it."""
        leader, standby = self.roles()
        words = (
            "-c",
            str(leader.config),
            "switchover",
            "--force",
            "--master",
            leader.name,
            "--candidate",
            standby.name,
        )
        how = run_as(self.account, self.folder)
        how["env"].update(self.environment)
        ran = subprocess.run(
            self.program("patronictl", *words), capture_output=True, text=True, timeout=60, **how
        )
        assert "Successfully switched over" in ran.stdout, ran.stdout + ran.stderr

    def until(self, look: Callable[[], object], what: str, within: float) -> None:
        """Looks again and again until what it sees is true."""
        ends = time.monotonic() + within
        while not look():
            assert time.monotonic() < ends, f"within {within:g} s there was not: {what}\n{self.said()}"
            time.sleep(0.1)

    def said(self) -> str:
        """The end of what each program said."""
        return "\n".join(
            f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.folder.glob("*.log"))
        )

    # ---- databases

    async def streams(self, leader: Member, within: float = 60.0) -> None:
        """Waits until the leader sends its WAL to a standby."""
        async with asyncio.timeout(within):
            while not await run(leader.dsn(), "select exists (select from pg_stat_replication)"):
                await asyncio.sleep(0.1)

    def dsn(self, database: str, first: Member) -> str:
        """One DSN of both, as docs/ha.md says it."""
        hosts = ",".join(
            f"127.0.0.1:{each.port}" for each in sorted(self.members, key=lambda each: each is not first)
        )
        return f"postgresql://postgres:{_PASSWORD}@{hosts}/{database}?target_session_attrs=read-write"

    async def create(self, database: str) -> None:
        """Makes a database."""
        leader, _ = await asyncio.to_thread(self.roles)
        await run(leader.dsn(), f"create database {database}")
