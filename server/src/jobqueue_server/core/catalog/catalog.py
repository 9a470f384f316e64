"""The lanes and kinds as this server knows them: looked up in memory on the hot path, kept fresh from the database."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ...errors import FieldInvalid, FieldViolation, JobQueueError, KindUnknown
from ...grants import Permission
from ...model import DEFAULT_NAMESPACE_NAME, KeyPolicy, Kind, Rate
from ...scope import Scope
from ...store.catalog.catalog import CatalogStore, KindRow, LaneDepth, LaneRow
from .. import tokens
from ..access.checks import not_allowed
from ..names import page_name
from ..pages import page_size, page_token
from ..upkeep.levels import LIMITS_LEVEL, MASK_LEVEL, WEIGHT_LEVEL, Levels
from .kinds import check_kind
from .schema import VERSION_HEADER, PayloadSchema, SchemaInvalid
from .waiting_limits import WaitingLimit, WaitingLimits

_log = logging.getLogger(__name__)

_REFRESH_EVERY = timedelta(seconds=1)
# Who changes a policy waits 2 s until every server has read it (queues.KNOWN_WITHIN).
_STALE_AFTER = timedelta(seconds=1.5)
# A row becomes visible at its commit, later than its updated_at by at most the statement timeout (5 s).
_LATE_COMMITS = timedelta(seconds=10)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

MAX_COUNTED_PER_LANE = 10_000
# Over all lanes of one answer, so that a thousand deep lanes do not run into the statement timeout.
_MAX_COUNTED = 200_000
_MIN_COUNTED_PER_LANE = 100
_MAX_COUNTED_RUNNING = 100_000


@dataclass(slots=True, eq=False)
class Lane:
    """A queue and a kind together. There is one object for each, changed in place, so compare by identity."""

    id: int
    queue_id: int
    kind_id: int
    queue: str
    kind: str
    gated: bool
    namespace: int
    namespace_name: str = DEFAULT_NAMESPACE_NAME
    #: What its queue allows of the jobs of one key, and the revision of the queue that says so. None: nothing is said.
    keys: KeyPolicy | None = None
    revision: int = 1
    #: How many jobs may wait in its queue. None: any number.
    backlog: WaitingLimit | None = None
    #: Whether something is said of single keys of its queue.
    says_of_keys: bool = False
    paused: bool = False
    #: How many jobs of its queue may run. None: any number.
    max_running: int | None = None
    #: How many jobs of its queue may start in a time. None: any number.
    rate: Rate | None = None
    #: The same of its kind, over all queues of its namespace.
    kind_max_running: int | None = None
    kind_rate: Rate | None = None
    #: How many slots of a worker a job of its kind takes.
    weight: int = 1

    @classmethod
    def of(cls, row: LaneRow, backlog: WaitingLimit | None) -> Lane:
        """The lane as it is stored."""
        return cls(
            row.id,
            row.queue_id,
            row.kind_id,
            row.queue,
            row.kind,
            row.gated,
            row.namespace,
            row.namespace_name,
            row.keys,
            row.revision,
            backlog,
            row.says_of_keys,
            row.paused,
            row.max_running,
            row.rate,
            row.kind_max_running,
            row.kind_rate,
            row.weight,
        )

    @property
    def limits(self) -> bool:
        """Whether its jobs may have to wait for their key."""
        return (self.keys is not None and self.keys.limits) or self.says_of_keys

    @property
    def fair(self) -> bool:
        """Whether its keys take turns."""
        return self.keys is not None and self.keys.fair

    @property
    def counted(self) -> bool:
        """Whether its jobs are leased by the statements alone that ask how many may run and start."""
        limited = self.max_running is not None or self.rate is not None or self.kind_limited
        return limited and not self.paused

    @property
    def asks_queue(self) -> bool:
        """Whether its queue limits how many of its jobs run or start, and its kind does not: an enqueue may ask it."""
        return self.gated and self.counted and not self.kind_limited

    @property
    def kind_limited(self) -> bool:
        """Whether its kind limits how many of its jobs run or start."""
        return self.kind_max_running is not None or self.kind_rate is not None

    def take(self, row: LaneRow, backlog: WaitingLimit | None) -> bool:
        """What may change of its queue, as stored now. Whether that is news."""
        known = self.gated, self.paused, self.revision, self.says_of_keys, self.kind_limited, self.weight
        self.gated, self.paused, self.says_of_keys = row.gated, row.paused, row.says_of_keys
        self.max_running, self.rate = row.max_running, row.rate
        self.kind_max_running, self.kind_rate, self.weight = row.kind_max_running, row.kind_rate, row.weight
        news = known != (
            row.gated,
            row.paused,
            row.revision,
            row.says_of_keys,
            self.kind_limited,
            row.weight,
        )
        if self.revision != row.revision:
            self.keys, self.revision = row.keys, row.revision
        self.backlog = backlog
        return news


@dataclass(slots=True)
class _Known:
    """A kind with its compiled schema; None where any JSON will do, or where `broken` says what is wrong with it."""

    row: KindRow
    schema: PayloadSchema | None
    broken: str | None = None


class Catalog:
    """Lanes and kinds of all namespaces in memory; a caller finds those of its own.

    Attributes:
        limits: Whether a queue limits the jobs of one key.
        fair: Whether the keys of a queue take turns.
        on_change: Called, without arguments, when a lane was added, or a gate or a policy of keys changed.
        backlogs: How many jobs may wait in which queues.
        shortest_retention: The shortest that a queue has for one of its statuses; None: none says so.
    """

    def __init__(self, store: CatalogStore, levels: Levels, *, open_kinds: bool) -> None:
        self._store = store
        self._levels = levels
        self._open_kinds = open_kinds
        self._lanes: dict[int, Lane] = {}
        # By namespace, queue and kind: all, and those whose kind may be enqueued.
        self._at: dict[tuple[int, str, str], Lane] = {}
        self._usable: dict[tuple[int, str, str], Lane] = {}
        # By number.
        self._kinds: dict[int, _Known] = {}
        self._newest = _LONG_AGO
        self._read_at = 0.0
        self._interning, self._refreshing = asyncio.Lock(), asyncio.Lock()
        self.limits = self.fair = False
        self.shortest_retention: timedelta | None = None
        self.on_change: list[Callable[[], None]] = []
        self.backlogs = WaitingLimits(store)

    async def load(self) -> None:
        """Declares the built-in kinds where they are missing, and reads everything. Done before the server is ready."""
        await self._store.declare_builtin_kinds()
        await self.refresh()

    async def run(self) -> None:
        """Refreshes about once a second, until cancelled. What it can't read now it reads the next time."""
        while True:
            await asyncio.sleep(_REFRESH_EVERY.total_seconds())
            try:
                await self.refresh()
            except JobQueueError as error:
                _log.warning("the catalog of queues and kinds was not refreshed: %s", error)

    async def refresh(self) -> None:
        """Reads the small tables again.

        Raises:
            DatabaseAway: What was known stays.
        """
        # One at a time: of two that overlap, the one that read first must not have the last word.
        async with self._refreshing:
            began = time.monotonic()
            rows = await self._store.kinds(self._newest - _LATE_COMMITS)
            if any(not row.sent and self._same_version(row) is None for row in rows):
                rows = await self._store.kinds(_LONG_AGO)
            lanes = await self._store.lanes()
            # No await from here on: readers see the old state or the new one.
            self._take_kinds(rows)
            changed = self._take_lanes(lanes)
            self._read_at = began
        if changed:
            for listener in self.on_change:
                listener()

    async def keep_fresh(self) -> None:
        """Refreshes what is not from a moment ago, as where this process stood still. What can't be read now stays."""
        if time.monotonic() - self._read_at > _STALE_AFTER.total_seconds():
            with contextlib.suppress(JobQueueError):
                await self.refresh()

    def _same_version(self, row: KindRow) -> _Known | None:
        known = self._kinds.get(row.id)
        return known if known is not None and known.row.updated_at == row.updated_at else None

    def _take_kinds(self, rows: list[KindRow]) -> None:
        kinds: dict[int, _Known] = {}
        for row in rows:
            if not row.declared and not self._open_kinds:
                continue
            known = self._same_version(row)
            if known is not None and known.row.declared == row.declared:
                kinds[row.id] = known
            else:
                kinds[row.id] = _compiled(row)
        self._kinds = kinds
        self._newest = max((row.updated_at for row in rows), default=_LONG_AGO)

    def _take_lanes(self, rows: list[LaneRow]) -> bool:
        changed = False
        self.backlogs.take(rows)
        for row in rows:
            backlog = self.backlogs.of_queue(row.queue_id)
            lane = self._lanes.get(row.id)
            if lane is None:
                lane = self._lanes[row.id] = Lane.of(row, backlog)
                self._at[lane.namespace, lane.queue, lane.kind] = lane
                changed = True
            elif lane.take(row, backlog):
                changed = True
        self.shortest_retention = min(filter(None, (row.shortest_retention for row in rows)), default=None)
        self.limits = any(lane.limits for lane in self._lanes.values())
        self.fair = any(lane.fair for lane in self._lanes.values())
        self._usable = {
            (lane.namespace, lane.queue, lane.kind): lane
            for lane in self._lanes.values()
            if lane.kind_id in self._kinds
        }
        return changed

    def known_lane(self, scope: Scope, queue: str, kind: str) -> Lane | None:
        """The lane, if this server has seen it and its kind may be enqueued."""
        return self._usable.get((scope.namespace, queue, kind))

    async def lane(self, scope: Scope, queue: str, kind: str, path: str = "job.kind") -> Lane:
        """The lane, made by its first use. Both names are well-formed; `path` is where the kind stood in the request.

        Raises:
            KindUnknown: The kind is not declared, and kinds are not open.
            DatabaseAway: It was not known here, and could not be looked up.
        """
        known = self.known_lane(scope, queue, kind)
        if known is not None:
            return known
        async with self._interning:
            known = self.known_lane(scope, queue, kind)
            if known is not None:
                return known
            if (
                not self._open_kinds
                and self.kind(scope, kind) is None
                and not await self._store.is_declared(scope, kind)
            ):
                raise _unknown(
                    [name for name in self.named(scope) if scope.grants.sees_kind(name)], kind, path
                )
            await self._store.intern_lane(scope, queue, kind, make_kind=self._open_kinds)
            await self.refresh()
            return self._usable[scope.namespace, queue, kind]

    def named(self, scope: Scope) -> dict[str, Kind]:
        """The caller's kinds, by name."""
        rows = (known.row for known in self._kinds.values())
        return {row.kind.name: row.kind for row in rows if row.namespace == scope.namespace}

    def lane_by_id(self, lane_id: int) -> Lane | None:
        """The lane with this number, if this server has seen it."""
        return self._lanes.get(lane_id)

    def lane_at(self, namespace: int, queue: str, kind: str) -> Lane | None:
        """The lane of this queue and kind, if this server has seen it, also where the kind may not be enqueued."""
        return self._at.get((namespace, queue, kind))

    def lanes(self) -> Collection[Lane]:
        """Every lane that this server has seen."""
        return self._lanes.values()

    def kind(self, scope: Scope, name: str) -> Kind | None:
        """What is declared of the kind; None if it is not known."""
        return self.named(scope).get(name)

    def kind_of(self, lane: Lane) -> Kind:
        """What is declared of the kind of a lane that `lane` or `known_lane` has just found."""
        return self._kinds[lane.kind_id].row.kind

    def takes_any_json(self, lane: Lane) -> bool:
        """Whether `check_payload` has nothing to check."""
        known = self._kinds[lane.kind_id]
        return known.schema is None and known.broken is None

    def check_payload(
        self, lane: Lane, payload: bytes, path: str = "job.payload", headers: Mapping[str, str] | None = None
    ) -> None:
        """Checks a payload, well-formed JSON as `check_json` has it, against the schema of its kind.

        Args:
            lane: As in `kind_of`.
            payload: The JSON text.
            path: Where it stood in the request.
            headers: Of its job: they say of which version it is, for the words of the error.

        Raises:
            PayloadInvalid: It does not fit. At most ten violations, each with its path below `path`.
            FieldInvalid: What is stored as the kind's schema is no schema; the message tells how to mend it.
        """
        known = self._kinds[lane.kind_id]
        if known.schema is not None:
            known.schema.check(payload, path, (headers or {}).get(VERSION_HEADER, "1"))
        elif known.broken is not None:
            words = f"the schema stored for the kind {lane.kind!r} is not one ({known.broken}); put the kind again"
            raise FieldInvalid.of(_beside(path), words)

    async def put_kind(
        self, scope: Scope, kind: Kind, fields: Collection[str] | None = None, *, only_newer: bool = False
    ) -> tuple[Kind, bool]:
        """Declares the kind, or changes what is declared of it. Other servers follow within about a second.

        Its limits hold from the commit on, whatever a server knows.

        Args:
            scope: Whose kind it is.
            kind: The new values.
            fields: Attributes of `Kind` that are changed; the others stay. None: all.
            only_newer: Whether nothing is changed where a higher version is stored.

        Returns:
            The kind as it is stored, and whether it was changed.

        Raises:
            FieldInvalid: The name, a schema or a bound breaks its rule.
            ServersDiffer: An older server runs, which would not keep to its limits or its weight, or would replace what
                the mask does not name.
            NotAllowed: The principal may not declare it: that takes OPERATE on the kind in all queues.
        """
        check_kind(kind)
        if not scope.grants.may_kind(Permission.OPERATE, kind.name):
            raise not_allowed("OPERATE", "declare the kind", queue="*", kind=kind.name)
        if fields is not None or only_newer:
            await self._levels.require(MASK_LEVEL, "`update_mask` and `only_newer` of a kind")
        if kind.max_running is not None or kind.rate is not None:
            await self._levels.require(LIMITS_LEVEL, "`limits` of a kind")
        if kind.slot_weight > 1:
            await self._levels.require(WEIGHT_LEVEL, "`slot_weight` of a kind")
        put = await self._store.put_kind(scope, kind, fields, only_newer=only_newer)
        await self.refresh()
        return put

    async def list_kinds(self, scope: Scope, asked_size: int, token: str) -> tuple[list[Kind], str]:
        """A page of kinds by name, and the token of the next one ("" after the last).

        Raises:
            FieldInvalid: The page size is negative.
            PageTokenInvalid: The token is not one of this list.
        """
        size = page_size(asked_size)
        text = tokens.within(scope, "kinds")
        after = page_name(text, token)
        kinds = await self._store.list_kinds(scope, after, size + 1, seen_too=self._open_kinds)
        more = len(kinds) > size
        return kinds[:size], page_token(text, kinds[size - 1].name.encode()) if more else ""

    async def lane_depths(self, lane_ids: Collection[int]) -> list[LaneDepth]:
        """Bounded counts of these lanes by status and by hold, without those that are zero."""
        per_lane = max(
            _MIN_COUNTED_PER_LANE, min(MAX_COUNTED_PER_LANE, _MAX_COUNTED // max(1, len(lane_ids)))
        )
        return await self._store.depths(list(lane_ids), per_lane=per_lane, running=_MAX_COUNTED_RUNNING)


def _unknown(names: Sequence[str], kind: str, path: str) -> KindUnknown:
    """What is told of a kind that is not among these names."""
    near = difflib.get_close_matches(kind, names, n=3)
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    description = f"the kind {kind!r} is not declared{meant}"
    return KindUnknown(
        f"{path}: {description}; declare it with PutKind or `jobqueue kinds put {kind}`, or from its program with "
        "sync_kinds or `jobqueue kinds sync`",
        metadata={"kind": kind, "nearest": ",".join(near)},
        violations=[FieldViolation(path, description)],
    )


def _beside(payload_path: str) -> str:
    """The path of the kind in the same job."""
    return payload_path.rpartition(".")[0] + ".kind"


def _compiled(row: KindRow) -> _Known:
    if row.kind.schema is None:
        return _Known(row, None)
    try:
        return _Known(row, PayloadSchema(row.kind.schema))
    except SchemaInvalid as error:
        _log.error(
            "the schema stored for the kind %s is not one: %s; put the kind again", row.kind.name, error
        )
        return _Known(row, None, str(error))
