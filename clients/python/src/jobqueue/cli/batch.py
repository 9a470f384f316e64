"""The command `enqueue-batch`: many jobs from NDJSON, in batches, which can be taken up again."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from jobqueue import EnqueueResult, JobQueueError, NewJob, SyncClient

from . import json_text
from .exits import Refused, fail
from .lines import job_of
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, connected

# A batch is a transaction; larger ones win nothing, smaller ones let the bar move.
_BATCH = 500
_PATH = re.compile(r"\bjobs\[(\d+)\]")


def enqueue_batch(
    path: Annotated[str, typer.Argument(metavar="FILE|-", help="NDJSON: one job a line. - is stdin.")],
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="Idempotency key PREFIX-LINE for lines without one: the same command again enqueues only what "
            "is missing.",
        ),
    ] = None,
    skip: Annotated[int, typer.Option(min=0, metavar="N", help="Leave out the first N lines.")] = 0,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "30s",
    as_json: AsJson = False,
) -> None:
    """Enqueue a job for each line of a file, such as {"kind": "send_email", "payload": {...}, "delay": "5m"}.

    Lines go in batches of 500, each all or none. After an error it says how far it came; go on with --skip, or, if
    the lines have keys, just once more.
    """
    with connected(server, deadline, as_json) as client, ExitStack() as stack:
        source, size = _open(path, stack)
        bar = stack.enter_context(_bar(as_json))
        task = bar.add_task("enqueued", total=size, jobs=0)
        batches = _Batches(client, path, keys, as_json)
        began = time.monotonic()
        for chunk in _chunks(source, skip):
            try:
                batches.send(chunk)
            except (JobQueueError, Refused) as error:
                bar.stop()
                fail(
                    batches.placed(error, chunk),
                    as_json=as_json,
                    server=server,
                    hint=batches.how_to_go_on(chunk),
                )
            bar.update(task, advance=sum(len(line) for _, line in chunk), jobs=batches.done)
        seconds = time.monotonic() - began
    if not as_json:
        there = f", {batches.there:,} of them were there before" if batches.there else ""
        typer.echo(f"{batches.done:,} jobs{there}, in {seconds:.1f} s")


def _open(path: str, stack: ExitStack) -> tuple[BinaryIO, int | None]:
    if path == "-":
        return sys.stdin.buffer, None
    try:
        return stack.enter_context(open(path, "rb")), Path(path).stat().st_size
    except OSError as error:
        raise Refused(f"{path} can't be read: {error.strerror}") from None


def _bar(as_json: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.fields[jobs]:,} jobs"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=as_json or not console.is_terminal,
    )


def _chunks(source: BinaryIO, skip: int) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines, up to a batch of them at once; empty lines are passed over."""
    lines = ((number, line) for number, line in enumerate(source, start=1) if number > skip and line.strip())
    while chunk := list(islice(lines, _BATCH)):
        yield chunk


class _Batches:
    """Sends lines, and knows how far it is."""

    def __init__(self, client: SyncClient, path: str, keys: str | None, as_json: bool) -> None:
        self._client = client
        self._name = "stdin" if path == "-" else path
        self._keys = keys
        self._as_json = as_json
        # Not known before a batch is read.
        self._keyless: bool | None = None
        self.done = 0
        self.there = 0

    def send(self, chunk: list[tuple[int, bytes]]) -> None:
        """Enqueues these lines."""
        jobs = [self._job(number, line) for number, line in chunk]
        self._keyless = bool(self._keyless) or any(job.idempotency_key is None for job in jobs)
        self._count(chunk, self._client.enqueue_many(jobs))

    def _job(self, number: int, line: bytes) -> NewJob:
        key = None if self._keys is None else f"{self._keys}-{number}"
        return job_of(line.rstrip(b"\r\n"), f"{self._name}, line {number}", default_key=key)

    def _count(
        self, chunk: list[tuple[int, bytes]], results: list[EnqueueResult] | tuple[EnqueueResult, ...]
    ) -> None:
        self.done += len(results)
        self.there += sum(bool(result.replayed or result.unique_action) for result in results)
        if self._as_json:
            for (number, _), result in zip(chunk, results, strict=False):
                line = {"line": number, "id": result.id, "replayed": result.replayed}
                if result.unique_action is not None:
                    line["unique_action"] = result.unique_action
                typer.echo(json_text.write(line))

    def placed(
        self, error: JobQueueError | Refused, chunk: list[tuple[int, bytes]]
    ) -> JobQueueError | Refused:
        """The error with lines in place of places in the request."""
        if isinstance(error, Refused):
            return error
        # Lines so long that the client cut the batch once more: what went before is enqueued.
        self._count(chunk, error.enqueued)
        del chunk[: len(error.enqueued)]

        def line(found: re.Match[str]) -> str:
            at = int(found[1]) - len(error.enqueued)
            return f"{self._name}, line {chunk[at][0]}" if 0 <= at < len(chunk) else found[0]

        error.message = _PATH.sub(line, error.message)
        error.violations = tuple(
            type(each)(_PATH.sub(line, each.field), each.description) for each in error.violations
        )
        return error

    def how_to_go_on(self, chunk: list[tuple[int, bytes]]) -> str:
        """What to do after an error, whatever it was."""
        begin = chunk[0][0] - 1
        done = (
            f"{self.done:,} jobs are enqueued, up to line {begin:,}" if self.done else "nothing is enqueued"
        )
        if self._keyless is None:
            return done
        if self._keyless:
            return f"{done}; go on with --skip {begin}" if self.done else done
        return f"{done}; the same command again goes on from there, since every line has a key"
