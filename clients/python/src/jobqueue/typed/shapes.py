"""What JSON has for Python's own types: a shape decodes, encodes and describes the values of one type.

| type | JSON |
|---|---|
| `None`, `bool`, `int`, `float`, `str` | the same; `2.0` is an `int` too, NaN and infinities are no JSON |
| `list`, `tuple`, `set`, `frozenset`, `Sequence` | array |
| `dict` and `Mapping` with keys of `str` | object |
| TypedDict, NamedTuple, dataclasses | object; fields that are not known are passed over |
| `Literal`, `Enum` (by its values), unions (the first member that fits) | that of their values |
| `datetime` | RFC 3339 with an offset |
| `date`, `UUID` | `2026-11-28`, `9d5c...` |
| `Decimal` | a string such as `"1.50"`; a number is taken too |
| `timedelta` | ISO 8601: `"P1DT2H30M"`, without years and months |
| `Any`, `object` | any |
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import itertools
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NotRequired, Required, TypeVar, Union
from uuid import UUID

#: A JSON Schema.
Schema = dict[str, Any]


class Mismatch(Exception):
    """A value is not of its type.

    Attributes:
        path: Where, such as `.items[2].to`; empty: the value as a whole.
        expected: What would be right. Never the value itself, which may be a secret.
    """

    def __init__(self, expected: str, path: str = "") -> None:
        super().__init__(expected, path)
        self.expected = expected
        self.path = path

    def __str__(self) -> str:
        return f"{self.path or 'the value'}: must be {self.expected}"

    def within(self, step: str) -> None:
        """Puts a step before the path: only what is wrong costs one."""
        self.path = step + self.path


class Unsupported(TypeError):
    """A type has no shape."""


class Shape:
    """Values of one type. Each method raises Mismatch where a value is not one.

    Attributes:
        same: What is of just these types is a value, and the same in JSON.
    """

    same: frozenset[type] = frozenset()

    def decode(self, value: Any) -> Any:
        """The value that a JSON value, as `json.loads` has it, stands for."""
        raise NotImplementedError

    def encode(self, value: Any) -> Any:
        """The JSON value, as `json.dumps` takes it, of a value."""
        raise NotImplementedError

    def schema(self, names: Names) -> Schema:
        """The JSON Schema of what `decode` takes; calendars apart: it takes the 30th of February."""
        raise NotImplementedError


class Names:
    """The definitions of a schema: types that hold themselves, and those that stand in several places.

    Args:
        strict: Whether objects refuse fields that they don't know.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.definitions: dict[str, Schema] = {}
        self._names: dict[int, str] = {}

    def of(self, shape: Shape, name: str, made: Callable[[], Schema]) -> Schema:
        """A reference to the schema of an object, which is made once."""
        key = id(shape)
        if key not in self._names:
            free = name
            number = 2
            while free in self._names.values() or free in self.definitions:
                free, number = f"{name}{number}", number + 1
            self._names[key] = free
            self.definitions[free] = made()
        return {"$ref": f"#/$defs/{self._names[key]}"}

    def add(self, schema: Schema) -> Schema:
        """The schema of a library, whose definitions go to these: under other names where one is another type's."""
        inner = schema.pop("$defs", {})
        for number in itertools.count(1):
            names = {name: name if number == 1 else f"{name}{number}" for name in inner}
            added = {names[name]: _pointing(each, names) for name, each in inner.items()}
            taken = self._names.values()
            if not any(
                name in taken or self.definitions.get(name, each) != each for name, each in added.items()
            ):
                break
        self.definitions.update(added)
        return _pointing(schema, names)  # type: ignore[no-any-return]


