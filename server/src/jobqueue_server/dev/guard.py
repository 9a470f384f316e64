"""Ends the children of a process that is gone without having ended them, killed with -9 for example.

Its standard input is a pipe of which that process alone holds the other end: `+PID` is a child that was started, `-PID`
one that is over. The pipe's end is the process's: what is still there is ended then, the last one first. Then the
folders that are its arguments are removed. So they are in whatever way it ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

END_WITHIN = 30.0


def main() -> None:
    """Reads until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    running: list[int] = []
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            running.append(pid)
        else:
            running.remove(pid)
    for pid in reversed(running):
        _end(pid)
    for folder in sys.argv[1:]:
        shutil.rmtree(folder, ignore_errors=True)


def _end(pid: int) -> None:
    ends = time.monotonic() + END_WITHIN
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < ends and not _is_over(pid):
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _is_over(pid: int) -> bool:
    """Whether it has ended. One that is not reaped yet still has its number."""
    if Path("/proc/self/stat").exists():
        try:
            # The name, in parentheses, may hold spaces; the state is the first field after it.
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] in ("", "Z")


if __name__ == "__main__":
    main()
