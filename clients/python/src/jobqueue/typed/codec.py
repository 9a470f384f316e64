"""Values of a type and their JSON text: what the type is decides, never what is installed."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable
from functools import partial
from typing import Any

from ..payload import JsonText, decode, encode
from .shapes import Foreign, Mismatch, Names, Schema, Shape, Shapes, Unsupported


class Codec:
    """Decodes, encodes and describes the values of one type.

    Args:
        of: The type. Pydantic models and `Annotated` types are pydantic's, Structs are msgspec's; the other ones are
            listed in `shapes`.
        where: How to call it in errors, such as `send_email.payload`.
        strict: Whether objects refuse fields that they don't know.

    Raises:
        Unsupported: The type has no form in JSON here, or is a Struct that is not strict itself.
    """

    def __init__(self, of: Any, where: str, *, strict: bool = False) -> None:
        self._shape = Shapes(partial(_foreign, strict=strict), strict=strict).of(of, where)
        self._strict = strict

    def decode(self, text: bytes) -> Any:
        """The value of a JSON text.

        Raises:
            Mismatch: It is none of the type.
        """
        return self.value(decode(text))

    def value(self, value: Any) -> Any:
        """The same of a JSON value, as `json.loads` has it."""
        try:
            return self._shape.decode(value)
        except RecursionError:
            raise Mismatch("nested less deeply") from None

    def encode(self, value: Any) -> JsonText:
        """The JSON text of a value.

        Raises:
            Mismatch: It is not of the type.
        """
        try:
            return JsonText(encode(self._shape.encode(value), "the value"))
        except RecursionError:
            raise Mismatch("nested less deeply, and must not hold itself") from None
        except ValueError as error:
            raise Mismatch(f"what JSON has a form for: {error}") from None

    def schema(self) -> Schema:
        """The JSON Schema (2020-12) of the texts that it decodes."""
        names = Names(strict=self._strict)
        said = self._shape.schema(names)
        if names.definitions:
            said = {**said, "$defs": names.definitions}
        return said if self._strict else _open(said)


class Custom(Codec):
    """A type that the user decodes, encodes and describes.

    Args:
        decode: Takes a JSON value, as `json.loads` has it; ValueError and TypeError say that it does not fit.
        encode: Answers what `json.dumps` takes.
        schema: The JSON Schema.
    """

    def __init__(
        self,
        decode: Callable[[Any], Any],
        encode: Callable[[Any], Any],
        schema: Schema,
        *,
        strict: bool = False,
    ) -> None:
        def decoded(value: Any) -> Any:
            try:
                return decode(value)
            except (ValueError, TypeError, KeyError) as error:
                raise Mismatch(f"what the kind decodes ({type(error).__name__})") from error

        self._shape = Foreign(decoded, encode, lambda: json.loads(json.dumps(schema)))
        self._strict = strict


def _open(schema: Any) -> Any:
    """The schema without the rule of a library that refuses fields which it doesn't know."""
    if isinstance(schema, list):
        return [_open(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        # What stands for values, such as a default, is left as it is.
        name: each if name in ("default", "const", "enum", "examples") else _open(each)
        for name, each in schema.items()
        if not (name == "additionalProperties" and each is False)
    }


def _foreign(wanted: Any, *, strict: bool) -> Shape | None:
    """The shape of a type of pydantic's or msgspec's."""
    if hasattr(struct := typing.get_origin(wanted) or wanted, "__struct_fields__"):
        return _msgspec(wanted, struct, strict=strict)
    annotated = typing.get_origin(wanted) is typing.Annotated
    if not annotated and not (isinstance(wanted, type) and hasattr(wanted, "__pydantic_validator__")):
        return None
    try:
        from pydantic import TypeAdapter
    except ImportError:
        raise Unsupported(f"{wanted!r} is a type of pydantic, which is not installed") from None
    return _pydantic(TypeAdapter(wanted), None if annotated else wanted)


def _pydantic(adapter: Any, model: type | None) -> Shape:
    def decoded(value: Any) -> Any:
        return _checked(lambda: adapter.validate_json(json.dumps(value)))

    def encoded(value: Any) -> Any:
        if model is None:
            value = _checked(lambda: adapter.validate_python(value))
        elif not isinstance(value, model):
            raise Mismatch(f"a {model.__name__}")
        return json.loads(adapter.dump_json(value, by_alias=True))

    def described() -> Schema:
        found: Schema = adapter.json_schema(mode="validation", ref_template="#/$defs/{model}")
        return found

    return Foreign(decoded, encoded, described)


def _checked(validate: Callable[[], Any]) -> Any:
    from pydantic import ValidationError

    try:
        return validate()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
        raise Mismatch(_words(first["msg"]), steps) from None


def _msgspec(wanted: Any, struct: type, *, strict: bool) -> Shape:
    # It is there: one of its types is.
    import msgspec

    try:
        schema, definitions = msgspec.json.schema_components((wanted,), ref_template="#/$defs/{name}")
    except (TypeError, NameError) as error:
        raise Unsupported(f"{struct.__name__}, a Struct, has no form in JSON: {error}") from None
    for name, each in definitions.items():
        if strict and "properties" in each and each.get("additionalProperties") is not False:
            raise Unsupported(
                f"strict=True with {struct.__name__}, a Struct: {name} takes fields that it doesn't know; give it "
                "forbid_unknown_fields=True"
            )

    def decoded(value: Any) -> Any:
        try:
            return msgspec.convert(value, wanted, str_keys=True)
        except msgspec.ValidationError as error:
            raise _of_msgspec(str(error)) from None

    def encoded(value: Any) -> Any:
        if not isinstance(value, struct):
            raise Mismatch(f"a {struct.__name__}")
        try:
            plain = msgspec.to_builtins(value, str_keys=True)
        except TypeError as error:
            raise Mismatch(f"what msgspec has a form for: {error}") from None
        # To make a Struct checks nothing.
        decoded(plain)
        return plain

    def described() -> Schema:
        # Who adds it to a schema copies it.
        return {**schema[0], "$defs": definitions}

    return Foreign(decoded, encoded, described)


def _of_msgspec(message: str) -> Mismatch:
    """What msgspec says, without values: it quotes some."""
    words, _, place = message.partition(" - at `$")
    path = place.removesuffix("`")
    if found := re.match(r"Object missing required field `([^`]+)`", words):
        return Mismatch("there", f"{path}.{found[1]}")
    if found := re.match(r"Object contains unknown field `([^`]{1,40})", words):
        return Mismatch("left out: it is not known", f"{path}.{found[1]}")
    if found := re.match(r"Expected (.+?)(?:, got .*)?$", words):
        return Mismatch(found[1].replace("`", ""), path)
    return Mismatch("what its type takes", path)


def _words(message: str) -> str:
    """Pydantic's words as the rest of a sentence that begins with "must be"."""
    for begin in ("Input should be ", "Value should be "):
        if message.startswith(begin):
            return message.removeprefix(begin)
    return f"right: {message[:1].lower()}{message[1:]}"