class _Anything(Shape):
    def decode(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> Any:
        return value

    def schema(self, names: Names) -> Schema:
        return {}


class _Scalar(Shape):
    """A value that JSON has a form of its own for."""

    def __init__(self, of: type, expected: str, name: str) -> None:
        self.same = frozenset([of])
        self._of = of
        self._expected = expected
        self._schema = {"type": name}

    def decode(self, value: Any) -> Any:
        if not isinstance(value, self._of):
            raise Mismatch(self._expected)
        return value

    encode = decode

    def schema(self, names: Names) -> Schema:
        return dict(self._schema)


class _Integer(Shape):
    same = frozenset([int])

    def decode(self, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return self.encode(value)

    def encode(self, value: Any) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Mismatch("a whole number")
        return int(value)

    def schema(self, names: Names) -> Schema:
        return {"type": "integer"}


class _Float(Shape):
    def decode(self, value: Any) -> Any:
        return self.encode(value)

    def encode(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Mismatch("a number")
        try:
            number = float(value)
        except OverflowError:
            raise Mismatch("a number that a float can hold") from None
        if not math.isfinite(number):
            raise Mismatch("a finite number")
        return number

    def schema(self, names: Names) -> Schema:
        return {"type": "number"}


class _Text(Shape):
    """A type whose values are written as text."""

    def __init__(
        self,
        of: type,
        expected: str,
        pattern: str,
        read: Callable[[str], Any],
        write: Callable[[Any], str],
        format: str = "",
    ) -> None:
        self._of = of
        self._expected = expected
        self._pattern = re.compile(pattern, re.ASCII)
        self._read = read
        self._write = write
        self._schema: Schema = {"type": "string", "pattern": f"^{pattern}$"}
        if format:
            self._schema["format"] = format

    def decode(self, value: Any) -> Any:
        if not isinstance(value, str) or not self._pattern.fullmatch(value):
            raise Mismatch(self._expected)
        try:
            return self._read(value)
        except (ValueError, ArithmeticError):
            raise Mismatch(self._expected) from None

    def encode(self, value: Any) -> Any:
        if not isinstance(value, self._of):
            raise Mismatch(f"a {self._of.__name__}")
        try:
            text = self._write(value)
        except (ValueError, ArithmeticError):
            text = ""
        if not self._pattern.fullmatch(text):
            raise Mismatch(self._expected)
        return text

    def schema(self, names: Names) -> Schema:
        return dict(self._schema)


class _Decimal(_Text):
    def decode(self, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return Decimal(str(value))
        return super().decode(value)

    def schema(self, names: Names) -> Schema:
        return {"anyOf": [super().schema(names), {"type": "number"}]}


class _Array(Shape):
    """An array of any length, all of one type."""

    def __init__(self, of: Callable[[list[Any]], Any], takes: tuple[Any, ...], item: Shape) -> None:
        self._of = of
        self._takes = takes
        self._item = item

    def decode(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise Mismatch("an array")
        return self._of(_in_turn(value, itertools.repeat(self._item.decode), self._item.same))

    def encode(self, value: Any) -> Any:
        if not isinstance(value, self._takes) or isinstance(value, str | bytes):
            raise Mismatch(f"a {self._takes[0].__name__}")
        return _in_turn(list(value), itertools.repeat(self._item.encode), self._item.same)

    def schema(self, names: Names) -> Schema:
        return {"type": "array", "items": self._item.schema(names)}


class _Tuple(Shape):
    """An array with a type for each place."""

    def __init__(self, items: Sequence[Shape]) -> None:
        self._items = items

    def decode(self, value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(self._items):
            raise Mismatch(f"an array of {len(self._items)}")
        return tuple(_in_turn(value, [item.decode for item in self._items]))

    def encode(self, value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(self._items):
            raise Mismatch(f"a tuple of {len(self._items)}")
        return _in_turn(value, [item.encode for item in self._items])

    def schema(self, names: Names) -> Schema:
        count = len(self._items)
        said: Schema = {"type": "array", "minItems": count, "maxItems": count}
        if count:
            said["prefixItems"] = [item.schema(names) for item in self._items]
        return said


class _Map(Shape):
    def __init__(self, item: Shape) -> None:
        self._item = item

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise Mismatch("an object")
        return self._each(value, self._item.decode)

    def encode(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Mismatch("a dict")
        if not all(isinstance(key, str) for key in value):
            raise Mismatch("a dict whose keys are str")
        return self._each(value, self._item.encode)

    def _each(self, items: Mapping[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
        converted = {}
        try:
            for key, item in items.items():
                converted[key] = convert(item)
        except Mismatch as mismatch:
            mismatch.within(_step(key))
            raise
        return converted

    def schema(self, names: Names) -> Schema:
        return {"type": "object", "additionalProperties": self._item.schema(names)}


class _Values(Shape):
    """Some values, each with the JSON that stands for it: of Literal and Enum."""

    def __init__(self, values: Sequence[tuple[Any, Any]], expected: str) -> None:
        self._values = values
        self._expected = expected

    def decode(self, value: Any) -> Any:
        for said, meant in self._values:
            # 1 is not True, and "1" is neither.
            if said == value and isinstance(said, bool) is isinstance(value, bool):
                return meant
        raise Mismatch(self._expected)

    def encode(self, value: Any) -> Any:
        for said, meant in self._values:
            if meant == value and type(meant) is type(value):
                return said
        raise Mismatch(self._expected)

    def schema(self, names: Names) -> Schema:
        return {"enum": [said for said, _ in self._values]}


class _Union(Shape):
    """The first member that fits."""

    def __init__(self, members: Sequence[Shape]) -> None:
        self._members = members

    def decode(self, value: Any) -> Any:
        return self._first(lambda member: member.decode(value))

    def encode(self, value: Any) -> Any:
        return self._first(lambda member: member.encode(value))

    def _first(self, tried: Callable[[Shape], Any]) -> Any:
        wrong: list[Mismatch] = []
        for member in self._members:
            try:
                return tried(member)
            except Mismatch as mismatch:
                wrong.append(mismatch)
        # Where one of them went deeper than the others it was meant.
        deepest = max(wrong, key=lambda each: len(each.path))
        if deepest.path:
            raise deepest
        raise Mismatch(" or ".join(dict.fromkeys(each.expected for each in wrong)))

    def schema(self, names: Names) -> Schema:
        return {"anyOf": [member.schema(names) for member in self._members]}


class _Field(NamedTuple):
    name: str
    shape: Shape
    required: bool


class _Object(Shape):
    """A dataclass, a TypedDict or a NamedTuple."""

    def __init__(self, of: type, *, plain: bool) -> None:
        self.name = of.__name__
        self.fields: Sequence[_Field] = ()
        self.strict = False
        self._of = of
        self._plain = plain
        # A value is that of a field, or the key of a dict.
        self._doc = "" if (inspect.getdoc(of) or "").startswith(f"{of.__name__}(") else _first_line(of)

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise Mismatch("an object")
        found = {}
        try:
            for name, shape, required in self.fields:
                if name in value:
                    item = value[name]
                    found[name] = item if type(item) in shape.same else shape.decode(item)
                elif required:
                    raise Mismatch("there")
        except Mismatch as mismatch:
            mismatch.within(_step(name))
            raise
        if self.strict and (unknown := value.keys() - found.keys()):
            raise Mismatch("left out: it is not known", _step(min(unknown)))
        if self._plain:
            return found
        try:
            return self._of(**found)
        except (ValueError, TypeError) as error:
            # Of __post_init__: its words are the user's own.
            raise Mismatch(f"a {self.name}: {error}") from error

    def encode(self, value: Any) -> Any:
        if self._plain:
            if not isinstance(value, Mapping):
                raise Mismatch(f"a dict as {self.name}")
            found = value
            if unknown := value.keys() - {field.name for field in self.fields}:
                raise Mismatch("left out: it is not known", _step(min(unknown, key=str)))
        elif not isinstance(value, self._of):
            raise Mismatch(f"a {self.name}")
        else:
            found = {field.name: getattr(value, field.name) for field in self.fields}
        encoded = {}
        try:
            for name, shape, required in self.fields:
                if name in found:
                    item = found[name]
                    encoded[name] = item if type(item) in shape.same else shape.encode(item)
                elif required:
                    raise Mismatch("there")
        except Mismatch as mismatch:
            mismatch.within(_step(name))
            raise
        return encoded

    def schema(self, names: Names) -> Schema:
        return names.of(self, self.name, lambda: self._described(names))

    def _described(self, names: Names) -> Schema:
        said: Schema = {"type": "object", "title": self.name}
        if self._doc:
            said["description"] = self._doc
        said["properties"] = {field.name: field.shape.schema(names) for field in self.fields}
        if required := [field.name for field in self.fields if field.required]:
            said["required"] = required
        if names.strict:
            said["additionalProperties"] = False
        return said


class Foreign(Shape):
    """A type of a library, which decodes, encodes and describes it itself."""

    def __init__(
        self,
        decode: Callable[[Any], Any],
        encode: Callable[[Any], Any],
        describe: Callable[[], Schema],
    ) -> None:
        self._decode = decode
        self._encode = encode
        self._describe = describe

    def decode(self, value: Any) -> Any:
        """As `Shape.decode`."""
        return self._decode(value)

    def encode(self, value: Any) -> Any:
        """As `Shape.encode`."""
        return self._encode(value)

    def schema(self, names: Names) -> Schema:
        """As `Shape.schema`."""
        return names.add(self._describe())


def _pointing(schema: Any, names: Mapping[str, str]) -> Any:
    """The schema with references to definitions by their new names."""
    if isinstance(schema, list):
        return [_pointing(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    said = {name: _pointing(each, names) for name, each in schema.items()}
    if isinstance(at := said.get("$ref"), str) and (name := at.removeprefix("#/$defs/")) in names:
        said["$ref"] = f"#/$defs/{names[name]}"
    return said


def _in_turn(
    items: Any, converts: Iterable[Callable[[Any], Any]], same: frozenset[type] = frozenset()
) -> Any:
    """Each item, by a function for each; the items, if all of them stay the same."""
    if same.issuperset(map(type, items)):
        return items
    converted: list[Any] = []
    try:
        for convert, item in zip(converts, items, strict=False):
            converted.append(convert(item))
    except Mismatch as mismatch:
        mismatch.within(f"[{len(converted)}]")
        raise
    return converted


def _step(name: str) -> str:
    return f".{name}" if re.fullmatch(r"\w+", name) else f"[{name[:40]!r}]"


def _first_line(of: type) -> str:
    return (inspect.getdoc(of) or "").partition("\n\n")[0].replace("\n", " ")


_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?"
_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_SECONDS = r"\d{1,9}(\.\d{1,6})?S"
_MINUTES = rf"(\d{{1,9}}M({_SECONDS})?|{_SECONDS})"
_HOURS = rf"(\d{{1,9}}H{_MINUTES}?|{_MINUTES})"
# Without looking ahead, which the regular expressions of a schema can't everywhere.
_SPAN = rf"-?P(\d{{1,9}}D(T{_HOURS})?|T{_HOURS})"


def _read_moment(text: str) -> datetime:
    # A database may say nine digits; a datetime has six.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))


def _write_moment(moment: datetime) -> str:
    text = moment.isoformat()
    return text.removesuffix("+00:00") + "Z" if moment.tzinfo is UTC else text


def _read_span(text: str) -> timedelta:
    found = re.fullmatch(r"(-?)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d+))?S)?)?", text)
    assert found is not None
    sign, days, hours, minutes, seconds, part = found.groups()
    span = timedelta(
        days=int(days or 0),
        hours=int(hours or 0),
        minutes=int(minutes or 0),
        seconds=int(seconds or 0),
        microseconds=int((part or "").ljust(6, "0")),
    )
    return -span if sign else span


def _write_span(span: timedelta) -> str:
    sign, span = ("-", -span) if span < timedelta(0) else ("", span)
    seconds = (
        f"{span.seconds}.{span.microseconds:06}".rstrip("0").rstrip(".")
        if span.microseconds
        else str(span.seconds)
    )
    days = f"{span.days}D" if span.days else ""
    time = f"T{seconds}S" if span.seconds or span.microseconds or not days else ""
    return f"{sign}P{days}{time}"


_SHAPES: dict[Any, Shape] = {
    Any: _Anything(),
    object: _Anything(),
    None: _Scalar(type(None), "null", "null"),
    bool: _Scalar(bool, "true or false", "boolean"),
    str: _Scalar(str, "a string", "string"),
    int: _Integer(),
    float: _Float(),
    datetime: _Text(
        datetime,
        "a time with an offset, such as 2026-11-28T17:02:31Z",
        rf"{_DATE}T{_TIME}(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
        _read_moment,
        _write_moment,
        "date-time",
    ),
    date: _Text(date, "a date, such as 2026-11-28", _DATE, date.fromisoformat, date.isoformat, "date"),
    UUID: _Text(
        UUID,
        "a UUID, such as 9d5c2b7e-4a53-4d1e-8a53-1f0c7a2b9e10",
        r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        UUID,
        str,
        "uuid",
    ),
    Decimal: _Decimal(
        Decimal,
        'a decimal number, such as "1.50"',
        r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,6})?",
        Decimal,
        str,
    ),
    timedelta: _Text(timedelta, "a span such as PT90S or P1DT2H", _SPAN, _read_span, _write_span),
}
_SHAPES[type(None)] = _SHAPES[None]

_ARRAYS: dict[Any, tuple[Callable[[list[Any]], Any], tuple[Any, ...]]] = {
    list: (list, (list,)),
    set: (set, (set, frozenset)),
    frozenset: (frozenset, (frozenset, set)),
    Sequence: (list, (Sequence,)),
}
_MAPS = (dict, Mapping)


class Shapes:
    """The shapes of the types of one declaration.

    Args:
        foreign: Answers the shape of a type that a library knows, or None.
        strict: Whether objects refuse fields that they don't know.
    """

    def __init__(self, foreign: Callable[[Any], Shape | None], *, strict: bool) -> None:
        self._foreign = foreign
        self._strict = strict
        self._objects: dict[Any, _Object] = {}

    def of(self, wanted: Any, where: str) -> Shape:
        """The shape of a type.

        Args:
            wanted: The type.
            where: Where it stands, for the error.

        Raises:
            Unsupported: It has none. The text names the type, its place, and what to do.
        """
        foreign = self._foreign(wanted)
        if foreign is not None:
            return foreign
        if _hashable(wanted) and wanted in _SHAPES:
            return _SHAPES[wanted]
        origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
        if hasattr(wanted, "__supertype__"):
            return self.of(wanted.__supertype__, where)
        if hasattr(wanted, "__value__") and hasattr(wanted, "__type_params__"):
            return self.of(wanted.__value__, where)
        if origin is typing.Annotated or origin in (Required, NotRequired):
            return self.of(arguments[0], where)
        if origin is Literal:
            return _values([(each, each) for each in arguments])
        if origin in (Union, types.UnionType):
            return _Union([self.of(each, where) for each in arguments])
        if (shape := self._collection(wanted, origin or wanted, arguments, where)) is not None:
            return shape
        if inspect.isclass(wanted) and issubclass(wanted, enum.Enum):
            return self._enum(wanted, where)
        return self._object(wanted, origin, arguments, where)

    def _collection(self, wanted: Any, origin: Any, arguments: tuple[Any, ...], where: str) -> Shape | None:
        if origin is tuple:
            if len(arguments) == 2 and arguments[1] is ...:
                return _Array(tuple, (tuple,), self.of(arguments[0], f"{where}[]"))
            if wanted is tuple:
                return _Array(tuple, (tuple,), _SHAPES[Any])
            items = () if arguments == ((),) else arguments
            return _Tuple([self.of(each, f"{where}[{number}]") for number, each in enumerate(items)])
        if not _hashable(origin):
            return None
        if origin in _ARRAYS:
            of, takes = _ARRAYS[origin]
            return _Array(of, takes, self.of(arguments[0] if arguments else Any, f"{where}[]"))
        if origin in _MAPS:
            if arguments and arguments[0] is not str:
                raise Unsupported(f"{where} is {wanted!r}: keys of a JSON object are str")
            return _Map(self.of(arguments[1] if arguments else Any, f"{where}.*"))
        return None

    def _enum(self, wanted: type[enum.Enum], where: str) -> Shape:
        said = [(each.value, each) for each in wanted]
        if not all(isinstance(value, str | int | float | bool | None) for value, _ in said):
            raise Unsupported(
                f"{where} is {wanted.__name__}: the values of an Enum must be str, numbers, bool or None"
            )
        return _values(said)

    def _object(self, wanted: Any, origin: Any, arguments: tuple[Any, ...], where: str) -> Shape:
        of = origin or wanted
        found = self._objects.get(wanted) if _hashable(wanted) else None
        if found is not None:
            return found
        plain = typing.is_typeddict(of)
        named = inspect.isclass(of) and issubclass(of, tuple) and hasattr(of, "_field_defaults")
        if not (plain or named or (inspect.isclass(of) and dataclasses.is_dataclass(of))):
            raise Unsupported(
                f"{where} is {wanted!r}, which has no form in JSON here. Dataclasses, TypedDicts, NamedTuples, "
                "pydantic models, Structs of msgspec and what is built in have one; for other types give define_kind "
                "decode=, encode= and schema="
            )
        shape = self._objects[wanted] = _Object(of, plain=plain)
        shape.strict = self._strict
        given = dict(zip(getattr(of, "__parameters__", ()), arguments, strict=False))
        try:
            hints = typing.get_type_hints(of, include_extras=True)
        except NameError as error:
            raise Unsupported(
                f"{where}: the types of {of.__name__} can't be read ({error}): define them at the top of a module"
            ) from None
        shape.fields = [
            _Field(name, self.of(_filled(hints[name], given), f"{where}.{name}"), required)
            for name, required in _fields(of, hints, plain=plain, named=named)
        ]
        return shape


def _values(values: Sequence[tuple[Any, Any]]) -> _Values:
    words = [repr(said) if isinstance(said, str) else str(said) for said, _ in values[:20]]
    return _Values(values, f"one of {', '.join(words)}" + (" and more" if len(values) > 20 else ""))


def _fields(of: Any, hints: Mapping[str, Any], *, plain: bool, named: bool) -> Iterator[tuple[str, bool]]:
    """The names of the fields of an object, and whether each has to be there."""
    if plain:
        for name in of.__annotations__:
            # Python itself passes it over where annotations are strings.
            said = typing.get_origin(hints[name])
            yield name, said is Required or (said is not NotRequired and name in of.__required_keys__)
    elif named:
        for name in of._fields:
            yield name, name not in of._field_defaults
    else:
        for field in dataclasses.fields(of):
            if field.init:
                missing = dataclasses.MISSING
                yield field.name, field.default is missing and field.default_factory is missing


def _filled(hint: Any, given: Mapping[Any, Any]) -> Any:
    """A type with its parameters filled in."""
    if isinstance(hint, TypeVar):
        return given.get(hint, Any)
    parameters = getattr(hint, "__parameters__", ())
    if not given or not parameters:
        return hint
    return hint[tuple(given.get(each, Any) for each in parameters)]


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
