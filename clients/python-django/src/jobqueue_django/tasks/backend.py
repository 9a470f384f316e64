"""The backend: tasks of Django as jobs of the kind `django.task`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any
from uuid import uuid4

from django.core.checks import CheckMessage, Error, Warning
from django.db import transaction

from jobqueue import AUTO, InvalidRequest, Job, JobNotFound, NewJob, PayloadTooNew, PayloadUnreadable

from .. import conf
from ..clients import client
from . import calls, results
from .api import BACKPORT, BaseTaskBackend, Task, TaskResult, TaskResultDoesNotExist, signals, task_backends

#: What OPTIONS may hold, and of which type each is.
OPTIONS: dict[str, type] = {
    "ENQUEUE_ON_COMMIT": bool,
    "MAX_ATTEMPTS": int,
    "MODULES": list,
    "QUEUE_NAMES": dict,
    "TIMEOUT": int,
}
_QUEUE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}")


class JobQueueBackend(BaseTaskBackend):
    """Enqueues calls of tasks as jobs, and reads what became of them. `manage.py jobqueue_worker` runs them.

    OPTIONS of its entry in TASKS:

    - `QUEUE_NAMES`: A dict from names of queues in Django to names in JobQueue. Default: the same names.
    - `MAX_ATTEMPTS`: After how many failures a task is FAILED, 1..1000. Default: 1, as Django's own backends do it.
    - `TIMEOUT`: How many seconds one attempt may run. Default: no limit.
    - `ENQUEUE_ON_COMMIT`: Whether a call within a transaction of the default database is enqueued when that commits.
      Default: False, it is enqueued at once.
    - `MODULES`: Modules to import beside `tasks` of each app, to find tasks in.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Enqueues a call of a task.

        With `ENQUEUE_ON_COMMIT` and within a transaction, the result has an id at once, under which nothing is found
        before the commit. A process that dies between the commit and the enqueue loses the call.

        Args:
            task: The task.
            args: Values for JSON; they are copied now.
            kwargs: The same.

        Raises:
            InvalidTask: The settings don't allow the task, or no worker could find it.
            TypeError, ValueError: An argument has no form in JSON.
            InvalidRequest: The server refuses it: `run_after` is more than 400 days from now, for example.
            KindUnknown: No worker and no `jobqueue_sync_kinds` has declared the kind yet.
        """
        self.validate_task(task)
        later = bool(self.options.get("ENQUEUE_ON_COMMIT")) and transaction.get_connection().in_atomic_block
        result = results.waiting(task, args, kwargs, f"{results.BEFORE}{uuid4().hex}" if later else "")
        job = self._job(task, result)
        if later:
            transaction.on_commit(lambda: self._send(job, result))
        else:
            self._send(job, result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """Reads what became of a call, from any process.

        Raises:
            TaskResultDoesNotExist: No job has the id, or none that calls a task of this backend.
            Encoded: The payload or the output is encoded, and this program does not decode it.
        """
        try:
            job = self._found(str(result_id))
        except (JobNotFound, InvalidRequest, ValueError):
            # A ValueError: it has no form in UTF-8.
            job = None
        if job is None or job.kind != calls.django_task.name:
            raise TaskResultDoesNotExist(result_id)
        try:
            call = calls.django_task.payload_of(job)
            task = called(call)
            if task is None:
                calls.discover(self.options.get("MODULES", ()))
                task = called(call)
            if task is None or task.backend != self.alias:
                raise TaskResultDoesNotExist(f"{result_id}: it calls what is no task of this backend")
            return results.of_job(task, job, call.args, call.kwargs)
        except (PayloadUnreadable, PayloadTooNew) as error:
            raise TaskResultDoesNotExist(f"{result_id}: {error}") from None

    def _found(self, id: str) -> Job | None:
        if not id.startswith(results.BEFORE):
            return client().get(id)
        label = {results.LABEL: id}
        listed = client().list(kind=calls.django_task.name, labels=label, full=True, page_size=2)
        found = list(islice(listed, 2))
        if len(found) > 1:
            # The label of one of them is another producer's.
            raise TaskResultDoesNotExist(f"{id}: several jobs say that it is theirs")
        return found[0] if found else None

    def check(self, **kwargs: Any) -> Iterable[CheckMessage]:
        """Django's system check of this entry of TASKS. It connects to nothing."""
        where = f"TASKS[{self.alias!r}]"
        if BACKPORT:
            yield from _needs(BACKPORT, where)
        yield from _needs("jobqueue_django", where)
        if not isinstance(self.options, Mapping):
            yield Error(f"{where}: OPTIONS must be of the type dict.", id="jobqueue.E006")
            return
        wrong = False
        for name, value in self.options.items():
            if name not in OPTIONS:
                known = ", ".join(OPTIONS)
                yield Error(f"{where} has no option {name!r}.", hint=f"It has {known}.", id="jobqueue.E005")
            elif not _fits(value, OPTIONS[name]):
                wrong = True
                inside = ", with texts alone in it" if OPTIONS[name] in (list, dict) else ""
                words = f"{where}: {name} must be of the type {OPTIONS[name].__name__}{inside}."
                yield Error(words, id="jobqueue.E006")
        if wrong:
            return
        for name, least, most in (("MAX_ATTEMPTS", 1, 1000), ("TIMEOUT", 1, 7 * 24 * 3600)):
            if not least <= self.options.get(name, least) <= most:
                yield Error(f"{where}: {name} must be {least} to {most}.", id="jobqueue.E006")
        yield from self._check_queues(where)

    def _check_queues(self, where: str) -> Iterable[CheckMessage]:
        mapped: Mapping[str, str] = self.options.get("QUEUE_NAMES", {})
        if self.queues and (unknown := sorted(mapped.keys() - self.queues)):
            words = f"{where}: QUEUE_NAMES maps the queue {unknown[0]!r}, which QUEUES does not have."
            yield Error(words, id="jobqueue.E007")
        said: Any = conf.found()
        # What is wrong in JOBQUEUE is found by its own check.
        served = said.get("QUEUES") if isinstance(said, Mapping) else None
        if not self.queues and served is None:
            words = (
                f"{where}: QUEUES is empty, so a task may have any queue, and the worker does not know them."
            )
            hint = "Name them in QUEUES, or in JOBQUEUE['QUEUES']. Or is a worker started with --queue?"
            yield Warning(words, hint=hint, id="jobqueue.W002")
        for name in self.job_queues():
            if not isinstance(name, str) or not _QUEUE.fullmatch(name):
                hint = "It has a-z, 0-9, '_', '.' and '-', at most 128 characters. Map it by QUEUE_NAMES."
                yield Error(f"{where}: {name!r} can't be a queue of JobQueue.", hint=hint, id="jobqueue.E008")
            elif isinstance(served, list | tuple) and name not in served:
                words = f"{where}: JOBQUEUE['QUEUES'] does not have {name!r}, so the worker does not take its jobs."
                yield Warning(words, hint="Or is a worker started with --queue?", id="jobqueue.W001")

    def job_queues(self) -> list[str]:
        """The queues of JobQueue that its calls wait in, as far as QUEUES names them."""
        mapped: Mapping[str, str] = self.options.get("QUEUE_NAMES", {})
        # By their texts: what QUEUES holds by mistake is for the check to say.
        return sorted({mapped.get(name, name) for name in self.queues} | set(mapped.values()), key=str)

    def _job(self, task: Task, result: TaskResult) -> NewJob:
        call = calls.Call(task.module_path, result.args, result.kwargs, calls.using(task))
        seconds = self.options.get("TIMEOUT")
        return calls.django_task.new(
            call,
            queue=self.options.get("QUEUE_NAMES", {}).get(task.queue_name, task.queue_name),
            priority=_priority(task.priority),
            run_at=calls.aware(task.run_after),
            max_attempts=self.options.get("MAX_ATTEMPTS", 1),
            timeout=None if seconds is None else timedelta(seconds=seconds),
            labels={results.LABEL: result.id} if result.id else None,
            # So the client can repeat the call while no server answers.
            idempotency_key=AUTO,
        )

    def _send(self, job: NewJob, result: TaskResult) -> None:
        stored = client().enqueue(job)
        object.__setattr__(result, "id", result.id or stored.id)
        object.__setattr__(result, "enqueued_at", calls.moment(stored.created_at))
        signals.task_enqueued.send(type(self), task_result=result)


