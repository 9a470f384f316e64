"""Plots of what was measured last, as SVG."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pygal
from pygal.style import CleanStyle

from .ours import GRAIN

# It leaves a finder of modules without `find_spec`, over which pytest stumbles; we want nothing of what it finds.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

_SCENARIOS = (
    ("G1", "ours", "gRPC, batches of 100"),
    ("G2", "ours", "REST, one a request"),
    ("G3", "ours", "gRPC, one a call"),
    ("G4", "ours", "drain"),
    ("G5", "ours", "200 streams"),
)


def draw(entries: dict[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Draws each plot that there is something for, and leaves the others as they are.

    Returns:
        Of each that is there, the name of its file and what it shows.
    """
    plots = (
        ("throughput.svg", "Jobs ended a second, over time", _throughput(entries)),
        (
            "outrun.svg",
            "Jobs ended a second while producers are faster than workers, and in overload",
            _outrun(entries),
        ),
        ("latency.svg", "From enqueue to the start of the handler, by percentile", _latency(entries)),
        ("backlog.svg", "Jobs that wait, under mixed load", _mixed(entries)),
        ("snapshot.svg", "Jobs ended a second with a snapshot held and without", _snapshot(entries)),
        ("soak.svg", "An hour at half load, each against its mean", _soak(entries)),
    )
    there = []
    for name, title, chart in plots:
        if chart is not None:
            (folder / name).write_bytes(chart.render())
        if (folder / name).exists():
            there.append((name, title))
    return there


def _chart(x: str, y: str, **more: Any) -> Any:
    chart = pygal.XY(
        width=1000,
        height=420,
        style=CleanStyle(font_family="sans-serif", label_font_size=11, legend_font_size=11),
        # A script for tooltips would be fetched from another server.
        js=[],
        margin_bottom=30,
        show_dots=False,
        legend_at_bottom=True,
        legend_at_bottom_columns=5,
        x_title=x,
        y_title=y,
        **more,
    )
    # A new name at each drawing would make another file of the same data.
    chart.uuid = "plot"
    return chart


def _filled(chart: Any, lines: dict[str, list[tuple[float, float]]]) -> Any:
    for name, points in lines.items():
        if points:
            chart.add(name, points)
    return chart if any(lines.values()) else None


def _last(entries: dict[str, Any], gate: str) -> dict[str, Any]:
    """The details of the last round of a gate."""
    rounds = entries.get(gate, {}).get("detail") or [{}]
    found: dict[str, Any] = rounds[-1]
    return found


def _by_time(values: list[float], grain: float, skip: int = 0) -> list[tuple[float, float]]:
    """Points at the middle of each stretch; the last is seldom whole."""
    return [((number + 0.5) * grain, value) for number, value in enumerate(values)][skip:-1]


def _throughput(entries: dict[str, Any]) -> Any:
    lines = {}
    for gate, part, name in _SCENARIOS:
        ended = _last(entries, gate).get(part, {}).get("ended", [])
        lines[f"{gate} {name}"] = _by_time([jobs / GRAIN for jobs in ended], GRAIN)
    return _filled(_chart("seconds", "jobs/s"), lines)


def _outrun(entries: dict[str, Any]) -> Any:
    lines = {
        f"G13 {part}": _by_time(found["ended_per_second"], 1.0)
        for part, found in _last(entries, "G13").items()
        if "ended_per_second" in found
    }
    lines["overload"] = _by_time(_last(entries, "overload").get("ended_per_second", []), 1.0)
    return _filled(_chart("seconds", "jobs/s"), lines)


def _latency(entries: dict[str, Any]) -> Any:
    """Both axes by powers: each further nine is as wide as the one before, ten times as long as high as ten times."""
    lines = {}
    for gate in ("G6", "G10"):
        for name, curve in _last(entries, gate).get("curves", {}).items():
            points = [
                (-math.log10(1 - percent / 100), math.log10(ms))
                for percent, ms in curve
                if percent < 100 and ms
            ]
            lines[f"{gate} {name}"] = points
    chart = _chart("percentile", "ms")
    heights = [high for points in lines.values() for _, high in points] or [0.0]
    low, high = math.floor(min(heights)), math.ceil(max(heights))
    steps = [step * 10.0**power for power in range(low, high + 1) for step in (1, 2, 5)]
    shown = [ms for ms in steps if low <= math.log10(ms) <= high]
    chart.y_labels = [{"label": f"{ms:g}", "value": math.log10(ms)} for ms in shown]
    percents = (0, 50, 90, 99, 99.9, 99.99)
    chart.x_labels = [{"label": f"{each:g} %", "value": -math.log10(1 - each / 100)} for each in percents]
    return _filled(chart, lines)


def _mixed(entries: dict[str, Any]) -> Any:
    waiting = _last(entries, "mixed").get("backlog", [])
    return _filled(_chart("seconds", "jobs"), {"jobs that have not ended": _by_time(waiting, 0.5)})


def _snapshot(entries: dict[str, Any]) -> Any:
    lines = {
        f"{part}, {how}": _by_time(rates, 1.0)
        for part, found in _last(entries, "G8").items()
        for how, rates in found.items()
    }
    return _filled(_chart("seconds", "jobs/s"), lines)


def _soak(entries: dict[str, Any]) -> Any:
    found = _last(entries, "G11")
    lines = {}
    for name, key in (
        ("memory", "memory_mb"),
        ("live_job", "live_mb"),
        ("database", "database_mb"),
        ("p99", "p99_ms"),
    ):
        values = found.get(key, [])
        mean = sum(values) / len(values) if values else 0
        grain = found.get("seconds", 0) / max(1, len(values))
        lines[name] = _by_time([value / mean for value in values], grain) if mean else []
    return _filled(_chart("seconds", "of the mean"), lines)
