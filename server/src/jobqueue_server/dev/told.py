"""What `jobqueue-server dev` says: how far its start is, where things are, and what to try."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from .jobs import NEWSLETTERS


@dataclass(frozen=True)
class Places:
    """Where everything is.

    Attributes:
        grpc: The address of gRPC.
        http: The URL of HTTP/JSON and of the dashboard.
        metrics: The URL of the metrics.
        worker: The file of the worker.
        command: How the command `jobqueue` is typed; None: it is not here.
    """

    grpc: str
    http: str
    metrics: str
    worker: Path
    command: str | None


class Told:
    """Lines on a console. In a terminal, what is under way is shown with its seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str = "") -> None:
        """Says a line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True, emoji=False)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Says of a part of the start that it is under way, and then how long it took."""
        begun = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"starting {name}"):
                yield
        else:
            self.say(f"starting {name}")
            yield
        self.say(f"  {name:<24}{time.monotonic() - begun:5.1f} s")

    def ready(self, places: Places, worker_pid: int, ttl: float) -> None:
        """Says where everything is, and what one could do now."""
        self._rows("JobQueue runs", _addresses(places))
        self._rows("To try", _to_try(places, worker_pid, ttl))
        self.say("\nCtrl-C ends all of it, and removes its data.")

    def _rows(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        self.say(f"\n{title}:")
        wide = max(len(name) for name, _ in rows)
        for name, what in rows:
            self.say(f"  {name:<{wide}}  {what}")


def _addresses(places: Places) -> list[tuple[str, str]]:
    return [
        ("dashboard", f"{places.http}/ui/"),
        ("HTTP/JSON", f"{places.http}/docs, to read and to try"),
        ("gRPC", places.grpc),
        ("metrics", places.metrics),
    ]


def _to_try(places: Places, worker_pid: int, ttl: float) -> list[tuple[str, str]]:
    api = f"{places.http}/v1"
    json = "-H 'content-type: application/json'"
    mail = '{"kind": "send_mail", "queue": "mail", "payload": {"about": "hello"}}'
    steps = [
        ("enqueue a job", f"curl {api}/jobs {json} -d '{mail}'"),
        ("why one failed", f"{places.http}/ui/dead, and a button that runs it again"),
        ("why one waits", f"{places.http}/ui/jobs?queue=photos: its queue runs two at a time"),
        ("a paused queue", f"curl -X POST {api}/queues/newsletter:resume lets its {NEWSLETTERS} jobs run"),
        (
            "kill the worker",
            f"kill -9 {worker_pid}: the next one starts, and what it ran runs again within {ttl + 2:g} s",
        ),
        ("your own worker", f"begin with {places.worker}"),
    ]
    if places.command is not None:
        server = "" if places.grpc == "127.0.0.1:50051" else f" --server {places.grpc}"
        steps.insert(1, ("the command line", f"{places.command} list{server}"))
    return steps
