"""`python -m bench.peers`: peers by themselves, one after the other, each in a fresh database of one PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Annotated

import typer

from ..machine import machine
from ..postgres import Cluster
from . import PEERS, WORKLOADS, Peer, PeerFailed, PeerResult

#: So that each takes some seconds.
_JOBS = {
    "continuous": 100_000,
    "drain": 100_000,
    "singles": 10_000,
    "rest_enqueue": 20_000,
    "rest": 5_000,
    "own": 2_000,
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Names of peers; none: all.")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="None: all that a peer does.")] = None,
    jobs: Annotated[int | None, typer.Option(help="None: some seconds' worth.", min=1, max=2_000_000)] = None,
    payload: Annotated[int, typer.Option(help="Bytes of JSON a job.", min=16, max=100_000)] = 128,
) -> None:
    """Measures peers and prints what each did, with its versions; `python -m bench peers` has ours beside them."""
    known = {peer.name: peer for peer in PEERS}
    if unknown := [name for name in names or [] if name not in known]:
        raise typer.BadParameter(f"there is no peer {', '.join(unknown)}; there are {', '.join(known)}")
    if unknown := [name for name in workload or [] if name not in WORKLOADS]:
        raise typer.BadParameter(
            f"there is no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}"
        )
    # Ended in whatever way, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    peers = [known[name] for name in names or known]
    failed = asyncio.run(_measure(peers, workload or list(WORKLOADS), jobs, payload))
    raise typer.Exit(1 if failed else 0)


async def _measure(peers: list[Peer], workloads: list[str], jobs: int | None, payload: int) -> bool:
    failed = False
    async with Cluster() as cluster:
        await cluster.warm()
        settings = await cluster.settings()
        print(f"{machine()}; PostgreSQL {settings['server_version']}; payload {payload} bytes", flush=True)
        for peer in peers:
            try:
                versions = await asyncio.to_thread(peer.build)
                print(f"{peer.name}: {', '.join(' '.join(pair) for pair in versions.items())}", flush=True)
                for workload in (each for each in workloads if each in peer.workloads):
                    async with cluster.fresh(ours=False) as dsn:
                        result = await peer.measure(dsn, workload, jobs or _JOBS[workload], payload)
                    print(_told(workload, result), flush=True)
            except PeerFailed as error:
                failed = True
                print(f"{peer.name}: {error}", flush=True)
    return failed


def _told(workload: str, result: PeerResult) -> str:
    speed = result.jobs / result.seconds
    head = f"  {workload:13} {speed:9,.0f} jobs/s   {result.jobs:,} in {result.seconds:.2f} s"
    table = result.detail.get("table")
    rows = table if isinstance(table, list) else [result.detail] if result.detail else []
    return "\n".join([head, *(f"    {json.dumps(row)}" for row in rows)])


if __name__ == "__main__":
    typer.run(main)
