"""Producers over gRPC without a gRPC library: one HTTP/2 connection, calls as bytes; closed loop and open loop.

For where the server is to be flooded, or its latency to be seen. It is an epoll and bytes, and reads no more of an
answer than its status; of a refusal all of it.
"""

from __future__ import annotations

import base64
import select
import socket
import time
from collections import deque
from typing import Any

from grpc_http2 import frames
from grpc_http2.fields import field
from grpc_http2.frames import Setting
from jobqueue.v1 import job_pb2, jobqueue_pb2

from ..credentials import bearer, traceparent
from ..errors import BenchError
from ..http2 import OPENING, SETTINGS_TAKEN, WINDOW, Frames, call_fields, data_frames, fields_of
from ..latency import Latencies
from ..processes import DONE, LATE, MESSAGES, REFUSED, Mailbox
from ..ticks import Ticks
from . import MOST_UNDER_WAY, Load, by_due, new_job, says_when_to_come_back

# Until the server has said how many it takes.
_MOST_STREAMS = 100
_RESOURCE_EXHAUSTED = 8
# How a status stands in a block whose fields are literals: the name, the length of the value, the value.
_STATUS = b"\x0bgrpc-status"
_OK = _STATUS + b"\x010"
_MOST_READ = 1 << 20
# How often it is looked whether a call's time is up, and whether to stop, in seconds.
_LOOK = 0.1


def produce(mailbox: Mailbox, target: str, load: Load) -> None:
    """Enqueues one producer's share."""
    caller = _Caller(mailbox, target, load)
    mailbox.ready()
    caller.run()


