"""The worker's side: the handler of the kind `django.task`."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from jobqueue import Cancelled, Discard, JobContext, JsonText, Retry, Snooze
from jobqueue.payload import encode
from jobqueue.typed.kind import PayloadUnreadable
from jobqueue.worker.ending import check_output

from . import calls, results
from .api import TaskContext, TaskResult, TaskResultStatus, normalize_json, signals
from .backend import called


def run(call: calls.Call, ctx: JobContext) -> Any:
    """Calls the task, in this thread; a coroutine on a loop of its own in this thread.

    What it raises ends the attempt as a failure, with the path of its class and its traceback as the error's text.
    Retry, Discard, Snooze and Cancelled mean what they mean in every handler.
    """
    task = called(call)
    if task is None:
        # Never the path itself: it is part of a payload.
        words = (
            "payload.task: must be the path of a task of JobQueue's in a module that this worker has imported"
        )
        raise Discard(words) from PayloadUnreadable(words)
    id = results.id_of(ctx.job)
    result = results.running(task, id, call.args, call.kwargs, ctx.job.attempt, ctx.job.created_at)
    sender = type(task.get_backend())
    # What a receiver raises is logged by Django: it must not fail a task, least of all one that has run.
    signals.task_started.send_robust(sender, task_result=result)
    first = (TaskContext(task_result=result),) if task.takes_context else ()
    try:
        returned = normalize_json(task.call(*first, *call.args, **call.kwargs))
        output = JsonText(encode(returned, "what the task returned"))
        # Also done by what sends it: too late for the receivers.
        check_output(output.raw)
    except (Snooze, Cancelled, KeyboardInterrupt):
        raise
    except BaseException as error:
        told = results.error_of(error)
        result.errors.append(told)
        if isinstance(error, Discard) or ctx.job.is_last_attempt:
            _finish(result, TaskResultStatus.FAILED)
            signals.task_finished.send_robust(sender, task_result=result)
        if isinstance(error, Retry | Discard):
            error.args = (results.own_words(error),)
            raise
        raise Retry(results.text_of(error, told)) from error
    object.__setattr__(result, "_return_value", returned)
    _finish(result, TaskResultStatus.SUCCESSFUL)
    signals.task_finished.send_robust(sender, task_result=result)
    return output


def _finish(result: TaskResult, status: TaskResultStatus) -> None:
    # Results are frozen for those who read them; backends set them so.
    object.__setattr__(result, "finished_at", timezone.now())
    object.__setattr__(result, "status", status)
