"""The setting JOBQUEUE, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string

from jobqueue import Middleware
from jobqueue.environment import ServerAccess, from_environment

if TYPE_CHECKING:
    from .tasks.backend import JobQueueBackend

#: What JOBQUEUE may hold, and of which type each is.
NAMES: dict[str, type] = {
    "SERVER": str,
    "TOKEN": str,
    "TLS_ROOTS": str,
    "TLS_CLIENT_CERT": str,
    "TLS_CLIENT_KEY": str,
    "QUEUES": list,
    "CONCURRENCY": int,
    "HEALTH": str,
    "SYNC_KINDS": bool,
    "MIDDLEWARE": list,
}


def found() -> Mapping[str, Any]:
    """The setting, or an empty one."""
    given: Mapping[str, Any] = getattr(settings, "JOBQUEUE", {})
    return given


def access() -> ServerAccess:
    """Where the server is. What JOBQUEUE leaves out is read from the environment: JOBQUEUE_SERVER and so on.

    Raises:
        ValueError: A file can't be read, or a certificate or key is given without what it needs.
    """
    import os

    given = {f"JOBQUEUE_{name}": str(value) for name, value in found().items() if isinstance(value, str)}
    return from_environment({**os.environ, **given})


def middleware() -> Sequence[Middleware]:
    """What MIDDLEWARE names, each an object or a class by its dotted path; a new list at each call."""
    loaded = [import_string(path) for path in found().get("MIDDLEWARE", ())]
    return [each() if isinstance(each, type) else each for each in loaded]


def task_backends() -> Sequence[JobQueueBackend]:
    """The backends of JobQueue's in TASKS. None: a project that has none needs no tasks of Django.

    Raises:
        InvalidTaskBackend: A backend in TASKS can't be imported.
    """
    if not getattr(settings, "TASKS", None):
        return []
    try:
        from .tasks.backend import configured
    except ModuleNotFoundError as error:
        if error.name not in ("django_tasks", "django.tasks"):
            raise
        return []
    return configured()


def check_settings(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """Django's system check of JOBQUEUE."""
    given: Any = found()
    if not isinstance(given, Mapping):
        return [Error("JOBQUEUE must be a dict.", id="jobqueue.E001")]
    problems: list[CheckMessage] = []
    for name, value in given.items():
        if name not in NAMES:
            known = ", ".join(NAMES)
            problems.append(
                Error(f"JOBQUEUE has no setting {name!r}.", hint=f"It has {known}.", id="jobqueue.E002")
            )
        elif not isinstance(value, NAMES[name]) and not (NAMES[name] is list and isinstance(value, tuple)):
            wanted = NAMES[name].__name__
            problems.append(Error(f"JOBQUEUE[{name!r}] must be of the type {wanted}.", id="jobqueue.E003"))
    if not problems:
        try:
            middleware()
        except (ImportError, TypeError) as error:
            problems.append(Error(f"JOBQUEUE['MIDDLEWARE']: {error}", id="jobqueue.E004"))
    return problems


def check_backport(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """Django's system check of TASKS, where the app is not installed that would run it: the backport's."""
    backends = task_backends()
    if not backends:
        return []
    from .tasks.api import BACKPORT

    if not BACKPORT or apps.is_installed(BACKPORT):
        return []
    return [found for each in backends for found in each.check()]
