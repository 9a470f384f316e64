"""The command line of the demo: `python -m tools.demo [--once] [--data DIR]`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo",
        description="Runs server, worker and receivers, and a job of each of the four kinds. Uses DATABASE_URL if set, "
        "else a PostgreSQL of its own.",
    )
    parser.add_argument("--once", action="store_true", help="end when the four jobs are done, or have failed")
    parser.add_argument(
        "--data",
        type=Path,
        default=CHECKOUT / ".run",
        metavar="DIR",
        help="where everything goes; default: .run in the checkout",
    )
    parser.add_argument(
        "--free-ports",
        action="store_true",
        help="free ports from the start, instead of 50051, 8080, 9090 and 9091",
    )
    arguments = parser.parse_args()
    # Ctrl-C while this is imported ends it without a traceback; what comes after listens for signals itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from jobqueue_server.dev.ports import Ports

    from .run import Demo

    return asyncio.run(
        Demo(arguments.data, once=arguments.once, ports=Ports(usual=not arguments.free_ports)).run()
    )


if __name__ == "__main__":
    sys.exit(main())
