"""The commands about how it is going: a live table, statistics, servers, and how many jobs there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jobqueue import (
    Depth,
    Flow,
    GroupBy,
    Overview,
    OverviewWarning,
    Series,
    ServerInfo,
    Stats,
    WarningCode,
)

from . import json_text, show, values
from .jobs import status_of
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, connected

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 40
_SHOWN = 20

_BY = {"queue": GroupBy.QUEUE, "kind": GroupBy.KIND, "both": GroupBy.QUEUE_AND_KIND, "all": None}
_URGENT = frozenset({WarningCode.WORKERS_MISSING, WarningCode.PAUSED_WITH_JOBS, WarningCode.SLOTS_TAKEN})


def top(
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "30s",
    as_json: AsJson = False,
) -> None:
    """Show how the queues are doing, every 2 s until Ctrl-C: rates, depths, workers, servers, and what is wrong."""
    with connected(server, deadline, as_json) as client:
        if once:
            found = client.overview()
            typer.echo(json_text.write(json_text.overview(found))) if as_json else show.out.print(
                _screen(found)
            )
        elif as_json:
            for found in client.watch_overview():
                typer.echo(json_text.write(json_text.overview(found)))
        else:
            with Live(console=show.out, screen=show.out.is_terminal, auto_refresh=False) as live:
                for found in client.watch_overview():
                    live.update(_screen(found), refresh=True)


def stats(
    queue: Annotated[str, typer.Option(help="Only of this queue.")] = "",
    kind: Annotated[str, typer.Option(help="Only of this kind.")] = "",
    since: Annotated[
        str | None, typer.Option(metavar="TIME|DURATION", help="From then on, or so long ago, such as 24h.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME|DURATION", help="Until then.")] = None,
    step: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How much time a point stands for, such as 5m.")
    ] = None,
    by: Annotated[
        str, typer.Option(metavar="queue|kind|both|all", help="A line for each of these.")
    ] = "queue",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Show what happened to jobs: how many came and ended in which way, how long they waited and ran."""
    with connected(server, deadline, as_json) as client:
        found = client.stats(
            queue=queue,
            kind=kind,
            since=values.moment_or_ago(since, "--since"),
            until=values.moment_or_ago(until, "--until"),
            step=values.optional_duration(step, "--step"),
            group_by=values.choice(_BY, by, "--by"),
        )
        if as_json:
            typer.echo(json_text.write(json_text.stats(found)))
        else:
            _show_stats(found)


def servers(server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False) -> None:
    """List the servers that run on the database."""
    with connected(server, deadline, as_json) as client:
        found = client.list_servers()
        if as_json:
            for each in found:
                typer.echo(json_text.write(json_text.server(each)))
        else:
            show.out.print(_servers(found))


def count(
    queue: Annotated[str, typer.Option(help="Only of this queue.")] = "",
    kind: Annotated[str, typer.Option(help="Only of this kind.")] = "",
    status: Annotated[
        list[str] | None, typer.Option(help="Only with this status; may be repeated, or several with commas.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Only with this label; may be repeated.")
    ] = None,
    after: Annotated[str | None, typer.Option(metavar="TIME", help="Only enqueued then or later.")] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Only enqueued before.")] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "10s",
    as_json: AsJson = False,
) -> None:
    """Count jobs. The server counts for 2 s at most, and keeps the answer for a minute."""
    with connected(server, deadline, as_json) as client:
        found = client.count_jobs(
            queue=queue,
            kind=kind,
            status=[status_of(part) for text in status or () for part in text.split(",")],
            labels=values.pairs(label or (), "--label"),
            created_after=values.moment(after, "--after"),
            created_before=values.moment(before, "--before"),
        )
        if as_json:
            typer.echo(json_text.write(json_text.count(found)))
        else:
            show.line(f"{found.count:,}" if found.exact else f"at least {found.count:,}")


