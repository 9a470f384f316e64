"""The lanes and kinds as this server knows them: looked up in memory on the hot path, kept fresh from the database."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import heapq
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ...errors import DatabaseAway, FieldInvalid, FieldViolation, JobQueueError, KindUnknown, QueuesFull
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
# What changed is kept for a day (sweep_catalog_changes.sql). Who read nothing for so long reads all.
_CHANGES_SUFFICE = timedelta(hours=1)
# Rows that are read and taken in at once: the loop is held up for 3 ms.
_PAGE = 500
# A lane is made sure of again this long after the last time, and the hour that its number says: statements refuse it
# after a day (in_use in enqueue.sql). So not all of them fall due at once.
_SURE_FOR_HOURS, _SPREAD_HOURS = 12, 8
# Lanes that fall due are marked so many at once, which takes half a millisecond.
_MARKED = 5_000
# So often a lane is made anew that is forgotten in this very moment.
_TRIES = 3
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
#: A namespace may have so many lanes, where nothing else is said.
MOST_LANES = 200_000

MAX_COUNTED_PER_LANE = 10_000
# Over all lanes of one answer, so that a thousand deep lanes do not run into the statement timeout.
_MAX_COUNTED = 200_000
_MIN_COUNTED_PER_LANE = 100
_MAX_COUNTED_RUNNING = 100_000
# So many lanes are counted by one statement: 50 ms where each has a few jobs.
_LANES_AT_ONCE = 1_000
# So many of the oldest lanes are named each by itself, also while they have no jobs (labels.py).
_NAMED_APART = 2_000


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
    #: When a server last made sure of it, and whether it may be used until somebody does so again.
    used_at: datetime = _LONG_AGO
    in_use: bool = True
    #: Whether it is no more: no job is in it, and none will be.
    forgotten: bool = False

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

    @property
    def due_hour(self) -> int:
        """The hour of the database's clock, from 1970, after which it is not in use until somebody makes sure of it."""
        return int(self.used_at.timestamp()) // 3600 + _SURE_FOR_HOURS + self.id % _SPREAD_HOURS

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

    It reads what changed (`catalog_change`), and all only when it starts and after an absence of the database. So
    nothing here that is done each second, or for each lane that changes, may take a step for every lane.

    Args:
        store: What is stored of them.
        levels: Of the servers.
        open_kinds: Whether kinds need not be declared.
        most_lanes: How many lanes a namespace may have.

    Attributes:
        most_lanes: As above.
        limits: Whether a queue limits the jobs of one key.
        fair: Whether the keys of a queue take turns.
        policies: Grows whenever a queue has another revision than was known, or is new and has one.
        news: Grows whenever `on_change` is called.
        on_change: Called with the lanes that were added or forgotten, or whose gate or policy of keys changed.
        backlogs: How many jobs may wait in which queues.
    """

    def __init__(
        self, store: CatalogStore, levels: Levels, *, open_kinds: bool, most_lanes: int = MOST_LANES
    ) -> None:
        self._store = store
        self._levels = levels
        self._open_kinds = open_kinds
        self.most_lanes = most_lanes
        self._lanes: dict[int, Lane] = {}
        # By namespace, queue and kind; those of a queue, by its number and by its name; how many lanes and queues there
        # are, by namespace.
        self._at: dict[tuple[int, str, str], Lane] = {}
        self._of_queue: dict[int, list[Lane]] = {}
        self._of_name: dict[tuple[int, str], list[Lane]] = {}
        self._count: Counter[int] = Counter()
        self._queues: Counter[int] = Counter()
        # Kinds by number, and by namespace and name: those alone that may be enqueued.
        self._kinds: dict[int, _Known] = {}
        self._kind_at: dict[tuple[int, str], _Known] = {}
        # By number: lanes whose jobs may have to wait for their key, whose keys take turns, whose queue has retentions.
        self._limiting: set[int] = set()
        self._taking_turns: set[int] = set()
        self._retentions: dict[int, timedelta] = {}
        self._paused: dict[int, Lane] = {}
        # Those of the smallest numbers; None: they are to be found again.
        self._oldest: list[Lane] | None = None
        # Lanes by the hour in which they fall due.
        self._due: dict[int, list[Lane]] = {}
        # Up to where changes were read; None: all is to be read. And when, by the database's clock.
        self._snapshot: str | None = None
        self._absences = 0
        self._now = _LONG_AGO
        self._read_at = 0.0
        self._interning, self._refreshing = asyncio.Lock(), asyncio.Lock()
        self.limits = self.fair = False
        self.policies = self.news = 0
        self.on_change: list[Callable[[Sequence[Lane]], None]] = []
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

    def read_all_again(self) -> None:
        """The next refresh reads everything: after an absence the database may be another one."""
        self._snapshot = None
        self._absences += 1

    async def refresh(self) -> None:
        """Reads what changed since the last time.

        Raises:
            DatabaseAway: What was known stays.
        """
        # One at a time: of two that overlap, the one that read first must not have the last word.
        async with self._refreshing:
            began = time.monotonic()
            absences = self._absences
            changes = await self._store.changes(self._snapshot)
            if changes.now - self._now > _CHANGES_SUFFICE:
                self._snapshot = None
            self._now = changes.now
            changed: list[Lane] = []
            try:
                if self._snapshot is None:
                    await self._read_all(changed)
                else:
                    await self._read(changes.kinds, changes.lanes, changed)
            finally:
                # Also what was read before an error: the next time it is no news.
                if changed:
                    self.news += 1
                    for listener in self.on_change:
                        listener(changed)
            self._mark_due()
            # What was read before an absence may be of another database than what was read after it.
            self._snapshot = changes.snapshot if absences == self._absences else None
            self._read_at = began

    async def _read(self, kinds: Sequence[int], lanes: Sequence[int], changed: list[Lane]) -> None:
        """Reads these, and adds to `changed` what is news. Those that are not there were forgotten."""
        for start in range(0, len(kinds), _PAGE):
            ids = kinds[start : start + _PAGE]
            found = await self._store.kinds(ids)
            self._take_kinds(found)
            self._forget_kinds(set(ids) - {row.id for row in found})
        for start in range(0, len(lanes), _PAGE):
            ids = lanes[start : start + _PAGE]
            rows = await self._store.lanes(ids)
            changed += self._take_lanes(rows)
            changed += self._forget_lanes(set(ids) - {row.id for row in rows})

    async def _read_all(self, changed: list[Lane]) -> None:
        unseen, after = set(self._kinds), 0
        while kinds := await self._store.kinds(after=after, most=_PAGE):
            self._take_kinds(kinds)
            unseen.difference_update(row.id for row in kinds)
            after = kinds[-1].id
        self._forget_kinds(unseen)
        unseen, after = set(self._lanes), 0
        while lanes := await self._store.lanes(after=after, most=_PAGE):
            changed += self._take_lanes(lanes)
            unseen.difference_update(row.id for row in lanes)
            after = lanes[-1].id
        changed += self._forget_lanes(unseen)

    async def keep_fresh(self) -> None:
        """Refreshes what is not from a moment ago, as where this process stood still. What can't be read now stays."""
        if time.monotonic() - self._read_at > _STALE_AFTER.total_seconds():
            with contextlib.suppress(JobQueueError):
                await self.refresh()

    def _take_kinds(self, rows: Iterable[KindRow]) -> None:
        for row in rows:
            if not row.declared and not self._open_kinds:
                self._forget_kinds([row.id])
                continue
            known = self._kinds.get(row.id)
            if known is None or known.row.updated_at != row.updated_at:
                known = _compiled(row)
            elif known.row.declared != row.declared:
                known.row = row
            self._kinds[row.id] = self._kind_at[row.namespace, row.kind.name] = known

    def _forget_kinds(self, ids: Iterable[int]) -> None:
        for kind_id in ids:
            known = self._kinds.pop(kind_id, None)
            if known is not None:
                place = known.row.namespace, known.row.kind.name
                # One of the same name may have been made since.
                if self._kind_at.get(place) is known:
                    del self._kind_at[place]

    def _take_lanes(self, rows: Iterable[LaneRow]) -> list[Lane]:
        """Takes in what is stored of these lanes now. Answers those with news."""
        changed = []
        for row in rows:
            backlog = self.backlogs.take(row)
            lane = self._lanes.get(row.id)
            if lane is None:
                lane = self._added(Lane.of(row, backlog))
                changed.append(lane)
            else:
                self.policies += lane.revision != row.revision
                if lane.take(row, backlog):
                    changed.append(lane)
            if lane.used_at != row.used_at:
                lane.used_at = row.used_at
                lane.in_use = lane.due_hour >= self._hour
                if lane.in_use:
                    self._due.setdefault(lane.due_hour, []).append(lane)
            self._sum(lane, row.shortest_retention)
        self._summed()
        return changed

    def _added(self, lane: Lane) -> Lane:
        if lane.queue_id not in self._of_queue:
            self.policies += lane.revision > 1
            of_queue: list[Lane] = []
            self._of_queue[lane.queue_id] = self._of_name[lane.namespace, lane.queue] = of_queue
            self._queues[lane.namespace] += 1
        self._of_queue[lane.queue_id].append(lane)
        self._lanes[lane.id] = self._at[lane.namespace, lane.queue, lane.kind] = lane
        self._count[lane.namespace] += 1
        oldest = self._oldest
        if oldest is not None and (len(oldest) < _NAMED_APART or lane.id < oldest[-1].id):
            self._oldest = None
        return lane

    def _forget_lanes(self, ids: Iterable[int]) -> list[Lane]:
        """Forgets those of these that are known, and answers them."""
        forgotten = [lane for lane_id in ids if (lane := self._lanes.pop(lane_id, None)) is not None]
        for lane in forgotten:
            lane.forgotten, lane.in_use = True, False
            self._count[lane.namespace] -= 1
            place = lane.namespace, lane.queue, lane.kind
            # It may have been made anew since, with its queue.
            if self._at.get(place) is lane:
                del self._at[place]
            of_queue = self._of_queue[lane.queue_id]
            of_queue.remove(lane)
            if not of_queue:
                del self._of_queue[lane.queue_id]
                self._queues[lane.namespace] -= 1
                if self._of_name.get((lane.namespace, lane.queue)) is of_queue:
                    del self._of_name[lane.namespace, lane.queue]
            self._limiting.discard(lane.id)
            self._taking_turns.discard(lane.id)
            self._retentions.pop(lane.id, None)
            self._paused.pop(lane.id, None)
            if self._oldest is not None and lane.id <= self._oldest[-1].id:
                self._oldest = None
        self._summed()
        return forgotten

    def _sum(self, lane: Lane, shortest_retention: timedelta | None) -> None:
        if lane.paused:
            self._paused[lane.id] = lane
        else:
            self._paused.pop(lane.id, None)
        for has, those in ((lane.limits, self._limiting), (lane.fair, self._taking_turns)):
            if has:
                those.add(lane.id)
            else:
                those.discard(lane.id)
        if shortest_retention is not None:
            self._retentions[lane.id] = shortest_retention
        else:
            self._retentions.pop(lane.id, None)

    def _summed(self) -> None:
        self.limits, self.fair = bool(self._limiting), bool(self._taking_turns)

    @property
    def shortest_retention(self) -> timedelta | None:
        """The shortest that a queue has for one of its statuses; None: none says so."""
        return min(self._retentions.values(), default=None)

    @property
    def _hour(self) -> int:
        return int(self._now.timestamp()) // 3600

    def _mark_due(self) -> None:
        """Lanes that fell due are not in use: who wants to use one makes sure of it first."""
        left, hour = _MARKED, self._hour
        for due in [each for each in self._due if each < hour]:
            lanes = self._due[due]
            while lanes and left:
                lane = lanes.pop()
                left -= 1
                # It may have been made sure of since, and stands in another hour then.
                if lane.due_hour < hour:
                    lane.in_use = False
            if not lanes:
                del self._due[due]

    def known_lane(self, scope: Scope, queue: str, kind: str) -> Lane | None:
        """The lane, if this server has seen it and jobs may be put into it as they are."""
        lane = self._at.get((scope.namespace, queue, kind))
        return lane if lane is not None and lane.in_use and lane.kind_id in self._kinds else None

    async def lane(self, scope: Scope, queue: str, kind: str, path: str = "job.kind") -> Lane:
        """The lane, made by its first use. Both names are well-formed; `path` is where the kind stood in the request.

        Raises:
            KindUnknown: The kind is not declared, and kinds are not open.
            QueuesFull: It would be one more than its namespace may have.
            DatabaseAway: It was not known here, and could not be looked up.
        """
        known = self.known_lane(scope, queue, kind)
        if known is not None:
            return known
        async with self._interning:
            for _ in range(_TRIES):
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
                if self.lane_at(scope.namespace, queue, kind) is None:
                    self.require_room(scope, f"{queue!r} with the kind {kind!r}")
                await self._store.intern_lane(scope, queue, kind, make_kind=self._open_kinds)
                await self.refresh()
            known = self.known_lane(scope, queue, kind)
            if known is None:
                raise DatabaseAway(f"the queue {queue!r} was forgotten in this very moment; call again")
            return known

    def require_room(self, scope: Scope, what: str) -> None:
        """Whether a namespace may have one more lane, as this server knows it.

        Other servers may make some at this moment: each makes one after the other, and reads what others made each
        second. So a namespace may have more by what all other servers make in a second.

        Raises:
            QueuesFull: It has as many as it may.
        """
        count = self._count[scope.namespace]
        if count >= self.most_lanes:
            raise QueuesFull.of(what, count, self.most_lanes)

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

    def oldest(self) -> Sequence[Lane]:
        """The 2,000 lanes that were made first, by number. Any thread may ask."""
        oldest = self._oldest
        if oldest is None:
            ids = heapq.nsmallest(_NAMED_APART, list(self._lanes))
            oldest = [lane for lane_id in ids if (lane := self._lanes.get(lane_id)) is not None]
            self._oldest = oldest or None
        return oldest

    def paused(self) -> Collection[Lane]:
        """The lanes of queues that are paused."""
        return self._paused.values()

    def limiting(self) -> Iterable[Lane]:
        """The lanes whose jobs may have to wait for their key."""
        return (self._lanes[lane_id] for lane_id in self._limiting)

    def queues_in(self, namespace: int) -> int:
        """How many queues of a namespace this server has seen."""
        return self._queues[namespace]

    def lanes_of(self, namespace: int, queue: str) -> Sequence[Lane]:
        """The lanes of a queue that this server has seen."""
        return self._of_name.get((namespace, queue), ())

    def lane_of_queue(self, queue_id: int) -> Lane | None:
        """One of the lanes of the queue with this number: it tells of the queue."""
        lanes = self._of_queue.get(queue_id)
        return lanes[0] if lanes else None

    def kind(self, scope: Scope, name: str) -> Kind | None:
        """What is declared of the kind; None if it is not known."""
        known = self._kind_at.get((scope.namespace, name))
        return None if known is None else known.row.kind

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
            QueuesFull: The namespace has as many kinds as it may have queues.
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
        if self.kind(scope, kind.name) is None and (count := len(self.named(scope))) >= self.most_lanes:
            raise QueuesFull.of(f"the kind {kind.name!r}", count, self.most_lanes, "kinds")
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
        wanted = frozenset(lane_ids)
        running = await self._store.running_depths(_MAX_COUNTED_RUNNING)
        return [
            *await self._waiting(list(lane_ids)),
            *(depth for depth in running if depth.lane_id in wanted),
        ]

    async def all_depths(self) -> list[LaneDepth]:
        """The same of all lanes that this server has seen. A lane without jobs costs nothing."""
        depths = await self._waiting(await self.waiting_lanes())
        depths += await self._store.running_depths(_MAX_COUNTED_RUNNING)
        return [depth for depth in depths if depth.lane_id in self._lanes]

    async def waiting_lanes(self) -> list[int]:
        """The lanes in which a job waits, by number, of all namespaces."""
        ids, after = list[int](), 0
        while page := await self._store.waiting_lanes(after, _LANES_AT_ONCE):
            ids += page
            after = page[-1]
        return ids

    async def _waiting(self, lane_ids: Sequence[int]) -> list[LaneDepth]:
        per_lane = max(
            _MIN_COUNTED_PER_LANE, min(MAX_COUNTED_PER_LANE, _MAX_COUNTED // max(1, len(lane_ids)))
        )
        depths: list[LaneDepth] = []
        for start in range(0, len(lane_ids), _LANES_AT_ONCE):
            ids = lane_ids[start : start + _LANES_AT_ONCE]
            depths += await self._store.waiting_depths(ids, per_lane=per_lane)
        return depths


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
