"""One Lease stream: frames in and out, by gRPC's blocking API in threads of its own.

It does not use `grpc.aio`: all its loops in a process share one poller, so that a second loop in addition to the user's
logs `BlockingIOError` from races between the two. The blocking API does not use any loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator

import grpc

from jobqueue.channel import Access
from jobqueue.errors import JobQueueError, from_rpc
from jobqueue.v1 import lease_pb2 as pb
from jobqueue.v1.jobqueue_pb2_grpc import JobQueueStub


class StreamEnded(Exception):
    """The stream is over.

    Attributes:
        error: Why. None: the server ended it with OK.
    """

    def __init__(self, error: JobQueueError | None) -> None:
        super().__init__(str(error) if error is not None else "the server ended the stream")
        self.error = error


class Stream:
    """An open stream. Its methods belong to the loop that made it.

    Args:
        target: The server's address.
        access: Credentials and token.
    """

    def __init__(self, target: str, access: Access) -> None:
        self.target = target
        self.last_delivery = 0
        self.receipted = 0
        self._loop = asyncio.get_running_loop()
        self._incoming: asyncio.Queue[pb.LeaseResponse | StreamEnded] = asyncio.Queue()
        self._read_ahead: deque[pb.LeaseResponse | StreamEnded] = deque()
        self._waking = False
        self._handle: Callable[[pb.LeaseResponse], None] | None = None
        self._handled: asyncio.Future[None] = self._loop.create_future()
        self._outgoing: queue.SimpleQueue[pb.LeaseRequest | Callable[[], object] | None] = queue.SimpleQueue()
        self._channel = access.channel(target)
        stub = JobQueueStub(self._channel)
        self._call = stub.Lease(self._frames(), metadata=access.metadata())
        threading.Thread(target=self._read, name="jobqueue-stream", daemon=True).start()

    def send(self, frame: pb.LeaseRequest) -> None:
        """Sends a frame, with the receipt of what was delivered."""
        frame.last_delivery = self.receipted = self.last_delivery
        self._outgoing.put(frame)

    def receipt(self, written: Callable[[], None]) -> None:
        """Sends a bare receipt, and calls `written` on the loop once it is. A stream that ends calls nothing."""
        self.send(pb.LeaseRequest())
        self._outgoing.put(lambda: self._loop.call_soon_threadsafe(written))

    def _frames(self) -> Iterator[pb.LeaseRequest]:
        """What gRPC sends. It asks for a frame when the one before is written; the end closes our side."""
        while (frame := self._outgoing.get()) is not None:
            if isinstance(frame, pb.LeaseRequest):
                yield frame
                continue
            try:
                frame()
            except RuntimeError:
                return  # the loop is closed, so nothing waits for it any more

    async def receive(self) -> pb.LeaseResponse:
        """The next frame.

        Raises:
            StreamEnded: There are no more. Raised once.
        """
        frame = await self._incoming.get()
        if isinstance(frame, StreamEnded):
            raise frame
        return frame

    async def receive_all(self, handle: Callable[[pb.LeaseResponse], None]) -> None:
        """Has every frame from now on handled as it comes, without a task in between, until there are no more.

        Raises:
            StreamEnded: There are no more.
            Exception: What `handle` raised; no frame is handled after that.
        """
        while not self._incoming.empty():
            self._put(handle, self._incoming.get_nowait())
        self._handle = handle
        await self._handled

    def _pass_on(self, frame: pb.LeaseResponse | StreamEnded) -> None:
        """One wake-up of the loop for all that gathers; from the reading thread."""
        self._read_ahead.append(frame)
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        # First the flag: what is appended after the last pop wakes the loop again.
        self._waking = False
        while self._read_ahead:
            self._arrived(self._read_ahead.popleft())

    def _arrived(self, frame: pb.LeaseResponse | StreamEnded) -> None:
        if self._handle is None:
            self._incoming.put_nowait(frame)
        else:
            self._put(self._handle, frame)

    def _put(self, handle: Callable[[pb.LeaseResponse], None], frame: pb.LeaseResponse | StreamEnded) -> None:
        if self._handled.done():
            return
        if isinstance(frame, StreamEnded):
            self._handled.set_exception(frame)
            return
        try:
            handle(frame)
        except Exception as error:
            self._handled.set_exception(error)

    def cancel(self) -> None:
        """Ends the stream at once."""
        self._call.cancel()

    def _read(self) -> None:
        end = StreamEnded(None)
        try:
            for frame in self._call:
                self._pass_on(frame)
        except grpc.RpcError as error:
            end = StreamEnded(from_rpc(error))
        except RuntimeError:
            pass  # the loop is closed, so nothing listens any more
        self._outgoing.put(None)  # ends gRPC's thread that waits for the next frame
        self._channel.close()
        try:
            self._pass_on(end)
        except RuntimeError:
            pass  # as above
