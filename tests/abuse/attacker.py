"""The process that floods, and prints what it has sent: `python -m tests.abuse.attacker NAME GRPC HTTP SECONDS`."""

from __future__ import annotations

import json
import resource
import sys
import time

import uvloop

from .floods import FLOODS, Target


def main() -> None:
    """Floods for as long as it was told."""
    name, grpc, http, seconds = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536) if most > 0 else 65_536, most))
    target = Target(int(grpc), int(http), time.monotonic() + float(seconds))

    async def work() -> None:
        await FLOODS[name].run(target)

    uvloop.run(work())
    print(json.dumps({"bytes": target.bytes, "connections": target.connections}))


if __name__ == "__main__":
    main()
