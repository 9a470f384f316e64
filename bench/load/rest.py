"""Producers over HTTP/JSON: raw keep-alive connections, one job a request; closed loop and open loop.

An event loop and an HTTP library would cost this process as much as the server spends, on cores that it shares with it:
so it is an epoll and bytes, and reads no more of an answer than its status and where it ends.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable

from ..credentials import bearer, traceparent
from ..errors import BenchError
from ..latency import Latencies
from ..processes import DONE, MESSAGES, REFUSED, Mailbox
from ..ticks import Ticks
from . import LABEL, Load, by_due, payload


def produce(mailbox: Mailbox, target: str, load: Load) -> None:
    """Enqueues one producer's share; each request in flight has a connection of its own."""
    poll = select.epoll()
    connections = [_Connection(target) for _ in range(load.in_flight)]
    by_file = {each.file: each for each in connections}
    for file in by_file:
        poll.register(file, select.EPOLLIN)
    mailbox.ready()
    request = _requests(target, load)
    acks = Latencies()
    ticks = None if load.rate is None else Ticks(load.rate / load.producers)
    if ticks is not None:
        poll.register(ticks.file, select.EPOLLIN)
    unsent = answered = 0
    free: deque[_Connection] = deque(connections)
    due: deque[int] = deque()
    while answered < load.calls:
        if ticks is None:
            while free and unsent < load.calls:
                unsent += 1
                now = time.monotonic_ns()
                free.popleft().send(request(now), now)
        else:
            while free and due:
                at = due.popleft()
                free.popleft().send(request(at), at)
        for file, _ in poll.poll():
            if ticks is not None and file == ticks.file:
                fresh = ticks.due()[: load.calls - unsent]
                unsent += len(fresh)
                due.extend(fresh)
                continue
            connection = by_file[file]
            status = connection.read()
            if status is None:
                continue
            if status != b"201" and status != b"429":
                raise BenchError(f"an enqueue was answered by {connection.got.decode(errors='replace')}")
            answered += 1
            mailbox.counts[DONE if status == b"201" else REFUSED] += 1
            mailbox.counts[MESSAGES] += 2
            acks.add(time.monotonic_ns() - connection.due)
            free.append(connection)
    mailbox.report(acks=acks.encoded(), missed=0)


def _requests(target: str, load: Load) -> Callable[[int], bytes]:
    """Makes the bytes of a request that is due then."""
    request = by_due(load, lambda due: _request(target, load, due))
    if not load.traceparent:
        return request

    def traced(due: int) -> bytes:
        head, _, body = request(due).partition(b"\r\n\r\n")
        return b"%b\r\ntraceparent: %b\r\n\r\n%b" % (head, traceparent().encode(), body)

    return traced


def _request(target: str, load: Load, due: int) -> bytes:
    """The bytes of a request, for a job that is due then."""
    more = b',"queue":"%s"' % load.queue.encode() if load.queue else b""
    if load.delay:
        more += b',"delay":"%gs"' % load.delay
    if load.label:
        more += b',"labels":%s' % json.dumps(LABEL, separators=(",", ":")).encode()
    body = b'{"kind":"%s"%s,"payload":%s}' % (load.kind.encode(), more, payload(load, due))
    head = f"POST /v1/jobs HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in bearer(load.key))
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class _Connection:
    """One connection, with at most one request under way.

    Attributes:
        due: When the request under way should have been sent.
        got: What came of the answer.
    """

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self._socket.fileno()
        self.due = 0
        self.got = b""

    def send(self, request: bytes, due: int) -> None:
        """Sends the next one."""
        self.due = due
        self.got = b""
        self._socket.sendall(request)

    def read(self) -> bytes | None:
        """The status, once the answer is whole."""
        more = self._socket.recv(65536)
        if not more:
            raise BenchError("the server closed a connection that it was to keep")
        self.got += more
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return None
        length = head[head.lower().find(b"content-length:") + 15 :].partition(b"\r\n")[0]
        return self.got[9:12] if len(body) >= int(length) else None
