"""What a server remembers of keys: no longer than they are good, and no more than it may."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from jobqueue_server.core.access import keys
from jobqueue_server.core.access.access import Access
from jobqueue_server.errors import (
    CredentialsExpired,
    CredentialsInvalid,
    CredentialsRevoked,
    DatabaseAway,
    NamespaceDisabled,
)
from jobqueue_server.store.access.access import IdentityRow, KeyRow, NamespaceRow
from tests.lease.place import leaving_nothing_to_the_collector

pytestmark = pytest.mark.unit

READ = '[{"permissions": ["READ"], "queues": ["*"], "kinds": ["*"], "payloads": false}]'


class Clock:
    """The database's time, in milliseconds."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms


class Store:
    """What is stored, as `AccessStore` answers it."""

    def __init__(self) -> None:
        self.number = 1
        self.rows: list[KeyRow] = []
        self.others: list[IdentityRow] = []
        self.disabled = False
        self.touched: list[str] = []
        self.reads: list[str] = []

    def key(self, ends_ms: int | None = None, *, revoked: bool = False, grants: str = READ) -> keys.MintedKey:
        minted = keys.mint()
        ends = None if ends_ms is None else datetime.fromtimestamp(ends_ms / 1000, UTC)
        self.rows.append(
            KeyRow(minted.id, 1, minted.id, "key", minted.secret_hash, grants, None, (), ends, revoked)
        )
        return minted

    def revoke(self, key: keys.MintedKey) -> None:
        self.number += 1
        self.rows = [replace(row, revoked=True) if row.id == key.id else row for row in self.rows]

    async def version(self) -> int:
        return self.number

    async def keys(self, after: str, limit: int) -> list[KeyRow]:
        self.reads.append("all")
        return sorted((row for row in self.rows if row.id > after), key=lambda row: row.id)[:limit]

    async def keys_by_id(self, ids: list[str]) -> list[KeyRow]:
        self.reads += ids
        return [row for row in self.rows if row.id in ids]

    async def identities(self) -> list[IdentityRow]:
        self.reads.append("identities")
        return self.others

    async def namespaces(self) -> list[NamespaceRow]:
        return [NamespaceRow(1, "default", self.disabled)]

    async def touch_keys(self, ids: list[str]) -> None:
        self.touched += ids


async def access_to(store: Any, clock: Any) -> Access:
    access = Access(store, clock)
    await access.load()
    return access


async def test_a_verdict_does_not_outlive_its_key() -> None:
    store, clock = Store(), Clock()
    key = store.key(ends_ms=1_000_500)
    access = await access_to(store, clock)
    assert access.remembered(key.text) is None, "nobody has looked at it yet"
    scope = access.look(key.text, "")
    assert access.remembered(key.text) is scope
    clock.ms = 1_000_499
    assert access.remembered(key.text) is scope
    clock.ms = 1_000_500
    assert access.remembered(key.text) is None
    with pytest.raises(CredentialsExpired):
        access.look(key.text, "")
    assert isinstance(access.now(scope)[1], CredentialsExpired)


async def test_a_change_is_seen_by_what_was_remembered() -> None:
    store = Store()
    key = store.key()
    access = await access_to(store, Clock())
    told: list[int] = []
    access.hear_change(lambda: told.append(1))
    scope = access.look(key.text, "")
    await access.refresh()
    assert access.remembered(key.text) is scope, "nothing has changed"
    store.revoke(key)
    await access.refresh()
    assert told == [1]
    assert access.remembered(key.text) is None
    with pytest.raises(CredentialsRevoked):
        access.look(key.text, "")
    assert access.revoked() == [scope.credential]


async def test_only_the_right_secret_is_told_what_became_of_a_key() -> None:
    store = Store()
    revoked, good = store.key(revoked=True), store.key()
    access = await access_to(store, Clock())
    for key in (revoked, good):
        body = key.text[:14] + "a" * 43
        with pytest.raises(CredentialsInvalid):
            access.look(body + keys._checksum(body), "")
    with pytest.raises(CredentialsRevoked):
        access.look(revoked.text, "")


async def test_a_disabled_namespace_refuses_its_keys() -> None:
    store = Store()
    key = store.key()
    access = await access_to(store, Clock())
    scope = access.look(key.text, "")
    store.disabled, store.number = True, 2
    await access.refresh()
    with pytest.raises(NamespaceDisabled):
        access.look(key.text, "")
    with leaving_nothing_to_the_collector():
        assert isinstance(access.now(scope)[1], NamespaceDisabled)


