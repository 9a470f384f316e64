"""Debian's PostgreSQL with pgbackrest beside it, in a folder of a test's own: archived WAL, backups, restores."""

from __future__ import annotations

import time
from typing import Self

from tests.debian import DebianPostgres
from tools import pgbackrest

_STANZA = "jobqueue"


class BackedUp(DebianPostgres):
    """`with BackedUp() as cluster`, then `cluster.dsn`."""

    def __init__(self) -> None:
        program = pgbackrest.program()
        assert program is not None, pgbackrest.MISSING
        self._program = program
        super().__init__({"archive_mode": "on", "max_wal_senders": 3})
        self._settings["archive_command"] = f"'{' '.join(self._backrest('archive-push', '%p'))}'"

    def __enter__(self) -> Self:
        for name in ("repo", "log", "lock", "spool"):
            self._run("/bin/mkdir", self._folder / name)
        (self._folder / "pgbackrest.conf").write_text(
            f"[global]\nrepo1-path={self._folder}/repo\nlog-path={self._folder}/log\nlock-path={self._folder}/lock\n"
            f"spool-path={self._folder}/spool\nlog-level-console=warn\nstart-fast=y\n"
            f"[{_STANZA}]\npg1-path={self._data}\npg1-port={self._port}\npg1-socket-path={self._folder}\npg1-user=postgres\n"
        )
        super().__enter__()
        self._run(*self._backrest("stanza-create"))
        self._run(*self._backrest("check"))
        return self

    def back_up(self) -> None:
        """A full backup. Its end has whole seconds, and no time before the next one can be restored from it."""
        self._run(*self._backrest("backup", "--type=full"))
        time.sleep(1.1)

    def restore(self, to: str) -> None:
        """The state at a time, in the place of the present one. It was stopped before, and `start` starts it."""
        target = f"--target={to.replace('T', ' ')}"
        self._run(*self._backrest("restore", "--delta", "--type=time", target, "--target-action=promote"))

    def _backrest(self, *words: str) -> list[str]:
        return [self._program, f"--config={self._folder}/pgbackrest.conf", f"--stanza={_STANZA}", *words]
