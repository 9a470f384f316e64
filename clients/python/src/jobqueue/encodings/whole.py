"""A list of encodings, as clients and workers take it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .. import convert
from ..encoded import (
    Encoded,
    EncodingRequired,
    EncodingUnknown,
    Undecodable,
    encoded,
    envelope_in,
    is_envelope,
)
from ..payload import decode, encode
from . import envelope
from .base import Encoding, Place
from .envelope import Envelope

if TYPE_CHECKING:
    from ..jobs import Job, NewJob, UniqueAction
    from ..v1 import job_pb2

_CHECKPOINT_TYPE = "application/octet-stream"
# After so many jobs of a call the loop goes on with what else it has.
_AT_ONCE = 100


class Encodings:
    """What payloads, outputs and checkpoints go through before they are sent, and back when they are read::

        encodings = Encodings([Zstd(over=2048), AesGcm({"2026-10": key}, primary="2026-10")])
        client = Client("127.0.0.1:50051", encodings=encodings)
        worker = Worker("127.0.0.1:50051", encodings=encodings)

    The same object may be given to clients and workers. What is there in plain text is read as it is.

    Args:
        encodings: Applied from left to right. One that encrypts is the last one.
        keyed_compression: Whether jobs with an idempotency key of their own are compressed too. The same call again is
            then another request (`IdempotencyKeyReused`) as soon as another version of the library makes other bytes.

    Raises:
        ValueError: There is none, two have the same name, or something comes after one that encrypts.
        TypeError: Something of it is no `Encoding`.
    """

    def __init__(self, encodings: Sequence[Encoding], *, keyed_compression: bool = False) -> None:
        self._steps = tuple(encodings)
        for each in self._steps:
            if not isinstance(each, Encoding):
                raise TypeError(
                    f"encodings: {each!r} must be an object of a class that inherits jobqueue.Encoding"
                )
            if not each.name:
                raise ValueError(f"encodings: the name of {each!r} is empty")
        self._by_name = {each.name: each for each in self._steps}
        if not self._steps or len(self._by_name) != len(self._steps):
            raise ValueError("encodings must be a list of different ones, and not empty")
        if any(each.key_id for each in self._steps[:-1]):
            raise ValueError("encodings: what encrypts is the last one, since nothing compresses its output")
        self._keyed_compression = keyed_compression

    @property
    def encrypts(self) -> bool:
        """Whether one of them encrypts."""
        return bool(self._steps[-1].key_id)

    @property
    def asks(self) -> bool:
        """Whether keys come from a function, for which is waited."""
        return any(each.asks for each in self._steps)

    async def sealer(self) -> Sealer:
        """What encodes with the key that is the primary one now. It waits for nothing more.

        Raises:
            KeyUnknown: Nothing has the primary key.
        """
        last = self._steps[-1]
        key = await last.key(last.key_id) if last.key_id else b""
        return Sealer(self._steps, key, self._keyed_compression)

    async def payloads(self, jobs: Sequence[NewJob], keyed_by: str = "") -> list[bytes | None]:
        """The payloads of jobs to enqueue, encoded; None for a job of a kind that is never.

        Args:
            jobs: As they were given.
            keyed_by: Stands for the idempotency key of those without one.

        Raises:
            EncodingRequired: A kind wants encrypted payloads, and nothing here encrypts.
            KeyUnknown: Nothing has the primary key.
            Encoded: A payload was not decoded when it was read.
            TypeError, ValueError: A payload is no JSON, makes the job unique, or looks like an envelope and is left as
                it is.
        """
        sealer = await self.sealer()
        found = []
        for number, job in enumerate(jobs, 1):
            found.append(self.payload(sealer, job, keyed_by))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    def payload(self, sealer: Sealer, job: NewJob, keyed_by: str = "") -> bytes | None:
        """One of them."""
        if type(job.payload) is Encoded:
            # Of a schedule that was read: encoded once more it would be decoded to an envelope.
            raise job.payload
        if job.encodings == "never":
            return None
        if job.encodings == "required" and not self.encrypts:
            raise EncodingRequired(
                f"the kind {job.kind} takes encrypted payloads alone; these encodings don't encrypt"
            )
        if job.unique is not None and not job.unique.key:
            raise ValueError(
                f"the payload makes the job of kind {job.kind} unique, and the server can't look into one that is "
                "encoded: give unique.key, which the kind may compute"
            )
        if job.payload_json is not None and job.payload is not None:
            raise ValueError("payload and payload_json are both given; one of them is the payload")
        text = job.payload_json if job.payload_json is not None else encode(job.payload, "payload")
        key = job.idempotency_key if isinstance(job.idempotency_key, str) else keyed_by
        return sealer.sealed(text, Place("payload", job.kind), key or None)

    async def opened(self, text: bytes, place: Place, *, encrypted: bool = False) -> bytes:
        """What was encoded; a text that is no envelope, as it is.

        Args:
            text: The text.
            place: Where it belongs.
            encrypted: Whether it must be encrypted.

        Raises:
            Undecodable: It is damaged, was made for another place, or is not encrypted and must be.
            KeyUnknown: Nothing has its key.
            EncodingUnknown: It was encoded by something else.
        """
        value = _envelope_in(text, place)
        # That what has a key's name is encrypted is looked at below.
        if encrypted and (value is None or not value.get("key_id")):
            raise Undecodable("the kind takes encrypted payloads alone")
        return text if value is None else await self._open(value, place)

    async def _open(self, value: dict[str, Any], place: Place) -> bytes:
        found = envelope.read(value)
        if found.content_type != place.content_type:
            raise Undecodable(f"the envelope's content_type must be {place.content_type}")
        try:
            *before, last = [self._by_name[name] for name in found.encodings]
        except KeyError as error:
            raise EncodingUnknown(f"it was encoded by {error}, which these encodings don't have") from None
        if any(each.key_id for each in before):
            raise Undecodable("what encrypts must be the last of the envelope's encodings")
        if bool(found.key_id) != bool(last.key_id):
            raise Undecodable("the envelope must have a key_id if it is encrypted, and none else")
        key = await last.key(found.key_id) if found.key_id else b""
        authenticated = place.authenticated(found.encodings, found.key_id)
        data = last.decode(found.data, key, authenticated)
        for each in reversed(before):
            data = each.decode(data, key, authenticated)
        return data

    async def read_payload(self, message: job_pb2.NewJob) -> Encoded | None:
        """Decodes the payload in a message that was read.

        Args:
            message: The job. It is changed.

        Returns:
            None: the payload was decoded, or was in plain text. What stands for it: it can't be decoded, and the
            message has its envelope.
        """
        place = Place("payload", message.kind)
        value = _envelope_in(message.payload_json, place)
        if value is not None:
            try:
                message.payload_json = await self._open(value, place)
            except Exception as error:
                return encoded(value, f"{type(error).__name__}: {error}")
        return None

    async def read(
        self, message: job_pb2.Job, replayed: bool = False, action: UniqueAction | None = None
    ) -> Job:
        """The job in an answer, decoded. What can't be decoded is an `Encoded`, and its text the envelope.

        Args:
            message: The job. It is changed.
            replayed: As of `Job`.
            action: As of `Job`.
        """
        values: dict[str, Any] = {}
        for name, place in (
            ("payload", Place("payload", message.kind)),
            ("output", Place("output", message.kind, message.id)),
        ):
            text = getattr(message, f"{name}_json")
            value = _envelope_in(text, place) if text else None
            if value is None:
                continue
            try:
                opened = await self._open(value, place)
                values[name] = decode(opened)
            except Exception as error:
                values[name] = encoded(value, f"{type(error).__name__}: {error}")
            else:
                setattr(message, f"{name}_json", opened)
        # What a producer has put into an envelope may itself look like one, and is not.
        return replace(convert.job(message, replayed, action), **values)


# Not frozen: to make one for each attempt would take three times as long.
@dataclass(slots=True)
class Sealer:
    """Encodes, with one key.

    Attributes:
        steps: The encodings.
        key: Of the last one, if that encrypts.
        keyed_compression: As of `Encodings`.
    """

    steps: tuple[Encoding, ...]
    key: bytes = field(repr=False)
    keyed_compression: bool = False

    def sealed(self, data: bytes, place: Place, idempotency_key: str | None = None) -> bytes:
        """The envelope of some data; the data itself, where no encoding has anything to do with it.

        Raises:
            ValueError: It looks like an envelope, and no encoding has anything to do with it. What reads it would take
                it for one of this side.
            Exception: What an encoding raises. Then nothing may be sent.
        """
        names: list[str] = []
        key_id = ""
        for step in self.steps:
            if idempotency_key is not None and not step.key_id and not self.keyed_compression:
                continue
            # The one that encrypts is the last, so these are all the names of the envelope.
            authenticated = place.authenticated([*names, step.name], step.key_id) if step.key_id else b""
            done = step.encode(data, self.key, authenticated, idempotency_key)
            if done is None:
                if step.key_id:
                    raise ValueError(f"the encoding {step.name} has left something unencrypted")
                continue
            data, key_id = done, step.key_id
            names.append(step.name)
        if names:
            return Envelope(tuple(names), key_id, data, place.content_type).text()
        if data.startswith(envelope.PREFIX) if place.purpose == "checkpoint" else is_envelope(data):
            # It may be a stranger's, who has put into it what was never checked.
            raise ValueError(f"the {place.purpose} looks like an envelope, and nothing here encodes it")
        return data

    def output(self, text: bytes, kind: str, job_id: str) -> bytes:
        """An output, encoded."""
        return self.sealed(text, Place("output", kind, job_id))

    def checkpoint(self, data: bytes, kind: str, job_id: str) -> bytes:
        """A checkpoint, encoded. An empty one stays so: it takes away what is stored."""
        return self.sealed(data, checkpoint_place(kind, job_id)) if data else data


def checkpoint_place(kind: str, job_id: str) -> Place:
    """Where a checkpoint belongs."""
    return Place("checkpoint", kind, job_id, _CHECKPOINT_TYPE)


def _envelope_in(text: bytes, place: Place) -> dict[str, Any] | None:
    if place.purpose != "checkpoint":
        return envelope_in(text)
    if not text.startswith(envelope.PREFIX):
        return None
    value = envelope_in(text)
    if value is None:
        raise Undecodable("the envelope of the checkpoint is cut off")
    return value