async def test_grants_that_can_not_be_read_permit_nothing() -> None:
    store = Store()
    key = store.key(grants='{"new": "form"}')
    access = await access_to(store, Clock())
    assert access.look(key.text, "").grants.bits == 0


async def test_a_key_that_is_used_on_and_on_is_noted_each_time_and_stays_remembered() -> None:
    store = Store()
    key = store.key()
    access = await access_to(store, Clock())
    scope = access.look(key.text, "")
    await access.note_used()
    assert access.remembered(key.text) is scope, "which is a use"
    await access.note_used()
    await access.note_used()
    assert store.touched == [key.id] * 2


async def test_the_first_use_of_a_key_is_noted_at_once_and_costs_no_statement_a_call() -> None:
    store = Store()
    key, other = store.key(), store.key()
    access = await access_to(store, Clock())
    access.look(key.text, "")
    await access.note_first_uses()
    for _ in range(3):
        access.look(key.text, "")
        await access.note_first_uses()
    assert store.touched == [key.id], "once"
    access.look(other.text, "")
    await access.note_first_uses()
    assert store.touched == [key.id, other.id]
    # A minute later all are noted together; whoever went on is known, and whoever rested is new.
    await access.note_used()
    assert store.touched[2:] == sorted([key.id, other.id])
    access.look(key.text, "")
    await access.note_used()
    access.look(key.text, "")
    access.look(other.text, "")
    await access.note_first_uses()
    assert store.touched[4:] == [key.id, other.id]


async def test_a_note_that_the_database_refused_is_made_later() -> None:
    store = Store()
    key = store.key()
    access = await access_to(store, Clock())
    note, store.touch_keys = store.touch_keys, _away  # type: ignore[method-assign]
    access.look(key.text, "")
    for noted in (access.note_first_uses, access.note_used):
        with pytest.raises(DatabaseAway):
            await noted()
    store.touch_keys = note  # type: ignore[method-assign]
    await access.note_first_uses()
    assert store.touched == [key.id]


async def _away(ids: list[str]) -> None:
    raise DatabaseAway("it is away")


@pytest.mark.parametrize("told", [True, False])
async def test_a_change_of_one_key_forgets_that_key_alone(told: bool) -> None:
    store = Store()
    stays, goes = store.key(), store.key()
    access = await access_to(store, Clock())
    scope = access.look(stays.text, "")
    access.look(goes.text, "")
    store.reads.clear()
    store.revoke(goes)
    if told:
        access.note_change(2, [goes.id])
    await access.refresh()
    assert access.remembered(goes.text) is None
    assert access.remembered(stays.text) is scope
    if told:
        assert store.reads == [goes.id], "and nothing else is read"


async def test_a_change_that_was_not_heard_is_found_by_comparing() -> None:
    store = Store()
    first, second = store.key(), store.key()
    access = await access_to(store, Clock())
    for key in (first, second):
        access.look(key.text, "")
        store.revoke(key)
    # Of version 2 nothing was heard.
    access.note_change(3, [second.id])
    await access.refresh()
    for key in (first, second):
        with pytest.raises(CredentialsRevoked):
            access.look(key.text, "")


async def test_a_key_that_is_new_is_read_with_its_namespace_and_ends_nothing() -> None:
    store = Store()
    access = await access_to(store, Clock())
    told: list[int] = []
    access.hear_change(lambda: told.append(1))
    key = store.key()
    store.number = 2
    access.changed_elsewhere(2, [key.id])
    await access.refresh()
    access.look(key.text, "")
    assert told == [], "no one can hold anything by it"


async def test_versions_that_went_back_are_read_whole() -> None:
    """As after a restore of the database."""
    store = Store()
    store.number = 9
    key = store.key()
    access = await access_to(store, Clock())
    access.look(key.text, "")
    access.note_change(3, [])
    store.rows, store.number = [], 2
    await access.refresh()
    with pytest.raises(CredentialsInvalid):
        access.look(key.text, "")
    key = store.key()
    store.number = 3
    await access.refresh()
    access.look(key.text, "")


async def test_many_keys_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue_server.core.access.access._PAGE", 3)
    store = Store()
    minted = [store.key() for _ in range(10)]
    access = await access_to(store, Clock())
    for key in minted:
        access.look(key.text, "")
    store.rows.pop()
    store.number = 2
    await access.refresh()
    assert sum(access.remembered(key.text) is not None for key in minted) == 9