def configured() -> list[JobQueueBackend]:
    """The backends of TASKS that are JobQueue's."""
    return [each for each in task_backends.all() if isinstance(each, JobQueueBackend)]


def called(call: calls.Call) -> Task | None:
    """The task of a payload, with what its `using` changes. None: there is none, or its backend is not JobQueue's."""
    task = calls.find(call.task)
    if task is None:
        return None
    ours = {each.alias for each in configured()}
    # A name out of a payload is compared alone: to ask for a backend by it is to ask an object for what it has.
    changes = call.using if call.using.get("backend") in ours else calls.without_backend(call.using)
    task = calls.used(task, changes)
    return task if task.backend in ours else None


def _priority(given: int) -> int:
    """-100..100 as -10..10, away from 0: a task of priority 1 goes before one of 0."""
    return -(-given // 10) if given > 0 else given // 10


def _fits(value: Any, of: type) -> bool:
    if of is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if of is list:
        return isinstance(value, list | tuple) and _texts(value)
    if of is dict:
        return isinstance(value, dict) and _texts([*value, *value.values()])
    return isinstance(value, of)


def _texts(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


def _needs(app: str, where: str) -> Iterable[CheckMessage]:
    from django.apps import apps

    if not apps.is_installed(app):
        yield Error(f"{where} needs {app!r} in INSTALLED_APPS.", id="jobqueue.E009")
