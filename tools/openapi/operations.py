"""Operations: each binding of a method, from what OpenAPI 2 says of it and what the descriptors know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.api import field_behavior_pb2 as behavior
from google.protobuf.descriptor import FieldDescriptor

from jobqueue_server.http.transcoding.binding import Binding
from jobqueue_server.http.transcoding.framing import Array, Events, Lines

from . import fields, headers, responses, security
from .fields import Schema
from .names import variable_name
from .schemas import Comments, Schemas
from .texts import first_sentence, flowing, without_errors

_JSON = "application/json"
# What a producer mostly does with the job that it is answered.
_NEXT = ("GetJob", "WaitJob", "CancelJob")
_ENQUEUES = frozenset({"EnqueueJob", "BatchEnqueueJobs"})


class Operations:
    """Makes operations.

    Args:
        version2: The document of OpenAPI 2.
        comments: Of the .proto files, by name.
        schemas: Takes what the operations refer to.

    Attributes:
        of_any_method: The errors that any method may have.
    """

    def __init__(self, version2: Mapping[str, Any], comments: Comments, schemas: Schemas) -> None:
        self._version2 = version2
        self._comments = comments
        self._schemas = schemas
        (said,) = [tag["description"] for tag in version2["tags"] if tag["name"] == "JobQueue"]
        self.of_any_method = responses.listed(said)

    def operation(self, binding: Binding) -> Schema:
        """One operation.

        Raises:
            ValueError: proto/openapi.yaml lists other statuses for it than the Errors: of the .proto file.
        """
        known = self._version2["paths"][path(binding)][binding.http_method.lower()]
        summary, rest = first_sentence(known["summary"])
        more = flowing(without_errors(known.get("description", "")))
        description = "\n\n".join(filter(None, [rest, more, security.told(binding.method)]))
        made: Schema = {"operationId": known["operationId"], "tags": known["tags"], "summary": summary}
        made["description"] = description
        made[security.PERMISSIONS_OF] = security.permissions(binding.method)
        made["parameters"] = self._parameters(binding)
        if binding.body:
            made["requestBody"] = self._body(binding)
        made["responses"] = self._responses(binding, known)
        return made

    def _parameters(self, binding: Binding) -> list[Schema]:
        made = [
            self._parameter(variable_name(name), variable.where.field, "path")
            for name, variable in binding.variables.items()
            if varies(binding, name)
        ]
        made += [self._parameter(field.name, field, "query") for field in _query(binding)]
        names = list(headers.EVERY_CALL)
        if binding.method.name == "EnqueueJob":
            names.insert(0, "Idempotency-Key")
        if binding.method.name in _ENQUEUES:
            names.append("Traceparent")
        if binding.method.server_streaming:
            names.append("Last-Event-ID")
        return made + headers.parameters(names)

    def _parameter(self, name: str, field: FieldDescriptor, place: str) -> Schema:
        comment = self._comments[f"{fields.component(fields.owner(field))}.{field.name}"]
        made: Schema = {
            "name": name,
            "in": place,
            "description": flowing(comment),
            "required": place == "path",
            "schema": self._schemas.parameter(field),
        }
        if field.is_repeated:
            made |= {"style": "form", "explode": True}
        return made

    def _body(self, binding: Binding) -> Schema:
        request = binding.method.input_type
        bound = [variable.where.name for variable in binding.variables.values()]
        name = f"{binding.method.name}Body"
        if binding.body == "*":
            required = any(
                fields.behaves(field, behavior.REQUIRED) and field.name not in bound
                for field in request.fields
            )
            schema = (
                self._schemas.body(name, request, dropped=bound) if bound else self._schemas.given(request)
            )
        else:
            field = request.fields_by_name[binding.body]
            required = fields.behaves(field, behavior.REQUIRED)
            own = [each.partition(".")[2] for each in bound]
            inner = fields.message(field)
            schema = self._schemas.body(name, inner, optional=own) if bound else self._schemas.given(inner)
        return {"required": required, "content": {_JSON: {"schema": schema}}}

    def _responses(self, binding: Binding, known: Mapping[str, Any]) -> Schema:
        said: Mapping[str, Any] = known["responses"]
        listed = [*responses.listed(known.get("description", "")), *self.of_any_method]
        statuses = {status for status in said if status.isdecimal() and status >= "400"}
        if statuses != (wanted := {str(reason.status) for reason in listed}):
            raise ValueError(
                f"proto/openapi.yaml: {binding.method.name} lists the errors {sorted(statuses)}; "
                f"the Errors: of the .proto files make them {sorted(wanted)}"
            )
        listed += responses.of_http(
            has_body=bool(binding.body),
            has_variables=bool(binding.variables),
            is_stream=binding.method.server_streaming,
        )
        made = {status: self._answer(binding, said[status]) for status in said if status.startswith("2")}
        for number, reasons in responses.by_status(listed).items():
            error = said.get(str(number), {"description": _OF_HTTP.get(number)})
            made[str(number)] = responses.response(
                error["description"],
                reasons,
                headers.answered(*responses.headers_of(number)),
                error.get("examples", {}).get(_JSON),
            )
        return dict(sorted(made.items()))

    def _answer(self, binding: Binding, said: Mapping[str, Any]) -> Schema:
        names = [*said.get("headers", {}), "X-Request-Id"]
        made: Schema = {"description": said["description"], "headers": headers.answered(*names)}
        response = binding.method.output_type
        if binding.response_body:
            response = fields.message(response.fields_by_name[binding.response_body])
        schema = self._schemas.answered(response)
        if binding.method.server_streaming:
            made["content"] = _streams(schema, response.name)
            return made
        made["content"] = {_JSON: {"schema": schema}}
        if (example := said.get("examples", {}).get(_JSON)) is not None:
            made["content"][_JSON]["example"] = example
        if binding.method.name == "EnqueueJob":
            made["links"] = {name: _of_the_job(name) for name in _NEXT}
        return made


def path(binding: Binding) -> str:
    """A binding's path as OpenAPI writes one: variables without their patterns, named by the field alone."""
    text = binding.template.text
    for name in binding.variables:
        variable = f"{{{variable_name(name)}}}"
        text = re.sub(
            rf"\{{{re.escape(name)}(?:=([^}}]*))?\}}",
            # What a pattern has before its wildcard stands in the path; where it has none, nothing is left to vary.
            lambda found: re.sub(r"\*+$", variable, found[1] or "*"),  # noqa: B023
            text,
        )
    return text


