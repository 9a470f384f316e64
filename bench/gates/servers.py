"""G9: several server processes on the same cores, against one."""

from __future__ import annotations

from typing import Any

from ..load import Load
from ..ours import Scenario
from ..workers import Workers
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
        load = Load(bench.scale.jobs(300_000), "batch", producers=4, in_flight=4)
        workers = Workers(streams=8, slots=1000)
        one = await bench.ours("one server", Scenario(load, workers))
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {"one": one.told()}
        for part in self.parts:
            count, uneven = 2 if part.name.startswith("two") else 4, part.name.endswith("uneven")
            scenario = Scenario(load, workers, servers=count, uneven=uneven)
            found = await bench.ours(f"{part.name} servers", scenario)
            values[part.name] = round(100 * found.rate / one.rate, 1)
            detail[part.name] = found.told()
        return Found(values, detail)
