"""What a type checker says of typed kinds; nothing of it is run.

Each line with an `ignore` is wrong, all others are right. mypy is strict, so an `ignore` at a line that is right is an
error as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal, assert_type

from jobqueue import Client, Job, JobContext, NewJob, SyncClient, Upcast, Worker, define_kind


@dataclass
class Mail:
    to: str
    copies: int = 1


@dataclass
class Sent:
    message_id: str


send_mail = define_kind("send-mail", Mail, output=Sent, key=lambda mail: mail.to)
plain = define_kind("plain", Mail)
by_number = define_kind("by-number", Mail, key=lambda mail: mail.copies)  # type: ignore[arg-type, return-value]
of_number = define_kind("of-number", Mail, key=lambda mail: mail.number)  # type: ignore[attr-defined]
#: Forms of types that are no classes: what is of them is not checked, and they are taken.
of_two = define_kind("of-two", Mail | Sent, output=Literal["sent"], key=lambda payload: "a")
of_many = define_kind("of-many", dict[str, Mail], output=Mail | None, key=lambda mails: mails["a"].to)
annotated = define_kind("annotated", Annotated[int, "metres"])
anything = define_kind("anything")
nothing = define_kind("nothing", None)
second = define_kind("second", Mail, version=2, upcasters={1: Upcast(lambda old: {"to": old["address"]})})


async def enqueues(client: Client, sync: SyncClient, ctx: JobContext) -> None:
    assert_type(await client.enqueue(send_mail, Mail("ada"), delay=timedelta(seconds=5)), Job)
    assert_type(sync.enqueue(send_mail, Mail("ada")), Job)
    assert_type(send_mail.new(Mail("ada")), NewJob)
    ctx.follow_up(send_mail.new(Mail("ada")))
    send_mail.new(Mail())  # type: ignore[call-arg]
    send_mail.new(Mail(7))  # type: ignore[arg-type]
    send_mail.new(Mail("ada", copy=7))  # type: ignore[call-arg]
    send_mail.new(Sent("7"))  # type: ignore[arg-type]
    await client.enqueue(send_mail, Sent("7"))  # type: ignore[misc]
    await client.enqueue(send_mail, {"to": "ada"})  # type: ignore[misc]
    await client.enqueue(send_mail, Mail("ada"), delays=5)  # type: ignore[call-overload]
    await client.enqueue(send_mail)  # type: ignore[call-overload]
    await client.enqueue(send_mail, None, payload_json=b"{}")  # type: ignore[call-overload]
    await client.enqueue("by-name", {"to": "ada"}, priority=3)
    await client.enqueue(send_mail.new(Mail("ada")), deadline=timedelta(seconds=5))
    sync.enqueue(send_mail, Sent("7"))  # type: ignore[misc]


def reads(job: Job) -> None:
    assert_type(send_mail.output_of(job), Sent)
    assert_type(send_mail.payload_of(job), Mail)
    assert_type(send_mail.output_of(job).message_id, str)
    print(send_mail.output_of(job).number)  # type: ignore[attr-defined]


def handles(worker: Worker) -> None:
    @worker.handler(send_mail, slots=4)
    async def right(mail: Mail, ctx: JobContext) -> Sent:
        assert_type(ctx.job.checkpoint_as(Mail), Mail | None)
        return Sent(mail.to)

    @worker.handler(send_mail)
    def in_a_thread(mail: Mail, ctx: JobContext) -> Sent:
        return Sent(mail.to)

    @worker.handler(plain)
    async def without_output(mail: Mail, ctx: JobContext) -> None:
        pass

    @worker.handler(send_mail)  # type: ignore[arg-type]
    async def another_output(mail: Mail, ctx: JobContext) -> str:
        return mail.to

    @worker.handler(send_mail)  # type: ignore[arg-type]
    async def no_output(mail: Mail, ctx: JobContext) -> None:
        pass

    @worker.handler(send_mail)  # type: ignore[arg-type]
    async def another_payload(mail: Sent, ctx: JobContext) -> Sent:
        return mail

    @worker.handler(send_mail)  # type: ignore[arg-type]
    async def no_context(mail: Mail) -> Sent:
        return Sent(mail.to)


async def progress(client: Client, job: Job) -> AsyncIterator[str]:
    async for told in client.watch(ids=[job.id]):
        yield told.status.value
