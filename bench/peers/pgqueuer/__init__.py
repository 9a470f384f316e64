"""PgQueuer: a job queue for Python, imported by `main.py`."""

from __future__ import annotations

from ..toolchains import VenvProgram


class PgQueuer(VenvProgram):
    """With large batches, and a process for each core."""

    name = "pgqueuer"
    workloads = frozenset({"continuous", "drain", "singles"})
    does = (
        "Jobs come through enqueue with lists (in `singles` one a call, 32 callers), which announces them. Two worker "
        "processes on asyncpg and uvloop: claims of 500, a task and a heartbeat a job, ends gathered and written "
        "together. Priorities, schedules, retries, concurrency limits. An ended job is deleted; a log has a row for "
        "each of its states, which is folded into statistics in the background."
    )
    lacks = (
        "The payload of an ended job is gone. No network between caller and queue. Settlements are not fenced. No "
        "check of payloads against a schema."
    )
