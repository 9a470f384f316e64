"""The first thing that anybody types: `jobqueue-server dev` of the wheels, by uvx, in an environment that it makes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from .conftest import Distributions
from .environments import clean

pytestmark = [pytest.mark.package, pytest.mark.network]


@pytest.mark.timeout(300)
def test_one_command_shows_it_and_leaves_nothing(distributions: Distributions) -> None:
    wheel = distributions.wheel("jobqueue_server")
    uvx = [str(Path(sys.executable).parent / "uv"), "tool", "run", "--quiet", "--python", sys.executable]
    # Ours have one version for a long time: what was kept of them is of another build.
    uvx += [f"--refresh-package={name}" for name in ("jobqueue", "jobqueue-server")]
    uvx += ["--find-links", str(distributions.folder), "--from", f"{wheel}[embedded]"]
    with tempfile.TemporaryDirectory(prefix="jq-") as folder:
        os.chmod(folder, 0o777)
        process = subprocess.Popen(
            [*uvx, "jobqueue-server", "dev", "--free-ports"],
            cwd=folder,
            env=clean({"TMPDIR": folder}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                if line.startswith("Ctrl-C ends all of it"):
                    break
            (dashboard,) = re.findall(r"^ +dashboard +(\S+)$", said, re.MULTILINE) or [said]
            with urllib.request.urlopen(dashboard, timeout=60) as page:
                assert page.status == 200
            process.send_signal(signal.SIGTERM)
            said += process.stdout.read()
            assert process.wait(60) == 0, said
        finally:
            process.kill()
            process.communicate()
        assert "Everything has ended" in said
        assert not [each for each in os.listdir(folder) if each.startswith("jobqueue-dev-")]
