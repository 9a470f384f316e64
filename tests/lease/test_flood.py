"""A worker that sends and does not read fills neither the server's memory nor its streams."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue.v1 import lease_pb2
from jobqueue_server.errors import SessionSilent
from jobqueue_server.rpc.lease import MAX_HELD
from jobqueue_server.rpc.stream import MAX_UNSENT_FRAMES, MAX_UNSENT_RESULTS

from .place import Place, eventually


@pytest.mark.slow
async def test_a_worker_that_does_not_read_is_not_read_either_and_its_stream_can_be_ended(place: Place):
    call = place.stub.Lease()
    await call.write(
        lease_pb2.LeaseRequest(
            hello=lease_pb2.Hello(
                worker="deaf",
                subscriptions=[lease_pb2.Subscription(kinds=["work"])],
                capacity=lease_pb2.Capacity(slots=1),
            )
        )
    )
    await call.read()
    [session] = place.app.session.sessions.all()

    async def linked() -> Any:
        return session.link

    # It is linked once Welcome is written, which may be after it was read.
    link = await eventually(linked)

    async def flood() -> None:
        for seq in range(20_000):
            # Of none of which the server has heard: it answers with a revocation as long.
            unknown = [7 << 60 | 4000 * seq + number for number in range(4000)]
            await call.write(lease_pb2.LeaseRequest(heartbeat=lease_pb2.Heartbeat(seq=seq, held=unknown)))

    flooding = asyncio.create_task(flood())

    async def full() -> bool:
        return link._unsent_results >= MAX_UNSENT_RESULTS

    await eventually(full)
    await asyncio.sleep(0.5)
    assert link._unsent_results <= MAX_UNSENT_RESULTS + MAX_HELD
    assert sum(len(frame.control.revoke.lease_ids) for frame in link._frames) == link._unsent_results
    assert len(link._frames) <= MAX_UNSENT_FRAMES + 2
    assert not flooding.done()
    link.fail(SessionSilent("the test says so"))

    async def ended() -> bool:
        return session.link is None

    await eventually(ended)
    flooding.cancel()
    call.cancel()
    await asyncio.gather(flooding, return_exceptions=True)


@pytest.mark.slow
async def test_a_drain_ends_when_the_last_lease_ran_out_of_time(place: Place):
    # Its heartbeats tell soon that the handler has ended.
    worker = await place.worker(ttl=10)
    await place.enqueue(timeout=1, max_attempts=1)
    leased = await worker.job()
    await worker.drain()
    revoke = (await worker.next("control")).revoke
    assert list(revoke.lease_ids) == [leased.lease_id]
    worker.held.clear()
    await worker.next("goodbye")


async def test_a_worker_with_many_slots_learns_what_became_of_each_settlement_that_it_repeats(place: Place):
    worker = await place.worker(slots=1000)
    await place.batch(1000)
    jobs = await worker.jobs(1000)
    ids = [job.lease_id for job in jobs]
    await worker.succeed(*jobs)
    await worker.send(settle=lease_pb2.Settle(seq=99, succeeded=ids))
    answer = await worker.next("settled")
    verdicts = {result.verdict for result in answer.exceptions}
    assert verdicts == {lease_pb2.SettleResult.ALREADY_APPLIED}
    assert len(answer.exceptions) == 1000
