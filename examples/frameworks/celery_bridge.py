"""Runs the tasks of a Celery app as jobs of the kind `celery.task`: no broker, no result backend, tasks unchanged.

    client.enqueue_many([call(add, 1, 2)])              in place of add.delay(1, 2)
    serve(app, Worker.from_env(sync_kinds=True)).run()  in place of `celery worker`

docs/migrate/celery.md says what it maps and what it drops.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from celery.exceptions import Retry as CeleryRetry

from jobqueue import Discard, JobContext, NewJob, Retry, Snooze, Worker, define_kind


@dataclass
class Call:
    """What one message of Celery holds."""

    name: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)


celery_task = define_kind("celery.task", Call, output=Any)


def call(task: Task, *args: Any, **kwargs: Any) -> NewJob:
    """A job that calls the task. Celery counts retries, a job its failures: one more than there are retries."""
    if task.typing:
        task.__header__(*args, **kwargs)
    attempts = 1000 if task.max_retries is None else min(1000, task.max_retries + 1)
    return celery_task.new(Call(task.name, list(args), kwargs), max_attempts=attempts)


class _Unsent:
    """Stands for the message that `task.retry()` would send to the broker."""

    def apply_async(self) -> None:
        """Sends nothing: the job goes back instead."""


def serve(app: Celery, worker: Worker) -> Worker:
    """The worker, with a handler that runs the tasks of the app in threads."""
    app.finalize(auto=True)

    def run(call: Call, ctx: JobContext) -> Any:
        task = app.tasks[call.name]
        # On this object, not on its class. The rest of `retry` is Celery's: countdowns, backoff, its limit.
        task.signature_from_request = lambda *args, **kwargs: _Unsent()
        task.push_request(
            id=ctx.job.id, retries=ctx.job.failures, called_directly=False, args=call.args, kwargs=call.kwargs
        )
        try:
            return task.run(*call.args, **call.kwargs)
        except CeleryRetry as retry:
            raise Retry(str(retry.exc or retry), after=_wait(retry.when)) from retry
        except Ignore:
            return None
        except Reject as reject:
            raise (
                Snooze(timedelta(seconds=1)) if reject.requeue else Discard(str(reject.reason))
            ) from reject
        except Exception as error:
            # Celery tries no task again that did not ask for it.
            raise Discard(f"{type(error).__name__}: {error}") from error
        finally:
            task.pop_request()

    worker.handler(celery_task)(run)
    return worker


def _wait(when: datetime | float | None) -> timedelta | None:
    if isinstance(when, datetime):
        return max(when.astimezone(UTC) - datetime.now(UTC), timedelta())
    return None if when is None else timedelta(seconds=when)
