"""Records what clients say: `python -m tests.fuzz.record NAME` serves the test service until Ctrl-C, and keeps
the bytes of each connection as `corpus/http2/NAME-N.bin`. Clients call `/t.T/Echo` and its neighbours on the port that
it prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from pathlib import Path

from tests.grpc_http2.conftest import start

CORPUS = Path(__file__).parent / "corpus" / "http2"
# A longer conversation says nothing new.
MOST_BYTES = 16 << 10


async def record(name: str) -> None:
    """Serves, and keeps what comes."""
    served = await start()
    numbers = itertools.count(1)

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection("127.0.0.1", served.port)
        came = bytearray()

        async def forth() -> None:
            while data := await reader.read(65_536):
                came.extend(data)
                asks.write(data)
            asks.write_eof()

        async def back() -> None:
            while data := await answers.read(65_536):
                writer.write(data)
            writer.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(forth(), back())
        (CORPUS / f"{name}-{next(numbers)}.bin").write_bytes(came[:MOST_BYTES])

    proxy = await asyncio.start_server(between, "127.0.0.1", 0)
    print(proxy.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(record(sys.argv[1]))
