"""The results in docs/benchmarks: those of latest.json there, in the README between two marks, and plots of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import plots, results
from .gates import GATES, JOBQUEUE
from .peers import PEERS, WORKLOADS
from .scale import Scale

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
FLAME = "flame.svg"
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_WIDTH = 120
_QUANTILES = ("p50", "p90", "p99", "p99.9")


def publish(measured: dict[str, Any]) -> Path:
    """Takes what was measured into the document, its data and its plots; what was not measured anew stays."""
    path = FOLDER / "README.md"
    head, begin, rest = path.read_text().partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise SystemExit(f"{path} has no place for results: {_BEGIN} and {_END}")
    entries = results.merge(measured, FOLDER / results.LATEST.name)
    drawn = plots.draw(entries, FOLDER)
    if (FOLDER / FLAME).exists():
        drawn.append(
            (FLAME, "The server's process under load, by what holds the interpreter; a click goes deeper")
        )
    parts = [
        _about(entries),
        _gates(entries),
        _costs(entries),
        _peers(entries),
        _languages(entries),
        _plots(drawn),
        _methods(entries),
    ]
    text = "\n\n".join(part for part in parts if part)
    path.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}")
    return path


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _item(text: str) -> str:
    """An item of a list, in lines of the document's width."""
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _about(entries: dict[str, Any]) -> str:
    gates = {name: entries[name] for name in GATES if name in entries}
    measured = list(gates.values())
    if not measured:
        return "Nothing has been measured yet."
    machines: dict[str, list[str]] = {}
    for name, entry in gates.items():
        machines.setdefault(entry["machine"], []).append(name)
    on = "; ".join(
        f"{machine}, for {', '.join(names)}" if len(machines) > 1 else machine
        for machine, names in sorted(machines.items(), key=lambda each: -len(each[1]))
    )
    newest = max(measured, key=lambda entry: str(entry["at"]))
    settings = ", ".join(
        f"`{name}={value}`" for name, value in newest["postgres"].items() if name != "server_version"
    )
    scaled = [name for name, entry in gates.items() if Scale(**entry["scale"]).smaller(name)]
    note = f"\n- **Smaller than a full run, and so no result: {', '.join(scaled)}.**" if scaled else ""
    lines = (
        f"- Machine: {on}. Client, server, workers and PostgreSQL share it.\n"
        f"- From {min(str(entry['at']) for entry in measured)} to {newest['at']}.\n"
        f"- Versions: {_versions(newest['versions'])}.\n"
        f"- PostgreSQL {newest['postgres']['server_version']}, for everybody: {settings}.{note}"
    )
    return "## Results\n\n" + "\n".join(_item(line) for line in lines.split("\n"))


def _versions(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,g}" if value < 1e6 else f"{value:,.0f}"


def _gates(entries: dict[str, Any]) -> str:
    rows = []
    for name, gate in GATES.items():
        for part in gate.parts:
            figure = entries.get(name, {}).get("parts", {}).get(part.name)
            value = None if figure is None else figure["value"]
            reached = (
                "not measured"
                if value is None or figure is None
                else {"no": "**no**"}.get(figure["reached"], figure["reached"])
            )
            rounds = "" if figure is None else ", ".join(_number(each) for each in figure["rounds"])
            what = gate.title + (f" [{part.name}]" if part.name else "")
            rows.append(
                (
                    name,
                    what,
                    _number(value) if value is None else f"{_number(value)} {part.unit}",
                    f"{part.must:,g}",
                    f"{part.goal:,g}",
                    reached,
                    rounds,
                )
            )
    return "### Gates\n\n" + _table(("gate", "what", "value", "must", "goal", "reached", "rounds"), rows)


