"""pg-boss: a job queue for Node, imported by `main.mjs`."""

from __future__ import annotations

from ..toolchains import NodeProgram


class PgBoss(NodeProgram):
    """By fetch and complete, many jobs a call."""

    name = "pg_boss"
    workloads = frozenset({"continuous", "drain", "singles", "keyed"})
    does = (
        "Jobs come through insert (in `singles` send, 32 callers). Two worker processes, four loops each that fetch "
        "500 and complete them, a statement each. Priorities, schedules, retries, expiry, dead letters, singletons. "
        "Completed jobs stay for days, in the table of the waiting ones."
    )
    lacks = (
        "No push: workers ask. No network between caller and queue. Settlements are not fenced. No check of payloads "
        "against a schema."
    )
