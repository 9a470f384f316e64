"""Procrastinate: a job queue for Python, imported by `main.py`."""

from __future__ import annotations

from ..toolchains import VenvProgram


class Procrastinate(VenvProgram):
    """One job a statement; many at once."""

    name = "procrastinate"
    workloads = frozenset({"continuous", "drain", "singles"})
    # Some hundred jobs a second, and fewer the more there are.
    most = 5_000
    does = (
        "Jobs come through batch_defer (in `singles` defer, 32 callers), by functions in the database that announce "
        "them. Two worker processes on psycopg, four jobs at once each: one job a claim, one an end. Priorities, "
        "schedules, retries, locks, periodic tasks. Triggers write an event for each change; jobs and events stay for "
        "ever."
    )
    lacks = (
        "No batches for workers. No network between caller and queue. Settlements are not fenced. No check of payloads "
        "against a schema."
    )
