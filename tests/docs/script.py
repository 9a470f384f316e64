"""Types the blocks of a document into terminals, and holds what they show against what the document says.

A block of `console` is a conversation, in the terminal that its title names:

    $ command       is typed, once the terminal waits for one
    > text          is typed into the program that runs there
    ^C  ^D          are pressed
    other lines     must be shown: `...` stands for anything, an id for the id that it was when first shown, a time for
                    any time. A conversation that ends with `...` leaves its program running, and one that begins
                    with it goes on with what the program shows.

A block of `python` with a title is a file of that name. A block of `mermaid` is a picture. A block with a title in
another language is a program of its client, whose tests run it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from .markdown import Block
from .terminal import Terminal

PATIENCE = 60.0

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_TOKEN = re.compile(rf"(?P<dots>\.\.\.)|(?P<id>{_ID.pattern})|(?P<time>{_TIME.pattern})|(?P<gap>[ \t]+)")


_CLIENTS = ("go", "ts", "typescript", "java", "rust")


class NotAsWritten(AssertionError):
    """The document shows one thing and the terminal another."""


class Script:
    """One reading of a document, in a folder of its own.

    Args:
        document: Its name, for failures.
        folder: Where its files go and its terminals start.
        environment: What its terminals inherit.
        places: Texts of the document that are others in this run, such as an address.
    """

    def __init__(
        self, document: str, folder: Path, environment: Mapping[str, str], places: Mapping[str, str]
    ) -> None:
        self._document = document
        self._folder = folder
        self._environment = environment
        self._places = places
        self._ids: dict[str, str] = {}
        self._terminals: dict[str, Terminal] = {}

    def run(self, blocks: Iterable[Block]) -> None:
        """Does what every block says, in order.

        Raises:
            NotAsWritten: naming the line.
        """
        for block in blocks:
            if block.language == "console":
                self._converse(block)
            elif block.language in ("python", "toml") and block.title:
                (self._folder / block.title).write_text(self._here(block.text))
            elif block.language != "mermaid" and not (block.language in _CLIENTS and block.title):
                raise NotAsWritten(
                    f"{self._document}, line {block.line}: a block is `console`, or `python`, `toml` or one of "
                    "another language with a file's name"
                )

    def close(self) -> None:
        """Ends every terminal."""
        for terminal in self._terminals.values():
            terminal.close()

    def _converse(self, block: Block) -> None:
        terminal = self._terminal(block.title or "terminal 1")
        expected: list[str] = []
        typed, line = "", block.line
        for number, text in enumerate([*block.lines, ""], start=block.line):
            last = number == block.line + len(block.lines)
            if last or text.startswith(("$ ", "> ")) or text in ("^C", "^D"):
                stays = bool(expected) and expected[-1] == "..." and (last or not text.startswith("$ "))
                # What is typed into a running program goes there once it has said what it should.
                stays = stays or (not last and not text.startswith("$ "))
                self._expect(terminal, expected, typed, line, stays=stays)
                expected, typed, line = [], text, number
                if not last:
                    self._do(terminal, text, number)
            else:
                expected.append(text)

    def _do(self, terminal: Terminal, text: str, line: int) -> None:
        if text.startswith("$ "):
            if not terminal.wait(lambda: terminal.free, PATIENCE):
                raise self._wrong(line, text, "the terminal is still busy", terminal)
            terminal.enter(self._here(text[2:]))
        elif text.startswith("> "):
            terminal.clear()
            terminal.enter(self._here(text[2:]))
        else:
            terminal.clear()
            terminal.press(text[1])

    def _expect(self, terminal: Terminal, expected: list[str], typed: str, line: int, *, stays: bool) -> None:
        if not typed and expected and expected[0] == "..." and not terminal.free:
            typed = "what runs there"
        if not typed:
            if any(each.strip() for each in expected):
                raise NotAsWritten(f"{self._document}, line {line}: nothing was typed that could show this")
            return
        pattern, names = self._pattern(expected)

        def matches() -> re.Match[str] | None:
            shown = _plain(terminal.shown)
            return pattern.match(shown) if stays else pattern.fullmatch(shown)

        def settled() -> bool:
            return (matches() is not None) if stays else terminal.free

        if not (terminal.wait(settled, PATIENCE) and (found := matches())):
            raise self._wrong(line, typed, "should have shown:\n" + "\n".join(expected), terminal)
        self._ids.update({written: found[group] for group, written in names.items()})

    def _pattern(self, expected: list[str]) -> tuple[re.Pattern[str], dict[str, str]]:
        """What the terminal must show, and the ids in it that are new by their groups."""
        parts: list[str] = []
        names: dict[str, str] = {}
        lines = [self._here(each).strip() for each in expected]
        for index, text in enumerate(lines):
            if text == "...":
                parts.append(r"(?:.*\n)*?" if index < len(lines) - 1 else r"(?:.*\n?)*?")
                continue
            place = 0
            for token in _TOKEN.finditer(text):
                parts.append(re.escape(text[place : token.start()]))
                place = token.end()
                if token["id"] and token["id"] not in self._ids.values():
                    group = next((name for name, written in names.items() if written == token["id"]), None)
                    if group is not None:
                        parts.append(f"(?P={group})")
                    else:
                        group = f"id{len(names)}"
                        names[group] = token["id"]
                        parts.append(f"(?P<{group}>{_ID.pattern})")
                elif token["id"]:
                    parts.append(re.escape(token["id"]))
                elif token["time"]:
                    parts.append(_TIME.pattern)
                elif token["dots"]:
                    parts.append(".*?")
                else:
                    parts.append(r"\s+")
            parts.append(re.escape(text[place:]) + r"\n")
        return re.compile("".join(parts)), names

    def _here(self, text: str) -> str:
        """The text as it is to be typed in this run."""
        for written, here in self._places.items():
            text = text.replace(written, here)
        return _ID.sub(lambda match: self._ids.get(match[0], match[0]), text)

    def _terminal(self, name: str) -> Terminal:
        terminal = self._terminals.get(name)
        if terminal is None:
            terminal = self._terminals[name] = Terminal(self._folder, self._environment)
            if not terminal.wait(lambda: terminal.free, PATIENCE):
                raise NotAsWritten(f"{self._document}: {name} has no prompt")
        return terminal

    def _wrong(self, line: int, typed: str, what: str, terminal: Terminal) -> NotAsWritten:
        return NotAsWritten(
            f"{self._document}, line {line}: {typed!r} {what}\n--- but it showed:\n{terminal.shown}\n---"
        )


def _plain(shown: str) -> str:
    """Each line without what surrounds it, since the width of things differs from run to run."""
    lines = [line.strip() for line in shown.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return "".join(f"{line}\n" for line in lines)
