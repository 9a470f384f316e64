"""What a caller is shown of a job."""

from __future__ import annotations

from dataclasses import replace

from ...errors import JobNotFound
from ...grants import Permission
from ...model import Job
from ...scope import Scope
from .checks import not_allowed


def shown(scope: Scope, job: Job) -> Job:
    """The job as the principal may see it.

    Without `payloads` in its grant a reader is shown no payload, output, headers or texts of errors. A principal that
    may not read the job at all, such as a producer that has cancelled it, is shown no more than how it stands.
    """
    grants = scope.grants
    if grants.unbounded:
        return job
    permitted = grants.on(job.queue, job.kind)
    if Permission.READ | Permission.PAYLOADS in permitted:
        return job
    job = replace(
        job,
        payload=None,
        output=None,
        headers={},
        last_error=None,
        failed_attempts=tuple(replace(attempt, error="") for attempt in job.failed_attempts),
    )
    if Permission.READ in permitted:
        return job
    return replace(
        job, labels={}, idempotency_key=None, key=None, locked_by=None, progress=None, failed_attempts=()
    )


def require_on_job(scope: Scope, any_of: Permission, job: Job, doing: str) -> None:
    """Lets a principal pass that has one of these permissions on a job.

    Args:
        scope: Whose call it is.
        any_of: One or more bits.
        job: The job.
        doing: As in `checks.not_allowed`.

    Raises:
        JobNotFound: It has not, and may not read the job either: that there is one is not told.
        NotAllowed: It has not, and may read the job.
    """
    grants = scope.grants
    if grants.unbounded:
        return
    permitted = grants.on(job.queue, job.kind)
    if permitted & any_of:
        return
    if Permission.READ not in permitted:
        raise JobNotFound.of(job.id)
    names = " or ".join(str(permission.name) for permission in any_of)
    raise not_allowed(names, doing, queue=job.queue, kind=job.kind)
