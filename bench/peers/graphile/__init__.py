"""Graphile Worker: a job queue for Node, imported by `main.mjs`."""

from __future__ import annotations

from ..toolchains import NodeProgram


class Graphile(NodeProgram):
    """With the batching of its performance page."""

    name = "graphile"
    workloads = frozenset({"continuous", "drain", "singles", "keyed"})
    does = (
        "Jobs come through addJobs (in `singles` addJob, 32 callers), a function in the database that announces them. "
        "Two worker processes, 24 jobs at once each: claims of up to 500 into a local queue, ends gathered and written "
        "together. Priorities, named queues, schedules, job keys. A job that succeeded is deleted: no history."
    )
    lacks = (
        "No history: what ours writes for an ended job it does not. No network between caller and queue. Settlements "
        "are not fenced; a crashed worker's jobs wait for four hours. No check of payloads against a schema."
    )
