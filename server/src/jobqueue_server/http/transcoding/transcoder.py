"""The entry of the package: makes a method's request from an HTTP request, and JSON from its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from .binding import Binding, bindings
from .body import BodyReader
from .errors import Problem, RuleError, TranscodingError, malformed, refused
from .options import Options
from .render import Renderer
from .router import Match, Router
from .usual import UsualBodies

_HTTP_BODY = "google.api.HttpBody"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The body of an answer and its content type."""

    body: bytes
    content_type: str = _JSON


class Transcoder:
    """Serves the annotated methods of services.

    Args:
        services: The descriptors of the services. Methods without a google.api.http rule are left out.
        options: The transcoder's options.

    Raises:
        RuleError: A rule is wrong, or two rules have the same method and paths.
    """

    def __init__(self, services: Iterable[ServiceDescriptor], options: Options | None = None) -> None:
        options = options or Options()
        self._router: Router[Binding] = Router(
            options.url_unescape_spec, options.match_unregistered_custom_verb
        )
        self._usual = UsualBodies(options)
        self._bodies = BodyReader(options)
        self._renderer = Renderer(options)
        self.bindings: list[Binding] = []
        for service in services:
            _check_raw_json(service, options)
            for method in service.methods:
                for binding in bindings(method, options):
                    self._router.add(binding)
                    self.bindings.append(binding)

    def match(self, method: str, raw_path: bytes) -> Match[Binding]:
        """Finds the rule for a request by its method and path.

        Args:
            method: GET, POST, ...
            raw_path: The path as it was sent, not decoded, without the query.

        Raises:
            TranscodingError: 404, 405, or 400 for a path that can't be decoded.
        """
        return self._router.match(method, _utf8(raw_path, "path"))

    def fill(
        self, match: Match[Binding], query_string: bytes, headers: Mapping[str, str], body: bytes
    ) -> Message:
        """Makes the method's request from the parts of an HTTP request.

        Args:
            match: The rule, and the values of its variables in the path.
            query_string: The part after the question mark, not decoded.
            headers: The headers by name in lower case. `content-type` is used.
            body: The whole body, without a content encoding.

        Raises:
            TranscodingError: 415, or 400 with the wrong fields.
        """
        binding = match.route
        request: Message = GetMessageClass(binding.method.input_type)()
        found: list[Problem] = []
        _gather(found, self._read_body, request, binding, headers.get("content-type", ""), body)
        for name, text in match.values:
            _gather(found, binding.variables[name].set, request, text)
        _gather(found, binding.query.read, request, _utf8(query_string, "query"))
        if found:
            raise refused(found)
        return request

    def usual(self, binding: Binding) -> Callable[[bytes], dict[str, Any] | None]:
        """A quick reader of the bodies of a rule whose body is a message: it answers arguments of its constructor.

        It answers None where a body is unusual: `fill` knows what it says, or what is wrong with it. Whether raw JSON
        in it is JSON is for the caller to see.
        """
        kind = _type_of_body(binding)
        assert kind is not None, "the body is a message"
        return partial(self._usual.fields, kind, looked_at=True)

    def render(self, binding: Binding, response: Message) -> Rendered:
        """Writes a method's answer, or one message of its stream, by its rule."""
        name = binding.response_body
        value: Any = getattr(response, name) if name else response
        if isinstance(value, Message) and value.DESCRIPTOR.full_name == _HTTP_BODY:
            http_body: Any = value
            return Rendered(http_body.data, http_body.content_type or "application/octet-stream")
        if name:
            return Rendered(self._renderer.field(response, name))
        return Rendered(self._renderer.message(response))

    def render_message(self, message: Message) -> bytes:
        """Writes any message, such as a google.rpc.Status, in the same form of JSON."""
        return self._renderer.message(message)

    def _read_body(self, request: Any, binding: Binding, content_type: str, body: bytes) -> None:
        if not binding.body:
            if body.strip():
                raise malformed(f"{binding.http_method} {binding.template.text} takes no body")
            return
        into = request if binding.body == "*" else getattr(request, binding.body)
        if isinstance(into, Message) and into.DESCRIPTOR.full_name == _HTTP_BODY:
            raw: Any = into
            raw.content_type, raw.data = content_type, body
            raw.SetInParent()
            return
        if not body:
            return
        _check_content_type(content_type)
        kind = _type_of_body(binding)
        if kind is not None and (usual := self._read_usual(kind, body)) is not None:
            into.CopyFrom(usual)
        elif binding.body == "*":
            self._bodies.read_message(request, body)
        else:
            self._bodies.read_field(request, request.DESCRIPTOR.fields_by_name[binding.body], body)

    def _read_usual(self, kind: Descriptor, body: bytes) -> Any:
        given = self._usual.fields(kind, body, looked_at=False)
        try:
            return None if given is None else GetMessageClass(kind)(**given)
        except (ValueError, TypeError):
            # Half of a surrogate pair, or a number out of its range.
            return None


def _type_of_body(binding: Binding) -> Descriptor | None:
    """The type of the body's message, if that is an object of its fields."""
    kind: Descriptor | None = binding.method.input_type
    if binding.body != "*":
        field = binding.method.input_type.fields_by_name[binding.body]
        kind = None if field.is_repeated else field.message_type
    return None if kind is None or kind.full_name.startswith("google.protobuf.") else kind


def _gather(found: list[Problem], read: Callable[..., None], *arguments: Any) -> None:
    try:
        read(*arguments)
    except Problem as problem:
        found += problem.each()


def _utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise malformed(
            f"the {what} is neither ASCII nor UTF-8; other bytes are written as escapes"
        ) from None


def _check_content_type(value: str) -> None:
    """Checks that the body is JSON in UTF-8. A request without a content type counts as that."""
    kind, *parameters = (part.strip().lower() for part in value.split(";"))
    if kind not in ("", _JSON) and not (kind.startswith("application/") and kind.endswith("+json")):
        raise TranscodingError(
            415, "INVALID_ARGUMENT", f"the body is sent as {kind[:60]}; send JSON, with content-type: {_JSON}"
        )
    for parameter in parameters:
        name, _, charset = parameter.partition("=")
        if name.strip() == "charset" and charset.strip().strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise TranscodingError(415, "INVALID_ARGUMENT", f"JSON is UTF-8, not {charset[:60]}")


def _check_raw_json(service: ServiceDescriptor, options: Options) -> None:
    pairs = [(name, pair) for name in options.raw_json for pair in options.raw_pairs(name)]
    for full_name, fields in pairs:
        try:
            descriptor = service.file.pool.FindMessageTypeByName(full_name)
        except KeyError:
            raise RuleError(f"raw_json names {full_name}, which is no message") from None
        for name in fields:
            if name not in descriptor.fields_by_name:
                raise RuleError(f"raw_json names {full_name}.{name}, which is no field")
        if descriptor.fields_by_name[fields[1]].type != descriptor.fields_by_name[fields[1]].TYPE_BYTES:
            raise RuleError(f"raw_json needs {full_name}.{fields[1]} to be of bytes")
