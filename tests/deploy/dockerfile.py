"""Reads a Dockerfile, and does in a folder what a builder would do in an image."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction: its word, and all that stands behind it on its lines."""

    word: str
    rest: str

    @property
    def options(self) -> dict[str, str]:
        """Its `--name=value`."""
        return dict(re.findall(r"--([a-z-]+)=(\S+)", self.rest.partition("CMD")[0]))

    @property
    def operands(self) -> list[str]:
        """Its words without the options."""
        return [word for word in shlex.split(self.rest) if not word.startswith("--")]

    @property
    def command(self) -> list[str]:
        """The JSON list that it ends with."""
        found: list[str] = json.loads(self.rest[self.rest.index("[") :])
        return found


@dataclass
class Stage:
    """From one FROM to the next."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]

    def one(self, word: str) -> Instruction:
        (found,) = self.all(word)
        return found

    @property
    def environment(self) -> dict[str, str]:
        """What its ENV instructions set, `$PATH` not yet put in."""
        pairs = (pair.partition("=") for each in self.all("ENV") for pair in shlex.split(each.rest))
        return {name: value for name, _, value in pairs}


def read(path: Path) -> dict[str, Stage]:
    """The stages of a Dockerfile, by name."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", " ", text)
    stages: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = Stage(name, base)
        elif stages:
            stages[next(reversed(stages))].instructions.append(Instruction(word, rest))
        else:
            assert word == "ARG", f"only ARG may stand before the first FROM, not {word}"
    return stages


def let_through(path: str, rules: Iterable[str]) -> bool:
    """Whether a `.dockerignore` lets a file of the context through: the last rule that fits it decides."""
    kept = True
    parents = [path, *map(str, list(Path(path).parents)[:-1])]
    for rule in rules:
        pattern = rule.removeprefix("!")
        variants = (pattern, pattern.removeprefix("**/")) if pattern.startswith("**/") else (pattern,)
        if any(fnmatch.fnmatchcase(each, variant) for each in parents for variant in variants):
            kept = rule.startswith("!")
    return kept


def rules(dockerignore: Path) -> list[str]:
    """The rules of a `.dockerignore`."""
    lines = (line.strip() for line in dockerignore.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


class Trial:
    """Builds one target in a folder: paths of the image lead there, and the base is the Python of the tests.

    Args:
        folder: Empty; stands for the image's root.
        stages: Of the Dockerfile.
        context: The files that the builder was sent.
    """

    def __init__(self, folder: Path, stages: Mapping[str, Stage], context: Path) -> None:
        self.root = folder / "root"
        self._done = folder / "done"
        self._stages = stages
        self._context = context
        # The base image has a `python`; this machine may have another name for it only.
        self._bin = folder / "bin"
        self._bin.mkdir(parents=True)
        (self._bin / "python").symlink_to(Path(getattr(sys, "_base_executable", sys.executable)).resolve())

    def place(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.root / path.lstrip("/")

    def build(self, name: str) -> None:
        """Does what the stage says, after the stages that it is made of. `root` is then its image."""
        stage = self._stages[name]
        needed = [stage.base, *(each.options["from"] for each in stage.all("COPY") if "from" in each.options)]
        for other in needed:
            if other in self._stages and not (self._done / other).exists():
                self.build(other)
                shutil.copytree(self.root, self._done / other, symlinks=True)
        shutil.rmtree(self.root, ignore_errors=True)
        if stage.base in self._stages:
            shutil.copytree(self._done / stage.base, self.root, symlinks=True)
        self.root.mkdir(exist_ok=True)
        folder = "/"
        for base in reversed(self._bases(stage)):
            folder = next((each.rest for each in self._stages[base].all("WORKDIR")), folder)
        for instruction in stage.instructions:
            if instruction.word == "WORKDIR":
                folder = instruction.rest
                self.place(folder).mkdir(parents=True, exist_ok=True)
            elif instruction.word == "COPY":
                self._copy(instruction, folder)
            elif instruction.word == "RUN":
                self._run(instruction.rest, folder)

    def _bases(self, stage: Stage) -> list[str]:
        found = []
        while stage.base in self._stages:
            found.append(stage.base)
            stage = self._stages[stage.base]
        return found

    def _copy(self, instruction: Instruction, folder: str) -> None:
        *sources, target = instruction.operands
        origin = self._done / instruction.options["from"] if "from" in instruction.options else self._context
        to = self.place(os.path.join(folder, target))
        for source in sources:
            what = origin / source.lstrip("/")
            if what.is_dir():
                shutil.copytree(what, to, symlinks=True, dirs_exist_ok=True)
            else:
                file = to / what.name if target.endswith("/") else to
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(what, file)

    def command(self, text: str) -> str:
        """A command of the image with its paths as they are on this machine."""
        return re.sub(r"(?<![\w./*])/(?=(src|build|wheels|opt)\b)", f"{self.root}/", text)

    def environment(self, name: str) -> dict[str, str]:
        """What a program of the image finds in its environment, and nothing of the tests'."""
        path = f"{self._bin}:/usr/bin:/bin"
        kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "LANG"))}
        own = {
            key: self.command(value).replace("$PATH", path)
            for key, value in self._stages[name].environment.items()
        }
        return {"PATH": path, **kept, **own}

    def _run(self, text: str, folder: str) -> None:
        done = subprocess.run(
            ["/bin/sh", "-ec", self.command(text)],
            cwd=self.place(folder),
            env={**self.environment(next(iter(self._stages))), "HOME": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"RUN {text}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
