"""The server's part of Lease, played by a test line by line: all that the runtime sees of it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from jobqueue.v1 import lease_pb2 as pb
from jobqueue.v1.job_pb2 import Job

# Generous: the tests wait for the thing itself, on a machine that does other things as well.
WITHIN = 20.0
Result = pb.SettleResult


class Peer:
    """One stream of a worker. Answers heartbeats and settlements by itself unless it is told not to."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self.context = context
        self.received: list[tuple[float, pb.LeaseRequest]] = []
        self.answers_heartbeats = True
        self.answers_settlements = True
        self.ended = threading.Event()
        self._outgoing: queue.SimpleQueue[pb.LeaseResponse | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._taken = 0
        self._deliveries = 0

    # --- the test's side ---

    def expect(
        self, frame: str, within: float = WITHIN, where: Callable[[Any], bool] = lambda _: True
    ) -> Any:
        """The next frame of that sort; those before it are passed over. `receipt` is a frame with nothing in it."""
        ends = time.monotonic() + within
        with self._changed:
            while True:
                while self._taken < len(self.received):
                    _, found = self.received[self._taken]
                    self._taken += 1
                    name = found.WhichOneof("frame") or "receipt"
                    value = found if name == "receipt" else getattr(found, name)
                    if name == frame and where(value):
                        return value
                left = ends - time.monotonic()
                assert left > 0, f"no {frame} within {within} s; got {self.names()}"
                self._changed.wait(left)

    def outcomes(self, count: int, within: float = WITHIN) -> dict[int, str]:
        """The next so many outcomes, by lease, over as many frames as it takes."""
        found: dict[int, str] = {}
        while len(found) < count:
            settle = self.expect("settle", within)
            found |= dict.fromkeys(settle.succeeded, "succeeded")
            found |= {each.lease_id: each.WhichOneof("outcome") for each in settle.outcomes}
        return found

    def outcome(self, within: float = WITHIN) -> pb.Outcome:
        """The next outcome that is more than a number."""
        settle = self.expect("settle", within, where=lambda settle: len(settle.outcomes) > 0)
        return settle.outcomes[0]

    def names(self) -> list[str]:
        return [frame.WhichOneof("frame") or "receipt" for _, frame in self.received]

    def send(self, **frame: Any) -> None:
        self._outgoing.put(pb.LeaseResponse(**frame))

    def welcome(self, token: str = "token-1", interval: float = 0.5, **more: Any) -> pb.Hello:
        """Opens the session. A worker leaves a stream that is silent for two intervals: here that is a second."""
        hello = self.expect("hello")
        self.send(
            welcome=pb.Welcome(
                session_id=7,
                session_token=token,
                heartbeat_interval=_duration(interval),
                session_ttl=_duration(30),
                server="scripted",
                **more,
            )
        )
        return hello

    def deliver(self, *jobs: pb.LeasedJob) -> float:
        """Delivers jobs; answers when."""
        self._deliveries += 1
        now = time.monotonic()
        self.send(delivery=pb.Delivery(seq=self._deliveries, jobs=jobs))
        return now

    def cancel(self, *leases: int, reason: str = "", grace: float = 30) -> None:
        self.send(
            control=pb.Control(
                cancel=pb.CancelLeases(lease_ids=leases, reason=reason, grace=_duration(grace))
            )
        )

    def revoke(self, *leases: int, reason: str = "TIMED_OUT") -> None:
        self.send(control=pb.Control(revoke=pb.RevokeLeases(lease_ids=leases, reason=reason)))

    def end(self) -> None:
        """Ends the stream with OK."""
        self._outgoing.put(None)

    def fail(self, code: grpc.StatusCode, reason: str, message: str = "as the script says") -> None:
        """Ends the stream with an error."""
        status = Status(code=code.value[0], message=message)
        status.details.add().Pack(ErrorInfo(reason=reason, domain="jobqueue"))
        self.context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        self.context.set_code(code)
        self.context.set_details(message)
        self._outgoing.put(None)

    # --- the stream's side ---

    def read(self, frames: Iterator[pb.LeaseRequest]) -> None:
        try:
            for frame in frames:
                with self._changed:
                    self.received.append((time.monotonic(), frame))
                    self._changed.notify_all()
                self._answer(frame)
        except Exception:  # the worker went away
            pass
        self.ended.set()

    def write(self) -> Iterator[pb.LeaseResponse]:
        while (frame := self._outgoing.get()) is not None:
            yield frame

    def _answer(self, frame: pb.LeaseRequest) -> None:
        name = frame.WhichOneof("frame")
        if name == "heartbeat" and self.answers_heartbeats:
            self.send(pong=pb.Pong(seq=frame.heartbeat.seq))
        elif name == "settle" and self.answers_settlements:
            self.send(settled=pb.Settled(seq=frame.settle.seq, exceptions=_failures(frame.settle)))


class ScriptedServer:
    """Accepts streams; each is a Peer."""

    def __init__(self, address: str = "127.0.0.1:0") -> None:
        self._server = grpc.server(ThreadPoolExecutor(max_workers=16))
        self._peers: queue.SimpleQueue[Peer] = queue.SimpleQueue()
        self._all: list[Peer] = []
        lease = grpc.stream_stream_rpc_method_handler(
            self._lease,
            request_deserializer=pb.LeaseRequest.FromString,
            response_serializer=pb.LeaseResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("jobqueue.v1.JobQueue", {"Lease": lease}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port(address)}"
        self._server.start()

    def _lease(self, request_iterator, context):
        peer = Peer(context)
        self._all.append(peer)
        threading.Thread(target=peer.read, args=(request_iterator,), daemon=True).start()
        context.add_callback(peer.end)
        self._peers.put(peer)
        yield from peer.write()

    def stream(self, within: float = WITHIN) -> Peer:
        """The next stream that a worker opens."""
        return self._peers.get(timeout=within)

    def stop(self) -> None:
        """Ends every session with Goodbye: a worker that leaves has no answer to wait for."""
        for peer in self._all:
            peer.send(goodbye=pb.Goodbye())
            peer.end()
        self._server.stop(WITHIN).wait()


def job(number: int, kind: str, payload: str = "null", *, attempt: int = 1, **more: Any) -> pb.LeasedJob:
    """A leased job whose id tells its number."""
    return pb.LeasedJob(
        lease_id=number,
        id=f"00000000-0000-7000-8000-{number:012d}",
        attempt=attempt,
        kind=kind,
        payload_json=payload.encode(),
        queue=more.pop("queue", "default"),
        max_attempts=more.pop("max_attempts", 3),
        **more,
    )


def _failures(settle: pb.Settle) -> list[Result]:
    """As the real server: every failure is among the exceptions, with its new status."""
    return [
        Result(
            lease_id=outcome.lease_id,
            verdict=Result.APPLIED,
            status=Job.FAILED_PERMANENT if outcome.failure.permanent else Job.RETRYING,
        )
        for outcome in settle.outcomes
        if outcome.WhichOneof("outcome") == "failure"
    ]


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