class _Caller:
    """The connection, and the calls under way on it."""

    def __init__(self, mailbox: Mailbox, target: str, load: Load) -> None:
        self._mailbox = mailbox
        self._load = load
        self._size = load.batch if load.protocol == "batch" else 1
        self._request = _Request(target, load)
        self._acks = Latencies()
        host, port = target.split(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._socket.fileno(), select.EPOLLIN)
        self._writing = False
        self._unsent = bytearray(OPENING)
        self._frames = Frames()
        self._taken = 0
        # What the server takes now, and when those calls were due that wait for more.
        self._room = frames.DEFAULT_WINDOW
        self._most_open = _MOST_STREAMS
        self._waiting: deque[int] = deque()
        self._next = 1
        # By its stream when each call was due that has no answer yet, in their order.
        self._open: dict[int, int] = {}
        self._flush()

    def run(self) -> None:
        """Makes all calls, and tells what came of them."""
        load, mailbox = self._load, self._mailbox
        ticks = None if load.rate is None else Ticks(load.rate / load.producers)
        if ticks is not None:
            self._poll.register(ticks.file, select.EPOLLIN)
        unsent, missed = load.calls, 0
        while True:
            if mailbox.stopping:
                unsent = 0
            if ticks is None:
                while unsent and self._under_way < load.in_flight and not mailbox.waits:
                    unsent -= 1
                    self._call(time.monotonic_ns())
            if not unsent and not self._under_way:
                break
            self._flush()
            for file, events in self._poll.poll(_LOOK):
                if ticks is not None and file == ticks.file:
                    for due in ticks.due()[:unsent]:
                        unsent -= 1
                        if self._under_way >= MOST_UNDER_WAY:
                            missed += self._size
                        else:
                            self._call(due)
                elif events & ~select.EPOLLOUT:
                    self._read()
            if load.deadline is not None:
                self._give_up(time.monotonic_ns() - int(load.deadline * 1e9))
        mailbox.report(acks=self._acks.encoded(), missed=missed)

    @property
    def _under_way(self) -> int:
        return len(self._waiting) + len(self._open)

    def _call(self, due: int) -> None:
        self._waiting.append(due)
        self._send()

    def _send(self) -> None:
        """Sends calls, as many as there is room for."""
        while self._waiting and len(self._open) < self._most_open:
            message = self._request.at(self._waiting[0])
            if len(message) > self._room:
                return
            self._room -= len(message)
            number, self._next = self._next, self._next + 2
            self._open[number] = self._waiting.popleft()
            self._unsent += frames.frame(frames.HEADERS, frames.END_HEADERS, number, self._request.fields())
            self._unsent += data_frames(number, message, last=True)
            self._mailbox.counts[MESSAGES] += 1

    def _flush(self) -> None:
        if self._unsent:
            try:
                del self._unsent[: self._socket.send(self._unsent)]
            except BlockingIOError:
                pass
        if self._writing != bool(self._unsent):
            self._writing = bool(self._unsent)
            events = select.EPOLLIN | (select.EPOLLOUT if self._writing else 0)
            self._poll.modify(self._socket.fileno(), events)

    def _read(self) -> None:
        try:
            more = self._socket.recv(_MOST_READ)
        except BlockingIOError:
            return
        if not more:
            raise BenchError("the server closed the connection")
        for kind, flags, number, content in self._frames.of(more):
            if kind == frames.DATA:
                self._taken += len(content)
            elif kind == frames.HEADERS:
                if flags & frames.END_STREAM:
                    self._answered(number, content)
            else:
                self._other(kind, flags, number, content)
        if self._taken > WINDOW // 2:
            self._unsent += frames.window_update(0, self._taken)
            self._taken = 0

    def _answered(self, number: int, block: bytes) -> None:
        due = self._open.pop(number, None)
        if due is None:
            return  # it was given up
        counts = self._mailbox.counts
        counts[MESSAGES] += 1
        if _OK in block:
            counts[DONE] += self._size
        else:
            counts[self._failure(block)] += self._size
        self._acks.add(time.monotonic_ns() - due)
        self._send()

    def _failure(self, block: bytes) -> int:
        """Where a call counts that was not stored.

        Raises:
            BenchError: It failed otherwise than by a refusal that says when to come back, or by its deadline.
        """
        fields = fields_of(block)
        code, text = int(fields["grpc-status"]), fields.get("grpc-message", "")
        if code == 4 and self._load.deadline is not None:
            return LATE
        if code != _RESOURCE_EXHAUSTED:
            raise BenchError(f"an enqueue was answered by {code}: {text}")
        raw = fields.get("grpc-status-details-bin", "")
        says_when_to_come_back(base64.b64decode(raw + "=" * (-len(raw) % 4)), text)
        return REFUSED

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            if number == 0:
                self._room += int.from_bytes(payload, "big")
                self._send()
        elif kind == frames.SETTINGS:
            if not flags & frames.ACK:
                said = dict(frames.read_settings(payload))
                self._most_open = said.get(Setting.MAX_CONCURRENT_STREAMS, self._most_open)
                self._unsent += SETTINGS_TAKEN
        elif kind == frames.PING:
            if not flags & frames.ACK:
                self._unsent += frames.frame(frames.PING, frames.ACK, 0, payload)
        else:
            raise BenchError(f"the server sent a frame of kind {kind} on stream {number}: {payload[:200]!r}")

    def _give_up(self, before: int) -> None:
        """Counts calls that were due before, and have no answer, as late."""
        while self._open:
            number, due = next(iter(self._open.items()))
            if due > before:
                return
            del self._open[number]
            self._unsent += frames.reset(number, frames.ErrorCode.CANCEL)
            self._mailbox.counts[LATE] += self._size
        while self._waiting and self._waiting[0] <= before:
            self._waiting.popleft()
            self._mailbox.counts[LATE] += self._size


class _Request:
    """The bytes of a call.

    Attributes:
        at: The message of one that is due then.
    """

    def __init__(self, target: str, load: Load) -> None:
        method = "BatchEnqueueJobs" if load.protocol == "batch" else "EnqueueJob"
        more = [] if load.deadline is None else [(b"grpc-timeout", b"%dm" % round(load.deadline * 1000))]
        shown = [(name.encode(), value.encode()) for name, value in bearer(load.key)]
        same = call_fields(target, method, *more, *shown)
        self._fields = same
        self._load = load
        self.at = by_due(load, self._make)

    def fields(self) -> bytes:
        """Those of the next call, as a block that needs no memory of those before."""
        if not self._load.traceparent:
            return self._fields
        return self._fields + field(b"traceparent", traceparent().encode())

    def _make(self, due: int) -> bytes:
        load = self._load
        job = new_job(load, due)
        request: Any
        if load.protocol == "batch":
            request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[job] * load.batch)
        else:
            request = jobqueue_pb2.EnqueueJobRequest(job=job, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
        message: bytes = request.SerializeToString()
        return b"\0" + len(message).to_bytes(4, "big") + message
