"""The exit codes and the error messages of the commands."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from typing import NoReturn

import typer
from rich.console import Console

from jobqueue import errors
from jobqueue.errors import FieldViolation, JobQueueError

# `:x:` in a message is text, and not an emoji.
_err = Console(stderr=True, emoji=False)


class Exit(enum.IntEnum):
    """Exit codes; scripts rely on them."""

    OK = 0
    #: A job that was waited for ended FAILED_PERMANENT or CANCELLED.
    JOB_FAILED = 1
    #: An option, a payload or a field is wrong.
    USAGE = 2
    NOT_FOUND = 3
    #: No server answers, or it has too much to do.
    UNAVAILABLE = 4
    #: The call, or the job, did not end in time.
    TIMEOUT = 5
    #: The job's state does not allow it, or the idempotency key belongs to another request.
    CONFLICT = 6
    NOT_ALLOWED = 7
    #: A fault of the server, or a server of another version.
    SERVER = 8


EXIT_CODES = """Exit codes: 0 done; 1 the job that was waited for did not succeed; 2 wrong usage or input;
3 no such job or queue; 4 no server, or it takes no more; 5 not in time; 6 not in this state of the job, or the
idempotency key stands for another one; 7 not allowed; 8 a fault of the server. With --json an error is a JSON
object on stderr."""

# The first that fits counts.
_CODES: tuple[tuple[type[JobQueueError], Exit, str], ...] = (
    (errors.KindUnknown, Exit.USAGE, "see `jobqueue kinds list`"),
    (errors.InvalidRequest, Exit.USAGE, ""),
    (
        errors.JobNotFound,
        Exit.NOT_FOUND,
        "see `jobqueue list`",
    ),
    (errors.QueueNotFound, Exit.NOT_FOUND, "see `jobqueue queues list`"),
    (errors.ScheduleNotFound, Exit.NOT_FOUND, "see `jobqueue schedules list`"),
    (errors.KeyNotFound, Exit.NOT_FOUND, "see `jobqueue keys list`"),
    (errors.IdentityNotFound, Exit.NOT_FOUND, "see `jobqueue identities list`"),
    (errors.NamespaceNotFound, Exit.NOT_FOUND, "see `jobqueue namespaces list`"),
    (errors.WorkerNotFound, Exit.NOT_FOUND, "see `jobqueue workers`"),
    (errors.OperationNotFound, Exit.NOT_FOUND, "see `jobqueue operations list`"),
    (errors.NotFound, Exit.NOT_FOUND, ""),
    (errors.JobTerminal, Exit.CONFLICT, "run it again with `jobqueue retry ID`"),
    (
        errors.JobNotTerminal,
        Exit.CONFLICT,
        "wait for it with `jobqueue wait ID`, or stop it with `jobqueue cancel ID`",
    ),
    (errors.JobNotHeld, Exit.CONFLICT, "see `jobqueue get ID`"),
    (errors.IdempotencyKeyReused, Exit.CONFLICT, ""),
    (errors.Duplicate, Exit.CONFLICT, "wait for it with `jobqueue wait ID`"),
    (
        errors.OperationNotDone,
        Exit.CONFLICT,
        "wait for it with `jobqueue operations wait ID`, or stop it with `jobqueue operations cancel ID`",
    ),
    (errors.RequestIdReused, Exit.CONFLICT, ""),
    (errors.FilterChanged, Exit.CONFLICT, "count them again without --yes"),
    (errors.IdentityElsewhere, Exit.CONFLICT, "delete it there with `jobqueue identities delete`"),
    (errors.KeyRevoked, Exit.CONFLICT, "make a new one with `jobqueue keys create`"),
    (errors.ServersDiffer, Exit.CONFLICT, "upgrade the servers that it names"),
    (errors.ScheduleExists, Exit.CONFLICT, "change it with `jobqueue schedules update NAME`"),
    (errors.SchedulesFull, Exit.CONFLICT, "delete some with `jobqueue schedules delete NAME`"),
    (
        errors.EtagMismatch,
        Exit.CONFLICT,
        "see `jobqueue queues show NAME` or `jobqueue schedules get NAME`",
    ),
    (errors.KeyPolicyConflict, Exit.CONFLICT, "see `jobqueue queues show NAME`"),
    (errors.QueueKeysFull, Exit.CONFLICT, "set back some, see `jobqueue queues keys NAME`"),
    (errors.KeyNotBlocked, Exit.CONFLICT, "see `jobqueue explain ID` of a job that waits"),
    (
        errors.WatchTokenExpired,
        Exit.USAGE,
        "see what there is with `jobqueue list`, then watch without --resume",
    ),
    (errors.Overloaded, Exit.UNAVAILABLE, "try again a little later"),
    (
        errors.Unavailable,
        Exit.UNAVAILABLE,
        "is jobqueue-server running? --server or JOBQUEUE_SERVER name another one",
    ),
    (errors.DeadlineExceeded, Exit.TIMEOUT, ""),
    (
        errors.Unauthenticated,
        Exit.NOT_ALLOWED,
        "give a key with JOBQUEUE_TOKEN; `jobqueue whoami` says what it may do",
    ),
    (errors.NamespaceDisabled, Exit.NOT_ALLOWED, ""),
    (errors.NotAllowed, Exit.NOT_ALLOWED, "see what you may do with `jobqueue whoami`"),
    (errors.NotSupported, Exit.SERVER, "the server is older than this command, or no JobQueue server"),
    (JobQueueError, Exit.SERVER, "give the request id to the server's operator"),
)


class Refused(Exception):
    """What was given can't be used, as this command sees already. `where` names it, for example a line of a file."""

    def __init__(self, message: str, *, where: str = "", code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.code = code


def fail(error: JobQueueError | Refused, *, as_json: bool, server: str = "", hint: str = "") -> NoReturn:
    """Says what was wrong, where, and what to do; then ends the command."""
    if isinstance(error, Refused):
        code, advice = error.code, ""
        message = f"{error.where}: {error.message}" if error.where else error.message
        name, facts = error.code.name, {}
        violations: Iterable[FieldViolation] = ()
        request_id = ""
    else:
        code, advice = next((code, advice) for kind, code, advice in _CODES if isinstance(error, kind))
        message, name = error.message, error.reason or error.code
        if isinstance(error, errors.Unavailable) and not error.reason:
            message = f"no server answers at {server} ({error.message})"
            advice = errors.hint_of_ports(error.message) or advice
        violations, facts, request_id = error.violations, error.metadata, error.request_id
    advice = hint or advice
    if as_json:
        document = {
            "error": {
                "reason": name,
                "message": message,
                "violations": [{"field": each.field, "description": each.description} for each in violations],
                "metadata": facts,
                "request_id": request_id,
            }
        }
        # Not by rich, which would break the line.
        typer.echo(json.dumps(document, ensure_ascii=False), err=True)
        raise typer.Exit(code)
    _say(f"jobqueue: {message}", style="red")
    for each in violations:
        if each.description not in message:
            _say(f"  {each.field}: {each.description}", style="red")
    if advice:
        _say(f"  {advice}")
    if code is Exit.SERVER and request_id:
        _say(f"  request id: {request_id}")
    raise typer.Exit(code)


def _say(text: str, *, style: str = "") -> None:
    _err.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
