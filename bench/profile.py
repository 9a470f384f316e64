"""A flame graph of the server under load: `python -m bench profile`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from .errors import BenchError
from .flow import flowing
from .load import Load
from .ours import stage
from .postgres import Cluster
from .workers import Workers

_WARM = 3.0
_ENOUGH = 100_000_000


async def profile(
    cluster: Cluster, load: Load, workers: Workers, seconds: int, rate: int, output: Path
) -> float:
    """Samples the server's process while the load goes on; jobs ended a second meanwhile."""
    async with cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
        async with flowing(servers, load, workers) as flow:
            await flow.rate(_WARM)
            program = Path(sys.executable).with_name("py-spy")
            command = (
                "record",
                "--pid",
                str(servers[0].pid),
                "--duration",
                str(seconds),
                "--rate",
                str(rate),
            )
            sampling = await asyncio.create_subprocess_exec(
                *(str(program), *command, "--gil", "--output", str(output)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            ended = await flow.rate(seconds)
            said, _ = await sampling.communicate()
            if sampling.returncode != 0:
                raise BenchError(f"py-spy ended with {sampling.returncode}:\n{said.decode()[-2000:]}")
            # Its title is the command, with the folders of the user who ran it.
            drawn = await asyncio.to_thread(output.read_text)
            for own in (f"{program.parent}/", f" --output {output}"):
                drawn = drawn.replace(own, "")
            await asyncio.to_thread(output.write_text, drawn)
            return ended
