"""The jobs of the demo: one of each kind first, and then more, so that there is something to see."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from jobqueue import NewJob

from .sinks import GREYLISTED

SAMPLE = "sample.png"

_TEXT = (
    "A job queue lets a program answer its caller at once and do the slow work later. "
    "The program writes down what is to be done, and a worker somewhere else does it. "
    "Writing it down must be safe: once the caller has its answer, the job may not be lost, whatever happens to the "
    "machine. Workers come and go, so the queue notices when one of them falls silent and hands its jobs to another. "
    "A job that fails is tried again after a while, each time a little later, until it succeeds or its tries are used "
    "up. Because a worker may die after the work but before its report, a job can run twice, and handlers should bear "
    "that. Many queues keep their jobs in memory and lose them; this one keeps them in PostgreSQL. "
    "Its workers hold one stream to the server and never see the database."
)


def make_sample(folder: Path) -> None:
    """Draws a picture of 1600 by 1200 pixels."""
    width, height = 1600, 1200
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for y in range(height):
        shade = y / height
        draw.line(
            [(0, y), (width, y)],
            fill=(round(20 + 200 * shade), round(60 + 90 * shade), round(150 - 60 * shade)),
        )
    draw.ellipse([1050, 180, 1350, 480], fill=(255, 236, 170))
    draw.polygon(
        [(0, 1200), (0, 900), (450, 560), (800, 880), (1100, 690), (1600, 1010), (1600, 1200)],
        fill=(28, 36, 52),
    )
    image.save(folder / SAMPLE)


def one_of_each(webhook_url: str, labels: dict[str, str]) -> list[NewJob]:
    """A job of each kind."""
    payloads: dict[str, dict[str, Any]] = {
        "resize_image": {"source_url": f"file:{SAMPLE}", "width": 320, "height": 320},
        "send_email": {
            "to": "ada@example.org",
            "subject": "Hello from JobQueue",
            "body": "This mail was a job: enqueued over gRPC, stored in PostgreSQL, leased by a worker, settled.\n",
        },
        "summarize_text": {"text": _TEXT, "max_words": 40},
        "webhook_delivery": {
            "url": f"{webhook_url}orders",
            "body": {"event": "order.paid", "order": 42, "total": "19.90"},
        },
    }
    return [NewJob(kind, payload, labels=labels) for kind, payload in payloads.items()]


def more(webhook_url: str, labels: dict[str, str], run: str) -> Iterator[NewJob]:
    """More of them, without an end: each turn has one that fails once, one for later, and one that can't succeed."""
    for turn in itertools.count(1):
        yield NewJob(
            "send_email",
            {
                "to": f"{GREYLISTED}-{run}-{turn}@example.org",
                "subject": f"Newsletter {turn}",
                "body": "The mail server refuses it once, for now: watch it RETRYING.\n",
            },
            labels=labels,
        )
        yield NewJob(
            "webhook_delivery",
            {"url": f"{webhook_url}reminders", "body": {"event": "reminder.due", "turn": turn}},
            delay=timedelta(seconds=15),
            labels=labels,
        )
        for size in (64, 640):
            yield NewJob(
                "resize_image",
                {"source_url": f"file:{SAMPLE}", "width": size, "height": size, "format": "webp"},
                labels=labels,
            )
        yield NewJob("summarize_text", {"text": _TEXT, "max_words": 20 + 10 * (turn % 3)}, labels=labels)
        yield NewJob(
            "resize_image", {"source_url": "file:nowhere.png", "width": 100, "height": 100}, labels=labels
        )