def _costs(entries: dict[str, Any]) -> str:
    """What ours cost in each scenario that was measured, of the last round, and under each kind of load."""
    rows = []
    for name in GATES:
        details = entries.get(name, {}).get("detail") or [{}]
        for part, found in details[-1].items():
            if isinstance(found, dict) and "cpu_us_per_job" in found:
                rows.append((f"{name} {part}", *_row(found)))
    rows += [(name, *_row(found)) for name, found in entries.get("loads", {}).get("loads", {}).items()]
    if not rows:
        return ""
    head = (
        "scenario", "jobs/s", "server", "PostgreSQL", "worker", "client", "WAL B", "commits", "statements", "messages",
        "answer ms", "start ms", "dead",
    )  # fmt: skip
    words = (
        "Of the last round. CPU in us a job, by whose processes; WAL, commits, statements and gRPC messages a job; "
        f"milliseconds at {', '.join(_QUANTILES)} until a call is answered and until a handler starts; dead rows of "
        "live_job at the end."
    )
    if "loads" in entries:
        words += f" Those without the name of a gate: {entries['loads']['method']}"
    return f"### What a job costs\n\n{textwrap.fill(words, _WIDTH)}\n\n{_table(head, rows)}"


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    cpu = found["cpu_us_per_job"]
    quantiles = [found.get(name) for name in ("ack_ms", "start_ms")]
    return (
        f"{found['jobs_per_second']:,}",
        *(
            f"{round(cpu[who], 1):g}" if who in cpu else ""
            for who in ("server", "postgres", "worker", "client")
        ),
        f"{found['wal_bytes_per_job']:,}",
        *(f"{found[f'{what}_per_job']:g}" for what in ("commits", "statements", "messages")),
        *("" if each is None else " / ".join(f"{each[name]:g}" for name in _QUANTILES) for each in quantiles),
        f"{found['dead_tuples']:,}",
    )


def _peers(entries: dict[str, Any]) -> str:
    there = [peer for peer in PEERS if peer.name in entries]
    if not there:
        return ""
    rows = []
    for name in (each for each in (JOBQUEUE, *(peer.name for peer in there)) if each in entries):
        workloads = entries[name]["workloads"]
        cells = []
        for workload in WORKLOADS:
            rate = workloads.get(workload, {}).get("jobs_per_second")
            cells.append("" if workload not in workloads else "not measured" if rate is None else f"{rate:,}")
        rows.append((f"**{name}**" if name == JOBQUEUE else name, *cells))
    said = "\n".join(
        _item(
            f"- **{peer.name}** ({_versions(entries[peer.name]['versions'])}). Does: {peer.does} Lacks: {peer.lacks}"
        )
        for peer in there
    )
    on = "; ".join(sorted({entries[peer.name]["machine"] for peer in there}))
    words = (
        "Jobs a second, medians; [what each workload is](peers.md). Ours takes its jobs over the network, all of them "
        f"with checks, history and fenced settlements. Measured on {on}."
    )
    shown = _table(("peer", *WORKLOADS), rows)
    return f"### Peers\n\n{textwrap.fill(words, _WIDTH)}\n\n{shown}\n\n{said}"


def _languages(entries: dict[str, Any]) -> str:
    found = entries.get("workers")
    if not found:
        return ""
    rows = []
    for name, one in found["languages"].items():
        if "missing" in one:
            rows.append((name, one["missing"], "", "", ""))
            continue
        cells = []
        for way in ("hand-off", "drain"):
            cells += [
                f"{one[way]['jobs_per_second']:,}",
                f"{round(one[way]['cpu_us_per_job']['worker'], 1):g}",
            ]
        rows.append((name, *cells))
    head = ("language", "hand-off, jobs/s", "worker CPU us a job", "drain, jobs/s", "worker CPU us a job")
    return f"### Workers by language\n\n{textwrap.fill(found['method'], _WIDTH)}\n\n{_table(head, rows)}"


def _plots(drawn: list[tuple[str, str]]) -> str:
    return (
        "### Plots\n\n" + "\n\n".join(f"{title}:\n\n![{title}]({name})" for name, title in drawn)
        if drawn
        else ""
    )


def _methods(entries: dict[str, Any]) -> str:
    lines = []
    for name, gate in GATES.items():
        if name in entries:
            lines.append(_item(f"- **{name}**, {gate.title}. {gate.method} Not measured: {gate.leaves_out}"))
    return "### How each is measured\n\n" + "\n".join(lines) if lines else ""
