"""The jobs of `jobqueue-server dev`: what is there at the start, and what comes after it, as in a shop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from jobqueue import Client, DeadlineExceeded, Kind, Limits, NewJob, RetryPolicy, ScheduleSpec, Unavailable

from .worker import DECLINED

#: Slow enough to follow with the eyes.
ANOTHER_EVERY = 1.0
NEWSLETTERS = 12
_GOOD = "4242 4242 4242 4242"


def _object(**properties: str) -> dict[str, Any]:
    """The schema of a payload that has these members, by their types."""
    return {
        "type": "object",
        "properties": {name: {"type": type} for name, type in properties.items()},
        "required": list(properties),
    }


KINDS = (
    Kind(name="charge_card", schema=_object(order="integer", amount="string", card="string")),
    Kind(
        name="send_mail",
        schema=_object(about="string"),
        retry_policy=RetryPolicy(min_backoff=timedelta(seconds=5)),
    ),
    Kind(name="resize_photo", schema=_object(photo="string"), timeout=timedelta(minutes=1)),
    Kind(name="build_report", timeout=timedelta(minutes=5)),
)


async def seed(client: Client) -> None:
    """Kinds, queues with a limit and a pause, a schedule, and jobs in every state."""
    for kind in KINDS:
        await client.put_kind(kind)
    # Two at a time, so that others wait and `why does it wait` has an answer.
    await client.update_queue("photos", limits=Limits(max_running=2), allow_missing=True)
    await client.update_queue("newsletter", max_waiting=10_000, allow_missing=True)
    await client.pause_queue("newsletter", reason="until it has been read again")
    await client.schedules.create(
        "report-of-the-minute", ScheduleSpec(cron="* * * * *"), NewJob("build_report", {}, queue="reports")
    )
    await client.enqueue_many(first())


def first() -> list[NewJob]:
    """The jobs of the start."""
    return [
        NewJob("build_report", {"of": "yesterday"}, queue="reports"),
        *(_charge(order, DECLINED if order == 3 else _GOOD) for order in range(1, 7)),
        *(NewJob("resize_photo", {"photo": f"beach-{number}"}, queue="photos") for number in range(1, 9)),
        *(
            NewJob("send_mail", {"about": "the news", "reader": number}, queue="newsletter")
            for number in range(NEWSLETTERS)
        ),
        *(
            NewJob("send_mail", {"about": "what is left in the cart"}, queue="mail", delay=after)
            for after in (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1))
        ),
    ]


async def trickle(client: Client) -> None:
    """More of them, without an end."""
    for job in more():
        await asyncio.sleep(ANOTHER_EVERY)
        # A moment without an answer, on a laptop that was asleep, costs an order.
        with contextlib.suppress(DeadlineExceeded, Unavailable):
            await client.enqueue_many([job])


def more() -> Iterator[NewJob]:
    """An order each time; one in twenty can't be paid, and one in four has a photo."""
    for order in itertools.count(7):
        yield _charge(order, DECLINED if order % 20 == 0 else _GOOD)
        if order % 4 == 0:
            yield NewJob("resize_photo", {"photo": f"order-{order}"}, queue="photos")


def _charge(order: int, card: str) -> NewJob:
    payload = {"order": order, "amount": f"{10 + order * 7 % 90}.90", "card": card}
    return NewJob("charge_card", payload, queue="billing", labels={"order": str(order)})
