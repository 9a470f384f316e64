"""What a principal left running rests once its credentials are not good any more: operations, schedules, backfills.

And it goes on where the principal is still there, or where another one takes it over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import access_admin_pb2, bulk_pb2, schedule_pb2
from jobqueue_server.core.access import keys
from jobqueue_server.grants import Permission
from tests.lease.hand_worker import PATIENCE, reason_of, span
from tests.lease.place import Caller, eventually
from tests.serve.schedules import create, get, pause, policy, refused, resume, runs, spec
from tests.tls.conftest import Authority

from .gatehouse import Gatehouse
from .house import House, grant

OPERATOR = Permission.READ | Permission.OPERATE
SCHEDULER = OPERATOR | Permission.ENQUEUE
#: So late at most, after the answer to RevokeKey, is something done in the name of its principal.
PROMISED = timedelta(seconds=2)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn) as house:
        yield house


async def begun(caller: Caller, queue: str = "mail", **more: Any) -> str:
    """The name of an operation that cancels the jobs of a queue, slowly."""
    request = bulk_pb2.CancelJobsRequest(
        filter=bulk_pb2.JobFilter(queue=queue), force=True, **{"per_second": 20, **more}
    )
    name: str = (await caller.bulk.CancelJobs(request, timeout=PATIENCE)).operation.name
    return name


async def read(caller: Caller, name: str) -> bulk_pb2.BulkMetadata:
    operation = await caller.operations.GetOperation(lro_pb.GetOperationRequest(name=name), timeout=PATIENCE)
    metadata = bulk_pb2.BulkMetadata()
    assert operation.metadata.Unpack(metadata)
    return metadata


async def changed(caller: Caller, name: str, least: int) -> int:
    """How many jobs an operation has changed, once it has changed so many."""

    async def look() -> int:
        done = (await read(caller, name)).changed
        return done if done >= least else 0

    return int(await eventually(look))


async def rests(caller: Caller, name: str) -> str:
    """Why an operation rests, once it does."""

    async def look() -> str:
        return (await read(caller, name)).rests_for

    return str(await eventually(look))


async def done(caller: Caller, name: str) -> int:
    """How many jobs an operation changed in all."""
    request = lro_pb.WaitOperationRequest(name=name, timeout=span(PATIENCE))
    ended = await caller.operations.WaitOperation(request, timeout=2 * PATIENCE)
    result = bulk_pb2.BulkResult()
    assert ended.response.Unpack(result), ended
    return result.changed


async def resumed(caller: Caller, name: str) -> bulk_pb2.BulkMetadata:
    request = bulk_pb2.ResumeOperationRequest(id=name.removeprefix("operations/"))
    operation = (await caller.bulk.ResumeOperation(request, timeout=PATIENCE)).operation
    metadata = bulk_pb2.BulkMetadata()
    assert operation.metadata.Unpack(metadata)
    return metadata


async def revoke(house: House, key: keys.MintedKey) -> datetime:
    """Revokes a key by its method: when the answer was there, by the database's clock."""
    await house.access.RevokeKey(access_admin_pb2.RevokeKeyRequest(id=key.id), timeout=PATIENCE)
    at: datetime = await house.value("select clock_timestamp()")
    return at


async def audited(house: House, object: str) -> list[access_admin_pb2.AuditRecord]:
    request = access_admin_pb2.ListAuditRequest(object=object, page_size=100)
    return list((await house.access.ListAudit(request, timeout=PATIENCE)).records)


async def pass_by(house: House, since: datetime, span: timedelta) -> None:
    """Until so long after a time, by the database's clock."""

    async def look() -> bool:
        return bool(
            await house.value("select clock_timestamp() > $1::timestamptz + $2::interval", since, span)
        )

    await eventually(look)


async def ended_late(house: House, since: datetime) -> list[Any]:
    """Jobs that were cancelled later than 2 s after a time."""
    return await house.sql(
        "select id, finished_at from finished_job where finished_at > $1::timestamptz + $2::interval",
        since,
        PROMISED,
    )


async def test_an_operation_of_a_revoked_key_changes_no_job_later_than_2_s_on_any_server(
    dsn: str, house: House
) -> None:
    async with House(dsn) as other:
        key = await house.key(grant(OPERATOR, "mail"))
        await other.known()
        await house.batch(600, queue="mail")
        name = await begun(other.with_key(key.text))
        await changed(house, name, 4)
        revoked_at = await revoke(house, key)
        assert await rests(house, name) == "PRINCIPAL_ENDED"
        left = (await read(house, name)).changed
        await pass_by(house, revoked_at, PROMISED + timedelta(seconds=2))
        assert not await ended_late(house, revoked_at)
        told = await read(other, name)
        assert (told.changed, told.state, told.rests_for) == (
            left,
            bulk_pb2.BULK_STATE_WAITING,
            "PRINCIPAL_ENDED",
        )
        assert await house.value("select count(*) from finished_job") == left < 600


