"""A terminal with a shell in it, for tests that type what a reader of the documents would type."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_PROMPT = "@@ready@@"
_NOISE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """Bash on a pseudo-terminal: Ctrl-C is a key here, and what runs in the foreground has the keyboard.

    Args:
        folder: Where the shell starts.
        environment: All that it inherits.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        look = termios.tcgetattr(slave)
        look[1] &= ~termios.ONLCR
        look[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, look)
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "--noediting", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**environment, "PS1": _PROMPT, "PS2": "", "TERM": "dumb", "COLUMNS": "120"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._text = ""
        self._changed = threading.Condition()
        self._open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        pending = b""
        while self._open:
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # the other side has gone
                break
            pending += data
            try:
                text, pending = pending.decode(), b""
            except UnicodeDecodeError:  # cut inside a character
                continue
            with self._changed:
                self._text += _NOISE.sub("", text)
                self._changed.notify_all()

    @property
    def free(self) -> bool:
        """Whether the shell waits for a command, whatever was written since by what it runs in the background."""
        return _PROMPT in self._text

    @property
    def shown(self) -> str:
        """What is on the screen since it was last cleared, without the prompt."""
        return self._text.replace(_PROMPT, "")

    def clear(self) -> None:
        """Forgets what is on the screen."""
        with self._changed:
            self._text = _PROMPT if self.free else ""

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits until the screen makes the condition true; whether it did."""
        until = time.monotonic() + seconds
        with self._changed:
            while not condition():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def enter(self, line: str) -> None:
        """Types a line, and return."""
        with self._changed:
            if self.free:
                self._text = ""
        os.write(self._master, line.encode() + b"\n")

    def press(self, key: str) -> None:
        """Holds the control key and presses another."""
        os.write(self._master, bytes([ord(key.upper()) - 64]))

    def close(self) -> None:
        """Ends the shell and all that it started."""
        for pid in _session(self._shell.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._shell.wait()
        self._open = False
        self._reader.join()
        os.close(self._master)


def _session(leader: int) -> list[int]:
    """The processes of a session, by number."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
    return found
