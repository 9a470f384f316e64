"""The calls about schedules: `client.schedules`."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from . import bulk, convert, schedules
from .backoff import Backoff
from .bulk import Operation
from .encoded import encoded, envelope_in
from .errors import EtagMismatch, ScheduleExists, ScheduleNotFound
from .jobs import NewJob
from .schedules import (
    OWNER_LABEL,
    Applied,
    AppliedSchedule,
    NewSchedule,
    Overlap,
    Schedule,
    SchedulePolicy,
    ScheduleRun,
    ScheduleSpec,
    ScheduleTick,
)
from .v1 import job_pb2
from .v1 import schedule_pb2 as pb
from .v1.schedule_pb2_grpc import SchedulesStub

if TYPE_CHECKING:
    from .encodings import Encodings

Answer = TypeVar("Answer")

_JSON = job_pb2.PAYLOAD_FORMAT_JSON
_APPLY_TRIES = 10


class Calling(Protocol):
    """Makes a call of a service, by the stub of it."""

    def __call__(
        self,
        stub: type[Any],
        method: str,
        request: Any,
        answer: type[Answer],
        deadline: timedelta | None,
        *,
        retry: bool,
    ) -> Awaitable[Answer]:
        """As `calls.call`."""


class Schedules:
    """Schedules: jobs, and the times at which they are enqueued. `Client.schedules` is one.

    As every method of the client, each may raise a `JobQueueError` and takes a `deadline`.

    Args:
        calling: Makes a call.
        encodings: As of `Client`. Where a payload can't be decoded, `job.payload` is an `Encoded`, which says why.
    """

    def __init__(self, calling: Calling, encodings: Encodings | None = None) -> None:
        self._encodings = encodings
        self._calling = calling

    async def create(
        self,
        name: str,
        spec: ScheduleSpec,
        job: NewJob,
        *,
        policy: SchedulePolicy | None = None,
        labels: Mapping[str, str] | None = None,
        paused: bool = False,
        deadline: timedelta | None = None,
    ) -> Schedule:
        """Makes a schedule. Its first tick is the first one after now.

        Args:
            name: Its name, such as `nightly-report`.
            spec: When it is due.
            job: What each tick enqueues, without a time and an idempotency key.
            policy: What becomes of ticks that can't simply fire. None: the defaults.
            labels: By which schedules can be listed; those of its jobs stand in `job`.
            paused: Whether it has no ticks until `resume`.
            deadline: For the call.

        Raises:
            ScheduleExists: A schedule has this name.
            InvalidRequest: A field is malformed, such as a line of cron; `violations` says what would be right.
            KindUnknown: The kind of the job is not declared.
            PayloadInvalid: The payload of the job does not satisfy the kind's schema.
            SchedulesFull: The namespace has as many as it may have.
        """
        made = pb.Schedule(
            name=name,
            spec=schedules.spec_message(spec),
            job=schedules.job_message(await self._sealed(name, job)),
            labels=labels,
            paused=paused,
        )
        if policy is not None:
            made.policy.CopyFrom(schedules.policy_message(policy))
        request = pb.CreateScheduleRequest(schedule=made, payload_format=_JSON)
        answer = await self._call("CreateSchedule", request, pb.CreateScheduleResponse, deadline, retry=False)
        return await self._opened(answer.schedule)

    async def get(self, name: str, *, deadline: timedelta | None = None) -> Schedule:
        """Reads a schedule.

        Raises:
            ScheduleNotFound: No schedule has this name.
        """
        request = pb.GetScheduleRequest(name=name, payload_format=_JSON)
        answer = await self._call("GetSchedule", request, pb.GetScheduleResponse, deadline)
        return await self._opened(answer.schedule)

    async def list(
        self,
        *,
        kind: str = "",
        queue: str = "",
        paused: bool | None = None,
        labels: Mapping[str, str] | None = None,
        page_size: int = 0,
        deadline: timedelta | None = None,
    ) -> AsyncIterator[Schedule]:
        """Reads all schedules that match, in order of their names, page by page as they are asked for.

        Args:
            kind: Only those whose jobs are of this kind.
            queue: Only those whose jobs go into this queue.
            paused: Only those that are paused, or those that are not. None: both.
            labels: Only those with all of these labels.
            page_size: The most schedules in a page. 0: 50. Above 1000: 1000.
            deadline: For each call.
        """
        request = pb.ListSchedulesRequest(
            kind=kind,
            queue=queue,
            paused=paused,
            labels=[f"{name}={value}" for name, value in (labels or {}).items()],
            page_size=page_size,
        )
        while True:
            answer = await self._call("ListSchedules", request, pb.ListSchedulesResponse, deadline)
            for each in answer.schedules:
                yield await self._opened(each)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    async def update(
        self,
        name: str,
        *,
        spec: ScheduleSpec | None = None,
        job: NewJob | None = None,
        policy: SchedulePolicy | None = None,
        policy_fields: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        etag: str = "",
        allow_missing: bool = False,
        deadline: timedelta | None = None,
    ) -> Schedule:
        """Changes a schedule. What is None stays. A change fires nothing by itself, and catches nothing up.

        Args:
            name: The schedule's name.
            spec: When it is due, as a whole.
            job: What each tick enqueues, as a whole. It must have a payload; one of `null` is `payload_json=b"null"`.
            policy: What becomes of ticks that can't simply fire.
            policy_fields: The attributes of `policy` that are changed, such as `overlap`. Empty: all.
            labels: All its labels.
            etag: `Schedule.etag`: the schedule is changed only if it still has it. Empty: whatever was changed since.
            allow_missing: Whether a schedule that does not exist is made, of `spec` and `job`.
            deadline: For the call.

        Raises:
            ScheduleNotFound: No schedule has this name, and `allow_missing` is not set.
            EtagMismatch: The schedule was changed since its `etag` was read.
            InvalidRequest: A field is malformed, or nothing is to be changed.
            KindUnknown: The kind of the job is not declared.
            PayloadInvalid: The payload of the job does not satisfy the kind's schema.
        """
        changed, paths = pb.Schedule(name=name, etag=etag, labels=labels), []
        if spec is not None:
            paths.append("spec")
            changed.spec.CopyFrom(schedules.spec_message(spec))
        if job is not None:
            paths.append("job")
            # A job that was listed has no payload to encode.
            listed = job.payload is None and job.payload_json is None
            job = replace(job, encodings="") if listed else await self._sealed(name, job)
            changed.job.CopyFrom(schedules.changed_job_message(job))
        if policy is not None:
            paths += [f"policy.{each}" for each in policy_fields] or ["policy"]
            changed.policy.CopyFrom(schedules.policy_message(policy))
        if labels is not None:
            paths.append("labels")
        request = pb.UpdateScheduleRequest(
            schedule=changed,
            update_mask=FieldMask(paths=paths),
            allow_missing=allow_missing,
            payload_format=_JSON,
        )
        answer = await self._call(
            "UpdateSchedule", request, pb.UpdateScheduleResponse, deadline, retry=not etag
        )
        return await self._opened(answer.schedule)

    async def apply(
        self,
        declared: Iterable[NewSchedule],
        *,
        owner: str,
        prune: bool = False,
        deadline: timedelta | None = None,
    ) -> builtins.list[AppliedSchedule]:
        """Makes the schedules of a program what the program declares, as it does when it starts.

        One that is missing is created, one that is another is changed, and one that is as declared stays untouched. A
        schedule that an operator has paused stays paused. Programs of one owner may do so at once. The calls are made
        one after the other: where one of them fails, what was done before stays.

        Args:
            declared: The schedules.
            owner: Whose they are, such as the program's name: a label, `jobqueue.owner`. A schedule of another owner,
                or of none, is never changed.
            prune: Whether schedules of this owner that are not declared are deleted.
            deadline: For each call.

        Returns:
            What was done, in the order in which they are declared, and then what was deleted.

        Raises:
            ScheduleExists: A schedule has this name and is not of this owner.
            InvalidRequest, KindUnknown, PayloadInvalid, SchedulesFull: As of `create`.
            ValueError: Two of them have one name, or the owner is empty.
        """
        declared = builtins.list(declared)
        wanted = {each.name for each in declared}
        if len(wanted) != len(declared) or not owner:
            raise ValueError("owner is empty" if not owner else "two schedules have one name")
        applied = [await self._applied(each, owner, deadline) for each in declared]
        if prune:
            found = self.list(labels={OWNER_LABEL: owner}, page_size=1000, deadline=deadline)
            for left in [each async for each in found if each.name not in wanted]:
                # One that was changed since is another program's by now, or the same program's of another version.
                with suppress(ScheduleNotFound, EtagMismatch):
                    await self.delete(left.name, etag=left.etag, deadline=deadline)
                    applied.append(AppliedSchedule(left, Applied.DELETED))
        return applied

    async def _applied(self, new: NewSchedule, owner: str, deadline: timedelta | None) -> AppliedSchedule:
        """One of them, again where another program changed it meanwhile."""
        backoff = Backoff(base=0.02, cap=0.5)
        for _ in range(_APPLY_TRIES - 1):
            try:
                return await self._apply_one(new, owner, deadline)
            except (EtagMismatch, ScheduleNotFound, ScheduleExists) as error:
                if "owner" in error.metadata:
                    raise
            await asyncio.sleep(backoff.next())
        return await self._apply_one(new, owner, deadline)

    async def _apply_one(self, new: NewSchedule, owner: str, deadline: timedelta | None) -> AppliedSchedule:
        labels = {**new.labels, OWNER_LABEL: owner}
        job = new.job
        if job.payload is None and job.payload_json is None:
            # An update takes a job without one for a job that was listed.
            job = replace(job, payload_json=b"null")
        try:
            before = await self.get(new.name, deadline=deadline)
        except ScheduleNotFound:
            made = await self.create(
                new.name, new.spec, job, policy=new.policy, labels=labels, deadline=deadline
            )
            return AppliedSchedule(made, Applied.CREATED)
        of = before.labels.get(OWNER_LABEL, "")
        if of != owner:
            raise ScheduleExists(
                f"the schedule {new.name} is of {of}" if of else f"the schedule {new.name} has no owner",
                code="ALREADY_EXISTS",
                reason="SCHEDULE_EXISTS",
                metadata={"schedule": new.name, "owner": of},
            )
        after = await self.update(
            new.name,
            spec=new.spec,
            job=job,
            policy=new.policy,
            labels=labels,
            etag=before.etag,
            deadline=deadline,
        )
        return AppliedSchedule(after, Applied.UNCHANGED if after.etag == before.etag else Applied.CHANGED)

    async def delete(self, name: str, *, etag: str = "", deadline: timedelta | None = None) -> None:
        """Deletes a schedule with its runs. Its jobs stay.

        Args:
            name: The schedule's name.
            etag: `Schedule.etag`: it is deleted only if it still has it. Empty: whatever was changed since.
            deadline: For the call.

        Raises:
            ScheduleNotFound: No schedule has this name.
            EtagMismatch: The schedule was changed since its `etag` was read.
        """
        request = pb.DeleteScheduleRequest(name=name, etag=etag)
        await self._call("DeleteSchedule", request, pb.DeleteScheduleResponse, deadline, retry=False)

    async def pause(self, name: str, *, note: str = "", deadline: timedelta | None = None) -> Schedule:
        """Stops a schedule until `resume`: it has no ticks meanwhile. Its jobs go on.

        Args:
            name: The schedule's name.
            note: Why, for people. At most 255 characters.
            deadline: For the call.

        Raises:
            ScheduleNotFound: No schedule has this name.
        """
        request = pb.PauseScheduleRequest(name=name, note=note, payload_format=_JSON)
        answer = await self._call("PauseSchedule", request, pb.PauseScheduleResponse, deadline)
        return await self._opened(answer.schedule)

    async def resume(self, name: str, *, deadline: timedelta | None = None) -> Schedule:
        """Lets a paused schedule go on with the first tick after now. What it missed is for `backfill`.

        Raises:
            ScheduleNotFound: No schedule has this name.
        """
        request = pb.ResumeScheduleRequest(name=name, payload_format=_JSON)
        answer = await self._call("ResumeSchedule", request, pb.ResumeScheduleResponse, deadline)
        return await self._opened(answer.schedule)

    async def run(
        self,
        name: str,
        *,
        overlap: Overlap | None = None,
        request_id: str = "",
        deadline: timedelta | None = None,
    ) -> ScheduleRun:
        """Fires a schedule now, also a paused one. Its ticks stay as they are.

        Args:
            name: The schedule's name.
            overlap: What becomes of it while a job of the schedule has not ended. None: as the policy has it.
            request_id: A text of your own: the same call again is answered the run of the first. Without one the call
                is not tried again when the server is away.
            deadline: For the call.

        Returns:
            What became of it. It may not have fired: look at its `outcome`.

        Raises:
            ScheduleNotFound: No schedule has this name.
        """
        number = schedules.overlap_number(overlap)
        request = pb.RunScheduleRequest(name=name, overlap=number, request_id=request_id)
        again = bool(request_id)
        answer = await self._call("RunSchedule", request, pb.RunScheduleResponse, deadline, retry=again)
        return schedules.run(answer.run)

    async def backfill(
        self,
        name: str,
        start_at: datetime,
        end_at: datetime,
        *,
        overlap: Overlap | None = None,
        max_ticks: int = 0,
        validate_only: bool = False,
        per_second: int = 0,
        request_id: str = "",
        deadline: timedelta | None = None,
    ) -> Operation:
        """Fires all ticks of a span of the past, by an operation that goes on without this program.

        Those that have fired before fire again. `Client.wait_operation` waits for its end.

        Args:
            name: The schedule's name.
            start_at: Ticks at this time and later.
            end_at: Ticks before this time, which is not in the future.
            overlap: What becomes of a tick while a job of the schedule has not ended: ALLOW or SKIP. None: ALLOW.
            max_ticks: After so many it is done. 0: after all.
            validate_only: Fire nothing: the answer has how many ticks there are.
            per_second: How many ticks a second. 0: as fast as the service takes it.
            request_id: A text of your own: the same call again is answered the operation of the first. Without one the
                call is not tried again when the server is away.
            deadline: For the call.

        Raises:
            ScheduleNotFound: No schedule has this name.
            InvalidRequest: A field is malformed, such as an `end_at` in the future.
            RequestIdReused: Another request was made with this `request_id`.
            ServersDiffer: An older server runs, which does not know this operation.
        """
        request = pb.BackfillScheduleRequest(
            name=name,
            start_at=convert.timestamp(start_at, "start_at"),
            end_at=convert.timestamp(end_at, "end_at"),
            overlap=schedules.overlap_number(overlap),
            max_ticks=max_ticks,
            validate_only=validate_only,
            per_second=per_second,
            request_id=request_id,
        )
        again = validate_only or bool(request_id)
        answer = await self._call(
            "BackfillSchedule", request, pb.BackfillScheduleResponse, deadline, retry=again
        )
        return bulk.operation(answer.operation)

    async def runs(
        self, name: str, *, page_size: int = 0, deadline: timedelta | None = None
    ) -> AsyncIterator[ScheduleRun]:
        """Reads what became of the ticks of a schedule and of its runs by hand: those that were decided last first.

        Args:
            name: The schedule's name.
            page_size: The most runs in a page. 0: 50. Above 1000: 1000.
            deadline: For each call.

        Raises:
            ScheduleNotFound: No schedule has this name.
        """
        request = pb.ListScheduleRunsRequest(name=name, page_size=page_size)
        while True:
            answer = await self._call("ListScheduleRuns", request, pb.ListScheduleRunsResponse, deadline)
            for each in answer.runs:
                yield schedules.run(each)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    async def preview(
        self,
        spec: ScheduleSpec,
        *,
        count: int = 0,
        since: datetime | None = None,
        deadline: timedelta | None = None,
    ) -> builtins.list[ScheduleTick]:
        """Asks which ticks a spec has, without making a schedule.

        Args:
            spec: When it is due.
            count: How many ticks, 1..100. 0: 10.
            since: Ticks after this time. None: after now.
            deadline: For the call.

        Returns:
            The ticks in their order. Fewer than were asked for: the spec has no more of them within 10 years.

        Raises:
            InvalidRequest: A field is malformed, such as a line of cron.
        """
        request = pb.PreviewScheduleRequest(spec=schedules.spec_message(spec), count=count)
        if since is not None:
            request.since.CopyFrom(convert.timestamp(since, "since"))
        answer = await self._call("PreviewSchedule", request, pb.PreviewScheduleResponse, deadline)
        return [schedules.tick(each) for each in answer.ticks]

    async def _sealed(self, name: str, job: NewJob) -> NewJob:
        """The job with its payload encoded. The same job has the same bytes, so that it is no change."""
        if self._encodings is None:
            return job
        (sealed,) = await self._encodings.payloads([job], f"schedule {name}")
        return job if sealed is None else replace(job, payload=None, payload_json=sealed, encodings="")

    async def _opened(self, message: pb.Schedule) -> Schedule:
        # The server has done what it was asked for: a key that is missing must not say otherwise.
        if self._encodings is not None:
            unread = await self._encodings.read_payload(message.job)
        else:
            envelope = envelope_in(message.job.payload_json)
            unread = None if envelope is None else encoded(envelope)
        found = schedules.schedule(message)
        return found if unread is None else replace(found, job=replace(found.job, payload=unread))

    def _call(
        self,
        method: str,
        request: Any,
        answer: type[Answer],
        deadline: timedelta | None,
        *,
        retry: bool = True,
    ) -> Awaitable[Answer]:
        return self._calling(SchedulesStub, method, request, answer, deadline, retry=retry)
