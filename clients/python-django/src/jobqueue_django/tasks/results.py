"""Jobs as results of tasks."""

from __future__ import annotations

import traceback
from datetime import datetime
from typing import Any

from django.utils import timezone

from jobqueue import Discard, FailedAttempt, Job, LeasedJob, Retry, Status
from jobqueue.worker.options import default_name

from . import calls
from .api import Task, TaskError, TaskResult, TaskResultStatus

#: By this label a job is found whose result had its id before the job.
LABEL = "django-task"
#: What such ids begin with. No id of a job does.
BEFORE = "on-commit-"

#: What an error's text holds at most: more is cut by the server.
_BYTES = 8 * 1024
_HEAD = 500
_STATUS = {
    Status.QUEUED: TaskResultStatus.READY,
    Status.RETRYING: TaskResultStatus.READY,
    Status.RUNNING: TaskResultStatus.RUNNING,
    Status.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    Status.FAILED_PERMANENT: TaskResultStatus.FAILED,
    Status.CANCELLED: TaskResultStatus.FAILED,
}
# Of what a task does not raise itself.
_PATHS = {
    "Discard": "jobqueue.outcomes.Discard",
    "Retry": "jobqueue.outcomes.Retry",
    "PayloadUnreadable": "jobqueue.typed.kind.PayloadUnreadable",
}
_LOST = "jobqueue.errors.SessionEnded"


class Failure(TaskError):
    """An error that was read: its path is a worker's word, and a message of a task's may have been taken for it."""

    @property
    def exception_class(self) -> type[BaseException]:
        """The class, if its module is imported.

        Raises:
            ImportError: It is not, or has no such exception.
        """
        found = calls.named(self.exception_class_path)
        if issubclass(type(found), type) and issubclass(found, BaseException):
            return found  # type: ignore[no-any-return]
        raise ImportError(f"no module that is imported has an exception {self.exception_class_path!r}")


def waiting(task: Task, args: Any, kwargs: Any, id: str = "") -> TaskResult:
    """The result of a call that is about to be enqueued."""
    return _result(task, id, args, kwargs, TaskResultStatus.READY)


def running(task: Task, id: str, args: Any, kwargs: Any, attempt: int, enqueued_at: datetime) -> TaskResult:
    """The result of a call whose attempt begins now. Which workers had the attempts before is not known here: empty."""
    now = timezone.now()
    return _result(
        task,
        id,
        args,
        kwargs,
        TaskResultStatus.RUNNING,
        enqueued_at=calls.moment(enqueued_at),
        started_at=now if attempt == 1 else None,
        last_attempted_at=now,
        worker_ids=[*[""] * (attempt - 1), default_name()],
    )


def of_job(task: Task, job: Job, args: Any, kwargs: Any) -> TaskResult:
    """What became of a call.

    Raises:
        Encoded: The output is encoded, and this program does not decode it.
    """
    failed = sorted(job.failed_attempts, key=lambda each: each.attempt)
    begun = [each.started_at for each in failed if each.started_at is not None]
    if job.locked_at is not None:
        begun.append(job.locked_at)
    known = {each.attempt: each.worker for each in failed}
    if job.status is Status.RUNNING:
        known[job.attempts] = job.locked_by
    errors = [_error(each) for each in failed]
    if job.status is Status.CANCELLED:
        errors.append(Failure(exception_class_path="jobqueue.outcomes.Cancelled", traceback=job.reason))
    result = _result(
        task,
        id_of(job),
        args,
        kwargs,
        _STATUS[job.status],
        enqueued_at=calls.moment(job.created_at),
        started_at=calls.moment(min(begun, default=None)),
        last_attempted_at=calls.moment(max(begun, default=None)),
        finished_at=calls.moment(job.finished_at),
        errors=errors,
        worker_ids=[known.get(number, "") for number in range(1, job.attempts + 1)],
    )
    if job.status is Status.SUCCEEDED:
        object.__setattr__(result, "_return_value", job.output)
    return result


def id_of(job: Job | LeasedJob) -> str:
    """The id of the result of a job. Any producer may label a job: what can be another job's id is not one of it."""
    said = job.labels.get(LABEL, "")
    return said if said.startswith(BEFORE) else job.id


def error_of(error: BaseException) -> TaskError:
    """An error of a task, as Django has it: the path of its class, and its traceback within the bounds of an error."""
    path = f"{type(error).__module__}.{type(error).__qualname__}"
    # The first frame is the call of the task, in this package.
    trace = error.__traceback__
    lines = traceback.TracebackException(type(error), error, trace.tb_next if trace is not None else None)
    return TaskError(exception_class_path=path, traceback=_cut("".join(lines.format())))


def text_of(error: BaseException, told: TaskError) -> str:
    """The same as one text, by which `of_job` knows it again: the path and the words in a line, then the traceback."""
    try:
        words = (str(error).splitlines() or [""])[0]
    except Exception:
        words = ""
    head = f"{told.exception_class_path}: {words}"[:_HEAD]
    return f"{head}\n\n{told.traceback}"


def own_words(error: Retry | Discard) -> str:
    """The text of what a task has raised itself, such that it is never taken for that of `text_of`."""
    try:
        text = str(error)
    except Exception:
        # `__str__` is the task's own code, and may raise.
        return ""
    cause = type(error.__cause__ or error).__qualname__
    return f"{type(error).__name__}: {text}" if _told(text, cause) else text


def _told(text: str, error_type: str) -> TaskError | None:
    """What `text_of` has made a text of. None: it is another text."""
    head, gap, trace = text.partition("\n\n")
    path = head.partition(": ")[0]
    if gap and error_type and path.endswith(f".{error_type}"):
        return Failure(exception_class_path=path, traceback=trace)
    return None


def _error(failed: FailedAttempt) -> TaskError:
    if told := _told(failed.error, failed.error_type):
        return told
    said = f"{failed.error_type}: {failed.error}" if failed.error_type else failed.error
    if failed.reason == "TIMED_OUT":
        return Failure(exception_class_path="builtins.TimeoutError", traceback=said)
    if failed.reason == "SESSION_LOST":
        return Failure(exception_class_path=_LOST, traceback=said)
    return Failure(exception_class_path=_PATHS.get(failed.error_type, "builtins.Exception"), traceback=said)


def _cut(text: str) -> str:
    """Keeps the end: the innermost frames and the error's own line stand there."""
    limit = _BYTES - 4 * _HEAD - 2
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    note = f"[cut, {len(raw)} bytes in all]\n"
    return note + raw[-(limit - len(note)) :].decode("utf-8", "ignore")


def _result(task: Task, id: str, args: Any, kwargs: Any, status: TaskResultStatus, **more: Any) -> TaskResult:
    times = dict.fromkeys(("enqueued_at", "started_at", "last_attempted_at", "finished_at"))
    return TaskResult(
        task=task,
        id=id,
        status=status,
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        **{**times, "errors": [], "worker_ids": [], **more},
    )