async def test_what_rests_says_so_in_the_audit_log_once(house: House) -> None:
    key = await house.key(grant(SCHEDULER, "mail"))
    caller = house.with_key(key.text)
    await house.batch(600, queue="mail")
    name = await begun(caller)
    await create(caller, "tick", spec(every=3600), queue="mail")
    await revoke(house, key)
    await rests(house, name)
    await eventually(lambda: paused(house, "tick"))
    for object, action in (
        (name.replace("operations/", "operation:"), "RestOperation"),
        ("schedule:tick", "RestSchedule"),
    ):
        (event,) = [each for each in await audited(house, object) if each.action.startswith("Rest")]
        assert (event.action, event.reason, event.principal) == (action, "PRINCIPAL_ENDED", f"key:{key.id}")


async def paused(caller: Caller, name: str) -> bool:
    return (await get(caller, name)).paused


async def test_a_schedule_of_a_revoked_key_fires_no_tick_later_than_2_s(dsn: str, house: House) -> None:
    async with House(dsn):
        key = await house.key(grant(SCHEDULER, "mail"))
        await create(
            house.with_key(key.text), "tick", spec(every=1), queue="mail", policy=policy(overlap="ALLOW")
        )

        async def fired() -> int:
            return int((await get(house, "tick")).fired)

        await eventually(fired)
        revoked_at = await revoke(house, key)
        await pass_by(house, revoked_at, PROMISED + timedelta(seconds=2))
        late = [
            each
            for each in await runs(house, "tick")
            if each.decided_at.ToDatetime(revoked_at.tzinfo) > revoked_at + PROMISED
        ]
        assert not late
        found = await get(house, "tick")
        assert found.paused
        assert found.pause_note.startswith("PRINCIPAL_ENDED: ")
        assert not found.HasField("next_at")


async def test_a_backfill_of_a_revoked_key_rests_too(house: House) -> None:
    key = await house.key(grant(SCHEDULER, "mail"))
    caller = house.with_key(key.text)
    await create(house, "tick", spec("0 0 1 1 *"), queue="mail")
    await house.sql("update schedule set spec = '{\"every_us\": 60000000}'")
    request = schedule_pb2.BackfillScheduleRequest(name="tick", per_second=20)
    request.start_at.FromJsonString("2026-01-01T00:00:00Z")
    request.end_at.FromJsonString("2026-01-03T00:00:00Z")
    name = (await caller.schedules.BackfillSchedule(request, timeout=PATIENCE)).operation.name

    async def fired() -> bool:
        return int(await house.value("select count(*) from schedule_run")) > 3

    await eventually(fired)
    revoked_at = await revoke(house, key)
    await pass_by(house, revoked_at, PROMISED + timedelta(seconds=1))
    operation = await house.operations.GetOperation(lro_pb.GetOperationRequest(name=name))
    metadata = schedule_pb2.BackfillMetadata()
    assert operation.metadata.Unpack(metadata)
    assert (operation.done, metadata.rests_for) == (False, "PRINCIPAL_ENDED")
    late = "select from schedule_run where decided_at > $1::timestamptz + $2::interval"
    assert not await house.sql(late, revoked_at, PROMISED)


async def test_a_key_that_expires_lets_its_work_rest_and_one_that_is_rotated_does_not(house: House) -> None:
    rotated = await house.key(grant(SCHEDULER, "mail"))
    short = await house.key(grant(SCHEDULER, "mail"), lifetime=timedelta(seconds=3))
    for name, key in (("rotated", rotated), ("short", short)):
        await create(
            house.with_key(key.text), name, spec(every=1), queue="mail", policy=policy(overlap="ALLOW")
        )
    await house.batch(300, queue="mail")
    operation = await begun(house.with_key(rotated.text))
    request = access_admin_pb2.RotateKeyRequest(id=rotated.id, grace=span(0))
    await house.access.RotateKey(request, timeout=PATIENCE)
    await eventually(lambda: paused(house, "short"))
    before = (await get(house, "rotated")).fired
    now = (await read(house, operation)).changed

    async def goes_on() -> bool:
        found = await get(house, "rotated")
        assert not found.paused
        return found.fired > before + 1

    await eventually(goes_on)
    assert (await changed(house, operation, now + 10)) > now


async def test_who_resumes_what_rests_takes_it_over_and_the_audit_log_names_both(house: House) -> None:
    key = await house.key(grant(SCHEDULER, "mail"))
    caller = house.with_key(key.text)
    await house.batch(100, queue="mail")
    # What comes later is left alone.
    name = await begun(caller, per_second=10)
    await create(caller, "tick", spec(every=1), queue="mail", policy=policy(overlap="ALLOW"))
    await changed(house, name, 2)
    await revoke(house, key)
    await rests(house, name)
    await eventually(lambda: paused(house, "tick"))
    admin = (await house.access.GetAccess(access_admin_pb2.GetAccessRequest())).principal
    assert (await resumed(house, name)).rests_for == ""
    # A rate that was asked for is kept: what is left takes some seconds.
    assert await done(house, name) == 100
    before = (await resume(house, "tick")).fired

    async def fires() -> bool:
        return (await get(house, "tick")).fired > before

    await eventually(fires)
    for object, action in (
        (name.replace("operations/", "operation:"), "ResumeOperation"),
        ("schedule:tick", "ResumeSchedule"),
    ):
        (event,) = [each for each in await audited(house, object) if each.action == action]
        assert (event.principal, event.details["taken_over_from"]) == (admin, f"key:{key.id}")
    # It is the administrator's now: that the first principal is gone means nothing more.
    assert not (await get(house, "tick")).paused


