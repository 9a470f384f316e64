"""Runs cases one after another, each within its bound, and keeps the journals of those that fail."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.conftest import Cluster
from tests.logged import wrong_lines

from .case import CASES, Case, Result
from .cases import load
from .checker import check
from .stage import Stage

_DRIFTED = "did not count what is there"
_SHOWN = 5


@contextmanager
def shared_cluster() -> Iterator[tuple[Cluster, str]]:
    """The PostgreSQL of the cases that leave it alone, and the name of a migrated database to be copied."""
    with EmbeddedPostgres(listen=True) as postgres:
        cluster = Cluster(postgres.dsn)
        template = cluster.create()
        asyncio.run(migrate.up(cluster.dsn_of(template)))
        yield cluster, template


def run_case(
    case: Case,
    cluster: Cluster,
    template: str,
    seed: int,
    *,
    scale: float = 1.0,
    keep: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Result:
    """Runs one case and checks its history.

    Args:
        case: Which.
        cluster: The run's PostgreSQL.
        template: Its migrated database.
        seed: Of the case's choices.
        scale: Factor of its counts.
        keep: Where the journals of a failed case go, under its name and seed. None: nowhere.
        tell: Is told what is done, as it is done.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"jobqueue-faults-{case.name}-"))
    result = Result(case.name, seed)
    started = time.monotonic()
    try:
        asyncio.run(_run(case, result, folder, cluster, template, scale, tell))
        result.seconds = time.monotonic() - started
        if not result.ok and keep is not None:
            kept = keep / f"{case.name}-{seed}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)
            (kept / "trouble.txt").write_text("\n".join(result.trouble) + "\n")
            result.kept = str(kept)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def run_named(name: str, cluster: Cluster, template: str, seed: int, scale: float, keep: Path) -> Result:
    """Runs a case in a process that was started for it and knows none yet."""
    load()
    return run_case(CASES[name], cluster, template, seed, scale=scale, keep=keep)


async def _run(
    case: Case,
    result: Result,
    folder: Path,
    cluster: Cluster,
    template: str,
    scale: float,
    tell: Callable[[str], None],
) -> None:
    stage = Stage(folder, cluster, template, result.seed, scale)
    stage.tell = tell
    try:
        try:
            async with asyncio.timeout(case.bound) as bound:
                await case.run(stage)
        except TimeoutError as error:
            what = (
                f"it did not end within {case.bound:g} s"
                if bound.expired()
                else "what it waited for did not come"
            )
            result.trouble.append(f"{what} ({_where(error)})")
        except Exception as group:
            first = _first(group)
            words = (
                (str(first) or "an assertion failed") if isinstance(first, AssertionError) else repr(first)
            )
            result.trouble.append(f"{words} ({_where(first)})")
        if stage.dsn:
            try:
                violations = check(await stage.history())
            except Exception as error:
                result.trouble.append(f"the history can't be read: {error!r} ({_where(error)})")
            else:
                result.trouble += [str(violation) for violation in violations[:_SHOWN]]
                if len(violations) > _SHOWN:
                    result.trouble.append(f"and {len(violations) - _SHOWN} more")
    finally:
        await stage.end()
        result.figures = stage.figures
    said = [line for log in folder.glob("*.log") for line in log.read_text(errors="replace").splitlines()]
    result.trouble += [f"logged, and not as docs/logs.md says: {line}" for line in wrong_lines(said)][:_SHOWN]
    # What the audit mends is not seen at the end of a case.
    result.trouble += [f"a count has drifted: {line}" for line in said if _DRIFTED in line][:_SHOWN]


def _first(error: Exception) -> Exception:
    """The first error of a group of tasks, or the error itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _where(error: BaseException) -> str:
    """The innermost line of a case that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "cases" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
