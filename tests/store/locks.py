"""Which rows a statement locks, as its text says, and the order in which it comes to them: `docs/locks.md`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

#: Table: its rank. A transaction waits for rows in this order only.
RANKS = {
    "unique_hold": 1,
    "live_job": 2,
    "finished_job": 2,
    "idempotency_key": 3,
    "queue": 4,
    "kind": 5,
    "semaphore": 6,
}
#: Functions of the schema that lock a row.
FUNCTIONS = {"starts_of_queue": (4,), "starts_of_kind": (5,), "starts_of": (4, 5)}

_LOCK = re.compile(
    r"\b(?:update (?!of\b|skip\b|set\b)(?P<updated>\w+)|delete from (?P<deleted>\w+)|insert into (?P<inserted>\w+)"
    r"|for (?:no key )?(?:update|share)(?: of (?P<of>\w+(?:, \w+)*))?(?P<skips> skip locked)?"
    rf"|(?P<function>{'|'.join(FUNCTIONS)})(?=\())"
)
_NO_ALIAS = r"(?!(?:on|where|order|limit|join|cross|left|for)\b)"
_TABLE = re.compile(rf"\b(?:from|join) (\w+)(?: (?:as )?{_NO_ALIAS}(\w+))?")


class Lock(NamedTuple):
    """Rows of one rank. Skips: it takes those alone that no other transaction has."""

    rank: int
    skips: bool


def _select_before(text: str) -> str:
    """The innermost select that ends at the end of the text, without what stands in its brackets."""
    depth, flat = 0, []
    for sign in reversed(text):
        if sign == "(":
            if depth == 0:
                break
            depth -= 1
        elif sign == ")":
            depth += 1
        elif depth == 0:
            flat.append(sign)
    return "".join(reversed(flat))


def _rest_of_insert(text: str) -> str:
    """What follows, up to the end of the statement that stands in brackets here."""
    depth = 0
    for at, sign in enumerate(text):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if depth < 0:
            return text[:at]
    return text


def locks(statement: str) -> Iterator[Lock]:
    """The locks of a statement in the order of its text."""
    text = " ".join(re.sub(r"--.*", "", statement).split())
    for found in _LOCK.finditer(text):
        if found["function"]:
            yield from (Lock(rank, False) for rank in FUNCTIONS[found["function"]])
        elif table := found["updated"] or found["deleted"]:
            if table in RANKS:
                yield Lock(RANKS[table], False)
        elif table := found["inserted"]:
            if table in RANKS and "on conflict" in _rest_of_insert(text[found.start() :]):
                yield Lock(RANKS[table], False)
        else:
            tables = [
                name
                for name, alias in _TABLE.findall(_select_before(text[: found.start()]))
                if name in RANKS and (not found["of"] or (alias or name) in found["of"].split(", "))
            ]
            yield from (Lock(RANKS[name], found["skips"] is not None) for name in tables)


def first_locks(statement: str) -> dict[int, bool]:
    """By rank, in the order in which the statement comes to them: whether it waits for such rows."""
    first: dict[int, bool] = {}
    for lock in locks(statement):
        first.setdefault(lock.rank, not lock.skips)
    return first


def declared(statement: str) -> tuple[list[int], list[int]]:
    """What the head says: the ranks that the statement waits for, and those that its transaction has locked before."""
    head = re.match(r"(?:--.*\n)*", statement)
    text = head[0] if head else ""

    def ranks(word: str) -> list[int]:
        found = re.search(rf"^-- {word}: ([\d ]+)$", text, re.MULTILINE)
        return [int(rank) for rank in found[1].split()] if found else []

    return ranks("locks"), ranks("has")
