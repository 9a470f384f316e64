"""A kind, declared once: its name, the types of its payload and output, and the defaults of its jobs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, Unpack, cast, get_args, overload

from ..encoded import ENVELOPE, MARK, Encoded, encoded
from ..errors import FieldViolation, PayloadInvalid
from ..jobs import (
    VERSION_HEADER,
    Auto,
    EncodingRule,
    Job,
    Kind,
    LeasedJob,
    NewJob,
    RetryPolicy,
    Status,
    Unique,
)
from ..outcomes import Discard, Snooze
from ..payload import JsonText
from ..payload import decode as read
from .codec import Codec, Custom
from .shapes import Mismatch, Schema

if TYPE_CHECKING:
    # What types are that are no classes, such as a union, a Literal, an Annotated.
    from types import UnionType
    from typing import _SpecialForm

P = TypeVar("P")
R = TypeVar("R")

#: A payload that is newer than the worker waits so often, for about half an hour in all.
MOST_SNOOZES = 20
_SNOOZE = timedelta(seconds=15)
_LONGEST_SNOOZES = 8
#: What a kind says for all its jobs. The first are settings of the server, which `sync_kinds` tells it.
_SYNCED = ("max_attempts", "timeout", "retry_policy")
_DEFAULTS = (*_SYNCED, "queue", "priority")


class PayloadUnreadable(Exception):
    """A payload is of a version that is known here, and is not what that version says."""


class PayloadTooNew(Exception):
    """A payload is of a version that this program does not know."""


class JobNotSucceeded(Exception):
    """A job has no output, since it has not ended as SUCCEEDED.

    Attributes:
        job: The job.
    """

    def __init__(self, job: Job) -> None:
        why = ": ".join(each for each in (job.reason, job.last_error) if each)
        super().__init__(f"the job {job.id} is {job.status.value}" + (f" ({why})" if why else ""))
        self.job = job


@dataclass(frozen=True, slots=True)
class Upcast:
    """How a payload of an older version becomes one of the next.

    Attributes:
        function: Takes the JSON value of that version, and answers that of the next one. It changes nothing else.
        of: The type of that version, for the schema. None: any object.
    """

    function: Callable[[Any], Any]
    of: Any = None


class JobOptions(TypedDict, total=False):
    """What can be said of one job, as in `NewJob`, besides its kind and payload."""

    queue: str
    priority: int
    run_at: datetime | None
    delay: timedelta | None
    max_attempts: int | None
    timeout: timedelta | None
    retry_policy: RetryPolicy | None
    idempotency_key: str | Auto | None
    labels: Mapping[str, str] | None
    headers: Mapping[str, str] | None
    hold: bool
    key: str
    unique: Unique | None


class EnqueueOptions(JobOptions, total=False):
    """What `enqueue` takes beside the kind and the payload. `deadline` is for the call."""

    deadline: timedelta | None


class KindOptions(TypedDict, total=False):
    """What can be said of a kind besides its name and its types: see `define_kind`."""

    version: int
    upcasters: Mapping[int, Upcast | Callable[[Any], Any]]
    aliases: Sequence[str]
    max_attempts: int | None
    timeout: timedelta | None
    retry_policy: RetryPolicy | None
    queue: str
    priority: int
    strict: bool
    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    schema: Schema
    encodings: EncodingRule
    slot_weight: int | None


@dataclass(frozen=True, eq=False, repr=False)
class JobKind(Generic[P, R]):
    """A kind, as `define_kind` makes it. It knows no client and no worker, and all of them take it.

    Attributes:
        name: Its name.
        payload: Decodes, encodes and describes its payloads.
        output: The same for its outputs; None: it has none.
        version: Of its payload, from 1.
        upcasters: By the version from which each leads to the next one.
        aliases: Older names, whose jobs its handler gets as well.
        defaults: What its jobs say where they say nothing themselves.
        key: Answers the key of a job by its payload; None: it has none.
        unique: What makes its jobs unique, or answers that by the payload; None: nothing.
        strict: Whether objects refuse fields that they don't know.
        encodings: Whether payloads are encoded, as `define_kind` says it.
        slot_weight: How many slots of a worker each of its jobs takes. None: as the server has it.
    """

    name: str
    payload: Codec
    output: Codec | None
    version: int = 1
    upcasters: Mapping[int, Upcast] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    defaults: JobOptions = field(default_factory=JobOptions)
    key: Callable[[Any], str] | None = None
    unique: Unique | Callable[[Any], Unique | None] | None = None
    strict: bool = False
    encodings: EncodingRule = ""
    slot_weight: int | None = None

    def __repr__(self) -> str:
        return f"<JobKind {self.name!r}, version {self.version}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"{self!r} can't be pickled: import it, as its producers and workers do")

    def new(self, payload: P, **options: Unpack[JobOptions]) -> NewJob:
        """A job of this kind, for `enqueue`, `enqueue_many` and `ctx.follow_up`.

        Args:
            payload: Of the kind's type.
            options: As in `NewJob`. What is given wins over what the kind says.

        Raises:
            PayloadInvalid: The payload is not of its type; `violations` says where, and what would be right. It is the
                error with which a server refuses what does not satisfy the schema.
        """
        try:
            text = self.payload.encode(payload).raw
        except Mismatch as mismatch:
            where, words = f"payload{mismatch.path}", f"must be {mismatch.expected}"
            raise PayloadInvalid(
                f"{where}: {words}{_not(payload, mismatch)}",
                code="INVALID_ARGUMENT",
                reason="PAYLOAD_INVALID",
                violations=[FieldViolation(where, words)],
            ) from None
        said: JobOptions = {**self.defaults, **options}
        if self.version > 1:
            said["headers"] = {**(said.get("headers") or {}), VERSION_HEADER: str(self.version)}
        if self.key is not None and "key" not in said:
            said["key"] = self.key(payload)
        if self.unique is not None and "unique" not in said:
            said["unique"] = self.unique(payload) if callable(self.unique) else self.unique
        return NewJob(self.name, payload_json=text, encodings=self.encodings, **said)

    def as_said(self, payload: P, job: NewJob) -> NewJob:
        """As `new`, with what a job says that has no payload: each option of it that is not the default.

        Raises:
            TypeError: It has a payload as JSON text.
            PayloadInvalid: As `new`.
        """
        if job.payload_json is not None:
            raise TypeError(f"payload_json beside {self!r}: a typed kind takes a payload of its type")
        plain = NewJob(job.kind)
        said = {name: getattr(job, name) for name in JobOptions.__annotations__}
        given = {name: value for name, value in said.items() if value != getattr(plain, name)}
        return self.new(payload, **cast(JobOptions, given))

    def payload_of(self, job: Job) -> P:
        """The payload of a job that was read.

        Raises:
            ValueError: The job is of another kind, or was read without its payload: `get`, or `full=True`.
            Encoded: It is encoded, and the client has not decoded it.
            PayloadUnreadable: It is not of its type.
            PayloadTooNew: It is of a version that this program does not know.
        """
        self._check(job)
        if job.payload_json is None:
            raise ValueError(f"the job {job.id} was read without its payload: use get(), or full=True")
        if type(job.payload) is Encoded:
            raise job.payload
        return self._read(job.payload_json, job.headers)

    def output_of(self, job: Job) -> R:
        """The output of a job that has succeeded.

        Raises:
            JobNotSucceeded: It ended otherwise, or has not ended.
            ValueError: The job is of another kind, or was read without its output.
            Encoded: The output is encoded, and the client has not decoded it.
            PayloadUnreadable: The output is not of its type.
        """
        self._check(job)
        if job.status is not Status.SUCCEEDED:
            raise JobNotSucceeded(job)
        if self.output is None:
            return None  # type: ignore[return-value]
        if job.output_json is None:
            raise ValueError(f"the job {job.id} was read without its output: use get(), or full=True")
        if type(job.output) is Encoded:
            raise job.output
        try:
            found: R = self.output.decode(job.output_json)
        except Mismatch as mismatch:
            raise PayloadUnreadable(f"output{mismatch.path}: must be {mismatch.expected}") from None
        return found

    def payload_in(self, job: LeasedJob) -> P:
        """The payload of an attempt, for the worker.

        Raises:
            Discard: It is not of its type, or is encoded and was not decoded; from PayloadUnreadable. The job keeps its
                payload.
            Snooze: It is of a later version: a worker that knows it may come.
            PayloadTooNew: The same, and none has come for long.
        """
        try:
            return self._read(job.payload_json, job.headers, opened=job.opened)
        except PayloadUnreadable as error:
            raise Discard(str(error)) from error
        except PayloadTooNew:
            snooze = later(job)
            if snooze is None:
                raise
            raise snooze from None

    def output_text(self, output: R) -> JsonText | None:
        """What a handler answered, as JSON; None: it has no output.

        Raises:
            TypeError: It is not of its type.
        """
        if self.output is None:
            if output is not None:
                raise TypeError(
                    f"the handler of {self.name} returned a {type(output).__name__}; the kind has no output: "
                    "return None, or declare output="
                )
            return None
        try:
            return self.output.encode(output)
        except Mismatch as mismatch:
            if output is None:
                raise TypeError(
                    f"the handler of {self.name} returned nothing, and the output must be {mismatch.expected}"
                ) from None
            raise TypeError(
                f"the handler of {self.name} returned a {type(output).__name__}: output{mismatch.path} must be "
                f"{mismatch.expected}"
            ) from None

    def schema(self, *, encodes: bool = False) -> Schema:
        """The JSON Schema of its payloads: of this version, or of an older one for which there is an upcaster.

        So producers of an older version are not refused while programs of both run. A payload that is encoded is one of
        its payloads too, as `encodings` says it; of a kind that requires it, there is no other.

        Args:
            encodes: Whether the program has encodings, which a kind that says nothing of them allows.
        """
        if self.encodings == "required":
            return _versioned({**ENVELOPE, "required": [*ENVELOPE["required"], "key_id"]}, self.version)
        branches = [_versioned(self.payload.schema(), self.version)]
        for version in sorted(self.upcasters, reverse=True):
            of = self.upcasters[version].of
            older = {"type": "object"} if of is None else Codec(of, self.name, strict=self.strict).schema()
            branches.append(_versioned(older, version))
        if self.encodings == "allowed" or (encodes and not self.encodings):
            # Behind the others: the first of a version is the one by which a server says what is wrong.
            branches.append(_versioned(ENVELOPE, self.version))
        if len(branches) == 1:
            return branches[0]
        definitions: dict[str, Any] = {}
        return {
            "anyOf": [_lifted(each, definitions, number) for number, each in enumerate(branches)],
            "$defs": definitions,
        }

    def output_schema(self) -> Schema | None:
        """The JSON Schema of its outputs; None: it has none."""
        return None if self.output is None else self.output.schema()

    def declaration(self, *, encodes: bool = False) -> tuple[Kind, list[str]]:
        """What `sync_kinds` says of the kind, and the names of what it says; the server leaves the rest as it is.

        Args:
            encodes: As of `schema`.
        """
        said: dict[str, Any] = {
            name: value for name in _SYNCED if (value := self.defaults.get(name)) is not None
        }
        if self.slot_weight is not None:
            said["slot_weight"] = self.slot_weight
        kind = Kind(
            name=self.name,
            schema=self.schema(encodes=encodes),
            version=self.version,
            output_schema=self.output_schema(),
            **said,
        )
        return kind, ["schema", "output_schema", "version", *said]

    def _check(self, job: Job) -> None:
        if job.kind != self.name and job.kind not in self.aliases:
            raise ValueError(f"the job {job.id} is of the kind {job.kind}, not {self.name}")

    def _read(self, text: bytes, headers: Mapping[str, str], *, opened: bool = True) -> P:
        said = headers.get(VERSION_HEADER, "1")
        version = int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0
        if version < 1:
            raise PayloadUnreadable(f"headers.{VERSION_HEADER}: must be the number of a version, from 1")
        if version > self.version:
            raise PayloadTooNew(f"the payload has version {version}; this program knows {self.version}")
        value = read(text)
        if not opened and type(value) is dict and MARK in value:
            # A type that takes any object, or has a default for each field, would take it for a payload.
            raise PayloadUnreadable(f"payload: {encoded(value, 'the worker does not decode this kind')}")
        for older in range(version, self.version):
            if older not in self.upcasters:
                raise PayloadUnreadable(
                    f"the payload has version {version}, and the kind has no upcaster from {older} on"
                )
            try:
                value = self.upcasters[older].function(value)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                # Not from that: its words may quote the payload, which may have been encrypted.
                raise PayloadUnreadable(
                    f"the payload has version {version}, and its upcaster from {older} on failed with "
                    f"{type(error).__name__}"
                ) from None
        try:
            found: P = self.payload.value(value)
        except Mismatch as mismatch:
            raise PayloadUnreadable(f"payload{mismatch.path}: must be {mismatch.expected}") from None
        return found


@overload
def define_kind(
    name: str,
    payload: type[P],
    *,
    output: None = None,
    key: Callable[[P], str] | None = None,
    unique: Unique | Callable[[P], Unique | None] | None = None,
    **options: Unpack[KindOptions],
) -> JobKind[P, None]: ...
@overload
def define_kind(
    name: str,
    payload: type[P],
    *,
    output: type[R],
    key: Callable[[P], str] | None = None,
    unique: Unique | Callable[[P], Unique | None] | None = None,
    **options: Unpack[KindOptions],
) -> JobKind[P, R]: ...
@overload
def define_kind(
    name: str,
    payload: type[P],
    *,
    output: UnionType | _SpecialForm,
    key: Callable[[P], str] | None = None,
    unique: Unique | Callable[[P], Unique | None] | None = None,
    **options: Unpack[KindOptions],
) -> JobKind[P, Any]: ...
@overload
def define_kind(
    name: str,
    payload: UnionType | _SpecialForm | None = ...,
    *,
    output: Any = ...,
    key: Callable[[Any], str] | None = None,
    unique: Unique | Callable[[Any], Unique | None] | None = None,
    **options: Unpack[KindOptions],
) -> JobKind[Any, Any]: ...
def define_kind(
    name: str,
    payload: Any = Any,
    *,
    output: Any = None,
    key: Callable[[Any], str] | None = None,
    unique: Unique | Callable[[Any], Unique | None] | None = None,
    **options: Unpack[KindOptions],
) -> JobKind[Any, Any]:
    """Declares a kind, for its producers and its workers. It knows no server, and is registered nowhere.

        @dataclass
        class SendEmail:
            to: str
            subject: str = ""

        send_email = define_kind("send_email", SendEmail, max_attempts=5)
        await client.enqueue(send_email, SendEmail("ada@example.org"))

    Args:
        name: The kind's name.
        payload: The type of its payloads: a dataclass, a TypedDict, a NamedTuple, a pydantic model, a Struct of
            msgspec, or what is built in (`jobqueue.typed.shapes` lists it). Default: any JSON.
        output: The type of its outputs. None: it has none.
        key: Answers the key of a job by its payload.
        unique: Of its jobs, or a function that answers it by the payload.
        options: `version`, from 1: one more with each change that makes older payloads unreadable. `upcasters`: by the
            version from which each leads to the next one, a function from JSON value to JSON value, or an `Upcast`.
            `aliases`: older names of the kind, whose jobs its handler gets as well. `max_attempts`, `timeout`,
            `retry_policy`, `queue` and `priority`: of its jobs, where `new` is not given others. `strict`: refuses
            fields that are not known, instead of passing them over. `decode`, `encode` and `schema`, all three: for a
            type that has no form in JSON here; they take and answer what `json` does. `encodings`: "never", "allowed"
            or "required": whether payloads, outputs and checkpoints are encoded where a program has `encodings`.
            "required" takes encrypted payloads alone: a program that can't encrypt refuses to enqueue, and a server
            that was told by `sync_kinds` refuses plain text. `slot_weight`: how many slots of a worker each of its jobs
            takes, 1 to 1000; `sync_kinds` tells the server.

    Raises:
        ValueError: A version is out of its range, or `encodings` is none of its words.
        TypeError: A type has no form in JSON, or options contradict each other.
    """
    version, aliases = options.get("version", 1), options.get("aliases", ())
    if isinstance(aliases, str):
        raise TypeError(f"aliases is {aliases!r}; it must be a list, for example [{aliases!r}]")
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"version={version!r} of kind {name!r}: a version is a whole number from 1 on")
    upcasters = {
        number: each if isinstance(each, Upcast) else Upcast(each)
        for number, each in options.get("upcasters", {}).items()
    }
    if wrong := [number for number in upcasters if not 1 <= number < version]:
        raise ValueError(
            f"an upcaster of kind {name!r} is from version {wrong[0]} on: each leads from a version below {version} to "
            "the next one"
        )
    rule = options.get("encodings", "")
    if rule not in get_args(EncodingRule):
        raise ValueError(f"encodings={rule!r} of kind {name!r}: it is 'never', 'allowed' or 'required'")
    strict = options.get("strict", False)
    own = [options.get(each) for each in ("decode", "encode", "schema")]
    if any(own) and not all(own):
        raise TypeError(f"kind {name!r}: decode=, encode= and schema= go together")
    if "decode" in options:
        codec: Codec = Custom(options["decode"], options["encode"], options["schema"], strict=strict)
    else:
        codec = Codec(payload, f"{name}.payload", strict=strict)
    return JobKind(
        name,
        codec,
        None if output is None else Codec(output, f"{name}.output", strict=strict),
        version,
        upcasters,
        tuple(aliases),
        cast(JobOptions, {name: value for name, value in options.items() if name in _DEFAULTS}),
        key,
        unique,
        strict,
        rule,
        options.get("slot_weight"),
    )


def later(job: LeasedJob) -> Snooze | None:
    """The wait of a job for a worker that can read it; None: it has waited for about half an hour."""
    waited = job.attempt - job.failures
    if waited > MOST_SNOOZES:
        return None
    return Snooze(_SNOOZE * min(waited, _LONGEST_SNOOZES) * random.uniform(0.75, 1.25))


def _not(given: Any, mismatch: Mismatch) -> str:
    """What was given where a payload as a whole is of another type; nothing where its type is not what is wrong."""
    if mismatch.path or not re.fullmatch(r"an? [\w. ]+", mismatch.expected):
        return ""
    name = type(given).__name__
    return ", not None" if given is None else f", not {'an' if name[0] in 'aeiou' else 'a'} {name}"


def _versioned(schema: Schema, version: int) -> Schema:
    return {**schema, "x-payload-version": version}


def _lifted(schema: Schema, definitions: dict[str, Any], number: int) -> Schema:
    """A branch without its definitions, which go to the whole under names of their own."""
    inner = schema.get("$defs", {})
    definitions.update({f"{name}.{number}": _renamed(each, number) for name, each in inner.items()})
    return _renamed({name: each for name, each in schema.items() if name != "$defs"}, number)  # type: ignore[no-any-return]


def _renamed(schema: Any, number: int) -> Any:
    if isinstance(schema, list):
        return [_renamed(each, number) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: f"{each}.{number}" if name == "$ref" and isinstance(each, str) else _renamed(each, number)
        for name, each in schema.items()
    }
