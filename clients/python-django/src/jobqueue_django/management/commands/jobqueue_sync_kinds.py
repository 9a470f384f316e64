"""`manage.py jobqueue_sync_kinds`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobqueue import Kind
from jobqueue_django.clients import client
from jobqueue_django.handlers import discover, kinds


class Command(BaseCommand):
    """Tells the server the typed kinds that have handlers, or says which of them it does not have."""

    help = "Tells the server what the typed kinds of all apps are."

    def add_arguments(self, parser: CommandParser) -> None:
        """Its one option."""
        parser.add_argument(
            "--check", action="store_true", help="Change nothing; exit with 1 where the server has less."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Calls the server."""
        discover()
        if options["check"]:
            there: dict[str, Kind] = {kind.name: kind for kind in client().list_kinds()}
            behind = [
                kind.name
                for kind in kinds()
                if kind.name not in there or there[kind.name].version < kind.version
            ]
            if behind:
                raise CommandError(f"the server does not have: {', '.join(behind)}")
            return
        for synced in client().sync_kinds(kinds()):
            self.stdout.write(f"{synced.kind.name}: {'changed' if synced.changed else 'unchanged'}")
