"""What a job of the kind `django.task` calls, and the tasks that may be called."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from types import ModuleType
from typing import Any, TypedDict, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.connection import ConnectionDoesNotExist
from django.utils.module_loading import autodiscover_modules

from jobqueue import define_kind
from jobqueue.typed.codec import Codec

from .api import InvalidTask, Task


class Using(TypedDict, total=False):
    """What `Task.using` has changed of the task; what it has not is left out."""

    backend: str
    priority: int
    queue_name: str
    run_after: datetime


@dataclass
class Call:
    """The payload: a task by its module and name, such as `shop.tasks.send_receipt`, and what it is called with."""

    task: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    using: Using = field(default_factory=Using)


#: How many characters the path of a task has at most.
LONGEST_PATH = 500


class _Payload(Codec):
    """The payload, with the bound of its path in the schema: the server refuses a longer one."""

    def schema(self) -> dict[str, Any]:
        """As `Codec.schema`."""
        said = super().schema()
        said["$defs"]["Call"]["properties"]["task"]["maxLength"] = LONGEST_PATH
        return said


#: The kind of all jobs that are calls of Django's tasks. Their output is what the task returned.
django_task = replace(
    define_kind("django.task", Call, output=Any), payload=_Payload(Call, "django.task.payload")
)

_lock = threading.Lock()
_imported: set[str] = set()


def discover(modules: Iterable[str] = ()) -> None:
    """Imports the module `tasks` of each app, and these modules; each once."""
    with _lock:
        if "" not in _imported:
            autodiscover_modules("tasks")
            _imported.add("")
        for name in modules:
            if name not in _imported:
                import_module(name)
                _imported.add(name)


def named(path: str) -> Any:
    """What has this module and name, among the modules that are imported. It imports nothing: a path may be anyone's.

    Returns:
        None: There is nothing.
    """
    if len(path) > LONGEST_PATH:
        # Each of its names would cost a look at all before it, and a payload may have a million.
        return None
    names = path.split(".")
    for count in range(len(names) - 1, 0, -1):
        module = sys.modules.get(".".join(names[:count]))
        if module is not None:
            return _within(module, names[count:])
    return None


def find(path: str) -> Task | None:
    """The task that is `named` so, as its module has it. None: there is nothing, or something else."""
    return _task(named(path), path)


def found() -> list[str]:
    """The paths of all tasks in modules that are imported, in order."""
    paths: set[str] = set()
    for name, module in list(sys.modules.items()):
        for value in list(_names_of(module).values()):
            if _is_task(value) and value.func.__module__ == name and find(value.module_path):
                paths.add(value.module_path)
    return sorted(paths)


def using(task: Task) -> Using:
    """How a task differs from what its module has.

    Raises:
        InvalidTask: Its module has no task by its name, so that no worker could find it.
    """
    plain = find(task.module_path)
    if plain is None or plain.func is not task.func:
        raise InvalidTask(
            f"{task.module_path} is not the task: a worker finds a task by its module and the name of its function, "
            "so decorate the function with @task where it is defined"
        )
    return cast(Using, {name: value for name, value in _said(task) if value != getattr(plain, name)})


def used(task: Task, changes: Using) -> Task:
    """The task with these changes; without those that the settings of this program don't allow."""
    try:
        return task.using(**{**changes, "run_after": moment(changes.get("run_after"))})
    except (InvalidTask, ImproperlyConfigured, ConnectionDoesNotExist, OverflowError):
        return task


def moment(when: datetime | None) -> datetime | None:
    """A time as the project has them: naive where USE_TZ is False."""
    return when if when is None or settings.USE_TZ else timezone.make_naive(when)


def aware(when: datetime | None) -> datetime | None:
    """A time of the project's as one with an offset."""
    return timezone.make_aware(when) if when is not None and timezone.is_naive(when) else when


def without_backend(changes: Using) -> Using:
    """The changes, of which none is the backend."""
    return cast(Using, {name: value for name, value in changes.items() if name != "backend"})


def _said(task: Task) -> Iterator[tuple[str, Any]]:
    for name in Using.__annotations__:
        value = getattr(task, name)
        if value is not None:
            yield name, aware(value) if name == "run_after" else value


def _within(module: Any, names: list[str]) -> Any:
    # Not by getattr: that may run code of a module, and import another one. Nor by isinstance, here and below: that
    # asks a value for its class, and a lazy object then makes what it stands for.
    value = module
    for name in names:
        value = _names_of(value).get(name)
    return value.__func__ if issubclass(type(value), staticmethod) else value


def _names_of(value: Any) -> dict[str, Any]:
    return dict(vars(value)) if issubclass(type(value), ModuleType | type) else {}


def _task(value: Any, path: str) -> Task | None:
    return value if _is_task(value) and value.module_path == path else None


def _is_task(value: Any) -> bool:
    return issubclass(type(value), Task)
