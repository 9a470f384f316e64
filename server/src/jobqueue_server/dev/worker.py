"""A worker of a shop, to begin one of your own with: `python worker.py HOST:PORT` runs it.

It fails as programs do: a mail server is busy once in a while, and one card is always declined. It needs no more than
the package `jobqueue`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from typing import Any

from jobqueue import Discard, JobContext, NewJob, Worker

QUEUES = ("billing", "mail", "photos", "reports", "newsletter")
#: A card of this number is declined, as test cards of payment services are.
DECLINED = "4000 0000 0000 0002"


async def charge_card(ctx: JobContext) -> dict[str, Any]:
    """Charges a card, and has a receipt sent: both or neither."""
    order = ctx.job.payload
    await asyncio.sleep(random.uniform(0.1, 0.8))
    if order["card"] == DECLINED:
        # To try again would not help: the job ends as FAILED_PERMANENT.
        raise Discard("the bank has declined the card")
    ctx.follow_up(NewJob("send_mail", {"order": order["order"], "about": "your receipt"}, queue="mail"))
    return {"charged": order["amount"]}


async def send_mail(ctx: JobContext) -> dict[str, Any]:
    """Sends a mail. One in five is refused at first, and tried again after a pause."""
    await asyncio.sleep(random.uniform(0.1, 0.5))
    if ctx.job.attempt == 1 and random.random() < 0.2:
        raise ConnectionError("450 the mail server is busy, come back in a moment")
    return {"accepted_by": "mail.example.org"}


def resize_photo(ctx: JobContext) -> dict[str, Any]:
    """Makes a photo smaller, in a thread since it does not wait but work, and says how far it is."""
    for done in range(1, 11):
        ctx.raise_if_cancelled()
        time.sleep(random.uniform(0.1, 0.5))
        ctx.progress(done / 10, f"{done} of 10 tiles")
    return {"file": f"{ctx.job.payload['photo']}-small.webp"}


async def build_report(ctx: JobContext) -> dict[str, Any]:
    """Takes its time, as reports do."""
    for done in range(1, 21):
        await asyncio.sleep(1)
        ctx.progress(done / 20, f"{done} of 20 pages")
    return {"pages": 20}


def make(target: str) -> Worker:
    """The worker, which takes jobs of all queues as soon as it is run."""
    return Worker(
        target,
        queues=QUEUES,
        concurrency=8,
        name="dev-worker",
        handlers={
            "charge_card": charge_card,
            "send_mail": send_mail,
            "resize_photo": resize_photo,
            "build_report": build_report,
        },
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    make(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051").run()
