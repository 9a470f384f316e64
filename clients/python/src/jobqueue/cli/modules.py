"""What is imported for a command: kinds, encodings."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from .exits import Refused


def imported(where: str, should: str) -> tuple[ModuleType, str]:
    """A module of the program, found as `python -m` would find it, and the name in it that was asked for.

    Args:
        where: MODULE or MODULE:NAME.
        should: What it should be, for the error.

    Raises:
        Refused: It can't be imported.
    """
    module_name, _, name = where.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise Refused(f"should be {should}", where=where)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise Refused(f"can't be imported: {error}", where=where) from None
    except Exception as error:
        raise Refused(f"can't be imported: {type(error).__name__}: {error}", where=where) from None
    if name and not hasattr(module, name):
        raise Refused(f"the module {module_name} has no {name}", where=where)
    return module, name
