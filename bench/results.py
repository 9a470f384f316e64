"""bench/out/latest.json: one entry a gate, one a peer and one for ours beside them, each as it was measured last."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from .gates import JOBQUEUE, Found, Gate, PeerRun
from .peers import PEERS

LATEST = Path(__file__).parent / "out" / "latest.json"


def gate_entry(gate: Gate, rounds: list[Found], about: dict[str, Any]) -> dict[str, Any]:
    """The medians of some rounds. The gate's own value is that of the part that is worst by the measure of its must."""
    parts = {}
    values: dict[str, float | None] = {}
    for part in gate.parts:
        seen = [found.values[part.name] for found in rounds]
        known = [value for value in seen if value is not None]
        value = values[part.name] = median(known) if len(known) == len(seen) else None
        parts[part.name] = {
            "value": value,
            "must": part.must,
            "goal": part.goal,
            "unit": part.unit,
            "less_is_better": part.less,
            "reached": "goal"
            if part.reaches(value, part.goal)
            else "must"
            if part.reaches(value, part.must)
            else "no",
            "rounds": seen,
        }
    worst = min(gate.parts, key=lambda part: part.standing(values[part.name]))
    return {
        **{
            name: parts[worst.name][name]
            for name in ("value", "must", "goal", "unit", "less_is_better", "reached")
        },
        "part": worst.name,
        "parts": parts,
        "title": gate.title,
        "method": gate.method,
        "does_not_measure": gate.leaves_out,
        **about,
        "detail": [found.detail for found in rounds],
    }


def workload_entries(
    runs: list[list[PeerRun]], built: dict[str, dict[str, str]], about: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """One entry for each peer that was measured, and for ours beside them: each workload's median over the rounds.

    Ours counts where a peer ran the same workload in these rounds: what it did alone is not compared.
    """
    beside = {run.workload for one in runs for run in one if run.peer != JOBQUEUE}
    words: dict[str, dict[str, Any]] = {JOBQUEUE: {"versions": about["versions"]}}
    for peer in PEERS:
        words[peer.name] = {"does": peer.does, "lacks": peer.lacks, "versions": built.get(peer.name, {})}
    found: dict[str, dict[str, Any]] = {}
    for name, said in words.items():
        by_workload: dict[str, list[PeerRun]] = {}
        for run in (run for one in runs for run in one if run.peer == name and run.workload in beside):
            by_workload.setdefault(run.workload, []).append(run)
        if not by_workload:
            continue
        workloads = {}
        for workload, of_rounds in by_workload.items():
            rates = [run.rate for run in of_rounds if run.rate is not None]
            workloads[workload] = {
                "jobs_per_second": round(median(rates)) if rates else None,
                "at": about["at"],
                "rounds": [run.told for run in of_rounds],
            }
        found[name] = {
            **said,
            "machine": about["machine"],
            "postgres": about["postgres"],
            "scale": about["scale"],
            "workloads": workloads,
        }
    return found


def merge(entries: dict[str, Any], path: Path | None = None) -> dict[str, Any]:
    """Takes entries into a file; those of other gates and peers, and a peer's other workloads, stay.

    Args:
        entries: By the names of gates and peers.
        path: The file; that of what was measured last, where none is given.
    """
    path = path or LATEST
    kept: dict[str, Any] = read(path)
    for name, entry in entries.items():
        for several in ("workloads", "languages"):
            if several in entry and name in kept:
                entry = {**entry, several: {**kept[name].get(several, {}), **entry[several]}}
        kept[name] = entry
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".draft")
    lines = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in kept.items())
    draft.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    draft.replace(path)
    return kept


def read(path: Path | None = None) -> dict[str, Any]:
    """All entries of a file, or of what was measured last; none where there is no such file."""
    try:
        found: dict[str, Any] = json.loads((path or LATEST).read_text())
    except FileNotFoundError:
        return {}
    return found


def now() -> str:
    """When something was measured."""
    return datetime.now(UTC).isoformat(timespec="seconds")
