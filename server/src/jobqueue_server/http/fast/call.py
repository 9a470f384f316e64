"""A call on the fast path over HTTP, on its connection."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Protocol

from ...chain import Begun
from ...errors import JobQueueError
from ...fast_path import FastCall
from ...model import Ticket
from .. import headers
from ..answer import Answer, answer_lines
from ..compression import LEAST_BYTES, compressed_here
from .path import HttpFastPath, status_line


class HttpConnection(Protocol):
    """What a call needs of its connection, which is one of uvicorn's."""

    server_state: Any
    transport: Any

    def on_response_complete(self) -> None:
        """Begins the next request."""


class HttpFastCall(FastCall[bytes]):
    """One such call on its connection; to uvicorn it is the request that is being answered."""

    def __init__(self, path: HttpFastPath, begun: Begun, ticket: Ticket, connection: HttpConnection) -> None:
        super().__init__(begun, ticket, path.deadlines)
        self.disconnected = False
        self.keep_alive = True
        self._path = path
        self._connection = connection
        path.in_flight.add(ticket.done)

    @property
    def response_complete(self) -> bool:
        """As uvicorn asks."""
        return self.over

    @property
    def message_event(self) -> HttpFastCall:
        """Which uvicorn sets when the connection is lost; as an attribute it would be a reference cycle."""
        return self

    def set(self) -> None:
        """The caller has hung up."""
        self.disconnected = not self.over
        self.cancel()

    def _cut_off(self) -> BaseException:
        return self._path.in_flight.draining()

    def _done(self, done: asyncio.Future[datetime]) -> None:
        self._path.in_flight.discard(done)
        super()._done(done)

    def _answer(self, at: datetime) -> bytes:
        call, ticket = self._begun.call, self._ticket
        metadata: Any = call.metadata
        if ticket.instead is not None:
            return self._written(compressed_here(self._path.answer_instead(ticket.instead, call), metadata))
        first = ticket.first(at)
        job_id = first.id
        body = self._path.body_of(ticket, first, at)
        if self.keep_alive and len(call.answer_metadata) == 1 and len(body) < LEAST_BYTES:
            defaults = self._connection.server_state.default_headers
            return self._path.created(defaults, job_id, call.request_id, body)
        answer = Answer(201, body, (("location", f"/v1/jobs/{job_id}"), *call.answer_metadata.items()))
        if len(body) >= LEAST_BYTES:
            answer = compressed_here(answer, metadata)
        return self._written(answer)

    def _tell(self, error: JobQueueError | None) -> None:
        if error is not None:
            answer = self._path.errors.answer(error)
            self._send(self._written(answer.with_headers(headers.sent(self._begun.call.answer_metadata))))

    def _written(self, answer: Answer) -> bytes:
        parts = [status_line(answer.status)]
        for name, value in (
            *self._connection.server_state.default_headers,
            *answer_lines(answer.headers),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer.body)),
            *self._path.marks,
        ):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", answer.body)
        return b"".join(parts)

    def _send(self, answer: bytes) -> None:
        connection = self._connection
        if connection.transport.is_closing():
            return
        connection.transport.write(answer)
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()
