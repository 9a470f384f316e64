"""A ticket tells of jobs that need more than a place in line, and works for their caller meanwhile."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from jobqueue_server.core.intake.ticket import LateTicket, answer_of, refused
from jobqueue_server.errors import RateLimited
from jobqueue_server.fair.owner import CALLER, OWNER
from jobqueue_server.model import Enqueued
from jobqueue_server.scope import Scope

BILLING = Scope(3, "billing", credential="key:a")


async def test_its_work_is_on_behalf_of_the_principal_and_the_connection_that_brought_the_jobs() -> None:
    seen = []

    async def work() -> Enqueued:
        seen.append((OWNER.get(), CALLER.get()))
        return Enqueued([uuid4()])

    # The fast path begins outside of any call's context.
    await answer_of(LateTicket(work, BILLING, "127.0.0.1:4711"))
    assert seen == [(BILLING.owner, "127.0.0.1:4711")]
    assert (OWNER.get(), CALLER.get()) == (None, "")


async def test_a_caller_that_gives_up_ends_its_work() -> None:
    ended = asyncio.Event()

    async def work() -> Enqueued:
        try:
            await asyncio.Event().wait()
            raise AssertionError
        finally:
            ended.set()

    waiting = asyncio.create_task(answer_of(LateTicket(work, BILLING, "")))
    for _ in range(3):
        await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(5):
        await ended.wait()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_refusal_is_told_by_its_ticket() -> None:
    ticket = refused(RateLimited("too many"))
    assert ticket.done.done()
    with pytest.raises(RateLimited):
        await answer_of(ticket)
