"""A request becomes rows: the lane is found, the payload checked, the id minted. All rows of new jobs are made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring, encode_basestring_ascii

from ...errors import FieldInvalid, FieldViolation
from ...fields import milliseconds
from ...grants import Permission
from ...ids import IdMint
from ...model import NewJob, NewJobs
from ...scope import Scope
from ...store.intake.intake import Name, NewRows
from ...store.policy.semaphores import semaphore_of
from ..access.checks import require, require_name
from ..catalog.catalog import Catalog, Lane
from ..catalog.waiting_limits import WaitingLimit
from .batch import Batch, place
from .digest import key_digest, name_digest, owner_digest, request_digest
from .waiting import Waiting


class Intake:
    """Makes the rows of each new job, whichever way its request came."""

    def __init__(self, catalog: Catalog, mint: IdMint) -> None:
        self._catalog = catalog
        self._mint = mint
        self._last_headers: tuple[Mapping[str, str], bytes] = ({}, b"")

    def rows(self, scope: Scope, requests: Sequence[NewJobs], path: str) -> Batch | None:
        """The rows of jobs that are to be stored together; None where something has to be made for them first.

        Args:
            scope: Whose jobs they are.
            requests: Jobs as their producer asked for them, already checked field by field.
            path: Where they stand in the request: `job` for one job, `jobs[]` for a list.

        Raises:
            NotAllowed: Its principal may not enqueue one of them, or not hold its name.
            FieldInvalid: A job has no key, and its queue requires one; or it asks for what the order of keys forbids.
            PayloadInvalid: A payload does not fit the schema of its kind.
        """
        catalog, unbounded = self._catalog, scope.grants.unbounded
        rows: list[NewRows] = []
        lanes: list[Lane] = []
        backlogs: tuple[tuple[WaitingLimit, int], ...] = ()
        first = 0
        for some in requests:
            lane = catalog.known_lane(scope, some.new.queue, some.new.kind)
            if lane is None:
                return None
            if not unbounded and not scope.grants.may(Permission.ENQUEUE, lane.queue, lane.kind):
                require(scope, Permission.ENQUEUE, lane.queue, lane.kind, f"enqueue {place(path, first)}")
            if not unbounded and some.new.unique is not None:
                require_name(scope, some.new.unique.scope, lane.queue, lane.kind, place(path, first))
            if lane.keys is not None and lane.keys.require_key and some.keys is None:
                raise FieldInvalid.of(f"{place(path, first)}.key", f"is required by the queue {lane.queue!r}")
            if some.keys is not None and lane.keys is not None and lane.keys.strict:
                _check_order(some.new, lane, place(path, first))
            if not catalog.takes_any_json(lane):
                for index, payload in enumerate(some.payloads, first):
                    at = f"{place(path, index)}.payload"
                    catalog.check_payload(lane, payload, at, some.new.headers)
            rows.append(self._row(scope, some, lane))
            lanes.append(lane)
            if lane.backlog is not None:
                backlogs = (*backlogs, (lane.backlog, len(some.payloads)))
            first += len(some.payloads)
        return Batch.of(rows, lanes, path, backlogs, scope.owner)

    async def rows_in_new_lanes(
        self, scope: Scope, requests: Sequence[NewJobs], path: str, room: Waiting | None = None
    ) -> Batch:
        """As `rows`, and makes the lanes that are not known yet.

        Args:
            scope: As in `rows`.
            requests: As in `rows`.
            path: As in `rows`.
            room: The jobs count as waiting meanwhile. Without it a flood of calls that are the first in
                their lane would be read whole. Follow-ups need no room, because they end a job.

        Raises:
            NotAllowed: Its principal may not enqueue one of them.
            PayloadInvalid, KindUnknown: A job does not fit.
            QueueFull: There is no room.
        """
        while (batch := self.rows(scope, requests, path)) is None:
            if room is None:
                await self._prepare(scope, requests, path)
            else:
                with room.held(scope.owner, sum(len(some.payloads) for some in requests)):
                    await self._prepare(scope, requests, path)
        return batch

    async def _prepare(self, scope: Scope, requests: Sequence[NewJobs], path: str) -> None:
        first = 0
        for some in requests:
            # A lane is made for principals that may use it.
            require(scope, Permission.ENQUEUE, some.new.queue, some.new.kind, f"enqueue {place(path, first)}")
            await self._catalog.lane(scope, some.new.queue, some.new.kind, f"{place(path, first)}.kind")
            if some.new.unique is not None:
                require_name(scope, some.new.unique.scope, some.new.queue, some.new.kind, place(path, first))
            first += len(some.payloads)

    def _row(self, scope: Scope, jobs: NewJobs, lane: Lane) -> NewRows:
        new = jobs.new
        kind = self._catalog.kind_of(lane)
        timeout = new.timeout if new.timeout is not None else kind.timeout
        row = NewRows(
            self._mint.mint_many(len(jobs.payloads)),
            jobs.payloads,
            lane.id,
            new,
            new.max_attempts if new.max_attempts is not None else kind.max_attempts,
            None if timeout is None else milliseconds(timeout),
            encode_labels(new.labels) if new.labels else None,
            self._encode_headers(new.headers) if new.headers else None,
        )
        if new.idempotency_key is not None:
            digest = key_digest(scope.namespace, new.idempotency_key)
            row.key(scope.namespace, digest, request_digest(new), owner_digest(scope.principal))
        if new.unique is not None:
            row.of_name(Name(name_digest(scope.namespace, new, new.unique), new.unique))
        if jobs.keys is not None:
            semaphore_ids = [semaphore_of(lane.queue_id, key) for key in jobs.keys] if lane.limits else None
            row.of_keys(jobs.keys, semaphore_ids)
        return row

    def _encode_headers(self, headers: Mapping[str, str]) -> bytes:
        """As JSON. The jobs of a batch mostly have the same; `json.dumps` costs 8 us where this takes 1."""
        if headers is self._last_headers[0]:
            return self._last_headers[1]
        if (request_id := headers.get("x-request-id")) is not None:
            # One of its own for each call that brings one job.
            if len(headers) == 1:
                return b'{"x-request-id": %b}' % encode_basestring(request_id).encode()
            if len(headers) == 2 and (trace := headers.get("traceparent")) is not None:
                return b'{"x-request-id": %b, "traceparent": %b}' % (
                    encode_basestring(request_id).encode(),
                    encode_basestring(trace).encode(),
                )
        if headers != self._last_headers[0]:
            text = ", ".join(
                f"{encode_basestring(name)}: {encode_basestring(value)}" for name, value in headers.items()
            )
            self._last_headers = headers, f"{{{text}}}".encode()
        return self._last_headers[1]


def encode_labels(labels: Mapping[str, str]) -> str:
    """As JSON. `json.dumps` takes four times as long."""
    text = ", ".join(
        [
            f"{encode_basestring_ascii(name)}: {encode_basestring_ascii(value)}"
            for name, value in labels.items()
        ]
    )
    return f"{{{text}}}"


def _check_order(new: NewJob, lane: Lane, path: str) -> None:
    """In strict order a job's place is that of its enqueue.

    Raises:
        FieldInvalid: It asks for another place.
    """
    asked = {
        "priority": "0" if new.priority else "",
        "run_at": "unset" if new.run_at is not None else "",
        "delay": "unset" if new.delay is not None else "",
    }
    violations = [
        FieldViolation(
            f"{path}.{name}",
            f"must be {right}: the queue {lane.queue!r} keeps the jobs of one key in strict order",
        )
        for name, right in asked.items()
        if right
    ]
    if violations:
        first = violations[0]
        raise FieldInvalid(f"{first.field} {first.description}", violations=violations)
