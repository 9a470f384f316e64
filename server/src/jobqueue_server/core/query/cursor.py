"""Where a watch is: what was told of the changes, and the opaque token by which a caller goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from ...errors import FieldInvalid
from ...store.query.watch import FIRST_ID, LONG_AGO, NOTHING, Change, Snapshot
from .. import tokens

_ID_BYTES = 16
_NUMBER_BITS = 62
# There are fewer connections; a token that names more is not ours.
_MAX_UNDER_WAY = 10_000
_MICROSECOND = timedelta(microseconds=1)

_NO_CHANGE = Change(LONG_AGO, FIRST_ID)

# A change becomes visible at its commit, and carries the time at which its transaction began. Each statement is cut
# after 5 s, and a transaction of several writes by its first.
LATE_COMMITS = timedelta(seconds=10)
# A transaction that is under way for longer is not waited for: what it changed would have to be looked for all the
# time, since the beginning of it. Those of servers end within seconds.
LONGEST_COMMIT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Cursor:
    """All that `told` saw is told; of what `target` saw beyond it, the changes up to `last`.

    Attributes:
        history: Names the database and its timeline: in another one, snapshots mean nothing.
        told: The snapshot of the search that was told last. NOTHING: each job is told as it is.
        at: When that was, by the database's clock.
        since: No transaction that `told` did not see began to write before. The next search begins there.
        target: The snapshot of a search that is being told, else None.
        target_at: When that was.
        last: The last change of it that was told.
    """

    history: bytes
    told: Snapshot
    at: datetime
    since: datetime
    target: Snapshot | None = None
    target_at: datetime = LONG_AGO
    last: Change = _NO_CHANGE

    def starts_after(self) -> Change:
        """The change behind which the next search goes on."""
        if self.told == NOTHING:
            return self.last
        floor = max(self.since, self.at - LONGEST_COMMIT) - LATE_COMMITS
        return self.last if self.last.at >= floor else Change(floor, FIRST_ID)

    def aims_at(self, target: Snapshot, at: datetime) -> Cursor:
        """The same at the beginning of a turn, which tells what `target` saw at this time."""
        return replace(self, target=target, target_at=at)

    def at_change(self, last: Change) -> Cursor:
        """The same within a turn, when this change was told."""
        return replace(self, last=last)

    def at_the_end(self) -> Cursor:
        """The same when all of a turn was told."""
        target = self.target
        assert target is not None, "a turn has an aim"
        if target.xmin >= target.next:
            since = self.target_at  # nothing was under way
        elif target.xmin >= self.told.next:
            since = self.at  # what was under way had begun to write after the search before
        else:
            since = self.since
        return Cursor(self.history, target, self.target_at, since)

    def token(self, text: str) -> str:
        """The cursor as text, for the watch that `text` describes."""
        raw = bytearray(self.history + tokens.digest(text))
        _put(raw, _microseconds(self.at))
        _put(raw, max(0, _microseconds(self.at) - _microseconds(self.since)))
        _put_snapshot(raw, self.told)
        if self.target is not None:
            _put(raw, _microseconds(self.target_at))
            _put_snapshot(raw, self.target)
            _put(raw, _microseconds(self.last.at))
            raw += self.last.job_id.bytes
        return tokens.encode(bytes(raw))


def history_of(text: str) -> bytes:
    """The digest by which tokens name a database."""
    return tokens.digest(text)


def cursor_of(token: str, text: str) -> Cursor:
    """Reads a token.

    Raises:
        FieldInvalid: It is not one of ours, or belongs to other filters.
    """
    try:
        cursor, digest = _read(tokens.decode(token))
    except (ValueError, OverflowError, StopIteration):
        words = "is not a token that WatchJobs gave; leave it out to watch from now on"
        raise FieldInvalid.of("resume_token", words) from None
    if digest != tokens.digest(text):
        words = "belongs to a watch of other jobs; keep ids, queue, kind and labels as they were"
        raise FieldInvalid.of("resume_token", words)
    return cursor


def _read(raw: bytes) -> tuple[Cursor, bytes]:
    octets = iter(raw)
    history, digest = _take(octets, tokens.DIGEST_BYTES), _take(octets, tokens.DIGEST_BYTES)
    at = _moment(_number(octets))
    since = at - _number(octets) * _MICROSECOND
    cursor = Cursor(history, _snapshot(octets), at, since)
    first = next(octets, None)
    if first is not None:
        target_at = _moment(_number(octets, first))
        target = _snapshot(octets)
        last = Change(_moment(_number(octets)), UUID(bytes=_take(octets, _ID_BYTES)))
        cursor = replace(cursor, target=target, target_at=target_at, last=last)
    if next(octets, None) is not None:
        raise ValueError("longer than a token")
    return cursor, digest


def _put(raw: bytearray, number: int) -> None:
    """Seven bits an octet, the lowest first; the highest bit says that more follow."""
    while number > 0x7F:
        raw.append(number & 0x7F | 0x80)
        number >>= 7
    raw.append(number)


def _put_snapshot(raw: bytearray, snapshot: Snapshot) -> None:
    """As distances, which are small."""
    _put(raw, snapshot.xmin)
    _put(raw, snapshot.xmax - snapshot.xmin)
    _put(raw, snapshot.next - snapshot.xmin)
    _put(raw, len(snapshot.under_way))
    before = snapshot.xmin
    for xid in snapshot.under_way:
        _put(raw, xid - before)
        before = xid


def _number(octets: Iterator[int], first: int | None = None) -> int:
    number = shift = 0
    while True:
        octet = next(octets) if first is None else first
        first = None
        number |= (octet & 0x7F) << shift
        shift += 7
        if number >> _NUMBER_BITS or shift > _NUMBER_BITS + 7:
            raise ValueError("too large")
        if octet <= 0x7F:
            return number


def _snapshot(octets: Iterator[int]) -> Snapshot:
    xmin = _number(octets)
    xmax = xmin + _number(octets)
    next_one = xmin + _number(octets)
    count = _number(octets)
    if count > _MAX_UNDER_WAY:
        raise ValueError("too many")
    under_way = []
    before = xmin
    for _ in range(count):
        before += _number(octets)
        under_way.append(before)
    if xmax >> _NUMBER_BITS or (under_way and under_way[-1] >= xmax):
        raise ValueError("no snapshot")
    return Snapshot(xmin, xmax, tuple(under_way), next_one)


def _take(octets: Iterator[int], count: int) -> bytes:
    taken = bytes(islice(octets, count))
    if len(taken) < count:
        raise ValueError("shorter than a token")
    return taken


def _microseconds(moment: datetime) -> int:
    return (moment - LONG_AGO) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return LONG_AGO + microseconds * _MICROSECOND
