"""The app, as INSTALLED_APPS names it."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from .conf import check_backport, check_settings


class JobQueueConfig(AppConfig):
    """Registers the checks of the settings. They connect to nothing."""

    name = "jobqueue_django"
    label = "jobqueue"
    verbose_name = "JobQueue"

    def ready(self) -> None:
        """Called by Django once all apps are loaded."""
        checks.register(check_settings)
        checks.register(check_backport)
