"""The table of gates for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from .calls import Counts, locked, total
from .gates import GATES, JOBQUEUE, Found, PeerRun
from .peers import PEERS
from .turns import DECIDES

# Of one enqueue; less is what the server does by itself meanwhile.
_SEEN = 0.1
_MARKS = {"goal": "[green]goal[/]", "must": "[yellow]must[/]", "no": "[red]no[/]"}
_FIGURES = {
    "cpu_us": "CPU us",
    "server_us": "server",
    "postgres_us": "PostgreSQL",
    "driver_us": "driver",
    "cpu_by_driver": "CPU by driver",
    "server_by_driver": "server by driver",
    "wal_bytes": "WAL B",
    "jobs_per_second": "jobs/s",
    "start_p50_ms": "p50 ms",
    "start_p99_ms": "p99 ms",
}
_VERDICTS = {
    verdict: f"[{color}]{verdict}[/]" for verdict, color in (("costs nothing", "green"), ("costs", "red"))
}


def gates(entries: dict[str, Any], names: Iterable[str]) -> Table:
    """One row for each figure of the gates that were measured."""
    shown = Table("gate", "what", "value", "must", "goal", "reached")
    for name in names:
        if name not in entries:
            shown.add_row(name, GATES[name].title, "", "", "", "[red]not measured[/]")
            continue
        for part, figure in entries[name]["parts"].items():
            value = "?" if figure["value"] is None else f"{figure['value']:,g} {figure['unit']}"
            shown.add_row(
                name,
                f"{GATES[name].title}{f' [{part}]' if part else ''}".replace("[", "\\["),
                value,
                f"{figure['must']:,g}",
                f"{figure['goal']:,g}",
                _MARKS[figure["reached"]] if figure["value"] is not None else "[red]not measured[/]",
            )
    return shown


def line(name: str, found: Found) -> str:
    """One gate of one round."""
    parts = {part.name: part for part in GATES[name].parts}
    why = {one["missing"] for one in found.detail.values() if isinstance(one, dict) and "missing" in one}
    told = ", ".join(
        f"{part} {'?' if value is None else f'{value:,g}'} {parts[part].unit}{_between(found, part)}".strip()
        for part, value in found.values.items()
    )
    ours = found.detail.get("ours", {}).get("jobs_per_second")
    return (
        f"{name} {told}"
        + (f" (ours {ours:,} jobs/s)" if ours else "")
        + "".join(f"\n  {each}" for each in why)
    )


def _between(found: Found, part: str) -> str:
    """The bounds of a mean of pairs."""
    by = found.detail.get("judged_by", {}).get(part, DECIDES)
    ratio = found.detail.get("ratios", {}).get(part, {}).get(by)
    return "" if ratio is None else f" (95 %: {ratio['low']:.3f}-{ratio['high']:.3f})"


def rate(run: PeerRun) -> str:
    """What a peer did."""
    return f"{run.rate:,.0f} jobs/s" if run.rate is not None else f"not measured: {run.told['missing']}"


def peers(entries: dict[str, Any]) -> Table:
    """One row for each workload of a peer that was measured, and of ours."""
    shown = Table("peer", "workload", "jobs/s")
    for name in (JOBQUEUE, *(peer.name for peer in PEERS)):
        for workload, one in entries.get(name, {}).get("workloads", {}).items():
            speed = one["jobs_per_second"]
            shown.add_row(name, workload, "not measured" if speed is None else f"{speed:,}")
    return shown


def paired(gates: dict[str, Any]) -> Table:
    """The ratios of each gate that two checkouts were compared by; the verdict stands by the CPU that decides it."""
    head = ("a job", "base", "new", "mean", "95 %", "median", "min-max", "verdict")
    shown = Table(*head, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name, one in gates.items():
        verdict = _VERDICTS.get(one["verdict"], f"[yellow]{one['verdict']}[/]")
        rows = list(one["ratios"].items()) or [("cpu_us", None)]
        for number, (figure, ratio) in enumerate(rows):
            cells = [""] * 6
            if ratio is not None:
                cells = [
                    f"{ratio[side]:,.0f}" if ratio[side] >= 1000 else f"{ratio[side]:.3g}"
                    for side in ("base", "new")
                ]
                cells += [f"{ratio['mean']:.3f}", f"{ratio['low']:.3f}-{ratio['high']:.3f}"]
                cells += [f"{ratio['median']:.3f}", f"{ratio['min']:.3f}-{ratio['max']:.3f}"]
            place = name if number == 0 else " " * len(name)
            shown.add_row(f"{place} {_FIGURES[figure]}", *cells, verdict if number == 0 else "")
    return shown


def calls(found: dict[str, Counts], base: dict[str, Counts] | None) -> Table:
    """One row for each walk: the calls of one enqueue."""
    shown = Table("one enqueue", "calls", "in the lock", *(() if base is None else ("base", "calls / base")))
    known = locked()
    for name, counts in found.items():
        now, before = total(counts), None if base is None else total(base[name])
        beside = () if before is None else (str(before), f"{now / before:.3f}")
        shown.add_row(name, str(now), str(known.get(name, "")), *beside)
    return shown


def functions(counts: Counts, base: Counts) -> Table:
    """The functions that one enqueue calls more often, or less often, than the base's."""
    shown = Table("function", "calls", "base", "more")
    more = {name: counts.get(name, 0.0) - base.get(name, 0.0) for name in counts.keys() | base.keys()}
    for name, by in sorted(more.items(), key=lambda each: (-each[1], each[0])):
        if abs(by) >= _SEEN:
            shown.add_row(name, f"{counts.get(name, 0.0):.2f}", f"{base.get(name, 0.0):.2f}", f"{by:+.2f}")
    return shown


def workers(found: dict[str, Any]) -> Table:
    """One row for each language."""
    shown = Table("language", "hand-off jobs/s", "worker us a job", "drain jobs/s", "worker us a job")
    for name, one in found.items():
        if "missing" in one:
            shown.add_row(name, one["missing"])
            continue
        cells = []
        for way in ("hand-off", "drain"):
            cells += [
                f"{one[way]['jobs_per_second']:,}",
                f"{round(one[way]['cpu_us_per_job']['worker'], 1):g}",
            ]
        shown.add_row(name, *cells)
    return shown


def clients(found: dict[str, Any]) -> Table:
    """One row for each figure of a language whose worker was measured at two commits."""
    shown = Table("language", "a job", "base", "new", "new by base", "95 %")
    for name, one in found.items():
        if "missing" in one:
            shown.add_row(name, one["missing"])
            continue
        for figure, ratio in one["ratios"].items():
            shown.add_row(
                name,
                figure,
                f"{ratio['base']:,g}",
                f"{ratio['new']:,g}",
                f"{ratio['mean']:.3f}",
                f"{ratio['low']:.3f}-{ratio['high']:.3f}",
            )
    return shown
