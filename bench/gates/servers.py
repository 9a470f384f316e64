"""G9: several server processes on the same cores, against one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import scenarios
from .gate import Found, Part
from .round import Round


class Servers:
    """G9."""

    name = "G9"
    title = "two and four server processes against one, same cores"
    method = (
        "Batches of 100 from four producers with four calls in flight each, together as many as in G1, eight streams "
        "with 1,000 slots, on one, two and four servers of the same database; producers are spread evenly. Uneven: "
        "each further server has one stream, the first all others. Jobs a second to the last end, against one server "
        "in the same round."
    )
    leaves_out = "More cores, which is what several processes are for."
    parts = (
        Part("two", 85, 100, "%"),
        Part("four", 85, 100, "%"),
        Part("two, uneven", 85, 100, "%"),
        Part("four, uneven", 85, 100, "%"),
    )

    async def measure(self, bench: Round) -> Found:
        """One, then the others."""
        one = await bench.ours("one server", scenarios.servers(bench.scale, 1))
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {"one": one.told()}
        for part in self.parts:
            count, uneven = 2 if part.name.startswith("two") else 4, part.name.endswith("uneven")
            scenario = replace(scenarios.servers(bench.scale, count), uneven=uneven)
            found = await bench.ours(f"{part.name} servers", scenario)
            values[part.name] = round(100 * found.rate / one.rate, 1)
            detail[part.name] = found.told()
        return Found(values, detail)
