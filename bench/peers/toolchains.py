"""Peers in Node and Python: how their packages come into `.cache/bench` by the hashes in their locks."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence

from .program import Program, tool

_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


class NodeProgram(Program):
    """`main.mjs`, with what package-lock.json names.

    The peers want a newer Node than ours, so on Linux one comes with their packages; elsewhere it is the one on PATH.
    """

    needs = ("node", "npm")
    sources = ("main.mjs", "package.json", "package-lock.json")

    def command(self) -> Sequence[str]:
        """The program, by the Node that came with it."""
        machine = _MACHINES.get(platform.machine(), "")
        brought = self.home / "node_modules" / f"node-linux-{machine}" / "bin" / "node"
        return [str(brought) if brought.exists() else "node", str(self.home / "main.mjs")]

    def make(self) -> None:
        """Nothing of theirs is run while they are installed."""
        self.copy(self.sources)
        tool(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], self.home)


class VenvProgram(Program):
    """`main.py`, in a virtual environment of its own with what requirements.txt names."""

    sources = ("main.py", "requirements.txt")

    def command(self) -> Sequence[str]:
        """The program, by the Python of its environment."""
        return [str(self.home / "venv" / "bin" / "python"), str(self.folder / "main.py")]

    def make(self) -> None:
        """By the Python that runs this."""
        tool([sys.executable, "-m", "venv", "--clear", str(self.home / "venv")], self.home)
        pip = [self.command()[0], "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        tool([*pip, "--require-hashes", "-r", str(self.folder / "requirements.txt")], self.home)
