"""The seed crate, `rust-job-queue-api-worker-system`, imported by `src/main.rs`."""

from __future__ import annotations

import re
import statistics
import tomllib
from collections.abc import Sequence

from jobqueue_server.embedded import EmbeddedPostgres

from ..peer import PeerResult
from ..program import Program, tool

#: Of its own measurement.
WORKERS = (1, 2, 4, 8, 16)
SAMPLES = 3
#: The PostgreSQL settings of its own measurement. The first two differ in nothing that matters here.
POSTGRES = {
    "default": {},
    "tuned": {"shared_buffers": "256MB", "work_mem": "8MB", "max_connections": "200"},
    "async_commit": {"synchronous_commit": "off", "max_connections": "200"},
}


class Seed(Program):
    """Its HTTP interface and its workers as processes of their own, as its binaries are."""

    name = "seed"
    workloads = frozenset({"rest_enqueue", "rest", "own"})
    needs = ("cargo",)
    sources = ("Cargo.toml", "Cargo.lock", "src/main.rs", "src/parts.rs", "src/load.rs", "src/own.rs")
    does = (
        "POST /jobs, one job a request, 256 connections that stay open; the payload is checked, each request inserts "
        "and commits, and its answer is the job as stored. Workers claim one job a statement and settle one a "
        "statement; in `rest` there are 16. Schedules, retries, cancel. Jobs stay for ever. `own`: claim and settle of "
        "2,000 stored jobs in one process, as its own benchmark does, with three settings of PostgreSQL."
    )
    lacks = (
        "No batches, no push, no lease: the jobs of a crashed worker wait for the next start of one. Settlements are "
        "not fenced. No priorities, queues or history of tries."
    )

    def command(self) -> Sequence[str]:
        """One binary."""
        return [str(self.home / "target" / "release" / "jobqueue-bench-seed")]

    def make(self) -> None:
        """With the versions and checksums of Cargo.lock.

        The lock is kept without the addresses that cargo writes beside each version; where packages come from is the
        builder's affair. Cargo itself says what to put there, in a lock that it makes anew.
        """
        self.copy(self.sources)
        lock = self.home / "Cargo.lock"
        kept = lock.read_text()
        lock.unlink()
        tool(["cargo", "generate-lockfile"], self.home)
        source = re.search(r'^source = ".*"$', lock.read_text(), re.MULTILINE)
        assert source is not None, "cargo names a source for what is not in the folder"
        lock.write_text(re.sub(r"^(?=checksum = )", f"{source[0]}\n", kept, flags=re.MULTILINE))
        tool(["cargo", "build", "--release", "--locked", "--target-dir", "target"], self.home)

    def versions(self) -> dict[str, str]:
        """Those that are locked, and the compiler's."""
        locked = {package["name"]: package["version"] for package in tomllib.loads(self._lock())["package"]}
        names = ("rust-job-queue-api-worker-system", "axum", "sqlx-postgres", "tokio")
        rust = tool(["rustc", "--version"], self.home).split()[1]
        return {**{name: locked[name] for name in names}, "rust": rust}

    async def measure(self, dsn: str, workload: str, jobs: int, payload: int) -> PeerResult:
        """`own` is measured in clusters of its own, since it is about their settings; the others as everybody is."""
        if workload == "own":
            return await self._own(jobs)
        return await super().measure(dsn, workload, jobs, payload)

    async def _own(self, jobs: int) -> PeerResult:
        """Its result is that of 16 workers on default settings; the table is in the detail."""
        seconds: dict[tuple[str, int], list[float]] = {}
        for label, settings in POSTGRES.items():
            async with EmbeddedPostgres(settings=settings) as postgres:
                for workers in WORKERS:
                    stages = await self.run(["own", str(jobs), str(workers), str(SAMPLES)], postgres.dsn)
                    seconds[label, workers] = stages["ended"]["samples"]
        table = [
            {
                "postgres": label,
                "workers": workers,
                "jobs_per_second": round(statistics.mean(jobs / sample for sample in samples), 1),
                "deviation": round(statistics.pstdev(jobs / sample for sample in samples), 1),
                "samples": len(samples),
            }
            for (label, workers), samples in seconds.items()
        ]
        return PeerResult(jobs, statistics.mean(seconds["default", WORKERS[-1]]), {"table": table})

    def _lock(self) -> str:
        return (self.folder / "Cargo.lock").read_text()
