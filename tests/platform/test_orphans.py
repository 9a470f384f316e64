"""What a test has started does not outlive a run that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Starts one that leads a group, as servers do, with a child in it, and one that does not; and one that has ended.
_RUN = """
import subprocess, sys, time
from tests import orphans
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
leader = subprocess.Popen(
    [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *sleeper], start_new_session=True
)
beside = subprocess.Popen(sleeper)
gone = subprocess.Popen([sys.executable, "-c", ""])
for each in (leader, beside, gone):
    orphans.started(each.pid)
gone.wait()
orphans.ended(gone.pid)
print(leader.pid, beside.pid, flush=True)
time.sleep(600)
"""


def _alive(pid: int) -> bool:
    """Whether it runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_processes_of_a_run_that_is_killed_end_with_it():
    run = subprocess.Popen([sys.executable, "-c", _RUN], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    leader, beside = map(int, run.stdout.readline().split())
    assert _alive(leader)
    assert _alive(beside)
    os.kill(run.pid, 9)
    run.wait()
    run.stdout.close()
    until = time.monotonic() + 20
    while _alive(leader) or _alive(beside):
        assert time.monotonic() < until, "they outlive it"
        time.sleep(0.02)
