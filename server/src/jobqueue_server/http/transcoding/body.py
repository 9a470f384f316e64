"""Reads JSON bodies into messages by strict ProtoJSON. Raw JSON is kept as text, where the options say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from .errors import MOST_PROBLEMS, Problem, nearest, shown, together
from .fields import claim_oneof, given_by_callers, is_map, message_of, names
from .options import Options
from .scalars import described, key_reader, token_reader
from .structs import STRUCTS
from .tokens import Text
from .wellknown import filler

# Reads the value at a position of the text into a field of a message. Answers the position after the value.
_Reader = Callable[[Any, Text, int], int]


class BodyReader:
    """Fills messages from JSON. It caches what it needs to know of each message type.

    Args:
        options: `raw_json`, `case_insensitive_enum_parsing` and `ignore_unknown_fields` count here.
    """

    def __init__(self, options: Options) -> None:
        self._raw_pairs = options.raw_pairs
        self._any_case = options.case_insensitive_enum_parsing
        self._ignore_unknown = options.ignore_unknown_fields
        self._tables: dict[Descriptor, dict[str, tuple[str, _Reader]]] = {}

    def read_message(self, message: Any, body: bytes) -> None:
        """Fills a message from a body, which must have the JSON form of the message's type, mostly an object.

        Raises:
            Problem: Fields are wrong: all that were found, each with its path.
            TranscodingError: 400; it is not JSON.
        """
        text = Text(body)
        self._whole(text, lambda at: self._into(message, text, at))

    def read_field(self, message: Any, field: FieldDescriptor, body: bytes) -> None:
        """Fills one field of a message from a body with only the field's value. Raises as `read_message`."""
        text = Text(body)
        _, reader = self._table(message.DESCRIPTOR)[field.name]

        def read(at: int) -> int:
            if text.text.startswith("null", at) and not _takes_null(field):
                what = "list" if field.is_repeated and not is_map(field) else "object"
                raise Problem(f"must be a JSON {what}; the body is null", field.name)
            try:
                return reader(message, text, at)
            except Problem as problem:
                for each in problem.each():
                    _say_where_it_belongs(each, message.DESCRIPTOR, field)
                raise problem.under(field.name) from None

        self._whole(text, read)

    def _whole(self, text: Text, read: Callable[[int], int]) -> None:
        end = text.skip(read(text.skip(0)))
        if end != len(text.text):
            raise text.broken("Expecting the end of the body", end)

    def _into(self, message: Any, text: Text, at: int) -> int:
        """Reads a whole message of any type that starts at a position."""
        descriptor = message.DESCRIPTOR
        struct = STRUCTS.get(descriptor.full_name)
        fill = struct or filler(descriptor, self._any_case, text=False)
        if fill is not None:
            value, end = text.value(at)
            fill(message, value)
            return end
        if descriptor.full_name == "google.protobuf.Any":
            return self._any(message, text, at)
        return self._object(message, text, at)

    def _object(self, message: Any, text: Text, at: int, ignored: Iterable[str] = ()) -> int:
        if text.at(at) != "{":
            raise Problem(f"must be a JSON object; it is {described(text.value(at)[0])}")
        table = self._table(message.DESCRIPTOR)
        seen: set[str] = set()
        found: list[Problem] = []
        for key, place in text.members(at):
            name, reader = table.get(key, (key, None))
            try:
                if reader is None:
                    if key not in ignored and not self._ignore_unknown:
                        known = given_by_callers(message.DESCRIPTOR)
                        raise Problem(f"is not a field of {message.DESCRIPTOR.name}{nearest(key, known)}")
                    text.end = text.value(place)[1]
                    continue
                if name in seen:
                    raise Problem("is given twice")
                seen.add(name)
                text.end = reader(message, text, place)
            except Problem as problem:
                _keep(found, problem, name, text, place)
        if found:
            raise together(found, end=text.end)
        return text.end

    def _table(self, descriptor: Descriptor) -> dict[str, tuple[str, _Reader]]:
        table = self._tables.get(descriptor)
        if table is None:
            table = {name: (field.name, self._reader(field)) for name, field in names(descriptor).items()}
            for raw in self._raw_pairs(descriptor.full_name):
                value, target = (descriptor.fields_by_name[name] for name in raw)
                reader = _raw_reader(value, target)
                table[target.name] = table[target.json_name] = (
                    target.name,
                    _unless_set(value, target, table[target.name][1]),
                )
                table[value.name] = table[value.json_name] = (value.name, reader)
            self._tables[descriptor] = table
        return table

    def _reader(self, field: FieldDescriptor) -> _Reader:
        if is_map(field):
            return self._map_reader(field)
        if field.is_repeated:
            return self._list_reader(field)
        takes_null = _takes_null(field)
        read = self._single_reader(field)
        if field.containing_oneof is not None:
            read = _in_oneof(field, read)

        def read_unless_null(message: Any, text: Text, at: int) -> int:
            if text.text.startswith("null", at) and not takes_null:
                return at + 4
            return read(message, text, at)

        return read_unless_null

    def _single_reader(self, field: FieldDescriptor) -> _Reader:
        name = field.name
        if field.message_type is not None:

            def read_message(message: Any, text: Text, at: int) -> int:
                inner = getattr(message, name)
                inner.SetInParent()
                return self._into(inner, text, at)

            return read_message
        convert = self._converter(field)

        def read_scalar(message: Any, text: Text, at: int) -> int:
            value, end = text.value(at)
            setattr(message, name, convert(value))
            return end

        return read_scalar

    def _converter(self, field: FieldDescriptor) -> Callable[[Any], Any]:
        """The converter from a token to a value of a scalar field. Messages are filled, not converted."""
        if field.message_type is not None:
            return _same
        read = token_reader(field, self._any_case)
        if _takes_null(field):
            return lambda token: 0 if token is None else read(token)
        return read

    def _list_reader(self, field: FieldDescriptor) -> _Reader:
        name = field.name
        takes_null = _takes_null(field)
        is_message = field.message_type is not None
        convert = self._converter(field)

        def read(message: Any, text: Text, at: int) -> int:
            if text.text.startswith("null", at):
                return at + 4
            if text.at(at) != "[":
                raise Problem(f"must be a list; it is {described(text.value(at)[0])}")
            items = getattr(message, name)
            found: list[Problem] = []
            for index, place in enumerate(text.items(at)):
                try:
                    if text.text.startswith("null", place) and not takes_null:
                        raise Problem("must not be null: it is an item of a list")
                    if is_message:
                        text.end = self._into(items.add(), text, place)
                    else:
                        value, text.end = text.value(place)
                        items.append(convert(value))
                except Problem as problem:
                    _keep(found, problem, f"[{index}]", text, place)
            if found:
                raise together(found, end=text.end)
            return text.end

        return read

    def _map_reader(self, field: FieldDescriptor) -> _Reader:
        name = field.name
        key_of = key_reader(message_of(field).fields_by_name["key"], self._any_case)
        value_field = message_of(field).fields_by_name["value"]
        is_message = value_field.message_type is not None
        takes_null = _takes_null(value_field)
        convert = self._converter(value_field)

        def read(message: Any, text: Text, at: int) -> int:
            if text.text.startswith("null", at):
                return at + 4
            if text.at(at) != "{":
                raise Problem(f"must be an object; it is {described(text.value(at)[0])}")
            entries = getattr(message, name)
            found: list[Problem] = []
            for key, place in text.members(at):
                try:
                    entry = key_of(key)
                    if entry in entries:
                        raise Problem("is given twice")
                    if text.text.startswith("null", place) and not takes_null:
                        raise Problem("must not be null: it is a value of a map")
                    if is_message:
                        text.end = self._into(entries[entry], text, place)
                    else:
                        value, text.end = text.value(place)
                        entries[entry] = convert(value)
                except Problem as problem:
                    _keep(found, problem, f"[{key[:60]}]", text, place)
            if found:
                raise together(found, end=text.end)
            return text.end

        return read

    def _any(self, message: Any, text: Text, at: int) -> int:
        members, end = text.value(at)
        if not isinstance(members, dict):
            raise Problem(f"must be a JSON object; it is {described(members)}")
        if not members:
            return end
        url = members.get("@type")
        if not isinstance(url, str) or "/" not in url:
            raise Problem('needs "@type", as type.googleapis.com/package.Message')
        try:
            descriptor = message.DESCRIPTOR.file.pool.FindMessageTypeByName(url.rsplit("/", 1)[1])
        except KeyError:
            raise Problem(f"is of a type that this server does not know: {shown(url)}", "@type") from None
        inner = GetMessageClass(descriptor)()
        if descriptor.full_name in STRUCTS or filler(descriptor, self._any_case, text=False) is not None:
            for key, place in text.members(at):
                if key == "value":
                    text.end = self._into(inner, text, place)
                elif key == "@type":
                    text.end = text.value(place)[1]
                else:
                    raise Problem(
                        f'is no member of such an Any; known are "@type" and "value" ({shown(url)})', key
                    )
        else:
            self._object(inner, text, at, ignored=("@type",))
        message.type_url = url
        message.value = inner.SerializeToString(deterministic=True)
        return end