def varies(binding: Binding, name: str) -> bool:
    """Whether a variable of the path can have more than one value."""
    return f"{{{variable_name(name)}}}" in path(binding)


_OF_HTTP = {
    403: "The caller may not call.",
    404: "It is not there.",
    406: "None of the forms that `Accept` takes.",
    413: "Too large.",
    415: "The body is no JSON.",
    421: "Not this server.",
}


def _query(binding: Binding) -> list[FieldDescriptor]:
    """The fields of the request that neither path nor body gives."""
    if binding.body == "*":
        return []
    taken = {variable.where.name for variable in binding.variables.values()} | {binding.body}
    return [field for field in fields.fields(binding.method.input_type) if field.name not in taken]


def _of_the_job(name: str) -> Schema:
    return {"operationId": name, "parameters": {"id": "$response.body#/id"}}


def _streams(schema: Schema, name: str) -> Schema:
    """A stream's forms, of which `Accept` chooses, the first by default."""
    error = {
        "type": "object",
        "description": "The last element, where the stream ended by an error.",
        "properties": {"error": fields.reference("Status")},
        "required": ["error"],
    }
    texts = {
        Lines.content_type: f"A {name} a line. The last has a Status in `error` where the stream ended by one.",
        Events.content_type: (
            f"An event for each {name}, whose id is for `Last-Event-ID`; comments while nothing comes. An event named "
            "`error` with a Status where the stream ended by an error."
        ),
    }
    made: Schema = {form: {"schema": {"type": "string", "description": text}} for form, text in texts.items()}
    made[Array.content_type] = {"schema": {"type": "array", "items": {"anyOf": [schema, error]}}}
    return made
