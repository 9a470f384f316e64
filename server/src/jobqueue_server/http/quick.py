"""POST /v1/jobs without a task of its own, where a request says nothing unusual: the way that most jobs come in.

It answers what the general way answers, by the same parts: the checks of the servicer, the steps of the chain, a text
that the renderer made once. Whatever it is not sure of goes the general way, from the beginning.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from json.encoder import encode_basestring
from typing import Any, Protocol

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ..chain import Begun, Call, Chain
from ..errors import JobQueueError
from ..fields import answer_key
from ..taskless import Deadlines, TasklessCall
from . import headers
from .answer import Answer, header_lines
from .compression import LEAST_BYTES, compressed_here
from .errors import ErrorForm
from .presence import Presence
from .transcoding.binding import Binding
from .transcoding.transcoder import Transcoder

METHOD, PATH = b"POST", b"/v1/jobs"
QUICK_LINE = METHOD + b" " + PATH + b" HTTP/1.1\r\n"
MOST_BYTES = 64 << 10
_FULL_NAME = "/jobqueue.v1.JobQueue/EnqueueJob"

# A request with any other header goes the general way.
_USUAL = frozenset(
    (
        b"host",
        b"content-type",
        b"content-length",
        b"user-agent",
        b"accept",
        b"accept-encoding",
        b"x-request-id",
    )
)
_JSON_TYPES = (b"application/json", b"application/json; charset=utf-8")
# The payload is what is between its name and the last brace. Whether that is one JSON value decides, beside its
# check, whether this is the form that it seems to be.
_body = re.compile(
    rb'[ \t\r\n]*\{[ \t\r\n]*"kind"[ \t\r\n]*:[ \t\r\n]*"([a-z0-9_.-]+)"[ \t\r\n]*,[ \t\r\n]*'
    rb'(?:"queue"[ \t\r\n]*:[ \t\r\n]*"([a-z0-9_.-]+)"[ \t\r\n]*,[ \t\r\n]*)?'
    rb'"payload"[ \t\r\n]*:[ \t\r\n]*(.*[^ \t\r\n])[ \t\r\n]*\}[ \t\r\n]*',
    re.DOTALL,
).fullmatch

_MOST_HEAD_BYTES = 2 << 10
_MOST_HEADS = 4096
# One for each lane, in practice.
_MOST_TEMPLATES = 10_000

Lines = list[tuple[bytes, bytes]]


class Servicer(Protocol):
    """The two halves of EnqueueJob for a job that says little, as `rpc` has them."""

    def start(self, kind: str, queue: str, payload: bytes, call: Call) -> Any:
        """Puts it in line; None where EnqueueJob has more to do or to say."""

    def started(self, job: Any, at: datetime) -> Message:
        """What EnqueueJob answers of it."""


class QuickEnqueue:
    """What all connections have in common.

    Args:
        chain: What every call passes.
        servicer: Has the two halves of the method.
        transcoder, binding: Render the answer.
        presence: Knows of the calls under way.
        errors: How errors are written.
        host_is_ours: Whether a request for this name is to be answered here.
        marks: What every answer carries.
    """

    def __init__(
        self,
        chain: Chain,
        servicer: Servicer,
        transcoder: Transcoder,
        binding: Binding,
        presence: Presence,
        errors: ErrorForm,
        host_is_ours: Callable[[str], bool],
        marks: Lines,
    ) -> None:
        self._chain = chain
        self._start = servicer.start
        self._started = servicer.started
        self.deadlines = Deadlines()
        self.presence = presence
        self.errors = errors
        self.marks = marks
        self._transcoder = transcoder
        self._binding = binding
        self._host_is_ours = lru_cache(maxsize=256)(lambda host: host_is_ours(host.decode("latin-1").strip()))
        self._templates: dict[tuple[object, ...], Template] = {}
        # From a request's bytes before its body to the metadata that they are, and to the length of the body.
        self._heads: dict[bytes, tuple[dict[str, str], int]] = {}
        # What an answer begins with, made of what uvicorn sends with each, which is another list each second.
        self._begun_by: Lines = []
        self._beginning = b""
        self._end = b"".join(b"%s: %s\r\n" % mark for mark in marks) + b"\r\n"

    def usual(self, lines: Lines) -> bool:
        """Whether the headers of a request to METHOD and PATH ask for nothing but the plain thing."""
        seen = set()
        for name, value in lines:
            if name in seen:
                return False
            seen.add(name)
            if name == b"content-type":
                if value not in _JSON_TYPES:
                    return False
            elif name == b"content-length":
                if len(value) > 5 or int(value) > MOST_BYTES:
                    return False
            elif name == b"host":
                if not self._host_is_ours(value):
                    return False
            elif name == b"connection":
                if value.lower() != b"keep-alive":
                    return False
            elif name not in _USUAL:
                return False
        return b"content-length" in seen and b"host" in seen

    def metadata(self, lines: Lines, whole: bytes, body: bytes) -> dict[str, str]:
        """The metadata of a request's headers, which were found usual.

        A caller mostly sends the same headers again. Where they and the body came at once, as `whole`, they are known
        from then on: 15 us less a request.
        """
        metadata = headers.metadata(lines)
        head = whole[: -len(body)] if body else b""
        if (
            "x-request-id" not in metadata
            and len(head) <= _MOST_HEAD_BYTES
            and head.endswith(b"\r\n\r\n")
            and head.count(b"\r\n\r\n") == 1
            and len(body) == int(metadata["content-length"])
        ):
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[head] = metadata, len(body)
        return metadata

    def known(self, data: bytes) -> tuple[dict[str, str], bytes] | None:
        """The metadata and the body of a whole request, where its headers are those of one before."""
        end = data.find(b"\r\n\r\n") + 4
        found = self._heads.get(data[:end])
        if found is None or len(data) - end != found[1]:
            return None
        return found[0], data[end:]

    def created(self, defaults: Lines, job_id: Any, request_id: str, body: bytes) -> bytes:
        """The whole answer to a call that says nothing of itself but its id."""
        if defaults is not self._begun_by:
            self._begun_by = defaults
            self._beginning = (
                _status_line(201)
                + b"".join(b"%s: %s\r\n" % line for line in defaults)
                + b"location: /v1/jobs/"
            )
        return b"%b%b\r\nx-request-id: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b%b" % (
            self._beginning,
            str(job_id).encode(),
            request_id.encode(),
            len(body),
            self._end,
            body,
        )

    def start(self, metadata: dict[str, str], body: bytes, peer: str) -> tuple[Begun, Any] | None:
        """Lets the call in and puts its job in line; None where it has to go the general way."""
        found = _body(body)
        if found is None:
            return None
        kind, queue, payload = found.groups()
        call = Call(_FULL_NAME, "http", metadata, peer=peer)
        begun = self._chain.begin(call)
        if begun is None:
            return None
        job = self._start(kind.decode(), queue.decode() if queue else "default", payload, call)
        if job is None:
            begun.cancel()
            return None
        return begun, job

    def body_of(self, job: Any, at: datetime, request_id: str) -> bytes:
        """The answer of a job that was stored at that time, and whose caller has not gone."""
        row, lane = job.rows[0], job.lanes[0]
        key = answer_key(lane, row)
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) >= _MOST_TEMPLATES:
                self._templates.clear()
            template = self._templates[key] = Template(
                lambda response: self._transcoder.render(self._binding, response).body,
                self._started(job, at),
            )
        return template.filled(row.id, row.new.payload, at, request_id)


class Template:
    """The text of an answer, cut where a job's own values stand.

    It is what the renderer makes of an answer with marks in these places, so that it can't drift from what the
    renderer makes of others.
    """

    def __init__(self, render: Callable[[Any], bytes], response: Any) -> None:
        job = response.job
        job.id = _MARKS["id"]
        job.payload_json = _quoted(_MARKS["payload"])
        job.headers["x-request-id"] = _MARKS["request_id"]
        marks = {name: _quoted(mark) for name, mark in _MARKS.items()}
        for number, name in enumerate(("created_at", "updated_at", "run_at")):
            getattr(job, name).FromSeconds(number)
            marks[name] = _time_text(Timestamp(seconds=number))
        text = render(response)
        places = sorted((text.index(mark), name) for name, mark in marks.items())
        if any(text.count(mark) != 1 for mark in marks.values()):
            raise ValueError("a mark stands twice in an answer")
        # The text in turns with places for the values.
        self._parts: list[bytes] = []
        self._places: dict[str, int] = {}
        end = 0
        for place, name in places:
            self._parts.append(text[end:place])
            self._places[name] = len(self._parts)
            self._parts.append(b"")
            end = place + len(marks[name])
        self._parts.append(text[end:])

    def filled(self, job_id: Any, payload: bytes, at: datetime, request_id: str) -> bytes:
        """The answer of one job."""
        parts, places = self._parts.copy(), self._places
        parts[places["id"]] = b'"%b"' % str(job_id).encode()
        parts[places["payload"]] = payload
        parts[places["request_id"]] = encode_basestring(request_id).encode()
        parts[places["created_at"]] = _millisecond_text(job_id.int >> 80)
        parts[places["updated_at"]] = parts[places["run_at"]] = _moment_text(at)
        return b"".join(parts)


@lru_cache(maxsize=64)
def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())


_MARKS = {"id": "@ id @", "payload": "@ payload @", "request_id": "@ request id @"}


def _quoted(text: str) -> bytes:
    return b'"%s"' % text.encode()


def _time_text(moment: Timestamp) -> bytes:
    return _quoted(moment.ToJsonString())


@lru_cache(maxsize=256)
def _moment_text(at: datetime) -> bytes:
    moment = Timestamp()
    moment.FromDatetime(at)
    return _time_text(moment)


@lru_cache(maxsize=1024)
def _millisecond_text(milliseconds: int) -> bytes:
    moment = Timestamp()
    moment.FromMilliseconds(milliseconds)
    return _time_text(moment)


class QuickCall(TasklessCall):
    """One such call on its connection; to uvicorn it is the request that is being answered."""

    def __init__(self, quick: QuickEnqueue, begun: Begun, job: Any, connection: Any) -> None:
        super().__init__(begun, job, quick.deadlines)
        self.disconnected = False
        self.keep_alive = True
        self._quick = quick
        self._connection = connection
        quick.presence.add(job.done)

    @property
    def response_complete(self) -> bool:
        """As uvicorn asks."""
        return self.over

    @property
    def message_event(self) -> QuickCall:
        """Which uvicorn sets when the connection is lost; as an attribute it would be a ring."""
        return self

    def set(self) -> None:
        """The caller has hung up."""
        self.disconnected = not self.over
        self.cancel()

    def _cut_off(self) -> BaseException:
        return self._quick.presence.draining()

    def _done(self, done: asyncio.Future[Any]) -> None:
        self._quick.presence.discard(done)
        super()._done(done)

    def _answer(self, at: datetime) -> bytes:
        call, job_id = self._begun.call, self._job.rows[0].id
        body = self._quick.body_of(self._job, at, call.request_id)
        if self.keep_alive and len(call.answer_metadata) == 1 and len(body) < LEAST_BYTES:
            defaults = self._connection.server_state.default_headers
            return self._quick.created(defaults, job_id, call.request_id, body)
        answer = Answer(201, body, (("location", f"/v1/jobs/{job_id}"), *call.answer_metadata.items()))
        if len(body) >= LEAST_BYTES:
            metadata: Any = call.metadata
            answer = compressed_here(answer, metadata)
        return self._written(answer)

    def _tell(self, error: JobQueueError | None) -> None:
        if error is not None:
            answer = self._quick.errors.answer(error)
            self._send(self._written(answer.with_headers(headers.sent(self._begun.call.answer_metadata))))

    def _written(self, answer: Answer) -> bytes:
        parts = [_status_line(answer.status)]
        for name, value in (
            *self._connection.server_state.default_headers,
            *header_lines(answer.headers),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer.body)),
            *self._quick.marks,
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
