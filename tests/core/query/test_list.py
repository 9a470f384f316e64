"""ListJobs: its pages and their tokens."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jobqueue_server.core.query.reads import JobReads
from jobqueue_server.core.query.shared_reads import SharedReads
from jobqueue_server.errors import FieldInvalid, PageTokenInvalid
from jobqueue_server.lifecycle import Status
from jobqueue_server.model import MAX_PAGE_BYTES, JobFilter
from jobqueue_server.store.query.reads import ReadStore
from tests.core.calls import Service, service
from tests.store.stored import SCOPE

ENDED = JobFilter(queue="few", statuses=frozenset({Status.SUCCEEDED}))
AT_ONCE = timedelta()


def _reads(it: Service, scanned: int) -> JobReads:
    """Lists of which a statement reads so many rows at most."""
    store = ReadStore(it.store.database, max_scanned=scanned)
    return JobReads(store, SharedReads(store), it.waiters)


async def test_a_list_pages_by_tokens_that_are_good_for_their_filter_alone(dsn):
    async with service(dsn) as it:
        ids = [await it.store.queued() for _ in range(5)][::-1]
        found, token = [], ""
        while True:
            page = await it.reads.list(SCOPE, JobFilter(kind="hello"), size=2, token=token)
            found += [job.id for job in page.jobs]
            token = page.next_page_token
            if not token:
                break
            last = token
        assert found == ids
        with pytest.raises(PageTokenInvalid):
            await it.reads.list(SCOPE, JobFilter(), size=2, token=last)
        with pytest.raises(FieldInvalid, match="page_size"):
            await it.reads.list(SCOPE, JobFilter(), size=-1, token="")
        for wanted in (JobFilter(queue="\x00"), JobFilter(kind="a\x00"), JobFilter(labels={"a": "\x00"})):
            with pytest.raises(FieldInvalid, match="NUL"):
                await it.reads.list(SCOPE, wanted, size=2, token="")


async def test_a_list_goes_on_until_its_page_is_full_or_none_is_left(dsn):
    async with service(dsn) as it:
        ids = []
        for _ in range(4):
            ids += await it.store.many(2, "few", ended=True)
            await it.store.many(25, "many", ended=True)
        ids.reverse()
        reads = _reads(it, 10)
        first = await reads.list(SCOPE, ENDED, size=5, token="")
        assert [job.id for job in first.jobs] == ids[:5]
        rest = await reads.list(SCOPE, ENDED, size=5, token=first.next_page_token)
        assert ([job.id for job in rest.jobs], rest.next_page_token) == (ids[5:], "")


async def test_a_list_whose_time_is_over_answers_what_it_has_and_goes_on_by_its_token(dsn):
    async with service(dsn) as it:
        old = await it.store.many(1, "few", ended=True)
        await it.store.many(15, "many", ended=True)
        new = await it.store.many(1, "few", ended=True)
        reads, pages, token = _reads(it, 10), [], None
        while token != "":
            page = await reads.list(SCOPE, ENDED, size=5, token=token or "", patience=AT_ONCE)
            pages.append([job.id for job in page.jobs])
            token = page.next_page_token
        assert pages[0] == new
        assert [job_id for page in pages[1:] for job_id in page] == old


async def test_a_long_list_waits_for_its_turn_no_longer_than_its_time_and_holds_no_connection(
    dsn, monkeypatch
):
    """A statement each: between two of them others may have the connection, and lists take turns."""
    async with service(dsn) as it:
        await it.store.many(1, "few", ended=True)
        await it.store.many(100, "many", ended=True)
        reads = _reads(it, 10)
        under_way, most = 0, 0
        scan = ReadStore.list

        async def counted(store, scope, wanted, **more):
            nonlocal under_way, most
            if not more.get("again"):
                return await scan(store, scope, wanted, **more)
            under_way += 1
            most = max(most, under_way)
            try:
                return await scan(store, scope, wanted, **more)
            finally:
                under_way -= 1

        monkeypatch.setattr(ReadStore, "list", counted)
        pages = await asyncio.gather(*(reads.list(SCOPE, ENDED, size=5, token="") for _ in range(8)))
        assert [len(page.jobs) for page in pages] == [1] * 8
        assert most == 3
        go_on, all_scan = asyncio.Event(), asyncio.Semaphore(0)

        async def held(store, scope, wanted, **more):
            if more.get("again"):
                all_scan.release()
                await go_on.wait()
            return await scan(store, scope, wanted, **more)

        monkeypatch.setattr(ReadStore, "list", held)
        slow = [asyncio.create_task(reads.list(SCOPE, ENDED, size=5, token="")) for _ in range(3)]
        for _ in slow:
            await all_scan.acquire()
        page = await reads.list(SCOPE, ENDED, size=5, token="", patience=timedelta(milliseconds=200))
        assert page.jobs == ()
        assert page.next_page_token
        go_on.set()
        assert [len(page.jobs) for page in await asyncio.gather(*slow)] == [1, 1, 1]


async def test_the_scans_of_a_page_carry_three_mebibytes_together(dsn):
    async with service(dsn) as it:
        big = b'"' + b"x" * ((1 << 20) - 2) + b'"'
        wanted = JobFilter(queue="few")
        ids = []
        for _ in range(5):
            ids.append(await it.store.queued(queue="few", payload=big))
            await it.store.many(12, "many", ended=True)
        ids.reverse()
        reads, found, token = _reads(it, 10), [], None
        while token != "":
            page = await reads.list(SCOPE, wanted, size=50, token=token or "", full=True)
            assert 0 < sum(len(job.payload or b"") for job in page.jobs) <= MAX_PAGE_BYTES
            found += [job.id for job in page.jobs]
            token = page.next_page_token
        assert found == ids
