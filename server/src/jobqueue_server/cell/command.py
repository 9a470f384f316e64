"""`jobqueue-server cell move`, as it looks on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from .errors import TargetAway
from .move import Move
from .side import connected, for_libpq
from .source import Source
from .target import Target


class Shown:
    """A line for each step, and a bar while rows are copied."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("rows copied"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, text: str) -> None:
        """See `Teller`."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def copied(self, rows: int, of: int) -> None:
        """See `Teller`. The numbers are estimates, so nothing is shown of a few."""
        if self._bar is None and of:
            self._bar = self._progress.add_task("", total=of)
        if self._bar is not None:
            self._progress.update(self._bar, completed=rows, total=of)


async def move(
    source_dsn: str,
    target_dsn: str,
    reached_by: str | None,
    service_role: str | None,
    console: Console,
    *,
    cut_over: bool,
    abandon: bool,
) -> None:
    """Does what `jobqueue-server cell move` was told to.

    Args:
        source_dsn: The database that is left, for its owner.
        target_dsn: The other one, for its owner.
        reached_by: The URL by which the target reaches the source; None: `source_dsn`.
        service_role: The role of the servers on both; None: the owners'.
        console: Where it says how it goes.
        cut_over: Whether to go over, or to end once both are in step.
        abandon: Whether to take back what was done.

    Raises:
        MoveRefused: It can't be done.
    """
    with Shown(console) as shown:
        async with connected(source_dsn, "the source") as source:
            try:
                async with connected(target_dsn, "the target", TargetAway) as target:
                    ways = for_libpq(reached_by or source_dsn)
                    moving = Move(Source(source), Target(target), target_dsn, ways, service_role, shown)
                    await _move(moving, shown, cut_over=cut_over, abandon=abandon)
            except TargetAway:
                if not abandon or await Source(source).closed():
                    raise
                # The slot would keep the source's log until the disk is full.
                await Source(source).forget()
                shown.step(
                    "given up: the source is as before. The target does not answer: don't use it again"
                )


async def _move(moving: Move, shown: Shown, *, cut_over: bool, abandon: bool) -> None:
    if abandon:
        await moving.abandon()
        shown.step("given up: the source is as before. Drop the target's database; it takes no writes")
        return
    if await moving.follow() and not cut_over:
        shown.step(
            "both are in step, and stay so. Start servers on the target now: with "
            "target_session_attrs=read-write in their URL they wait. Then run this again with --cut-over"
        )
        return
    moved = await moving.cut_over()
    if moved.seconds:
        rest = f"; too large to count: {', '.join(moved.not_compared)}" if moved.not_compared else ""
        shown.step(
            f"moved: {moved.seconds:.2f} s without writes; {moved.compared} tables have the same rows{rest}"
        )
    shown.step(
        "The target is the cell's database. End the servers on the source: their workers then go to the others"
    )
