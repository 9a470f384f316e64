"""ListJobs: its pages and their tokens."""

from __future__ import annotations

import pytest

from jobqueue_server.errors import FieldInvalid, PageTokenInvalid
from jobqueue_server.model import JobFilter
from tests.core.calls import service
from tests.store.stored import SCOPE


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
