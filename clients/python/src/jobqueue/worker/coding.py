"""Handlers of a worker that has encodings. Loaded where it has some."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from jobqueue.encoded import EncodingUnknown, KeyUnknown, Undecodable
from jobqueue.encodings.base import Place
from jobqueue.encodings.whole import Encodings, Sealer, checkpoint_place
from jobqueue.jobs import EncodingRule, LeasedJob
from jobqueue.new_jobs import new_job_of
from jobqueue.outcomes import Discard
from jobqueue.payload import JsonText, decode, encode
from jobqueue.v1 import lease_pb2 as pb

from .context import JobContext, check_checkpoint, check_size
from .ending import check_output
from .handlers import HandlerFunction, RunIn

T = TypeVar("T")


class OpenedJob(LeasedJob):
    """A job whose payload was decoded: what looks like an envelope in there is a producer's own."""

    __slots__ = ()
    opened = True

    @property
    def payload(self) -> Any:
        """As of LeasedJob."""
        try:
            return self._payload
        except AttributeError:
            self._payload = decode(self._message.payload_json)
            return self._payload


@dataclass(frozen=True, slots=True)
class Coding:
    """What a worker's encodings do for the jobs of one handler.

    Attributes:
        encodings: The worker's.
        own: Whether payloads, outputs and checkpoints of the kind are encoded; its follow-ups may be in any case.
        required: Whether payloads of the kind must be encrypted, whatever a server was told of its names.
    """

    encodings: Encodings
    own: bool
    required: bool = False

    async def begin(self, context: JobContext) -> Begun:
        """Decodes the job of an attempt, and lets its checkpoints be encoded.

        Raises:
            Discard: It can't be decoded by any key, or is in plain text and must not be; from PayloadUnreadable. The
                job keeps its payload.
            Snooze: A key or an encoding is not here: it may come.
            KeyUnknown, EncodingUnknown: The same, and it has not come for long.
        """
        job = context.job
        try:
            sealer = await self.encodings.sealer()
            message = await self._opened(job.message) if self.own else job.message
        except Undecodable as error:
            from jobqueue.typed.kind import PayloadUnreadable

            unreadable = PayloadUnreadable(str(error))
            raise Discard(str(unreadable)) from unreadable
        except (KeyUnknown, EncodingUnknown):
            from jobqueue.typed.kind import later

            snooze = later(job)
            if snooze is None:
                raise
            raise snooze from None
        context.rules = {}
        if self.own:
            context.job = OpenedJob(message)
            context.encode_checkpoints(lambda data: _checkpoint(sealer, data, job))
        return Begun(self, sealer, message)

    def begin_now(self, context: JobContext) -> Begun:
        """The same in a thread."""
        work = self.begin(context)
        return _waited(work) if self.encodings.asks else _at_once(work)

    async def _opened(self, message: pb.LeasedJob) -> pb.LeasedJob:
        opened = pb.LeasedJob()
        opened.CopyFrom(message)
        place = Place("payload", message.kind)
        opened.payload_json = await self.encodings.opened(
            message.payload_json, place, encrypted=self.required
        )
        if message.checkpoint:
            place = checkpoint_place(message.kind, message.id)
            opened.checkpoint = await self.encodings.opened(message.checkpoint, place)
        return opened

    async def seal(self, message: pb.LeasedJob) -> None:
        """Encodes the payload and the checkpoint of a job, as its producer and its attempts do. For tests of users."""
        if self.own:
            sealer = await self.encodings.sealer()
            message.payload_json = sealer.sealed(message.payload_json, Place("payload", message.kind))
            message.checkpoint = sealer.checkpoint(message.checkpoint, message.kind, message.id)

    async def open(self, message: pb.LeasedJob, outcome: pb.Outcome, checkpoints: list[bytes]) -> None:
        """Decodes what came of it, each in its place. For tests of users."""
        if self.own:
            if outcome.success.output_json:
                place = Place("output", message.kind, message.id)
                outcome.success.output_json = await self.encodings.opened(outcome.success.output_json, place)
            place = checkpoint_place(message.kind, message.id)
            checkpoints[:] = [await self.encodings.opened(each, place) for each in checkpoints]
        for each in outcome.success.follow_ups:
            each.payload_json = await self.encodings.opened(each.payload_json, Place("payload", each.kind))


# Not frozen, as Sealer.
@dataclass(slots=True)
class Begun:
    """An attempt whose job was decoded.

    Attributes:
        coding: What decoded it.
        sealer: Encodes what comes of it, with the key that was the primary one at its beginning.
        message: The job, decoded.
    """

    coding: Coding
    sealer: Sealer = field(repr=False)
    message: pb.LeasedJob = field(repr=False)

    def answer(self, context: JobContext, value: Any) -> Any:
        """What a handler returned, encoded, as are its follow-ups.

        Raises:
            Exception: What an encoding raises: the attempt has failed, and nothing of it is sent.
        """
        if context.follow_ups:
            self._seal(context.follow_ups, context.rules)
        if value is None or not self.coding.own:
            return value
        return JsonText(self._output(encode(value, "the handler's output")))

    def outcome(self, outcome: pb.Outcome, rules: Mapping[int, EncodingRule]) -> None:
        """The same of an outcome that came from a process."""
        success = outcome.success
        if outcome.WhichOneof("outcome") == "success":
            self._seal(success.follow_ups, rules)
            if success.output_json and self.coding.own:
                success.output_json = self._output(success.output_json)

    def _output(self, text: bytes) -> bytes:
        sealed = self.sealer.output(text, self.message.kind, self.message.id)
        check_output(sealed)
        return sealed

    def _seal(self, follow_ups: Any, rules: Mapping[int, EncodingRule]) -> None:
        encodings = self.coding.encodings
        for number, message in enumerate(follow_ups):
            job = replace(new_job_of(message), encodings=rules.get(number, ""))
            if (sealed := encodings.payload(self.sealer, job)) is not None:
                message.payload_json = sealed
        check_size(follow_ups)


def added(function: HandlerFunction, coding: Coding, run_in: RunIn) -> HandlerFunction:
    """A handler with encodings around it, and around its middleware.

    That of a process is as it was: its job is decoded in this one, so that no key is needed there.
    """
    if run_in == "process":
        return function
    if run_in == "thread":

        def handle_plain(context: JobContext) -> Any:
            begun = coding.begin_now(context)
            return begun.answer(context, function(context))

        return handle_plain

    async def handle(context: JobContext) -> Any:
        begun = await coding.begin(context)
        return begun.answer(context, await function(context))

    return handle


def _checkpoint(sealer: Sealer, data: bytes, job: LeasedJob) -> bytes:
    sealed = sealer.checkpoint(data, job.kind, job.id)
    check_checkpoint(sealed)
    return sealed


def _waited(work: Coroutine[Any, Any, T]) -> T:
    # On the loop of SyncClient: keys that are asked for are asked for there.
    from jobqueue.sync import run_waiting

    return run_waiting(work)


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """Runs what waits for nothing, since its keys are at hand."""
    try:
        work.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    work.close()
    raise RuntimeError("an encoding that waits for its key must say so: `asks` is True")
