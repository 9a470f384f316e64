"""The calls about schedules for programs without asyncio: `SyncClient.schedules`."""

from __future__ import annotations

from .schedule_calls import Schedules
from .sync import blocking, iterating


class SyncSchedules:
    """Schedules: jobs, and the times at which they are enqueued. `SyncClient.schedules` is one.

    Every method is that of `Schedules`, run on a loop in a background thread.

    Args:
        client: The calls themselves.
    """

    def __init__(self, client: Schedules) -> None:
        self._client = client

    # One line a method; a test holds that none is missing.
    create = blocking(Schedules.create)
    get = blocking(Schedules.get)
    list = iterating(Schedules.list)
    update = blocking(Schedules.update)
    apply = blocking(Schedules.apply)
    delete = blocking(Schedules.delete)
    pause = blocking(Schedules.pause)
    resume = blocking(Schedules.resume)
    run = blocking(Schedules.run)
    backfill = blocking(Schedules.backfill)
    runs = iterating(Schedules.runs)
    preview = blocking(Schedules.preview)
