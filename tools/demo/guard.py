"""Ends the children of a demo that is gone without having ended them, killed with -9 for example.

Its standard input is a pipe of which the demo alone holds the other end: `+PID` is a process that was started, `-PID`
one that is over. The pipe's end is the demo's: what is still there is ended then, the last one first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

END_WITHIN = 30.0


def main() -> None:
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
    """Whether it has ended. One that nobody has reaped yet still has its number."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] in ("", "Z")


if __name__ == "__main__":
    main()
