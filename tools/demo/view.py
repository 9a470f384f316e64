"""What is shown of the jobs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jobqueue import Job, Status
from jobqueue.cli.show import age, status

from .places import Places


class Received(Protocol):
    """Knows the file into which a receiver wrote what a job sent."""

    def get(self, job_id: str, /) -> Path | None: ...


class Story:
    """Tells in a few words what became of a job."""

    def __init__(self, places: Places, received: Received) -> None:
        self._places = places
        self._received = received

    def of(self, job: Job) -> str:
        if job.status is Status.SUCCEEDED:
            return self._output(job)
        if job.status is Status.QUEUED and job.attempts == 0 and job.run_at != job.created_at:
            return f"starts {age(job.run_at)}" if age(job.run_at).startswith("in ") else ""
        if job.status is Status.RETRYING:
            return f"again {age(job.run_at)}: {job.last_error}"
        return job.last_error

    def _output(self, job: Job) -> str:
        output: dict[str, Any] = job.output if isinstance(job.output, dict) else {}
        file = self._received.get(job.id)
        match job.kind:
            case "resize_image":
                path = shown(self._places.images / str(output.get("file")))
                return (
                    f"{output.get('width')}x{output.get('height')}, {output.get('bytes', 0):,} bytes: {path}"
                )
            case "send_email":
                return f"delivered: {shown(file)}" if file else "delivered"
            case "summarize_text":
                return f"{output.get('words')} words: {output.get('summary')}"
            case "webhook_delivery":
                return f"{output.get('status')} in {output.get('ms')} ms" + (
                    f": {shown(file)}" if file else ""
                )
        return ""


def shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


class View(Protocol):
    """Shows the jobs, and says other things between them."""

    def start(self) -> None: ...
    def say(self, text: str) -> None: ...
    def show(self, first: Sequence[Job], others: Sequence[Job]) -> None: ...
    def next_steps(self, steps: Sequence[tuple[str, str]]) -> None: ...
    def stop(self) -> None: ...


class Lines:
    """A line for each change of a job's status: for logs and pipes."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._last: dict[str, tuple[Status, int]] = {}

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def say(self, text: str) -> None:
        print(text, flush=True)

    def show(self, first: Sequence[Job], others: Sequence[Job]) -> None:
        for job in (*first, *others):
            state = (job.status, job.attempts)
            if self._last.get(job.id) != state:
                self._last[job.id] = state
                worker = f"  on {job.locked_by}" if job.locked_by else ""
                about = " ".join(self._story.of(job).split())
                tries = f"attempts {job.attempts}" if job.attempts else ""
                self.say(f"{job.kind:<16} {job.status:<16} {tries:<10}{worker}  {about}".rstrip())

    def next_steps(self, steps: Sequence[tuple[str, str]]) -> None:
        self.say("\nWhere to look next:")
        for name, what in steps:
            self.say(f"  {name:<12} {what}")


class LiveTable:
    """A table that stays in its place."""

    def __init__(self, console: Console, story: Story, title: str, worker: str) -> None:
        self._console = console
        self._story = story
        self._title = title
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._steps: Panel | None = None
        self._workers: dict[str, str] = {}
        # Every worker there has been: ours, and those that somebody started beside it.
        self._known = {worker}

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def show(self, first: Sequence[Job], others: Sequence[Job]) -> None:
        taken = len(first) + 6 + (self._steps_height() if self._steps is not None else 0)
        table = Table(
            title=self._title,
            title_justify="left",
            expand=True,
            box=None,
            header_style="bold",
            padding=(0, 1, 0, 0),
        )
        columns = [("kind", 16), ("status", 16), ("tries", 5), ("worker", 16), ("age", 5)]
        if not self._wide:
            # What became of a job says more than where it ran.
            columns.remove(("worker", 16))
        for name, width in columns:
            table.add_column(
                name, width=width, no_wrap=True, justify="right" if name in ("tries", "age") else "left"
            )
        table.add_column("what came of it", ratio=1, no_wrap=True, overflow="ellipsis")
        for job in first:
            self._row(table, job)
        table.add_section()
        for job in others[-max(1, self._console.height - taken) :]:
            self._row(table, job)
        self._live.update(Group(table, self._steps) if self._steps is not None else table, refresh=True)

    def _row(self, table: Table, job: Job) -> None:
        about = " ".join(self._story.of(job).split())
        worker = [Text(self._worker_of(job))] if self._wide else []
        table.add_row(
            job.kind, status(job.status), str(job.attempts), *worker, age(job.created_at), Text(about)
        )

    def _worker_of(self, job: Job) -> str:
        """Who runs it, or did. A job that is over no longer says so, and most are over between two looks."""
        last = job.failed_attempts[-1].worker if job.failed_attempts else ""
        name = job.locked_by or last
        if name:
            self._known.add(name)
            self._workers[job.id] = name
        elif job.attempts and len(self._known) == 1:
            self._workers.setdefault(job.id, *self._known)
        return self._workers.get(job.id, "")

    @property
    def _wide(self) -> bool:
        return self._console.width >= 100

    def next_steps(self, steps: Sequence[tuple[str, str]]) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, what in steps:
            grid.add_row(name, Text(what))
        self._steps = Panel(grid, title="Where to look next (Ctrl-C ends everything)", title_align="left")

    def _steps_height(self) -> int:
        return len(self._console.render_lines(self._steps)) if self._steps is not None else 0
