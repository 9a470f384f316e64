"""Where the demo puts things: folders, and the secret that it shares with its webhook receiver."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from jobqueue_server.embedded import default_data_dir
from jobqueue_server.embedded.binaries import Account

PROGRAMS = Path(sys.executable).parent


class InUse(Exception):
    """Another demo has the folder. The text says what to do."""


@dataclass(frozen=True)
class Places:
    """The folders below one, made when they are missing."""

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def images(self) -> Path:
        return self.files / "output"

    @property
    def mails(self) -> Path:
        return self.root / "mail"

    @property
    def webhooks(self) -> Path:
        return self.root / "webhooks"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def make(self) -> None:
        for folder in (self.files, self.mails, self.webhooks, self.logs):
            folder.mkdir(parents=True, exist_ok=True)

    def take(self) -> None:
        """Has the folder for itself as long as this process lives: two demos in one would overwrite each other's files.

        Raises:
            InUse: Another has it.
        """
        lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise InUse(
                f"a demo runs in {self.root} already: end it with Ctrl-C in its terminal, or run this one beside it:\n"
                f"  {sys.executable} -m tools.demo --data {self.root}-2"
            ) from None

    def database(self) -> Path:
        """The folder of the embedded PostgreSQL.

        As root it runs as `nobody`, who may not enter every checkout (/root is closed to others): then elsewhere.
        """
        own = self.root / "postgres"
        account = Account.for_this_process()
        if account is None or account.may_enter(self.root):
            return own
        return default_data_dir() / f"run-{sha256(str(self.root).encode()).hexdigest()[:8]}"


def new_secret() -> str:
    """A secret as Standard Webhooks writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
