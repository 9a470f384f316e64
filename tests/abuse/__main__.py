"""`make abuse`: floods a server on loopback, one flood after another, and shows what others notice of it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.conftest import Cluster
from tests.e2e.processes import ServerProcess

from . import document
from .floods import FLOODS, MEMORY_MIB, Flood
from .statements import COUNTING, Statements
from .watch import P99, Seen, Watched

# What the server does by itself is looked at for so long.
_AT_REST = 12.0
_ENGINES = ("http2", "grpcio")


def main(
    only: Annotated[str, typer.Option(help="Names of floods with commas between them; empty: all.")] = "",
    seconds: Annotated[float, typer.Option(help="How long each of them lasts.", min=1, max=60)] = 20.0,
    engine: Annotated[str, typer.Option(help="What serves gRPC: http2 or grpcio.")] = "http2",
    list_floods: Annotated[bool, typer.Option("--list", help="Print the floods and end.")] = False,
) -> None:
    """Floods a server in every way, and looks whether others are served meanwhile."""
    console = Console()
    if list_floods:
        for one in FLOODS.values():
            console.print(f"[bold]{one.name}[/] {one.about}", highlight=False, soft_wrap=True)
        return
    names = [name.strip() for name in only.split(",") if name.strip()] or list(FLOODS)
    unknown = [name for name in names if name not in FLOODS]
    if unknown:
        console.print(f"there is no flood {', '.join(unknown)}; there are {', '.join(FLOODS)}", style="red")
        raise typer.Exit(2)
    if engine not in _ENGINES:
        console.print(f"there is no engine {engine}; there are {', '.join(_ENGINES)}", style="red")
        raise typer.Exit(2)
    with (
        EmbeddedPostgres(listen=True, settings=COUNTING) as postgres,
        tempfile.TemporaryDirectory() as folder,
    ):
        cluster = Cluster(postgres.dsn)
        dsn = cluster.dsn_of(cluster.create())
        asyncio.run(migrate.up(dsn))
        floods = [FLOODS[name] for name in names]
        seen = asyncio.run(_run(console, floods, seconds, engine, dsn, cluster.admin_dsn, Path(folder)))
    console.print(_table(seen))
    if not only and seconds >= 20:
        document.write(engine, seen)
        console.print(f"the table is in {document.DOCUMENT}", highlight=False)
    failed = [one for one in seen if one.trouble]
    console.print(
        f"{len(seen) - len(failed)} of {len(seen)} floods did others no harm: p99 under {P99 * 1000:.0f} ms, "
        f"memory under +{MEMORY_MIB} MiB (or what the flood says) and back, no statements, ready all the time",
        highlight=False,
    )
    # The bounds are those of our own transport; what grpcio can't keep is written down.
    raise typer.Exit(1 if failed and engine == "http2" else 0)


async def _run(
    console: Console, floods: list[Flood], seconds: float, engine: str, dsn: str, admin: str, folder: Path
) -> list[Seen]:
    seen: list[Seen] = []
    statements = Statements(admin, dsn.rpartition("/")[2])
    await statements.prepare()
    server = ServerProcess(dsn, folder / "server.log", http_addr="127.0.0.1:0", grpc_engine=engine)
    try:
        await server.ready()
        console.print(f"looking for {_AT_REST:.0f} s at what the server does by itself", highlight=False)
        await statements.rest(_AT_REST)
        await _is_counted(statements, dsn)
        watched = Watched(server, statements)
        for number, flood in enumerate(floods, 1):
            one = await watched.flood(flood, seconds)
            seen.append(one)
            verdict = f"[red]{'; '.join(one.trouble)}[/]" if one.trouble else "well"
            console.print(
                f"{number}/{len(floods)} {flood.name}: {one.sent:.0f} MiB on {one.connections} connections, "
                f"p99 {one.p99 * 1000:.0f} ms, +{max(one.most - one.before, 0):.0f} MiB: {verdict}",
                highlight=False,
            )
    finally:
        server.kill()
    return seen


async def _is_counted(statements: Statements, dsn: str) -> None:
    """A statement that the server does not make by itself is seen where it comes often: else none would ever be."""
    before = await statements.count()
    connection = await asyncpg.connect(dsn)
    try:
        for _ in range(20):
            await connection.fetch("select 'not by itself'")
    finally:
        await connection.close()
    if not any("select $1" in text for text in await statements.since(before, 0.1)):
        raise RuntimeError("statements are not counted")


def _table(seen: list[Seen]) -> Table:
    table = Table(*(name for name in document.HEAD if name != "what is sent"))
    for one in seen:
        name, _, *rest = document.cells(one)
        table.add_row(name, *rest, style="red" if one.trouble else "")
    return table


if __name__ == "__main__":
    typer.run(main)
