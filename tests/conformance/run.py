"""Runs one case against one worker."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from pathlib import Path

from . import cases  # noqa: F401 - so that all of them are known
from .case import Case
from .stage import Failed, stage

_CASE_SECONDS = 90.0


async def run(case: Case, command: Sequence[str], folder: Path, dsn: str = "") -> str:
    """What went wrong; empty when the worker is as the protocol wants it."""
    try:
        async with asyncio.timeout(_CASE_SECONDS):
            async with stage(command, folder, case.servers, dsn) as made:
                await case.body(made)
    except Failed as failed:
        return str(failed)
    except TimeoutError:
        return f"the case did not end within {_CASE_SECONDS:g} s"
    except Exception:
        return f"the case itself broke:\n{traceback.format_exc()}"
    return ""
