"""Holds the worker of each language to the Lease protocol: `make conformance`.

python -m tests.conformance                        all languages that can run here, all cases, and the table in the docs
python -m tests.conformance --language python      one language, and its column
python -m tests.conformance --only drain,resume    cases whose ids begin so
python -m tests.conformance --command "./my-worker --flag"    a worker that is in no list; writes nothing
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate

from .case import CASES, Case
from .document import write
from .languages import Language, languages
from .run import run


def main() -> int:
    """Runs them; 1 where a case failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--language", default="", help="only this one")
    parser.add_argument("--only", default="", help="only cases whose ids begin so, with commas between")
    parser.add_argument("--command", default="", help="a worker that is in no list")
    parser.add_argument("--list", action="store_true", help="print the cases")
    options = parser.parse_args()
    console = Console()
    if options.list:
        for one in CASES.values():
            console.print(f"[bold]{one.id:<22}[/] {one.says}", highlight=False)
        return 0
    chosen = [one for one in CASES.values() if one.id.startswith(tuple(options.only.split(",")))]
    known = list(languages().values())
    if options.command:
        known = [Language("worker", (), (), tuple(shlex.split(options.command)), ())]
    wanted = [each for each in known if options.language in ("", each.name)]
    if not chosen or not wanted:
        console.print("[red]no such case or language;[/] --list prints the cases, workers.toml the languages")
        return 2
    results: dict[str, dict[str, str]] = {}
    missing = False
    for language in wanted:
        if lacks := language.missing():
            missing = True
            console.print(f"[bold yellow]NOT RUN: {language.name}[/], for want of {', '.join(lacks)}")
            continue
        if trouble := language.make():
            console.print(f"[bold red]{language.name} can't be built:[/]\n{trouble}", highlight=False)
            results[language.name] = {one.id: "can't be built" for one in chosen}
            continue
        there = [one for one in chosen if one.id not in language.lacks]
        results[language.name] = asyncio.run(_all(console, language, there))
    _show(console, chosen, results)
    if not options.only and not options.command:
        write(results)
    if missing:
        console.print("[bold yellow]Not every language was run, see above.[/]")
    return int(any(fault for found in results.values() for fault in found.values()))


async def _all(console: Console, language: Language, chosen: list[Case]) -> dict[str, str]:
    """Every case with one language: what went wrong, or nothing."""
    results: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    os.environ["API_BIND_ADDR"] = "off"
    with (
        tempfile.TemporaryDirectory(prefix="jobqueue-conformance-") as folder,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task(language.name, total=len(chosen))
        postgres: EmbeddedPostgres | None = None
        dsn = ""
        try:
            for one in chosen:
                progress.update(task, description=f"{language.name} {one.id}")
                if one.real and postgres is None:
                    postgres = EmbeddedPostgres().__enter__()
                    dsn = postgres.dsn
                    await migrate.up(dsn)
                began = time.monotonic()
                place = Path(folder) / one.id
                place.mkdir()
                fault = results[one.id] = await run(one, language.command, place, dsn)
                if fault:
                    took = time.monotonic() - began
                    console.print(f"[red]{language.name} {one.id}[/] ({took:.1f} s)", highlight=False)
                    console.print(fault, markup=False, highlight=False)
                progress.advance(task)
        finally:
            if postgres is not None:
                postgres.__exit__(None, None, None)
    return results


def _mark(fault: str | None) -> str:
    if fault is None:
        return "[yellow]not yet[/]"
    return "[red]failed[/]" if fault else "[green]ok[/]"


def _show(console: Console, chosen: list[Case], results: dict[str, dict[str, str]]) -> None:
    table = Table("case", "what it holds to", *results, title="Conformance")
    for one in chosen:
        table.add_row(one.id, one.says, *(_mark(found.get(one.id)) for found in results.values()))
    console.print(table)
    for name, found in results.items():
        failed = sum(map(bool, found.values()))
        console.print(f"{name}: {len(found) - failed} of {len(found)} cases hold", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
