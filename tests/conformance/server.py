"""The server's part of Lease, played by a case; each frame of the worker goes through the ledger."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from jobqueue.v1 import lease_pb2 as pb
from jobqueue.v1.job_pb2 import Job

from .ledger import Ledger

# Generous: cases wait for the thing itself, on a machine that does other things as well.
WITHIN = 20.0
Result = pb.SettleResult
#: How a case answers an outcome by its lease, instead of by APPLIED.
Verdicts = Callable[[int], int]


class Stream:
    """One stream of the worker. Answers heartbeats and settlements by itself unless a case says otherwise.

    Attributes:
        server: Which server it was opened at, from 0.
        opened: When, as of `time.monotonic`.
        pongs, answers: Whether heartbeats and settlements are answered.
        verdicts: How settlements are.
        goodbye: Whether a Drain is answered once nothing is held any more.
        ended: Set when the worker let it go, or the case did.
    """

    def __init__(self, server: int, ledger: Ledger) -> None:
        self.server = server
        self.opened = time.monotonic()
        self.pongs = self.answers = self.goodbye = True
        self.verdicts: Verdicts = lambda _: Result.APPLIED
        self.ended = asyncio.Event()
        self.received: list[tuple[float, pb.LeaseRequest]] = []
        self.outgoing: asyncio.Queue[pb.LeaseResponse | bytes | None] = asyncio.Queue()
        self.failure: Status | None = None
        self._ledger = ledger
        self._number = ledger.open()
        self._changed = asyncio.Event()
        self._taken = 0
        self._deliveries = 0
        self._draining = False

    # ---- what a case waits for

    async def expect(
        self, name: str, within: float = WITHIN, where: Callable[[Any], bool] = lambda _: True
    ) -> Any:
        """The next frame of that name; those before it are passed over. `receipt` is a frame with nothing in it."""
        ends = time.monotonic() + within
        while True:
            while self._taken < len(self.received):
                _, frame = self.received[self._taken]
                self._taken += 1
                if (found := _content(frame, name)) is not None and where(found):
                    return found
            left = ends - time.monotonic()
            assert left > 0, f"no {name} within {within:g} s; the stream brought {self.names()}"
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue

    async def outcomes(self, *leases: int, within: float = WITHIN) -> dict[int, pb.Outcome]:
        """The outcomes of these leases, over as many frames as it takes; successes without output are `success` too."""
        found: dict[int, pb.Outcome] = {}
        while not found.keys() >= set(leases):
            settle = await self.expect("settle", within)
            found |= {
                number: pb.Outcome(lease_id=number, success=pb.Success()) for number in settle.succeeded
            }
            found |= {each.lease_id: each for each in settle.outcomes}
        return found

    async def outcome(self, lease: int, within: float = WITHIN) -> pb.Outcome:
        """The outcome of one lease."""
        return (await self.outcomes(lease, within=within))[lease]

    async def beats(self, count: int) -> pb.Heartbeat:
        """As many heartbeats from now on, so that anything that was due before has come; the last of them.

        Passes over nothing: what else comes meanwhile can still be expected. Three of them mean that the worker has
        read all that was said before: it sends none where two were not answered, and answers are read in their turn.
        """
        wanted = len(self.all("heartbeat")) + count
        ends = time.monotonic() + WITHIN
        while len(beats := self.all("heartbeat")) < wanted:
            assert time.monotonic() < ends, (
                f"no {count} heartbeats within {WITHIN:g} s; it brought {self.names()}"
            )
            await asyncio.sleep(0.01)
        found: pb.Heartbeat = beats[wanted - 1]
        return found

    def names(self) -> list[str]:
        """The frames that came."""
        return [frame.WhichOneof("frame") or "receipt" for _, frame in self.received]

    def all(self, name: str) -> list[Any]:
        """Every frame of that name that came, also those that were waited for."""
        return [found for _, frame in self.received if (found := _content(frame, name)) is not None]

    @property
    def delays(self) -> list[float]:
        """How long each receipt took, in seconds."""
        return self._ledger.delays(self._number)

    # ---- what a case says

    def send(self, raw: bytes | None = None, **frame: Any) -> None:
        """Sends a frame, or the bytes of one that this version does not know."""
        if raw is not None:
            self.outgoing.put_nowait(raw)
            return
        message = pb.LeaseResponse(**frame)
        self._ledger.told(self._number, message)
        self.outgoing.put_nowait(message)

    async def welcome(
        self, token: str = "token-1", interval: float = 0.2, ttl: float = 30, **more: Any
    ) -> pb.Hello:
        """Waits for Hello and answers it; the Hello."""
        hello: pb.Hello = await self.expect("hello")
        if not hello.HasField("resume"):
            self._ledger.forget()
        self.welcomes(token, interval, ttl, **more)
        return hello

    def welcomes(self, token: str, interval: float = 0.2, ttl: float = 30, **more: Any) -> None:
        """Answers a Hello that was taken already."""
        self.send(
            welcome=pb.Welcome(
                session_id=7,
                session_token=token,
                heartbeat_interval=duration(interval),
                session_ttl=duration(ttl),
                server="conformance",
                **more,
            )
        )

    def deliver(self, *jobs: pb.LeasedJob) -> None:
        """Delivers jobs, all in one frame."""
        self._deliveries += 1
        self.send(delivery=pb.Delivery(seq=self._deliveries, jobs=jobs))

    def cancel(self, *leases: int, reason: str = "", grace: float = 30) -> None:
        """Asks for the cancelling of leases."""
        self.send(
            control=pb.Control(cancel=pb.CancelLeases(lease_ids=leases, reason=reason, grace=duration(grace)))
        )

    def revoke(self, *leases: int, reason: str = "TIMED_OUT") -> None:
        """Revokes leases."""
        self.send(control=pb.Control(revoke=pb.RevokeLeases(lease_ids=leases, reason=reason)))

    def end(
        self,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        reason: str = "",
        words: str = "as the case says",
    ) -> None:
        """Ends the stream by an error."""
        self.failure = _status(code, reason, words)
        self.outgoing.put_nowait(None)

    # ---- the stream's own side

    async def read(self, frames: AsyncIterator[pb.LeaseRequest]) -> None:
        """Takes what comes until the worker lets go."""
        try:
            async for frame in frames:
                self.received.append((time.monotonic(), frame))
                try:
                    self._ledger.said(self._number, frame)
                    self._answer(frame)
                except Exception:
                    # Or the stream would end, and the worker be blamed for what follows.
                    self._ledger.violations.append(f"the suite itself broke:\n{traceback.format_exc()}")
                self._changed.set()
        finally:
            self.over()

    def over(self) -> None:
        """Nothing follows, in either direction."""
        if not self.ended.is_set():
            self._ledger.ended(self._number)
            self.ended.set()
            self.outgoing.put_nowait(None)

    def _answer(self, frame: pb.LeaseRequest) -> None:
        name = frame.WhichOneof("frame")
        if name == "heartbeat" and self.pongs:
            self.send(pong=pb.Pong(seq=frame.heartbeat.seq))
        elif name == "settle" and self.answers:
            self.answer(frame.settle)
        elif name == "drain":
            self._draining = True
        if self._draining and self.goodbye and self._ledger.all_answered():
            self.goodbye = False
            self._ledger.forget()
            self.send(goodbye=pb.Goodbye())

    def answer(self, settle: pb.Settle) -> None:
        """Answers a settlement as the real server: every failure and every exception is told."""
        kinds = dict.fromkeys(settle.succeeded, "success")
        kinds |= {each.lease_id: str(each.WhichOneof("outcome")) for each in settle.outcomes}
        exceptions = []
        for number, kind in kinds.items():
            verdict = self.verdicts(number)
            self._ledger.answer(number, verdict)
            if verdict != Result.APPLIED or kind == "failure":
                status = Job.RETRYING if verdict == Result.APPLIED else Job.STATUS_UNSPECIFIED
                words = "" if verdict == Result.APPLIED else "as the case says"
                exceptions.append(Result(lease_id=number, verdict=verdict, status=status, message=words))  # type: ignore[arg-type]
        self.send(settled=pb.Settled(seq=settle.seq, exceptions=exceptions))


class Server:
    """Accepts streams on one address or several, each an own server to the worker.

    Args:
        ledger: What the frames are held against.
        count: How many addresses.

    Attributes:
        refuses: Called with the number of the server that is tried; a status code ends the stream at once.
        reason: That of these refusals; empty: they have none.
        tries: When each stream was opened, those that were refused included.
        shown: What each of them had as `authorization`; empty: nothing.
    """

    def __init__(self, ledger: Ledger, count: int = 1) -> None:
        self.refuses: Callable[[int], grpc.StatusCode | None] = lambda _: None
        self.reason = ""
        self.tries: list[float] = []
        self.shown: list[str] = []
        self.addresses: list[str] = []
        self._ledger = ledger
        self._count = count
        self._servers: list[grpc.aio.Server] = []
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()
        self._all: list[Stream] = []

    async def start(self, addresses: Mapping[int, str] | None = None) -> None:
        """Listens, on free ports or on those that it had."""
        self.addresses = []
        for number in range(self._count):
            server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            handler = grpc.stream_stream_rpc_method_handler(
                self._accept(number),
                request_deserializer=pb.LeaseRequest.FromString,
                response_serializer=lambda frame: (
                    frame if isinstance(frame, bytes) else frame.SerializeToString()
                ),
            )
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler("jobqueue.v1.JobQueue", {"Lease": handler}),)
            )
            port = server.add_insecure_port((addresses or {}).get(number, "127.0.0.1:0"))
            await server.start()
            self._servers.append(server)
            self.addresses.append(f"127.0.0.1:{port}")

    async def stop(self) -> None:
        """Ends every stream, and listens no more."""
        for stream in self._all:
            stream.over()
        servers, self._servers = self._servers, []
        for server in servers:
            await server.stop(0)

    async def restart(self) -> None:
        """Away and back again at the same addresses."""
        addresses = dict(enumerate(self.addresses))
        await self.stop()
        await self.start(addresses)

    async def stream(self, within: float = WITHIN) -> Stream:
        """The next stream that the worker opens."""
        try:
            return await asyncio.wait_for(self._streams.get(), within)
        except TimeoutError:
            raise AssertionError(f"the worker opened no stream within {within:g} s") from None

    def waiting(self) -> int:
        """How many streams nobody has taken yet."""
        return self._streams.qsize()

    def _accept(self, number: int) -> Callable[[AsyncIterator[pb.LeaseRequest], Any], AsyncIterator[Any]]:
        async def lease(frames: AsyncIterator[pb.LeaseRequest], context: Any) -> AsyncIterator[Any]:
            self.tries.append(time.monotonic())
            self.shown.append(str(dict(context.invocation_metadata() or ()).get("authorization", "")))
            if (code := self.refuses(number)) is not None:
                await _abort(context, _status(code, self.reason, "as the case says"))
            stream = Stream(number, self._ledger)
            self._all.append(stream)
            reading = asyncio.create_task(stream.read(frames))
            self._streams.put_nowait(stream)
            try:
                while (frame := await stream.outgoing.get()) is not None:
                    yield frame
                if stream.failure is not None:
                    await _abort(context, stream.failure)
            finally:
                stream.over()
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

        return lease


def _status(code: grpc.StatusCode, reason: str, words: str) -> Status:
    made = Status(code=code.value[0], message=words)
    if reason:
        made.details.add().Pack(ErrorInfo(reason=reason, domain="jobqueue"))
    return made


async def _abort(context: Any, status: Status) -> None:
    code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
    await context.abort(code, status.message, (("grpc-status-details-bin", status.SerializeToString()),))


def duration(seconds: float) -> Duration:
    """As the wire has it."""
    return Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))


def _content(frame: pb.LeaseRequest, name: str) -> Any:
    found = frame.WhichOneof("frame") or "receipt"
    if found != name:
        return None
    return frame if name == "receipt" else getattr(frame, name)