def _keep(found: list[Problem], problem: Problem, step: str, text: Text, place: int) -> None:
    """Keeps the problem of a member and skips the member, so that one error names all problems.

    Raises:
        Problem: All problems so far: their number is at the limit, or the rest can't be read.
    """
    found += problem.under(step).each()
    enough = len(found) >= MOST_PROBLEMS
    try:
        text.pass_over(place, problem)
    except Problem as another:
        if another is not problem:
            found += another.under(step).each()
        enough = True
    if enough:
        raise together(found, stops=True) from None


def _say_where_it_belongs(problem: Problem, request: Descriptor, body: FieldDescriptor) -> None:
    """Of a field that is none of the body's message, but of the request around it."""
    name = problem.path
    if name not in request.fields_by_name or name in message_of(body).fields_by_name:
        return
    if name == body.name:
        problem.description = f"must be left out: the body is the {name} itself"
    else:
        problem.description = f"is a parameter of the query, not of the body: ?{name}=..."


def _same(token: Any) -> Any:
    return token


def _takes_null(field: FieldDescriptor) -> bool:
    """Whether null is a value of the field's type, and does not mean that the value is missing."""
    if field.message_type is not None:
        return field.message_type.full_name == "google.protobuf.Value"
    return field.enum_type is not None and field.enum_type.full_name == "google.protobuf.NullValue"


def _in_oneof(field: FieldDescriptor, read: _Reader) -> _Reader:
    def claim_and_read(message: Any, text: Text, at: int) -> int:
        claim_oneof(message, field)
        return read(message, text, at)

    return claim_and_read


def _unless_set(value: FieldDescriptor, target: FieldDescriptor, read: _Reader) -> _Reader:
    """Refuses the second one of the two names of a field of raw JSON."""

    def read_once(message: Any, text: Text, at: int) -> int:
        if getattr(message, target.name) or (target.has_presence and message.HasField(target.name)):
            raise Problem(f"only one of {target.name} and {value.name} may be set")
        return read(message, text, at)

    return read_once


def _raw_reader(value: FieldDescriptor, target: FieldDescriptor) -> _Reader:
    """Puts the text of any JSON value, also null, into a field of bytes."""

    def read(message: Any, text: Text, at: int) -> int:
        claim_oneof(message, target)
        end = text.value(at)[1]
        setattr(message, target.name, text.text[at:end].encode())
        return end

    return _unless_set(value, target, read)
