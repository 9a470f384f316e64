"""What `authorization` and `traceparent` cost the server: its CPU for an enqueue with them by that of one without.

One server, an embedded PostgreSQL, and a producer without a gRPC library, whose calls were encoded before. Rounds with
and without the fields take turns on connections of their own, so that each ratio is of neighbours. The traceparent is
another in each call.

    .venv/bin/python -m bench.context --pairs 12
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import uvloop
from hpack import Encoder

from grpc_http2 import frames
from grpc_http2.fields import field
from jobqueue.v1 import job_pb2, jobqueue_pb2

from .errors import BenchError
from .http2 import SETTINGS_TAKEN, WINDOW, Frames, status_of
from .load import Load, new_job
from .machine import machine
from .paired import MOST, paired
from .postgres import Cluster
from .server import Server, declare

Field = tuple[bytes, bytes]
_OPENING = (
    frames.PREFACE
    + frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: WINDOW})
    + frames.window_update(0, WINDOW)
)
_TOKEN = b"Bearer " + secrets.token_urlsafe(32).encode()


def _traceparent() -> bytes:
    return b"00-%b-%b-01" % (secrets.token_hex(16).encode(), secrets.token_hex(8).encode())


def _named(method: str, *more: Field) -> list[Field]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", f"/jobqueue.v1.JobQueue/{method}".encode()),
        (b":authority", b"127.0.0.1"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"bench/1.0"),
        *more,
    ]


def _indexing(huffman: bool) -> Callable[[str], Iterator[bytes]]:
    """As grpc-go (Huffman's code) and grpc-java (none) do it: what is new goes into the table."""

    def blocks(method: str) -> Iterator[bytes]:
        encoder = Encoder()
        while True:
            more = (b"authorization", _TOKEN), (b"traceparent", _traceparent())
            yield encoder.encode(_named(method, *more), huffman=huffman)

    return blocks


def _literal(method: str) -> Iterator[bytes]:
    """As grpc-core does it: what it does not know itself does not go into the table."""
    encoder = Encoder()
    token = field(b"authorization", _TOKEN)
    while True:
        yield encoder.encode(_named(method), huffman=False) + token + field(b"traceparent", _traceparent())


def _without(method: str) -> Iterator[bytes]:
    encoder = Encoder()
    while True:
        yield encoder.encode(_named(method), huffman=False)


#: How clients write the fields.
WRITERS: dict[str, Callable[[str], Iterator[bytes]]] = {
    "literal": _literal,
    "indexed": _indexing(False),
    "huffman": _indexing(True),
}


class Producer(asyncio.Protocol):
    """A connection that makes calls, some at once, until a round is done."""

    def __init__(self, method: str, blocks: Iterator[bytes], message: bytes, in_flight: int) -> None:
        self._method = method
        self._blocks = blocks
        self._tail = struct.pack(">BI", 0, len(message)) + message
        self._in_flight = in_flight
        self._number = 1
        self._frames = Frames()
        self._left = self._under_way = 0
        self._ready: list[bytes] = []
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Opens the connection."""
        self._transport = transport
        transport.write(_OPENING)

    def encode(self, calls: int) -> None:
        """Makes the bytes of the next round, which costs the producer more than all else."""
        for _ in range(calls):
            block = next(self._blocks)
            head = frames.frame(frames.HEADERS, frames.END_HEADERS, self._number, block)
            size = frames.DEFAULT_FRAME_BYTES
            pieces = [self._tail[at : at + size] for at in range(0, len(self._tail), size)]
            data = [
                frames.frame(frames.DATA, frames.END_STREAM * (piece is pieces[-1]), self._number, piece)
                for piece in pieces
            ]
            self._ready.append(head + b"".join(data))
            self._number += 2
        self._ready.reverse()

    async def round(self) -> None:
        """Makes the calls that were encoded."""
        self._done = asyncio.get_running_loop().create_future()
        self._left = len(self._ready)
        first = [self._ready.pop() for _ in range(min(self._in_flight, len(self._ready)))]
        self._transport.write(b"".join(first))
        await self._done

    def data_received(self, data: bytes) -> None:
        """Makes a call for each that ended."""
        ended, answer = 0, b""
        for kind, flags, _, payload in self._frames.of(data):
            if kind == frames.SETTINGS and not flags & frames.ACK:
                answer += SETTINGS_TAKEN
            elif kind == frames.PING and not flags & frames.ACK:
                answer += frames.frame(frames.PING, frames.ACK, 0, payload)
            elif kind == frames.HEADERS and flags & frames.END_STREAM:
                status = status_of(payload)
                if not status.startswith("OK"):
                    self._fail(status)
                ended += 1
            elif kind in (frames.RST_STREAM, frames.GOAWAY):
                self._fail(repr(payload))
        next_ones = [self._ready.pop() for _ in range(min(ended, len(self._ready)))]
        self._transport.write(answer + b"".join(next_ones))
        self._left -= ended
        if ended and not self._left and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _fail(self, text: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BenchError(text))


def cpu_seconds(pid: int) -> float:
    """What the process has used, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


async def measure(
    pairs: int, jobs: int, in_flight: int, batch: int, writers: Sequence[str]
) -> dict[str, object]:
    """The ratio of each way to write the fields."""
    job = new_job(Load(1, "unary"), 0)
    if batch == 1:
        method = "EnqueueJob"
        request = jobqueue_pb2.EnqueueJobRequest(job=job, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
        message = request.SerializeToString()
    else:
        method = "BatchEnqueueJobs"
        message = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[job] * batch).SerializeToString()
    ways = {"without": _without, **{name: WRITERS[name] for name in writers}}
    loop = asyncio.get_running_loop()
    found: dict[str, list[float]] = {name: [] for name in ways}
    async with Cluster() as cluster, cluster.fresh(ours=True) as dsn, Server(dsn) as server:
        await declare(server, (job.kind,))
        host, _, port = server.grpc.rpartition(":")
        producers = {}
        for name, blocks in ways.items():
            made = Producer(method, blocks(method), message, in_flight)
            await loop.create_connection(lambda made=made: made, host, int(port))  # type: ignore[misc]
            producers[name] = made
        calls = jobs // batch
        for number in range(-1, pairs):
            order = list(ways)
            if number % 2:
                order.reverse()
            for name in order:
                producers[name].encode(calls)
                before = cpu_seconds(server.pid)
                await producers[name].round()
                if number >= 0:
                    found[name].append((cpu_seconds(server.pid) - before) / calls * 1e6)
    base = found["without"]
    return {
        name: {"us_per_call": round(median(each), 1), **({} if name == "without" else _ratio(base, each))}
        for name, each in found.items()
    }


def _ratio(base: list[float], new: list[float]) -> dict[str, object]:
    told = paired(base, new).told()
    del told["pairs"]
    return told


def main() -> None:
    """Runs the measurement and prints it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=12, help=f"2 to {MOST}")
    parser.add_argument("--jobs", type=int, default=4000, help="of each round")
    parser.add_argument("--in-flight", type=int, default=64, help="calls")
    parser.add_argument("--batch", type=int, default=1, help="jobs of a call")
    parser.add_argument("--writers", nargs="*", choices=list(WRITERS), default=list(WRITERS))
    options = parser.parse_args()
    found = uvloop.run(
        measure(options.pairs, options.jobs, options.in_flight, options.batch, options.writers)
    )
    print(json.dumps({**found, "machine": machine()}, indent=1))


if __name__ == "__main__":
    main()
