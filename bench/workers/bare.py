"""A Lease stream that settles what it is given, and does no more than that; without a gRPC library."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc_http2 import frames
from grpc_http2.frames import Setting
from grpc_http2.messages import Messages, framed
from jobqueue.v1 import lease_pb2

from ..credentials import bearer
from ..http2 import OPENING, SETTINGS_TAKEN, WINDOW, Frames, call_fields, data_frames, status_of
from ..processes import BEATS, DONE, LATE, MESSAGES, PONGS, Mailbox
from . import Workers
from .starts import Starts

# A settlement or a heartbeat that is answered later than that came too late.
IN_TIME = 5.0
#: In a payload: the first attempt is to fail.
FAILS = b'"fails":true'
# A process opens so many streams at once: thousands of Hellos together would wait for the database for longer than
# the server lets them, and real workers do not all start in the same moment.
_OPENING = 25
# Of one Settle.
_MOST_OUTCOMES = 1000
_MOST_MESSAGE_BYTES = 64 << 20


async def serve(mailbox: Mailbox, targets: list[str], workers: Workers) -> None:
    """A stream to each of the targets, until it is told to stop."""
    starts = Starts(workers)
    connections: dict[Any, Connection] = {}
    streams = []
    opening = asyncio.Semaphore(_OPENING)
    for number, target in enumerate(targets):
        key = number if workers.own_connections else target
        if key not in connections:
            connections[key] = await Connection.to(target, workers.key)
        streams.append(BareStream(mailbox, connections[key], f"bench-{number}", workers, starts))
    await asyncio.to_thread(mailbox.ready)
    running = [asyncio.create_task(stream.run(opening)) for stream in streams]
    try:
        await asyncio.wait([*running, mailbox.stopped()], return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            if task.done():
                task.result()
    finally:
        for task in running:
            task.cancel()
        for connection in connections.values():
            connection.close()
    unanswered = sum(stream.unanswered for stream in streams)
    mailbox.report(unanswered=unanswered, **starts.told() if workers.stamped else {})


class Connection(asyncio.Protocol):
    """The calls of Lease on one connection."""

    def __init__(self, target: str, key: str) -> None:
        shown = [(name.encode(), value.encode()) for name, value in bearer(key)]
        self._fields = call_fields(target, "Lease", *shown)
        self._streams: dict[int, BareStream] = {}
        self._frames = Frames()
        self._transport: Any = None
        self._loop = asyncio.get_running_loop()
        self._next = 1
        self._unsent: list[bytes] = [OPENING]
        # What the server takes now, of all and of each stream; and what came since it was told that it may send more.
        self._room = frames.DEFAULT_WINDOW
        self._window = frames.DEFAULT_WINDOW
        self._taken = 0

    @classmethod
    async def to(cls, target: str, key: str) -> Connection:
        """One to that address, whose calls show this key."""
        host, port = target.split(":")
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: cls(target, key), host, int(port)
        )
        return connection

    def connection_made(self, transport: Any) -> None:
        """It may be written to."""
        self._transport = transport
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """No stream goes on."""
        for stream in self._streams.values():
            stream.ended("the server closed the connection")

    def open(self, stream: BareStream) -> int:
        """Begins a call; its number."""
        number, self._next = self._next, self._next + 2
        self._streams[number] = stream
        stream.room = self._window
        self._write(frames.frame(frames.HEADERS, frames.END_HEADERS, number, self._fields))
        return number

    def send(self, stream: BareStream) -> None:
        """Writes what a stream has to say, as much as there is room for."""
        waiting = stream.waiting
        while waiting:
            size = len(waiting[0])
            if size > self._room or size > stream.room:
                return
            self._room -= size
            stream.room -= size
            self._write(data_frames(stream.number, waiting.pop(0), last=False))

    def _write(self, data: bytes) -> None:
        """At the end of the loop's turn, with all else that is written in it."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def close(self) -> None:
        """Ends its calls, as callers do who have no time for more."""
        numbers, self._streams = list(self._streams), {}
        self._unsent += [frames.reset(number, frames.ErrorCode.CANCEL) for number in numbers]
        self._flush()
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Workers each message to its stream."""
        for kind, flags, number, payload in self._frames.of(data):
            stream = self._streams.get(number)
            if kind == frames.DATA and stream is not None:
                self._taken += len(payload)
                stream.fed(payload)
            elif kind == frames.HEADERS and stream is not None:
                if flags & frames.END_STREAM:
                    stream.ended(f"the server ended a stream: {status_of(payload)}")
            else:
                self._other(kind, flags, stream, payload)
        if self._taken > WINDOW // 2:
            self._write(frames.window_update(0, self._taken))
            self._taken = 0

    def taken(self, stream: BareStream, size: int) -> None:
        """The stream may be sent so much more."""
        self._write(frames.window_update(stream.number, size))

    def _other(self, kind: int, flags: int, stream: BareStream | None, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream is not None:
                stream.room += more
                self.send(stream)
                return
            self._room += more
            for each in self._streams.values():
                self.send(each)
        elif kind == frames.SETTINGS:
            if not flags & frames.ACK:
                window = dict(frames.read_settings(payload)).get(Setting.INITIAL_WINDOW_SIZE, self._window)
                for each in self._streams.values():
                    each.room += window - self._window
                self._window = window
                self._write(SETTINGS_TAKEN)
        elif kind == frames.PING:
            if not flags & frames.ACK:
                self._write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.RST_STREAM and stream is not None:
            stream.ended(f"the server reset a stream: {int.from_bytes(payload, 'big')}")
        elif kind == frames.GOAWAY and int.from_bytes(payload[4:8], "big") == frames.ErrorCode.NO_ERROR:
            # The connection is old, and takes no new calls; these go on.
            return
        else:
            self._transport.abort()


class BareStream:
    """One of them.

    Attributes:
        number: Of its call.
        room: Bytes that the server takes of it.
        waiting: Messages for which there was none.
    """

    def __init__(
        self, mailbox: Mailbox, connection: Connection, name: str, workers: Workers, starts: Starts
    ) -> None:
        self.number = self.room = 0
        self.waiting: list[bytes] = []
        self._connection = connection
        self._mailbox = mailbox
        self._name = name
        self._hands = workers
        self._starts = starts
        self._messages = Messages("identity", _MOST_MESSAGE_BYTES, self._heard)
        self._taken = 0
        self._seen = self._seq = self._beats = 0
        self._speaking = False
        # Of each Settle that is not answered yet: how many jobs it ends, and when it was written.
        self._settling: dict[int, tuple[int, float]] = {}
        self._beating: dict[int, float] = {}
        self._ended: list[int] = []
        self._failed: list[int] = []
        self._held: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._welcomed: asyncio.Future[float] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()

    async def run(self, opening: asyncio.Semaphore) -> None:
        """Serves until cancelled."""
        workers = self._hands
        hello = lease_pb2.Hello(
            worker=self._name,
            subscriptions=[
                lease_pb2.Subscription(queue=queue, kinds=workers.kinds) for queue in workers.queues
            ],
            capacity=lease_pb2.Capacity(slots=workers.slots),
        )
        async with opening:
            self.number = self._connection.open(self)
            self._send(lease_pb2.LeaseRequest(hello=hello))
            interval = await self._welcomed
        self._every = workers.beat or interval
        self._loop.call_later(self._every, self._beat)
        await self._over

    @property
    def unanswered(self) -> int:
        """Jobs whose settlement has no answer yet."""
        return sum(count for count, _ in self._settling.values())

    def ended(self, why: str) -> None:
        """The server says no more, which it should not before it is told to end."""
        waits: asyncio.Future[Any] = self._over if self._welcomed.done() else self._welcomed
        if not waits.done():
            waits.set_exception(RuntimeError(why))

    def fed(self, data: bytes) -> None:
        """Takes what came."""
        self._taken += len(data)
        if self._taken > WINDOW // 2:
            self._connection.taken(self, self._taken)
            self._taken = 0
        self._messages.feed(data)

    def _heard(self, message: bytes) -> None:
        try:
            self._take(lease_pb2.LeaseResponse.FromString(message))
        except RuntimeError as error:
            self.ended(str(error))

    def _take(self, frame: lease_pb2.LeaseResponse) -> None:
        """A frame.

        Raises:
            RuntimeError: The server did not take a settlement.
        """
        workers, counts, loop = self._hands, self._mailbox.counts, self._loop
        if frame.HasField("welcome"):
            if not self._welcomed.done():
                self._welcomed.set_result(frame.welcome.heartbeat_interval.ToTimedelta().total_seconds())
            return
        counts[MESSAGES] += 1
        if frame.HasField("delivery"):
            self._seen = frame.delivery.seq
            if workers.stamped:
                for job in frame.delivery.jobs[:: workers.sample]:
                    self._starts.record(job.payload_json)
            leases = [job.lease_id for job in frame.delivery.jobs]
            self._held.update(leases)
            if workers.failing:
                leases = self._fail(frame.delivery.jobs)
            if workers.handler_seconds:
                loop.call_later(workers.handler_seconds, self._end, leases)
                self._speak_soon()
            else:
                self._end(leases)
        elif frame.HasField("settled"):
            count, written = self._settling.pop(frame.settled.seq)
            if loop.time() - written > IN_TIME:
                counts[LATE] += count
            wrong = [each for each in frame.settled.exceptions if each.verdict != 1]
            if wrong:
                raise RuntimeError(f"the server did not take a settlement: {wrong[0]}")
            counts[DONE] += count
        elif frame.HasField("pong"):
            counts[PONGS] += loop.time() - self._beating.pop(frame.pong.seq) <= IN_TIME

    def _fail(self, jobs: Any) -> list[int]:
        """Ends those that are to fail; the others."""
        failed = {job.lease_id for job in jobs if job.attempt == 1 and FAILS in job.payload_json}
        if failed:
            self._failed += failed
            self._speak_soon()
        return [job.lease_id for job in jobs if job.lease_id not in failed]

    def _end(self, leases: list[int]) -> None:
        self._ended += leases
        self._speak_soon()

    def _speak_soon(self) -> None:
        """Settlements and receipts go at the end of the loop's turn."""
        if not self._speaking:
            self._speaking = True
            self._loop.call_soon(self._speak)

    def _speak(self) -> None:
        self._speaking = False
        now = self._loop.time()
        while True:
            frame = lease_pb2.LeaseRequest(last_delivery=self._seen)
            if self._ended or self._failed:
                self._settle(frame.settle, now)
            self._send(frame)
            if not (self._ended or self._failed):
                return

    def _beat(self) -> None:
        if self._over.done():
            return
        now = self._loop.time()
        self._beats += 1
        self._beating[self._beats] = now
        self._mailbox.counts[BEATS] += 1
        frame = lease_pb2.LeaseRequest(last_delivery=self._seen)
        frame.heartbeat.seq = self._beats
        frame.heartbeat.held.extend(self._held)
        self._send(frame)
        self._loop.call_later(self._every, self._beat)

    def _send(self, frame: lease_pb2.LeaseRequest) -> None:
        self._mailbox.counts[MESSAGES] += 1
        self.waiting.append(framed(frame.SerializeToString()))
        self._connection.send(self)

    def _settle(self, settle: Any, now: float) -> None:
        """Fills a frame with what has ended; the rest goes with the next."""
        failed, self._failed = self._failed[:_MOST_OUTCOMES], self._failed[_MOST_OUTCOMES:]
        room = _MOST_OUTCOMES - len(failed)
        ended, self._ended = self._ended[:room], self._ended[room:]
        self._held.difference_update(ended, failed)
        self._seq += 1
        self._settling[self._seq] = len(ended), now
        settle.seq = self._seq
        settle.succeeded.extend(ended)
        for lease in failed:
            settle.outcomes.add(lease_id=lease).failure.error = "as it was asked to"
