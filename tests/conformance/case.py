"""A case, and all of them by their ids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .stage import Stage

Body = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that happens to a worker, and what it must do.

    Attributes:
        id: Names it in the table, in the options of the command, and in tests.
        says: What the worker must do, in a sentence.
        rule: Where that is written.
        body: The case itself.
        servers: How many servers the worker is told.
        short: Whether it runs in `make test` too.
        real: Whether it needs the real server, and so PostgreSQL.
    """

    id: str
    says: str
    rule: str
    body: Body
    servers: int
    short: bool
    real: bool


CASES: dict[str, Case] = {}


def case(
    id: str, says: str, rule: str, *, servers: int = 1, short: bool = False, real: bool = False
) -> Callable[[Body], Body]:
    """Makes the decorated function a case."""

    def add(body: Body) -> Body:
        assert id not in CASES, id
        CASES[id] = Case(id, says, rule, body, servers, short, real)
        return body

    return add
