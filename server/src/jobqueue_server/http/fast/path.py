"""POST /v1/jobs without a task of its own, where a request has nothing unusual: the way that nearly all jobs come in.

It answers what the general path answers, by the same parts: the checks of the servicer, the steps of the chain, a text
that the renderer made once. Whatever it is not sure of takes the general path, from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID

from google.protobuf.message import Message

from grpc_http2 import PeerCertificate

from ...chain import Begun, Call, Chain
from ...fast_path import Deadlines
from ...model import Enqueued, FirstJob, Ticket
from .. import headers as http_headers
from ..answer import CLOSED, Answer
from ..errors import ErrorForm
from ..in_flight import InFlightRequests
from ..transcoding.binding import Binding
from ..transcoding.transcoder import Transcoder
from .heads import Heads, Lines
from .template import AnswerTemplate

METHOD, PATH = b"POST", b"/v1/jobs"
REQUEST_LINE = METHOD + b" " + PATH + b" HTTP/1.1\r\n"
_FULL_NAME = "/jobqueue.v1.JobQueue/EnqueueJob"

# One for each lane, in practice.
_MOST_TEMPLATES = 10_000


class FastServicer(Protocol):
    """The two halves of EnqueueJob, as `rpc` has them."""

    def fast_enqueue_fields(self, given: dict[str, Any], call: Call) -> Ticket | None:
        """Puts it in line; None where EnqueueJob has more to do or to say."""

    def fast_response(self, ticket: Ticket, at: datetime) -> Message:
        """What EnqueueJob answers of it."""

    def fast_response_instead(self, enqueued: Enqueued, call: Call) -> Message:
        """What EnqueueJob answers where the ticket says more than that it was stored."""


# An answer, but for its first lines, its id, its request id, its length, its last lines and its body.
_CREATED = b"".join(
    (
        b"%b%b\r\nx-request-id: %b\r\n",
        *(b"%b: %b\r\n" % line for line in CLOSED),
        b"content-type: application/json\r\ncontent-length: %d\r\n%b%b",
    )
)


class HttpFastPath:
    """What all connections have in common.

    Args:
        chain: What every call passes.
        servicer: Has the two halves of the method.
        transcoder, binding: Render the answer.
        in_flight: Knows of the calls under way.
        errors: How errors are written.
        host_is_ours: Whether a request for this name is to be answered here.
        marks: What every answer carries.

    Attributes:
        heads: Those of the requests.
    """

    def __init__(
        self,
        chain: Chain,
        servicer: FastServicer,
        transcoder: Transcoder,
        binding: Binding,
        in_flight: InFlightRequests,
        errors: ErrorForm,
        host_is_ours: Callable[[str], bool],
        marks: Lines,
    ) -> None:
        self._chain = chain
        self._read = transcoder.usual(binding)
        self._enqueue = servicer.fast_enqueue_fields
        self._response = servicer.fast_response
        self._response_instead = servicer.fast_response_instead
        self.heads = Heads(host_is_ours)
        self.deadlines = Deadlines()
        self.in_flight = in_flight
        self.errors = errors
        self.marks = marks
        self._transcoder = transcoder
        self._binding = binding
        self._templates: dict[Hashable, AnswerTemplate] = {}
        # What an answer begins with, made of what uvicorn sends with each, which is another list each second.
        self._begun_by: Lines = []
        self._beginning = b""
        self._end = b"".join(b"%s: %s\r\n" % mark for mark in marks) + b"\r\n"

    def created(self, defaults: Lines, job_id: UUID, request_id: str, body: bytes) -> bytes:
        """The whole answer to a call that says nothing of itself but its id."""
        if defaults is not self._begun_by:
            self._begun_by = defaults
            self._beginning = (
                status_line(201)
                + b"".join(b"%s: %s\r\n" % line for line in defaults)
                + b"location: /v1/jobs/"
            )
        return _CREATED % (
            self._beginning,
            str(job_id).encode(),
            request_id.encode(),
            len(body),
            self._end,
            body,
        )

    def start(
        self, metadata: dict[str, str], body: bytes, peer: str, certificate: PeerCertificate | None = None
    ) -> tuple[Begun, Ticket] | None:
        """Lets the call in and puts its job in line; None where the general path takes it."""
        given = self._read(body)
        if given is None:
            return None
        call = Call(_FULL_NAME, "http", metadata, peer=peer, certificate=certificate)
        begun = self._chain.begin(call)
        if begun is None:
            return None
        ticket = None
        try:
            ticket = self._enqueue(given, call)
        finally:
            if ticket is None:
                begun.cancel()
        return None if ticket is None else (begun, ticket)

    def body_of(self, ticket: Ticket, first: FirstJob, at: datetime) -> bytes:
        """The answer of a job that was stored at that time, and whose caller has not gone."""
        template = self._templates.get(first.shared)
        if template is None:
            if len(self._templates) >= _MOST_TEMPLATES:
                self._templates.clear()
            template = self._templates[first.shared] = AnswerTemplate(
                lambda response: self._transcoder.render(self._binding, response).body,
                self._response(ticket, at),
            )
        return template.filled(first, at)

    def answer_instead(self, enqueued: Enqueued, call: Call) -> Answer:
        """The answer where a ticket says more than that its job was stored."""
        response = self._response_instead(enqueued, call)
        body = self._transcoder.render(self._binding, response).body
        location = () if enqueued.replayed else (("location", f"/v1/jobs/{enqueued.ids[0]}"),)
        status = int(call.answer_metadata[http_headers.HTTP_CODE])
        return Answer(status, body, (*location, *http_headers.sent(call.answer_metadata)))


@lru_cache(maxsize=64)
def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
