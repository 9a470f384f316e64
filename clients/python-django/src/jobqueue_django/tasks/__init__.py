"""The backend for Django's tasks: `django.tasks` of Django 6, or its backport, the package `django-tasks`, for 5.2.

    TASKS = {"default": {"BACKEND": "jobqueue_django.tasks.JobQueueBackend", "QUEUES": ["default"]}}

To import this module imports neither of the two: programs that look for modules called `tasks` in all apps find it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import JobQueueBackend as JobQueueBackend

__all__ = ["JobQueueBackend"]


def __getattr__(name: str) -> Any:
    if name == "JobQueueBackend":
        from .backend import JobQueueBackend

        return JobQueueBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
