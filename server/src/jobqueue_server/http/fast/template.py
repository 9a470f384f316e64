"""The text of an answer, cut where the values of a job stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from ...model import FirstJob


class AnswerTemplate:
    """What the renderer makes of an answer with marks in these places. So it can't drift from what it makes of others.

    Args:
        render: Makes the text of an answer.
        response: The answer of one job. It is changed.
    """

    def __init__(self, render: Callable[[Any], bytes], response: Any) -> None:
        job = response.job
        job.payload_json = _quoted(_MARKS["payload"])
        for name in _TEXTS:
            setattr(job, name, _MARKS[name])
        marks = {name: _quoted(mark) for name, mark in _MARKS.items()}
        for name in _MAPS:
            job.ClearField(name)
            getattr(job, name)[name] = name
            marks[name] = _map_text({name: name})
        for number, name in enumerate(("created_at", "updated_at", "run_at")):
            getattr(job, name).FromSeconds(number)
            marks[name] = _time_text(Timestamp(seconds=number))
        text = render(response)
        places = sorted((text.index(mark), name) for name, mark in marks.items())
        if any(text.count(mark) != 1 for mark in marks.values()):
            raise ValueError("a mark stands twice in an answer")
        # The text in turns with places for the values.
        self._parts: list[bytes] = []
        self._places: dict[str, int] = {}
        end = 0
        for place, name in places:
            self._parts.append(text[end:place])
            self._places[name] = len(self._parts)
            self._parts.append(b"{}" if name in _MAPS else b'""')
            end = place + len(marks[name])
        self._parts.append(text[end:])

    def filled(self, job: FirstJob, at: datetime) -> bytes:
        """The answer of one job that was stored at that time."""
        job_id, payload, idempotency_key, key, unique_key, headers, labels, run_at, _ = job
        parts, places = self._parts.copy(), self._places
        parts[places["id"]] = b'"%b"' % str(job_id).encode()
        parts[places["payload"]] = payload
        if idempotency_key is not None:
            parts[places["idempotency_key"]] = encode_basestring(idempotency_key).encode()
        if key is not None:
            parts[places["key"]] = encode_basestring(key).encode()
        if unique_key is not None:
            parts[places["unique_key"]] = encode_basestring(unique_key).encode()
        parts[places["headers"]] = _map_text(headers)
        if labels:
            parts[places["labels"]] = _map_text(labels)
        parts[places["created_at"]] = _millisecond_text(job_id.int >> 80)
        parts[places["updated_at"]] = _moment_text(at)
        parts[places["run_at"]] = _moment_text(run_at)
        return b"".join(parts)


_TEXTS = ("id", "idempotency_key", "key", "unique_key")
_MAPS = ("headers", "labels")
_MARKS = {name: f"@ {name.replace('_', ' ')} @" for name in ("payload", *_TEXTS)}


def _quoted(text: str) -> bytes:
    return b'"%s"' % text.encode()


def _map_text(values: Mapping[str, str]) -> bytes:
    """As the renderer writes a map: sorted, since its order is random."""
    if len(values) == 1:
        ((name, value),) = values.items()
        return f"{{{encode_basestring(name)}:{encode_basestring(value)}}}".encode()
    entries = ""
    for name in sorted(values):
        entries += f",{encode_basestring(name)}:{encode_basestring(values[name])}"
    return f"{{{entries[1:]}}}".encode()


def _time_text(moment: Timestamp) -> bytes:
    return _quoted(moment.ToJsonString())


@lru_cache(maxsize=256)
def _moment_text(at: datetime) -> bytes:
    moment = Timestamp()
    moment.FromDatetime(at)
    return _time_text(moment)


@lru_cache(maxsize=1024)
def _millisecond_text(milliseconds: int) -> bytes:
    moment = Timestamp()
    moment.FromMilliseconds(milliseconds)
    return _time_text(moment)
