"""One google.api.http rule of one method, checked against its messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from .errors import Problem, RuleError
from .fields import Place, place
from .options import Options
from .query import QueryReader
from .scalars import text_reader
from .template import Template, parse
from .wellknown import filler

_METHODS = {"get": "GET", "put": "PUT", "post": "POST", "delete": "DELETE", "patch": "PATCH"}


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """A rule that can be served.

    Attributes:
        method: The method.
        http_method: GET, POST, ...; `*` for any.
        template: The paths of the rule.
        body: The request's field that the body fills; `*` for the whole request, "" for no body.
        response_body: The response's field that is the answer; "" for the whole response.
        variables: The field of each variable, by its path in the template.
        query: Reads the query parameters into the other fields.
    """

    method: MethodDescriptor
    http_method: str
    template: Template
    body: str
    response_body: str
    variables: dict[str, Variable]
    query: QueryReader

    @property
    def selector(self) -> str:
        """The full name of the method."""
        return str(self.method.full_name)


class Variable:
    """Puts a variable's text into its field.

    Args:
        where: The field: a scalar, an enum, or a message that is a string in JSON.
        any_case: Whether names of enums may be in any case.
    """

    def __init__(self, where: Place, any_case: bool) -> None:
        self.where = where
        kind = where.field.message_type
        self._fill = filler(kind, any_case, text=True) if kind is not None else None
        self._read = text_reader(where.field, any_case) if kind is None else None

    def given(self, message: Any) -> Any:
        """The value that the body gave to the field; None if it gave none."""
        parent = self.where.find(message)
        if parent is None:
            return None
        name = self.where.field.name
        if self.where.field.has_presence:
            return getattr(parent, name) if parent.HasField(name) else None
        return getattr(parent, name) or None

    def set(self, message: Any, text: str) -> None:
        """Sets the field. The body may have the same value, because resources have their own name.

        Raises:
            Problem: The text is not valid for the field, or the body has another value.
        """
        try:
            given = self.given(message)
            if given is not None and self._fill is not None:
                given = type(given).FromString(given.SerializeToString())
            parent = self.where.parent_of(message)
            name = self.where.field.name
            if self._fill is not None:
                getattr(parent, name).Clear()
                self._fill(getattr(parent, name), text)
            elif self._read is not None:
                setattr(parent, name, self._read(text))
            if given is not None and given != getattr(parent, name):
                raise Problem("has one value in the path and another in the body; leave it out of the body")
        except Problem as problem:
            raise problem.under(self.where.name) from None


def bindings(method: MethodDescriptor, options: Options) -> Iterator[Binding]:
    """The bindings of a method: the main one, then the additional ones. None if the method has no rule.

    Raises:
        RuleError: A rule is wrong. The text has the method's name.
    """
    rule = options.rules.get(method.full_name)
    if rule is None:
        method_options = method.GetOptions()
        if not method_options.HasExtension(annotations_pb2.http):
            return
        rule = method_options.Extensions[annotations_pb2.http]
    if method.client_streaming:
        raise RuleError(f"{method.full_name}: a stream of requests has no HTTP binding")
    yield _binding(method, rule, options)
    for other in rule.additional_bindings:
        if other.additional_bindings:
            raise RuleError(f"{method.full_name}: an additional binding has additional bindings of its own")
        yield _binding(method, other, options)


def _binding(method: MethodDescriptor, rule: Any, options: Options) -> Binding:
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        raise RuleError(f"{method.full_name}: the rule has no path")
    if pattern == "custom":
        http_method, path = rule.custom.kind.upper(), rule.custom.path
        if not http_method:
            raise RuleError(f"{method.full_name}: the custom rule has no kind, which is the HTTP method")
    else:
        http_method, path = _METHODS[pattern], getattr(rule, pattern)
    if rule.body and http_method in ("GET", "HEAD"):
        raise RuleError(f"{method.full_name}: {http_method} {path} has a body, for which HTTP has no meaning")
    request = method.input_type
    try:
        template = parse(path)
        if rule.body and rule.body != "*":
            _top_level(request, rule.body)
        if rule.response_body:
            _top_level(method.output_type, rule.response_body)
        variables = {
            variable.field: _variable(request, variable.field, rule.body, options)
            for variable in template.variables
        }
    except RuleError as error:
        raise RuleError(f"{method.full_name}: {error}") from None
    bound = [variable.where.name for variable in variables.values()]
    query = QueryReader(request, bound, rule.body, options)
    return Binding(method, http_method, template, rule.body, rule.response_body, variables, query)


def _top_level(descriptor: Descriptor, name: str) -> FieldDescriptor:
    field = descriptor.fields_by_name.get(name)
    if field is None:
        raise RuleError(f"{descriptor.full_name} has no field {name!r} for a body")
    return field


def _variable(request: Descriptor, path: str, body: str, options: Options) -> Variable:
    try:
        where = place(request, path)
    except Problem as problem:
        raise RuleError(f"the path binds {path!r}: {problem.description}") from None
    field = where.field
    if field.is_repeated:
        raise RuleError(f"the path binds {path!r}, which is repeated")
    if where.name == body:
        raise RuleError(f"the path binds {path!r}, which is the body as well")
    if field.message_type is not None and filler(field.message_type, True, text=True) is None:
        raise RuleError(f"the path binds {path!r}, which is a message")
    return Variable(where, options.case_insensitive_enum_parsing)
