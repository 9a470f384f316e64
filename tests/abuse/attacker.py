"""The process that floods: `python -m tests.abuse.attacker NAME GRPC_PORT HTTP_PORT SECONDS`."""

from __future__ import annotations

import sys
import time

import uvloop

from .floods import FLOODS, Target


def main() -> None:
    """Floods for as long as it was told."""
    name, grpc, http, seconds = sys.argv[1:]

    async def work() -> None:
        await FLOODS[name].run(Target(int(grpc), int(http), time.monotonic() + float(seconds)))

    uvloop.run(work())


if __name__ == "__main__":
    main()
