"""`manage.py jobqueue_worker`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import autoreload

from jobqueue_django.handlers import discover, make_worker, tasks


class Command(BaseCommand):
    """Serves the handlers in the `jobs.py` of all apps, and Django's tasks, until SIGTERM or Ctrl-C drains it."""

    help = "Runs the handlers in the jobs.py of all apps, and Django's tasks. SIGTERM and Ctrl-C drain."

    def add_arguments(self, parser: CommandParser) -> None:
        """Its options; without one, JOBQUEUE says."""
        parser.add_argument(
            "--queue", action="append", dest="queues", help="A queue to take jobs from; repeat it."
        )
        parser.add_argument("--concurrency", type=int, help="How many jobs run at the same time.")
        parser.add_argument("--health", metavar="HOST:PORT", help="Where /livez and /readyz are served.")
        parser.add_argument("--reload", action="store_true", help="Start again when code changes.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until the worker has drained."""
        given = {name: options[name] for name in ("queues", "concurrency", "health")}
        if options["reload"]:
            autoreload.run_with_reloader(self._run, **given)
        else:
            self._run(**given)

    def _run(self, **given: Any) -> None:
        found = discover()
        if not found:
            raise CommandError(
                "no app has a handler: decorate a function in its jobs.py with @handler(kind), or one in its "
                "tasks.py with @task, where TASKS has JobQueue's backend"
            )
        for kind, function in found.items():
            self.stdout.write(f"{kind}: {function}")
        for path in tasks():
            self.stdout.write(f"task: {path}")
        self.stdout.flush()
        make_worker(**given).run()