def _screen(found: Overview) -> Group:
    flow, depth, workers = found.flow, found.depth, found.workers
    above = Text(
        f"{_many(depth.queued + depth.retrying, depth)} wait, {depth.running:,} run, "
        f"{_rate(flow.enqueued)} come a second, {_rate(_done(flow))} end, {_rate(flow.retried + flow.failed)} fail"
    )
    silent = f", {workers.silent:,} silent" if workers.silent else ""
    below = Text(
        f"{workers.sessions:,} workers{silent}, {workers.free_slots:,} of {workers.slots:,} slots free, "
        f"{len(found.servers):,} servers"
    )
    parts: list[Text | Table] = [
        above,
        below,
        *map(_warning, found.warnings[:_SHOWN]),
        Text(),
        _queues(found),
    ]
    left = found.queues_left_out + max(0, len(found.queues) - 2 * _SHOWN)
    if left:
        parts.append(Text(f"{left:,} more queues", style="dim"))
    return Group(*parts)


def _warning(each: OverviewWarning) -> Text:
    style = "red" if each.code in _URGENT else "yellow"
    return Text(f"! {each.message}{f' (ended by: {each.remedy})' if each.remedy else ''}", style=style)


def _queues(found: Overview) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("queue")
    for name in ("waiting", "running", "held", "oldest", "in/s", "out/s", "failed/s", "workers", "free"):
        table.add_column(name, justify="right")
    for queue in found.queues[: 2 * _SHOWN]:
        depth, flow = queue.depth, queue.flow
        table.add_row(
            Text(
                f"{queue.queue}{' (paused)' if queue.paused else ''}", style="yellow" if queue.paused else ""
            ),
            _many(depth.queued + depth.retrying, depth),
            f"{depth.running:,}",
            f"{depth.held:,}",
            show.span(depth.oldest_due_age),
            _rate(flow.enqueued),
            _rate(_done(flow)),
            _rate(flow.failed + flow.retried),
            f"{queue.workers:,}",
            f"{queue.free_slots:,}",
        )
    return table


def _servers(found: Sequence[ServerInfo]) -> Table:
    table = Table(
        "server", "version", "level", "up for", "heard", "workers", "slots", "free",
        box=None, pad_edge=False, header_style="bold",
    )  # fmt: skip
    for each in found:
        table.add_row(
            Text(f"{each.name}{' *' if each.self else ''}"),
            Text(each.version or "?"),
            str(each.level),
            show.age(each.started_at),
            f"{show.span(each.heartbeat_age)} ago",
            f"{each.sessions:,}",
            f"{each.slots:,}",
            f"{each.free_slots:,}",
        )
    return table


def _show_stats(found: Stats) -> None:
    step = found.step or timedelta(seconds=10)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("queue")
    table.add_column("kind")
    for name in (
        "came",
        "began",
        "succeeded",
        "retried",
        "failed",
        "cancelled",
        "lost",
        "wait p50/p99",
        "run p50/p99",
    ):
        table.add_column(name, justify="right")
    table.add_column(f"ended, by {show.span(step)}")
    for series in found.series:
        totals = series.totals
        table.add_row(
            Text(series.queue or "all"),
            Text(series.kind or "all"),
            *(
                f"{each:,}"
                for each in (
                    totals.enqueued, totals.started, totals.succeeded, totals.retried, totals.failed, totals.cancelled,
                    totals.lost,
                )
            ),
            f"{show.span(totals.wait_p50) or '-'} / {show.span(totals.wait_p99) or '-'}",
            f"{show.span(totals.run_p50) or '-'} / {show.span(totals.run_p99) or '-'}",
            _sparkline(found, series),
        )  # fmt: skip
    show.out.print(table)
    if not found.series:
        show.line("Nothing happened in this time.")
    if found.series_left_out:
        typer.echo(f"{found.series_left_out:,} more are left out.", err=True)


def _sparkline(found: Stats, series: Series) -> str:
    """How many jobs ended over the whole time, a bar for each part of it."""
    if found.since is None or found.read_at is None or found.step is None:
        return ""
    ends = max(found.read_at, *(point.at for point in series.points if point.at is not None))
    width = max((ends - found.since) / _WIDTH, found.step)
    bars = [0] * (int((ends - found.since) / width) + 1)
    for point in series.points:
        if point.at is not None:
            totals = point.totals
            bars[int((point.at - found.since) / width)] += totals.succeeded + totals.failed + totals.cancelled
    most = max(*bars, 1)
    return "".join(_BARS[-(-each * (len(_BARS) - 1) // most)] for each in bars[:_WIDTH])


def _done(flow: Flow) -> float:
    return flow.succeeded + flow.failed + flow.cancelled


def _many(jobs: int, depth: Depth) -> str:
    return f"{jobs:,}{'+' if depth.capped else ''}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
