"""Runs clients of other gRPC libraries against a test service on both engines: `make interop`.

python -m tests.interop                             all that can run here; renews the tables of docs/interop.md
python -m tests.interop --client tonic,grpc-go      some clients
python -m tests.interop --engine http2 --only ping  one engine, cases whose names begin so
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.go_programs import built
from tests.grpc_http2 import test_h2spec as h2spec

from .cases import CASES, WITHOUT, rows
from .clients import Client, Files, clients
from .document import CAN_NOT, FAILED, NOT_RUN, OK, Results, row_name, write
from .serving import lay_out, served


def main() -> int:
    """Runs them; 1 where a case failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.interop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--client", default="", help="only these, with commas between")
    parser.add_argument("--engine", default="", choices=["", *WITHOUT], help="only this one")
    parser.add_argument("--only", default="", help="only cases whose names begin so, with commas between")
    parser.add_argument("--list", action="store_true", help="print the cases and clients")
    options = parser.parse_args()
    # The table is wide, also in a log.
    console = Console(width=None if sys.stdout.isatty() else 120)
    if options.list:
        for case, says in CASES.items():
            console.print(f"[bold]{case:<28}[/] {says}", highlight=False)
        for client in clients().values():
            console.print(f"[bold]{client.name:<28}[/] {client.version}, {client.kind}", highlight=False)
        return 0
    chosen = [row for row in rows() if row[0].startswith(tuple(options.only.split(",")))]
    names = options.client.split(",") if options.client else list(clients())
    engines = [options.engine] if options.engine else list(WITHOUT)
    if unknown := set(names) - clients().keys():
        console.print(f"[red]no client {', '.join(sorted(unknown))};[/] there are {', '.join(clients())}")
        return 2
    if not chosen:
        console.print(f"[red]no case begins with {options.only};[/] --list prints the cases")
        return 2
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jobqueue-interop-") as folder:
        files, pair = lay_out(Path(folder), java=shutil.which("keytool") is not None)
        able, wrong, missing = _build(console, [clients()[name] for name in names], files)
        results = Results()
        for engine in engines:
            wrong += _cases(console, engine, chosen, able, files, pair, results)
        if "http2" in engines and not options.only and not options.client:
            if shutil.which("go") is None:
                missing = True
                console.print("[bold yellow]NOT RUN: h2spec[/], for want of go")
            else:
                wrong += _h2spec(console, Path(folder), results)
    _show(console, engines, chosen, able, results)
    write(results)
    console.print(f"{time.monotonic() - began:.0f} s; the tables are in docs/interop.md", highlight=False)
    if missing:
        console.print("[bold yellow]Not everything was run, see above.[/]")
    return int(wrong > 0)


def _build(console: Console, wanted: list[Client], files: Files) -> tuple[list[Client], int, bool]:
    """Those that can run, how many can't be built, and whether one lacks its toolchain."""
    able, wrong, missing = [], 0, False
    for client in wanted:
        if lacks := client.missing():
            missing = True
            console.print(f"[bold yellow]NOT RUN: {client.name}[/], for want of {', '.join(lacks)}")
            continue
        console.print(f"building {client.name} {client.version}", highlight=False)
        if trouble := client.make(files):
            wrong += 1
            console.print(f"[bold red]{client.name} can't be built:[/]")
            console.print(trouble, markup=False, highlight=False)
            continue
        able.append(client)
    return able, wrong, missing


def _cases(
    console: Console,
    engine: str,
    chosen: list[tuple[str, bool]],
    able: list[Client],
    files: Files,
    pair: tuple[str, str],
    results: Results,
) -> int:
    """Every case with every client on one engine; how many failed."""
    todo = {
        client.name: [row for row in chosen if row[0] not in client.without and row[0] not in WITHOUT[engine]]
        for client in able
    }
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    wrong = 0
    with (
        served(engine) as plain,
        served(engine, pair) as secure,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task(engine, total=sum(map(len, todo.values())))
        for client in able:
            failed = 0
            for case, tls in todo[client.name]:
                name = row_name(case, tls)
                progress.update(task, description=f"{engine} {client.name} {name}")
                fault = client.run(case, secure if tls else plain, files, tls=tls)
                if fault:
                    failed += 1
                    console.print(f"[red]{engine} {client.name} {name}[/]", highlight=False)
                    console.print(fault, markup=False, highlight=False)
                results.marks[engine, name, client.name] = FAILED if fault else OK
                progress.advance(task)
            count = len(todo[client.name])
            console.print(f"{engine} {client.name}: {count - failed} of {count} hold", highlight=False)
            wrong += failed
    return wrong


def _h2spec(console: Console, folder: Path, results: Results) -> int:
    """h2spec on the transport; how many cases came out otherwise than is known."""
    program = built(h2spec.MODULE, h2spec.PACKAGE)
    console.print("h2spec on http2", highlight=False)
    with served("http2") as port:
        path = "/grpc.testing.TestService/UnaryCall"
        count, failed, output = h2spec.failures(program, port, path, folder / "h2spec.xml")
    results.h2spec = (count, len(failed))
    other = failed ^ h2spec.KNOWN.keys()
    if other:
        console.print(output, markup=False, highlight=False)
    return len(other)


def _show(
    console: Console,
    engines: list[str],
    chosen: list[tuple[str, bool]],
    able: list[Client],
    results: Results,
) -> None:
    colours = {OK: "[green]ok[/]", FAILED: "[red]failed[/]", CAN_NOT: CAN_NOT, NOT_RUN: NOT_RUN}
    for engine in engines:
        table = Table(title=f"Interop, engine {engine}")
        table.add_column("case", no_wrap=True)
        for client in able:
            table.add_column(client.name, overflow="fold")
        for case, tls in chosen:
            name = row_name(case, tls)
            marks = [results.marks.get((engine, name, client.name), CAN_NOT) for client in able]
            table.add_row(name.replace("`", ""), *(colours[mark] for mark in marks))
        console.print(table)
    if results.h2spec is not None:
        count, failed = results.h2spec
        console.print(f"h2spec on http2: {count - failed} of {count} cases hold", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
