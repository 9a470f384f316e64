"""The command `jobqueue`: what one does with jobs, kinds and queues from a shell. Needs the extra `cli`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line."""
    try:
        import rich
        import typer
    except ModuleNotFoundError as error:
        sys.exit(f"jobqueue: the command line needs {error.name}: pip install 'jobqueue[cli]'")
    del rich, typer
    from .app import app

    app()
