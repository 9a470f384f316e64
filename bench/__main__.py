"""`python -m bench`: measures ours and its peers, shows how far it is, and ends with a table of gates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from . import ab, calls, clients, document, languages, loads, results, table
from .checkout import ROOT, copied, whole
from .errors import BenchError
from .gates import GATES, Round, scenarios
from .load import Load
from .paired import COSTS_NOTHING, FEWEST, MOST
from .peers import PEERS, WORKLOADS
from .profile import profile
from .runs import about, console, run_gates, run_rounds, shown
from .scale import Scale
from .workers import Workers

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

_Rounds = Annotated[int, typer.Option(help="Medians are taken over them.", min=1, max=9)]
_Factor = Annotated[float, typer.Option(help="Factor of every count and duration.", min=0.001, max=1)]
_Publish = Annotated[bool, typer.Option(help="Take what was measured last into docs/benchmarks.")]


@app.command()
def run(
    gates: Annotated[list[str] | None, typer.Argument(help="G1, G2 and so on; none: all.")] = None,
    rounds: _Rounds = 1,
    scale: _Factor = 1.0,
    drain: Annotated[int, typer.Option(help="The backlog of G4.", min=1000, max=2_000_000)] = 1_000_000,
    hold: Annotated[float, typer.Option(help="Seconds that G8 holds its snapshot.", min=1, max=3600)] = 300,
    soak: Annotated[float, typer.Option(help="Seconds of G11.", min=10, max=86_400)] = 3600,
    limits_hold: Annotated[
        int, typer.Option(help="Seconds that totals holds each of its snapshots.", min=1, max=3600)
    ] = 600,
    pairs: Annotated[int, typer.Option(help="Pairs of the gate auth.", min=2, max=MOST)] = FEWEST,
    publish: _Publish = False,
) -> None:
    """Measures gates and the peers that they are ratios of; results go into bench/out/latest.json, gate by gate."""
    by_name = {name.lower(): name for name in GATES}
    names = [by_name.get(name.lower(), name) for name in gates or GATES]
    _known(names, GATES, "gate")
    sizes = Scale(
        factor=scale,
        drain_jobs=drain,
        hold_seconds=hold,
        soak_seconds=soak,
        limits_hold_seconds=limits_hold,
        pairs=pairs,
    )
    broken = asyncio.run(run_gates(names, rounds, sizes))
    console.print(table.gates(results.read(), names))
    if publish:
        _publish()
    raise typer.Exit(1 if broken else 0)


@app.command("ab")
def against(
    base: Annotated[str, typer.Argument(help="A git revision, or a folder with a checkout.")],
    gates: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(ab.NAMES)}; none: all.")] = None,
    pairs: Annotated[
        int, typer.Option(help=f"Fewer than {FEWEST} give no verdict.", min=2, max=MOST)
    ] = FEWEST,
    scale: _Factor = 1.0,
    engine: Annotated[
        str | None, typer.Option(help="What the working tree's server serves gRPC by: http2 or grpcio.")
    ] = None,
) -> None:
    """Measures the server of the working tree against that of BASE, in turns; ratios go into bench/out/ab.json.

    Ends with 0 where no gate costs anything, else with 1.
    """
    by_name = {name.lower(): name for name in ab.NAMES}
    names = [by_name.get(name.lower(), name) for name in gates or ab.NAMES]
    _known(names, ab.NAMES, "comparison of")
    try:
        with copied(base) as old, copied(str(ROOT)) as tree:
            new = replace(tree, engine=engine)
            console.print(f"base: {old}\nnew: {new}", highlight=False, soft_wrap=True)
            if old.digest == new.digest and engine is None:
                console.print("both sides have the same code: this shows the spread alone", style="yellow")
            found = asyncio.run(ab.run(old, new, names, pairs, Scale(factor=scale)))
    except BenchError as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    console.print(table.paired(found["gates"]))
    smaller = " Smaller than a full run, and so no result." if scale < 1 else ""
    console.print(
        "Costs nothing: the 95 % interval of the CPU of server and PostgreSQL a job ends at "
        f"{COSTS_NOTHING:g} at most. Ratios are new by base.{smaller} On {found['machine']}; all of it is in {ab.OUT}.",
        highlight=False,
        soft_wrap=True,
    )
    raise typer.Exit(0 if all(one["verdict"] == "costs nothing" for one in found["gates"].values()) else 1)


@app.command("peers")
def beside(
    names: Annotated[list[str] | None, typer.Argument(help="Names of peers; none: all.")] = None,
    rounds: _Rounds = 1,
    scale: _Factor = 1.0,
    drain: Annotated[int, typer.Option(help="The backlog to drain.", min=1000, max=2_000_000)] = 200_000,
    publish: _Publish = False,
) -> None:
    """Measures every workload of every peer, and ours beside them."""
    known = [peer.name for peer in PEERS]
    _known(names or [], known, "peer")

    async def each(bench: Round) -> None:
        for workload in WORKLOADS:
            scenario = scenarios.OURS.get(workload)
            if scenario is not None:
                ours = await bench.ours(workload, scenario(bench.scale))
                console.print(f"ours, {workload}: {ours.rate:,.0f} jobs/s", highlight=False)
            for peer in PEERS:
                if workload in peer.workloads and peer.name in (names or known):
                    told = await bench.peer(peer.name, workload, scenarios.peer_jobs(bench.scale, workload))
                    console.print(f"{peer.name}, {workload}: {table.rate(told)}", highlight=False)

    asyncio.run(run_rounds(rounds, Scale(factor=scale, drain_jobs=drain), each))
    console.print(table.peers(results.read()))
    if publish:
        _publish()


@app.command("workers")
def by_language(
    names: Annotated[list[str] | None, typer.Argument(help="Languages; none: all.")] = None,
    scale: _Factor = 1.0,
    publish: _Publish = False,
) -> None:
    """Measures the worker of each language against our server."""

    async def measure() -> None:
        sizes = Scale(factor=scale)
        async with shown() as (cluster, tell):
            found = await languages.measure(cluster, sizes, tell, names)
            entry = {"languages": found, "method": languages.METHOD, **await about(cluster, sizes)}
            results.merge({"workers": entry})
            console.print(table.workers(found))

    asyncio.run(measure())
    if publish:
        _publish()


@app.command("clients")
def by_client(
    base: Annotated[str, typer.Argument(help="A git revision.")],
    names: Annotated[list[str] | None, typer.Argument(help="Languages; none: all.")] = None,
    pairs: Annotated[int, typer.Option(help="Of each language.", min=2, max=MOST)] = FEWEST,
    scale: _Factor = 1.0,
) -> None:
    """Measures the worker of each language as BASE has it and as the working tree has it, in turns, on one server.

    Ratios go into bench/out/clients.json. The server is the working tree's on both sides.
    """
    try:
        with whole(base) as folder:
            found = asyncio.run(clients.run(base, folder, names, pairs, Scale(factor=scale)))
    except BenchError as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    console.print(table.clients(found["languages"]))


@app.command("loads")
def by_load(scale: _Factor = 1.0, publish: _Publish = False) -> None:
    """Measures ours by each protocol, with payloads of 128 B to 10 KB, idle and busy handlers, and on schedule."""

    async def measure() -> None:
        sizes = Scale(factor=scale)
        async with shown() as (cluster, tell):

            def told(name: str, one: dict[str, Any]) -> None:
                console.print(f"{name}: {one['jobs_per_second']:,} jobs/s", highlight=False)

            found = await loads.measure_all(cluster, sizes, tell, told)
            results.merge({"loads": {"loads": found, "method": loads.METHOD, **await about(cluster, sizes)}})

    asyncio.run(measure())
    if publish:
        _publish()


@app.command("calls")
def count_calls(
    against: Annotated[
        str | None, typer.Option(help="A git revision, or a folder with a checkout, to count beside it.")
    ] = None,
    walk: Annotated[
        str | None, typer.Option(help="Of the table, such as `rest, plain`: which functions differ there.")
    ] = None,
    lock: Annotated[bool, typer.Option(help="Write the counts into bench/calls.lock.")] = False,
) -> None:
    """Counts the calls of functions of the server in one enqueue, and compares them with bench/calls.lock.

    Ends with 1 where one differs by more than 3 %.
    """

    async def measure(source: str) -> dict[str, calls.Counts]:
        with copied(source) as checkout:
            async with shown(steps=len(calls.WALKS)) as (cluster, tell):
                return await calls.count_all(cluster, tell, checkout)

    if walk is not None:
        _known([walk], map(calls.name_of, calls.WALKS), "walk")
    found = asyncio.run(measure(str(ROOT)))
    beside = None if against is None else asyncio.run(measure(against))
    if lock:
        calls.lock(found)
    console.print(table.calls(found, beside))
    if beside is not None and walk is not None:
        console.print(table.functions(found[walk], beside[walk]))
    for line in (differing := calls.differing(found)):
        console.print(line, style="red", highlight=False)
    raise typer.Exit(1 if differing else 0)


@app.command("profile")
def flame(
    protocol: Annotated[Literal["batch", "unary", "rest"], typer.Option(help="How jobs come in.")] = "batch",
    seconds: Annotated[int, typer.Option(min=1, max=300)] = 20,
    rate: Annotated[int, typer.Option(help="Samples a second.", min=10, max=1000)] = 250,
    in_flight: Annotated[int, typer.Option(help="Calls under way; connections.", min=1, max=1000)] = 8,
    output: Annotated[Path, typer.Option(help="An SVG.")] = document.FOLDER / document.FLAME,
) -> None:
    """Draws a flame graph of the server under load; py-spy needs root, or the right to trace."""

    async def draw() -> None:
        async with shown() as (cluster, tell):
            tell(f"{protocol}, {seconds} s")
            load = Load(100_000_000, protocol, in_flight=in_flight)
            ended = await profile(cluster, load, Workers(), seconds, rate, output.resolve())
            console.print(f"{output}, at {ended:,.0f} jobs/s", highlight=False, soft_wrap=True)

    asyncio.run(draw())


@app.command("publish")
def _publish() -> None:
    """Takes what was measured last, as bench/out/latest.json has it, into docs/benchmarks; the rest of it stays."""
    console.print(f"written: {document.publish(results.read())}", highlight=False, soft_wrap=True)


@app.command("list")
def show() -> None:
    """Prints the gates and what they must reach."""
    for gate in GATES.values():
        bounds = "; ".join(
            f"{part.name or 'value'} {'at most' if part.less else 'at least'} {part.must:g} {part.unit}, "
            f"goal {part.goal:g}"
            for part in gate.parts
        )
        console.print(f"[bold]{gate.name}[/] {gate.title}: {bounds}", highlight=False, soft_wrap=True)


def _known(names: list[str], there: Iterable[str], what: str) -> None:
    known = list(there)
    if unknown := [name for name in names if name not in known]:
        console.print(f"there is no {what} {', '.join(unknown)}; there are {', '.join(known)}", style="red")
        raise typer.Exit(2)


if __name__ == "__main__":
    app()
