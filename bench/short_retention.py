"""The server with a retention of minutes, which its settings refuse: an hour of load then shows many partitions' lives.

python -m bench.short_retention serve     (JOBQUEUE_BENCH_RETENTION_MINUTES=5)
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import uvloop

from jobqueue_server import logs
from jobqueue_server.app import App
from jobqueue_server.core.upkeep import retention
from jobqueue_server.settings import Settings


def main() -> None:
    """Serves until SIGTERM."""
    minute = timedelta(minutes=1)
    retention.MIN_RETENTION = retention.MIN_WIDTH = minute
    retention.MIN_AHEAD = 10 * minute
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format)
    span = int(os.environ["JOBQUEUE_BENCH_RETENTION_MINUTES"]) * minute
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(App(settings.model_copy(update={"retention": span})).run())


if __name__ == "__main__":
    main()
