"""`python -m bench`: measures ours and its peers, shows how far it is, and ends with a table of gates."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from . import results, table
from .gates import GATES, Found, PeerRun, Round, scenes
from .machine import machine, versions
from .peers import PEERS, WORKLOADS
from .postgres import Cluster
from .scale import Scale

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
_console = Console()


@app.command()
def run(
    gates: Annotated[list[str] | None, typer.Argument(help="G1, G2 and so on; none: all.")] = None,
    rounds: Annotated[int, typer.Option(help="Medians are taken over them.", min=1, max=9)] = 1,
    scale: Annotated[float, typer.Option(help="Factor of every count and duration.", min=0.001, max=1)] = 1.0,
    drain: Annotated[int, typer.Option(help="The backlog of G4.", min=1000, max=2_000_000)] = 1_000_000,
) -> None:
    """Measures gates and the peers that they are ratios of; results go into bench/out/latest.json, gate by gate."""
    names = [name.upper() for name in gates or GATES]
    if unknown := [name for name in names if name not in GATES]:
        _console.print(f"there is no gate {', '.join(unknown)}; there are {', '.join(GATES)}", style="red")
        raise typer.Exit(2)
    sizes = Scale(factor=scale, drain_jobs=drain)
    broken = asyncio.run(_run(names, rounds, sizes))
    _console.print(table.gates(results.read(), names))
    raise typer.Exit(1 if broken else 0)


@app.command("peers")
def beside(
    names: Annotated[list[str] | None, typer.Argument(help="Names of peers; none: all.")] = None,
    rounds: Annotated[int, typer.Option(help="Medians are taken over them.", min=1, max=9)] = 1,
    scale: Annotated[float, typer.Option(help="Factor of every count.", min=0.001, max=1)] = 1.0,
) -> None:
    """Measures every workload of every peer, and ours beside them."""
    known = [peer.name for peer in PEERS]
    if unknown := [name for name in names or [] if name not in known]:
        _console.print(f"there is no peer {', '.join(unknown)}; there are {', '.join(known)}", style="red")
        raise typer.Exit(2)

    async def each(bench: Round) -> None:
        for workload in WORKLOADS:
            scene = scenes.OURS.get(workload)
            if scene is not None:
                await bench.ours(workload, scene(bench.scale))
            for peer in PEERS:
                if workload in peer.workloads and peer.name in (names or known):
                    jobs = scenes.peer_jobs(bench.scale, workload)
                    told = await bench.peer(peer.name, workload, jobs)
                    _console.print(f"{peer.name}, {workload}: {table.rate(told)}", highlight=False)

    asyncio.run(_rounds(rounds, Scale(factor=scale, drain_jobs=200_000), each))
    _console.print(table.peers(results.read()))


@app.command("list")
def show() -> None:
    """Prints the gates and what they must reach."""
    for gate in GATES.values():
        bounds = "; ".join(
            f"{part.name or 'value'} {'at most' if part.less else 'at least'} {part.must:g} {part.unit}, "
            f"goal {part.goal:g}"
            for part in gate.parts
        )
        _console.print(f"[bold]{gate.name}[/] {gate.title}: {bounds}", highlight=False, soft_wrap=True)


async def _run(names: list[str], rounds: int, scale: Scale) -> list[str]:
    """Round by round; the gates that broke."""
    found: dict[str, list[Found]] = {name: [] for name in names}
    broken: list[str] = []

    async def each(bench: Round) -> None:
        for name in names:
            if name in broken:
                continue
            try:
                one = await GATES[name].measure(bench)
            except Exception:
                # The others are worth having, and hours may lie behind them.
                broken.append(name)
                _console.print(
                    f"[red]{name} broke[/]\n{traceback.format_exc()}", highlight=False, markup=False
                )
                continue
            found[name].append(one)
            # Kept after every gate: a run may be cut off.
            results.merge({name: results.gate_entry(GATES[name], found[name], bench.about)})
            _console.print(table.line(name, one), highlight=False)

    await _rounds(rounds, scale, each)
    return broken


async def _rounds(rounds: int, scale: Scale, each: Callable[[Round], Awaitable[None]]) -> None:
    """Rounds on one PostgreSQL; what peers did is kept after each."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    peers: list[list[PeerRun]] = []
    built: dict[str, dict[str, str]] = {}
    with Progress(*columns, console=_console, transient=True) as progress:
        task = progress.add_task("starting PostgreSQL", total=None)
        async with Cluster() as cluster:
            about = {
                "machine": machine(),
                "versions": versions(),
                "postgres": await cluster.settings(),
                "scale": scale.factor,
                "at": results.now(),
            }
            for number in range(1, rounds + 1):

                def tell(what: str, head: str = f"round {number} of {rounds}, ") -> None:
                    progress.update(task, description=head + what)

                bench = Round(cluster, scale, tell, about, built)
                try:
                    await each(bench)
                finally:
                    peers.append(bench.peer_runs)
                    results.merge(results.peer_entries(peers, built, about))


if __name__ == "__main__":
    app()
