"""River: a job queue for Go, imported by `main.go`."""

from __future__ import annotations

from collections.abc import Sequence

from ..program import Program, tool


class River(Program):
    """With the settings of River's own benchmark."""

    name = "river"
    workloads = frozenset({"continuous", "drain", "singles"})
    needs = ("go",)
    sources = ("main.go", "go.mod", "go.sum")
    does = (
        "Jobs come through COPY (InsertManyFast; in `singles` one insert a call, 32 callers), in the process of the "
        "workers. Claims many at once with SKIP LOCKED, and writes worker and try into the row; a goroutine a job, "
        "with a timeout; ends gathered and written together, up to 5,000 an update. LISTEN/NOTIFY between inserts and "
        "claims. Priorities, schedules, errors of each try in the row. Completed jobs stay for 24 hours."
    )
    lacks = (
        "No network between caller, queue and worker: all is one process beside the database. Settlements are not "
        "fenced: a worker that lost its job can complete it. Lost workers are noticed after an hour. No check of "
        "payloads against a schema, no idempotency keys (unique jobs instead, not used here)."
    )

    def command(self) -> Sequence[str]:
        """One binary."""
        return [str(self.home / "river")]

    def make(self) -> None:
        """By the Go that is there: another one would have to be fetched."""
        environment = {
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly",
        }
        tool(["go", "build", "-trimpath", "-o", *self.command(), "."], self.folder, environment)
