"""`make fuzz`: changes what real clients said, and looks whether a server of this process stands it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from .kinds import KINDS

_EVERY = 10.0
_LONGEST = 20.0


def main(
    seconds: Annotated[float, typer.Option(help="For how long.", min=1)] = 60.0,
    only: Annotated[str, typer.Option(help=f"One of {', '.join(KINDS)}; empty: all in turns.")] = "",
    seed: Annotated[int, typer.Option(help="Of the first case; 0: by chance.")] = 0,
    count: Annotated[int, typer.Option(help="Cases at most; 0: as many as there is time for.")] = 0,
) -> None:
    """Runs cases, and prints what repeats each that found something."""
    console = Console()
    if only and only not in KINDS:
        console.print(f"there is no kind {only}; there are {', '.join(KINDS)}", style="red")
        raise typer.Exit(2)
    first = seed or random.SystemRandom().randrange(1, 1 << 40)
    kinds = [only] if only else list(KINDS)
    found = 0
    for kind in kinds:
        found += uvloop.run(_run(console, kind, first, seconds / len(kinds), count))
    raise typer.Exit(1 if found else 0)


async def _run(console: Console, kind: str, first: int, seconds: float, count: int) -> int:
    found, number, began = 0, 0, time.monotonic()
    told = began
    async with KINDS[kind]() as fuzzed:
        while time.monotonic() < began + seconds and (not count or number < count):
            seed = first + number
            try:
                wrong = await asyncio.wait_for(fuzzed.case(random.Random(seed)), _LONGEST)
            except TimeoutError:
                wrong = [f"no end within {_LONGEST} s"]
            for text in wrong:
                console.print(f"[red]{kind} --seed {seed} --count 1[/]: {text}", highlight=False)
            found += bool(wrong)
            number += 1
            if time.monotonic() > told + _EVERY:
                told = time.monotonic()
                console.print(f"{kind}: {number} cases, {found} of them found something", highlight=False)
    took = time.monotonic() - began
    console.print(
        f"{kind}: {number} cases from seed {first} in {took:.0f} s, {found} of them found something",
        highlight=False,
    )
    return found


if __name__ == "__main__":
    typer.run(main)
