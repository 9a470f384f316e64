"""One measurement of ours by hand: jobs per second through the whole, what a job costs, and latencies; a line of JSON.

Server, workers and producers are processes of their own on loopback, with an embedded PostgreSQL beside them. A job
counts when its terminal state is committed. The workers are bare streams whose handler does nothing, so that the
server is what is measured; `--runtime` takes the Python Worker instead.

    .venv/bin/python -m bench.whole --jobs 200000
"""

from __future__ import annotations

import argparse
import asyncio
import json

from .load import Load
from .machine import machine
from .ours import Scenario, measure
from .postgres import Cluster
from .workers import Workers


def main() -> None:
    """Runs the measurement and prints one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=100_000, help="at most 5,000,000")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--slots", type=int, default=1000, help="of each stream")
    parser.add_argument(
        "--protocol",
        choices=["batch", "unary", "pipelined", "rest"],
        default="batch",
        help="how jobs come in: gRPC, many a call; gRPC, one a call; gRPC, as they gather; HTTP/JSON, one a request",
    )
    parser.add_argument("--bare", action="store_true", help="calls over gRPC are made without a gRPC library")
    parser.add_argument("--producers", type=int, default=1, help="processes")
    parser.add_argument("--in-flight", type=int, default=8, help="calls, of each producer")
    parser.add_argument(
        "--rate", type=float, help="calls a second, on a fixed schedule; else as fast as they go"
    )
    parser.add_argument("--stamped", action="store_true", help="tell how long jobs took to their handlers")
    parser.add_argument("--payload", type=int, default=128, help="bytes")
    parser.add_argument("--backlog", action="store_true", help="store all first, then let the workers come")
    parser.add_argument("--runtime", action="store_true", help="workers are those of the Python client")
    parser.add_argument("--own-connections", action="store_true", help="each bare stream on one of its own")
    parser.add_argument("--handler", type=float, default=0, help="seconds that a handler takes")
    parser.add_argument("--workers", type=int, default=1, help="processes that the streams are divided among")
    parser.add_argument("--servers", type=int, default=1, help="server processes on the database")
    parser.add_argument(
        "--timeline", action="store_true", help="tell the jobs that ended in each quarter of a second"
    )
    options = parser.parse_args()
    if not 0 < options.jobs <= 5_000_000:
        parser.error("--jobs must be from 1 to 5,000,000")
    print(json.dumps(asyncio.run(_measured(options))))


async def _measured(options: argparse.Namespace) -> dict[str, object]:
    load = Load(
        options.jobs,
        options.protocol,
        payload=options.payload,
        batch=options.batch,
        producers=options.producers,
        in_flight=options.in_flight,
        rate=options.rate,
        stamped=options.stamped,
        bare=options.bare,
    )
    workers = Workers(
        "runtime" if options.runtime else "bare",
        streams=options.streams,
        slots=options.slots,
        processes=options.workers,
        handler_seconds=options.handler,
        own_connections=options.own_connections,
        stamped=options.stamped,
    )
    async with Cluster() as cluster:
        await cluster.warm()
        found = await measure(
            cluster, Scenario(load, workers, drain=options.backlog, servers=options.servers)
        )
    return {
        **{name: value for name, value in found.told().items() if options.timeline or name != "ended"},
        "through": "backlog" if options.backlog else "hand-off",
        "protocol": options.protocol,
        "machine": machine(),
    }


if __name__ == "__main__":
    main()
