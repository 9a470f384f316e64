"""What a stretch of time cost: CPU by whose it is, WAL, commits and statements. Two readings; the difference counts."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import dropwhile
from pathlib import Path
from typing import Any

from jobqueue_server.store.statements import names, statement

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at a moment.

    Attributes:
        at: Of `time.monotonic`.
        cpu: Seconds, by whose processes used them.
        wal: Bytes, of the whole PostgreSQL.
        commits: Transactions that wrote; those that only read take no number and wait for no disk.
        statements: As PostgreSQL counts them, in this database, by the names of their files; none where it does
            not.
    """

    at: float
    cpu: Mapping[str, float]
    wal: int
    commits: int
    statements: Mapping[str, int]


_STATEMENTS = """
select query, sum(calls)::int8 as calls
from pg_stat_statements s join pg_database d on d.oid = s.dbid
where d.datname = current_database() and query not like '%pg_stat_statements%'
group by 1
"""


class Meter:
    """Takes readings on one database.

    Args:
        connection: Its own.
        postmaster: The process of PostgreSQL, whose children are counted with it.
        processes: Whose CPU is read, by name.
    """

    def __init__(self, connection: Any, postmaster: int, processes: Mapping[str, Iterable[int]]) -> None:
        self._connection = connection
        self._postmaster = postmaster
        self._processes = {name: list(pids) for name, pids in processes.items()}

    async def read(self) -> Reading:
        """Now."""
        row = await self._connection.fetchrow(
            "select (pg_current_wal_insert_lsn() - '0/0')::int8 as wal, "
            "pg_snapshot_xmax(pg_current_snapshot())::text::int8 as commits"
        )
        statements = Counter[str]()
        if await self._connection.fetchval("select to_regclass('pg_stat_statements') is not null"):
            rows = await self._connection.fetch(_STATEMENTS)
            for each in rows:
                statements[statement_name(each["query"])] += each["calls"]
        cpu = {name: sum(cpu_seconds(pid) for pid in pids) for name, pids in self._processes.items()} | {
            "postgres": postgres_seconds(self._postmaster)
        }
        return Reading(time.monotonic(), cpu, row["wal"], row["commits"], statements)


def per_job(before: Reading, after: Reading, jobs: int) -> dict[str, Any]:
    """The difference, for each job."""
    statements = {name: calls - before.statements.get(name, 0) for name, calls in after.statements.items()}
    return {
        "cpu_us_per_job": {
            # To the nanosecond: by tenths of a microsecond, steps of the smallest would be 2 %.
            name: round((seconds - before.cpu[name]) / jobs * 1e6, 3)
            for name, seconds in after.cpu.items()
        },
        "wal_bytes_per_job": round((after.wal - before.wal) / jobs),
        "commits_per_job": round((after.commits - before.commits) / jobs, 4),
        "statements_per_job": round(sum(statements.values()) / jobs, 4),
        "statements": {name: calls for name, calls in sorted(statements.items()) if calls},
    }


@cache
def _statements() -> dict[str, str]:
    """The text of each statement of the server, without its literals -> its name."""
    return {_bare(statement(name)): name for name in names()}


_CONSTANT = r"'[^']*'|\$\d+|\b\d+(?:\.\d+)?\b|\b(?:true|false)\b|(?<=then )null\b"


def statement_name(query: str) -> str:
    """Which statement of the server it is, as PostgreSQL shows it."""
    return _statements().get(_bare(query), "other")


def _bare(query: str) -> str:
    """A statement as PostgreSQL counts it: without the comment before it, one mark for each literal, null or list."""
    body = "\n".join(dropwhile(lambda line: line.startswith("--"), query.strip().splitlines()))
    marked = re.sub(_CONSTANT, "?", body.replace(" /*, ... */", ""))
    return re.sub(r"\?(?:, \?)+", "?", marked)


def cpu_seconds(pid: int) -> float:
    """What a process has used; 0 once it has ended."""
    own, _ = _stat(pid)
    return own


def postgres_seconds(postmaster: int) -> float:
    """What PostgreSQL has used: its postmaster, the children that have ended, and those that live."""
    own, ended = _stat(postmaster)
    return own + ended + sum(cpu_seconds(pid) for pid in children(postmaster))


def children(pid: int) -> list[int]:
    """The processes that this one started and that have not ended."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def memory(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def _stat(pid: int) -> tuple[float, float]:
    """Seconds of its own, and of its children that have ended."""
    try:
        # The name, in parentheses, may hold spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    user, system, ended_user, ended_system = map(int, fields[11:15])
    return (user + system) / _TICK, (ended_user + ended_system) / _TICK
