"""`make faults`: runs the cases, shows how far they are, and ends with a table of figures and limits."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.conformance.languages import languages

from .case import CASES, Result, usual
from .cases import load
from .runner import run_case, shared_cluster

_KEPT = Path(".cache/faults")


def main(
    only: Annotated[
        str, typer.Option(help="Names of cases with commas between them; empty: all but the longest.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of every case's choices; 0: another each time.")] = 0,
    scale: Annotated[float, typer.Option(help="Factor of every count.", min=0.01)] = 1.0,
    list_cases: Annotated[bool, typer.Option("--list", help="Print the cases and end.")] = False,
) -> None:
    """Does to the system what a bad week does, and checks what came of it."""
    load()
    console = Console()
    if list_cases:
        for case in CASES.values():
            console.print(f"[bold]{case.name}[/] {case.about}", highlight=False, soft_wrap=True)
        return
    names = [name.strip() for name in only.split(",") if name.strip()] or usual()
    unknown = [name for name in names if name not in CASES]
    if unknown:
        console.print(f"there is no case {', '.join(unknown)}; there are {', '.join(CASES)}", style="red")
        raise typer.Exit(2)
    missing = _missing(console, names)
    without = [name for name in names if CASES[name].lacks]
    for name in without:
        console.print(f"[bold yellow]NOT RUN: {name}[/], for want of {CASES[name].lacks}")
    names = [name for name in names if CASES[name].language not in missing and name not in without]
    seed = seed or random.randrange(1, 1_000_000)
    console.print(f"seed {seed}; the same again: make faults SEED={seed}", highlight=False)
    results = _run(console, names, seed, scale)
    console.print(_table(results))
    failed = [result for result in results if not result.ok]
    for result in failed:
        console.print(f"[red]{result.name}[/] (seed {result.seed}); journals and logs: {result.kept}")
        for trouble in result.trouble:
            console.print(f"  {trouble}", highlight=False, markup=False)
    total = sum(result.seconds for result in results)
    console.print(f"{len(results) - len(failed)} of {len(results)} cases are well, in {total:.0f} s")
    if missing:
        console.print("[bold yellow]Not the worker of every language was run, see above.[/]")
    raise typer.Exit(1 if failed else 0)


def _missing(console: Console, names: list[str]) -> set[str]:
    """Builds the workers of the languages that the cases are about; those that can't be run here."""
    missing = set()
    for language in dict.fromkeys(CASES[name].language for name in names):
        if not language:
            continue
        if lacks := languages()[language].missing():
            missing.add(language)
            console.print(
                f"[bold yellow]NOT RUN: the worker in {language}[/], for want of {', '.join(lacks)}"
            )
        elif trouble := languages()[language].make():
            console.print(f"[bold red]{language} can't be built:[/]\n{trouble}", highlight=False)
            raise typer.Exit(1)
    return missing


def _run(console: Console, names: list[str], seed: int, scale: float) -> list[Result]:
    results: list[Result] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting PostgreSQL", total=None)
        with shared_cluster() as (cluster, template):
            for number, name in enumerate(names, 1):
                head = f"{number}/{len(names)} {name}"

                def tell(what: str, head: str = head) -> None:
                    progress.update(task, description=f"{head}: {what}")

                tell(CASES[name].about)
                result = run_case(CASES[name], cluster, template, seed, scale=scale, keep=_KEPT, tell=tell)
                results.append(result)
                mark = "[green]ok[/]  " if result.ok else "[red]FAIL[/]"
                console.print(f"{mark} {name} {result.seconds:.0f} s", highlight=False)
    return results


def _table(results: list[Result]) -> Table:
    table = Table("case", "figure", "measured", "limit", "ok")
    for result in results:
        rows = [
            (
                figure.name,
                f"{figure.value:.3g} {figure.unit}",
                "" if figure.limit is None else f"{figure.limit:g} {figure.unit}",
                "yes" if figure.ok else "[red]no[/]",
            )
            for figure in result.figures
        ]
        broken = len(result.trouble)
        rows.append(("broken rules", str(broken), "0", "[red]no[/]" if broken else "yes"))
        for number, row in enumerate(rows):
            table.add_row(result.name if number == 0 else "", *row)
    return table


if __name__ == "__main__":
    typer.run(main)
