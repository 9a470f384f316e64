"""Serves the test service until SIGTERM or SIGINT.

python -m tests.interop.server --engine http2 --port 0

Prints `listening on 127.0.0.1:PORT` once it takes calls.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

import uvloop

from jobqueue_server.rpc.engines import ENGINES, Engine

from .engines import HOST, start


async def serve(engine: Engine, port: int, tls: tuple[Path, Path] | None) -> None:
    """Until a signal."""
    ended = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, ended.set)
    running = await start(engine, port, tls)
    print(f"listening on {HOST}:{running.port}", flush=True)
    await ended.wait()
    await running.stop(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.interop.server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", choices=ENGINES, default="http2")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--tls-cert", type=Path, help="a certificate, as PEM: TLS")
    parser.add_argument("--tls-key", type=Path, help="its key, as PEM")
    options = parser.parse_args()
    if (options.tls_cert is None) != (options.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    pair = None if options.tls_cert is None else (options.tls_cert, options.tls_key)
    uvloop.run(serve(options.engine, options.port, pair))


if __name__ == "__main__":
    main()
