"""`make abuse`: floods a server on loopback, one flood after another, and shows what others notice of it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.e2e.processes import ServerProcess
from tests.faults.runner import shared_cluster

from .floods import FLOODS
from .watch import MEMORY_MIB, P99, Seen, Watched

_SETTLED = 5.0


def main(
    only: Annotated[str, typer.Option(help="Names of floods with commas between them; empty: all.")] = "",
    seconds: Annotated[float, typer.Option(help="How long each of them lasts.", min=1, max=60)] = 20.0,
    list_floods: Annotated[bool, typer.Option("--list", help="Print the floods and end.")] = False,
) -> None:
    """Floods a server in every way, and looks whether others are served meanwhile."""
    console = Console()
    if list_floods:
        for flood in FLOODS.values():
            console.print(f"[bold]{flood.name}[/] {flood.about}", highlight=False, soft_wrap=True)
        return
    names = [name.strip() for name in only.split(",") if name.strip()] or list(FLOODS)
    unknown = [name for name in names if name not in FLOODS]
    if unknown:
        console.print(f"there is no flood {', '.join(unknown)}; there are {', '.join(FLOODS)}", style="red")
        raise typer.Exit(2)
    with shared_cluster() as (cluster, template), tempfile.TemporaryDirectory() as folder:
        dsn = cluster.dsn_of(cluster.create(template))
        seen = asyncio.run(_run(console, names, seconds, dsn, cluster.admin_dsn, Path(folder)))
    console.print(_table(seen))
    failed = [one for one in seen if one.trouble]
    for one in failed:
        console.print(f"[red]{one.name}[/]: {'; '.join(one.trouble)}", highlight=False)
    console.print(
        f"{len(seen) - len(failed)} of {len(seen)} floods did others no harm: p99 under {P99 * 1000:.0f} ms, "
        f"memory under +{MEMORY_MIB} MiB and back, no statements, ready all the time"
    )
    raise typer.Exit(1 if failed else 0)


async def _run(
    console: Console, names: list[str], seconds: float, dsn: str, admin: str, folder: Path
) -> list[Seen]:
    seen = []
    server = ServerProcess(dsn, folder / "server.log", http_addr="127.0.0.1:0")
    try:
        await server.ready()
        watched = Watched(server, dsn, admin)
        await watched.settle(_SETTLED)
        for name in names:
            seen.append(await watched.flood(FLOODS[name], seconds))
            wrong = "; ".join(seen[-1].trouble)
            console.print(f"{name}: {wrong or 'well'}", highlight=False)
    finally:
        server.kill()
    return seen


def _table(seen: list[Seen]) -> Table:
    table = Table(
        "flood",
        "p50 ms",
        "p99 ms",
        "most ms",
        "failed",
        "MiB before",
        "most",
        "after",
        "statements",
        "not ready",
    )
    for one in seen:
        times = [f"{one.at(share) * 1000:.1f}" for share in (0.5, 0.99, 1.0)]
        memory = [f"{each:.0f}" for each in (one.before, one.most, one.after)]
        row = [
            one.name,
            *times,
            str(one.failed),
            *memory,
            f"{max(one.statements, 0):.0f}",
            str(one.not_ready),
        ]
        table.add_row(*row, style="red" if one.trouble else "")
    return table


if __name__ == "__main__":
    typer.run(main)
