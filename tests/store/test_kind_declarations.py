"""Kinds that programs and operators declare side by side: what each names is changed, and what is so already is not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from jobqueue_server.core.catalog.catalog import Catalog
from jobqueue_server.model import Kind, Rate, RetryPolicy

from .stored import SCOPE, stored

PROGRAM = ("schema", "output_schema", "version")
POLICY = RetryPolicy(timedelta(seconds=1), timedelta(seconds=9))
MINE = Kind(
    "mail", '{"type":"object"}', version=2, output_schema='{"type":"string"}', annotations={"owner": "post"}
)


async def versions(s: Any) -> tuple[object, int]:
    """What other servers read anew by, and how many rows the audit log has of the kind."""
    row = await s.sql.fetchval("select updated_at from kind where name = 'mail'")
    return row, await s.sql.fetchval("select count(*) from audit where object = 'kind:mail'")


async def whole(s: Any, name: str = "mail") -> Kind:
    kinds, _ = await s.catalog.list_kinds(SCOPE, 1000, "")
    return next(kind for kind in kinds if kind.name == name)


async def test_all_that_is_declared_is_kept_and_put_whole_again(dsn):
    async with stored(dsn) as s:
        full = Kind(
            "mail",
            '{"type":"object"}',
            POLICY,
            7,
            timedelta(seconds=90),
            20,
            Rate(5, timedelta(seconds=1), 2),
            3,
            4,
            '{"type":"string"}',
            {"owner": "post", "docs": "https://example.org/ä"},
        )
        assert await s.catalog.put_kind(SCOPE, full) == (full, True)
        assert await whole(s) == full
        assert await s.catalog.put_kind(SCOPE, Kind("mail")) == (Kind("mail"), True)
        assert await whole(s) == Kind("mail")


async def test_what_is_declared_twice_changes_nothing_the_second_time(dsn):
    async with stored(dsn) as s:
        assert await s.catalog.put_kind(SCOPE, MINE, PROGRAM, only_newer=True) == (
            Kind("mail", MINE.schema, version=2, output_schema=MINE.output_schema),
            True,
        )
        before = await versions(s)
        for fields in (PROGRAM, ("version",), ()):
            _, changed = await s.catalog.put_kind(SCOPE, MINE, fields, only_newer=True)
            assert not changed
        _, changed = await s.catalog.put_kind(SCOPE, await whole(s))
        assert not changed
        assert await versions(s) == before


async def test_what_an_operator_set_stays_where_a_program_does_not_name_it(dsn):
    async with stored(dsn) as s:
        operators = Kind(
            "mail", None, POLICY, 9, timedelta(hours=1), 40, Rate(100, timedelta(seconds=1)), slot_weight=2
        )
        await s.catalog.put_kind(SCOPE, operators)
        put, changed = await s.catalog.put_kind(SCOPE, MINE, (*PROGRAM, "annotations"))
        assert changed
        assert put == await whole(s)
        assert (put.retry_policy, put.max_attempts, put.timeout) == (POLICY, 9, timedelta(hours=1))
        assert (put.max_running, put.rate, put.slot_weight) == (40, operators.rate, 2)
        assert (put.schema, put.version, put.output_schema) == (MINE.schema, 2, MINE.output_schema)
        assert put.annotations == {"owner": "post"}
        put, _ = await s.catalog.put_kind(SCOPE, Kind("mail"), ("max_running", "annotations"))
        assert (put.max_running, put.rate, put.annotations) == (None, operators.rate, {})


async def test_a_program_of_an_older_version_undoes_nothing(dsn):
    async with stored(dsn) as s:
        await s.catalog.put_kind(SCOPE, MINE, PROGRAM)
        before = await versions(s)
        older = Kind("mail", '{"type":"number"}', version=1)
        put, changed = await s.catalog.put_kind(SCOPE, older, PROGRAM, only_newer=True)
        assert (put.schema, put.version, changed) == (MINE.schema, 2, False)
        assert await versions(s) == before
        # Of the same version the last one wins; without the wish so does an older one.
        same = Kind("mail", '{"type":"array"}', version=2)
        assert (await s.catalog.put_kind(SCOPE, same, PROGRAM, only_newer=True))[1]
        assert (await s.catalog.put_kind(SCOPE, older, PROGRAM))[0].version == 1


async def test_of_programs_that_declare_at_once_the_newest_version_stays(dsn):
    async with stored(dsn) as s:
        others = [Catalog(s.catalog_store, open_kinds=False) for _ in range(2)]
        for round in range(5):
            name = f"mail-{round}"
            puts = [
                Kind(name, f'{{"const":{number}}}', version=number)
                for number in (3, 1, 4, 2, 5, 3, 1, 5, 2, 4)
            ]
            await asyncio.gather(
                *(
                    others[index % 2].put_kind(SCOPE, kind, PROGRAM, only_newer=True)
                    for index, kind in enumerate(puts)
                )
            )
            found = await whole(s, name)
            assert (found.version, found.schema) == (5, '{"const":5}')


async def test_what_no_server_acts_by_is_not_read_again_by_them(dsn):
    async with stored(dsn) as s:
        await s.catalog.put_kind(SCOPE, Kind("mail", '{"type":"object"}'))
        (updated_at, told) = await versions(s)
        fields = ("version", "output_schema", "annotations")
        assert (await s.catalog.put_kind(SCOPE, MINE, fields))[1]
        assert await versions(s) == (updated_at, told + 1)
        assert (await whole(s)).output_schema == MINE.output_schema


async def test_a_kind_that_was_only_seen_is_declared_by_its_first_put(dsn):
    async with stored(dsn) as s:
        opened = Catalog(s.catalog_store, open_kinds=True)
        await opened.load()
        await opened.lane(SCOPE, "default", "mail")
        assert await s.catalog.put_kind(SCOPE, Kind("mail"), ()) == (Kind("mail"), True)
        assert await s.sql.fetchval("select declared_at is not null from kind where name = 'mail'")