async def test_only_who_may_do_as_much_takes_over(house: House) -> None:
    key = await house.key(grant(SCHEDULER, "mail"))
    caller = house.with_key(key.text)
    await house.batch(300, queue="mail")
    name = await begun(caller)
    await create(caller, "tick", spec(every=3600), queue="mail")
    await revoke(house, key)
    await rests(house, name)
    await eventually(lambda: paused(house, "tick"))
    narrow = await house.caller(grant(Permission.ADMIN), grant(OPERATOR, "mail", "other"))
    error = await refused(resumed(narrow, name))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED")
    without_enqueue = await house.caller(grant(OPERATOR, "mail"))
    error = await refused(resume(without_enqueue, "tick"))
    assert reason_of(error) == "NOT_ALLOWED"
    assert "ENQUEUE" in (error.details() or "")
    # Who neither made it nor has ADMIN does not see it.
    assert reason_of(await refused(resumed(without_enqueue, name))) == "OPERATION_NOT_FOUND"
    assert (await read(house, name)).rests_for == "PRINCIPAL_ENDED"
    enough = await house.caller(grant(Permission.ADMIN), grant(SCHEDULER, "mail*"))
    assert (await resumed(enough, name)).rests_for == ""
    assert not (await resume(enough, "tick")).paused


async def test_an_operators_pause_is_no_take_over(house: House) -> None:
    key = await house.key(grant(SCHEDULER, "mail"))
    await create(house.with_key(key.text), "tick", spec(every=3600), queue="mail")
    operator = await house.caller(grant(OPERATOR, "mail"))
    await pause(operator, "a moment", name="tick")
    assert not (await resume(operator, "tick")).paused
    await pause(operator, "a moment", name="tick")
    await revoke(house, key)
    # It ended while the schedule was paused: who resumes it takes it over all the same.
    assert reason_of(await refused(resume(operator, "tick"))) == "NOT_ALLOWED"
    assert (await get(house, "tick")).pause_note == "a moment"
    await resume(house, "tick")
    await asyncio.sleep(0)
    assert (await house.value("select principal from schedule")) != f"key:{key.id}"


async def test_an_operation_that_rests_is_cancelled_without_anybody_taking_it_over(house: House) -> None:
    key = await house.key(grant(OPERATOR, "mail"))
    await house.batch(300, queue="mail")
    name = await begun(house.with_key(key.text))
    await changed(house, name, 2)
    await revoke(house, key)
    await rests(house, name)
    left = (await read(house, name)).changed
    await house.operations.CancelOperation(lro_pb.CancelOperationRequest(name=name))
    request = lro_pb.WaitOperationRequest(name=name, timeout=span(PATIENCE))
    ended = await house.operations.WaitOperation(request)
    assert ended.error.message == "the operation was cancelled"
    assert (await read(house, name)).changed == left


async def test_what_was_made_before_there_were_principals_goes_on(house: House) -> None:
    await create(house, "old", spec(every=1), queue="mail", policy=policy(overlap="ALLOW"))
    await house.sql("update schedule set principal = '', credential = ''")
    key = await house.key(grant(OPERATOR, "mail"))
    await revoke(house, key)
    before = (await get(house, "old")).fired

    async def fires() -> bool:
        return (await get(house, "old")).fired > before + 1

    await eventually(fires)


async def test_a_principal_ends_with_its_identity_and_does_less_when_that_is_narrowed(
    dsn: str, authority: Authority
) -> None:
    async with Gatehouse(dsn, authority, auth="mtls") as gatehouse:
        await gatehouse.identity("mtls", "ops", grant(SCHEDULER | Permission.ADMIN))
        admin = gatehouse.caller(authority.issue("ops"))
        identity = await gatehouse.identity("mtls", "mailer", grant(SCHEDULER, "mail"))
        caller = gatehouse.caller(authority.issue("mailer"))
        await caller.batch(600, queue="mail")
        name = await begun(caller)
        await changed(admin, name, 2)
        await create(caller, "tick", spec(every=1), queue="mail", policy=policy(overlap="ALLOW"))
        await gatehouse.identity("mtls", "mailer", grant(Permission.READ, "mail"))
        assert await rests(admin, name) == "GRANTS_NARROWED"

        async def is_refused() -> bool:
            found = await get(admin, "tick")
            return (
                found.last_run.outcome == schedule_pb2.ScheduleRun.REFUSED
                and "ENQUEUE" in found.last_run.note
            )

        await eventually(is_refused)
        await gatehouse.delete(identity)
        await eventually(lambda: paused(admin, "tick"))
        assert (await get(admin, "tick")).pause_note.startswith("PRINCIPAL_ENDED: ")
