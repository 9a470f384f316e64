"""Calls operations by their ids, and holds each answer to what the document says of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from tests.http.conftest import Caller, Reply
from tools.openapi.responses import REASONS_OF

from .conftest import Document, operations, validator


def reason_of(status: Document) -> str:
    """The reason of an error's ErrorInfo, of which it has one."""
    (reason,) = (each["reason"] for each in status["details"] if each["@type"].endswith(".ErrorInfo"))
    return str(reason)


class Checked:
    """`await checked("GetJob", id=job_id)`; what is not in the path is the query.

    Attributes:
        seen: Every operation and status that was answered.
    """

    def __init__(self, document: Document, caller: Caller) -> None:
        self._document = document
        self._operations = operations(document)
        self._caller = caller
        self.seen: set[tuple[str, int]] = set()

    async def __call__(
        self, name: str, body: Any = None, headers: dict[str, str] | None = None, /, **parameters: str
    ) -> Reply:
        """One call. A body is held to its schema too."""
        method, path, said = self._operations[name]
        named = {each["name"]: each.get("in") for each in said["parameters"] if "in" in each}
        assert set(parameters) <= set(named)
        for parameter, value in parameters.items():
            path = path.replace(f"{{{parameter}}}", value)
        query = {each: value for each, value in parameters.items() if named[each] == "query"}
        if body is not None:
            schema = said["requestBody"]["content"]["application/json"]["schema"]
            validator(self._document, schema).validate(body)
        sent = f"{path}?{urlencode(query)}" if query else path
        answer = await self._caller(method, sent, body, **(headers or {}))
        self.hold(name, answer)
        return answer

    def hold(self, name: str, answer: Reply) -> None:
        """An answer is one of those of its operation: status, headers, content type, body."""
        responses = self._operations[name][2]["responses"]
        assert str(answer.status) in responses, (name, answer.status, answer.text)
        self.seen.add((name, answer.status))
        said = responses[str(answer.status)]
        for header in said.get("headers", {}):
            known = self._document["components"]["headers"][header]
            assert header in answer.headers or not known.get("required"), (name, header)
            if header in answer.headers:
                validator(self._document, known["schema"]).validate(answer.headers[header])
        kind = answer.headers["Content-Type"].partition(";")[0]
        assert kind in said["content"], (name, kind)
        if kind == "application/json":
            read = json.loads(answer.text)
            validator(self._document, said["content"][kind]["schema"]).validate(read)
            if answer.status >= 400:
                assert reason_of(read) in said[REASONS_OF], (name, answer.text)
