"""The names of unique jobs that are retried: by a retry that respects names a job takes its own as by an enqueue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from ...grants import Grants, Permission
from ...model import UniqueScope, Until
from ..database import Record, Session


async def take_again(
    session: Session, namespace: int, ids: Sequence[UUID], grants: Grants
) -> dict[UUID, UUID | None]:
    """Lets jobs that are about to be retried hold their names: those that can't, each with the holder of its name.

    A name may reach beyond what its caller operates. Then the caller can't take it, and is told no holder: None.

    It comes before all else that a transaction locks, since names lock first wherever they do
    (`core/intake/names.py`). So the jobs are not locked yet. One that moves on meanwhile may have taken its name
    and have no use for it; the next enqueue that judges the name finds that out.

    Args:
        session: The transaction.
        namespace: Whose jobs they are.
        ids: The jobs, in the order of ids. Of several of one name the first one takes it.
        grants: What the caller may do.
    """
    wanted: defaultdict[bytes, list[tuple[UUID, Until]]] = defaultdict(list)
    refused: dict[UUID, UUID | None] = {}
    for row in await session.fetch("names_of_jobs", ids, ids[0], ids[-1], namespace):
        if _reaches(grants, row):
            wanted[row["digest"]].append((row["id"], Until(row["until"])))
        else:
            refused[row["id"]] = None
    if not wanted:
        return refused
    takers = {digest: next(filter(_holds, jobs), jobs[0]) for digest, jobs in wanted.items()}
    taken = await session.fetchrow("take_names", *_arguments(takers))
    assert taken is not None
    asked = {digest: taker for digest, taker in takers.items() if digest not in (taken["taken"] or ())}
    rows = await session.fetch("judge_names", *_arguments(asked), []) if asked else []
    holders = {digest: taker[0] for digest, taker in takers.items() if _holds(taker)}
    holders |= {row["digest"]: row["job_id"] for row in rows}
    refused |= {
        job_id: holder
        for digest, holder in holders.items()
        for job_id, _ in wanted[digest]
        if job_id != holder
    }
    return refused


def _reaches(grants: Grants, row: Record) -> bool:
    """Whether a caller operates all jobs among which a name stands. A job of before does not say: then all of them."""
    if row["scope"] is None:
        return grants.may_all(Permission.OPERATE, None, None)
    among = UniqueScope(row["scope"])
    return grants.may_all(
        Permission.OPERATE, row["queue"] if among.of_queue else None, row["kind"] if among.of_kind else None
    )


def _holds(job: tuple[UUID, Until]) -> bool:
    """Whether it holds its name once it is retried: its period began with its enqueue, and not now."""
    return job[1] is not Until.PERIOD


def _arguments(
    takers: Mapping[bytes, tuple[UUID, Until]],
) -> tuple[list[bytes], list[UUID], list[int], list[timedelta | None]]:
    """What both statements take, in the order in which names are locked."""
    digests = sorted(takers)
    jobs = [takers[digest] for digest in digests]
    # A hold for a time alone must have one. This one is over at once.
    periods = [None if _holds(job) else timedelta() for job in jobs]
    return digests, [job_id for job_id, _ in jobs], [int(until) for _, until in jobs], periods
