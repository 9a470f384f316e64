"""How a program of the server runs and ends: its loop, its exit codes, and errors that an operator can mend."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import typer
from rich.console import Console

from .addresses import AddressUnusable
from .bootstrap import BootstrapRefused
from .embedded import EmbeddedPostgresError
from .errors import JobQueueError
from .store import migrate
from .store.pooler import OTHERS_STATEMENT, PoolerUnusable
from .store.upkeep.levels import LevelTooLow
from .tls import TlsUnusable

#: The exit code of a server that is too old for its database. Starting the same program again would not help.
TOO_OLD = 3
#: Where errors are printed.
ERRORS = Console(stderr=True)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs the coroutine on uvloop. An error that an operator can mend is printed as one line."""
    # Imported objects stay. Jobs come and go by thousands, and nearly none is part of a reference cycle, so a search
    # for cycles every 700 objects would find nothing.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        if sys.platform == "win32":
            asyncio.run(work())
        else:
            import uvloop

            uvloop.run(work())
    except LevelTooLow as error:
        fail(str(error), code=TOO_OLD)
    except (
        AddressUnusable,
        BootstrapRefused,
        EmbeddedPostgresError,
        JobQueueError,
        TlsUnusable,
        migrate.MigrationError,
        PoolerUnusable,
    ) as error:
        fail(str(error))
    except OTHERS_STATEMENT:
        # The check before the start may have had one connection all the time by luck.
        fail(str(PoolerUnusable()))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Prints an error as one line, and ends the program."""
    ERRORS.print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)
