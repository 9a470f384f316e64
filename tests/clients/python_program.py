"""The producer and worker of tests/clients in Python, which `tests/conformance/languages.py` specifies."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import signal
import sys

import grpc

from jobqueue import Client, JobContext, JsonText, NewJob, Worker, define_kind, tls_credentials


@dataclasses.dataclass
class Line:
    sku: str
    count: int
    price: float


@dataclasses.dataclass
class Order:
    customer: str
    lines: list[Line]
    paid: bool
    note: str | None = None


@dataclasses.dataclass
class Summary:
    customer: str
    count: int
    dearest: float | None


ORDER = define_kind("order", Order, output=Summary)


async def enqueue(options: argparse.Namespace, credentials: grpc.ChannelCredentials | None) -> None:
    payloads = sys.stdin.buffer.read().removesuffix(b"\n").split(b"\n")
    if options.kind == ORDER.name:
        await enqueue_orders(options, credentials, payloads)
        return
    async with Client(options.server, credentials=credentials) as client:
        new = [NewJob(options.kind, JsonText(text), queue=options.queue) for text in payloads]
        for result in await client.enqueue_many(new):
            assert result.id is not None, result
            job = await client.wait(result.id)
            assert job.output_json is not None, job
            sys.stdout.buffer.write(job.output_json + b"\n")


async def enqueue_orders(
    options: argparse.Namespace, credentials: grpc.ChannelCredentials | None, payloads: list[bytes]
) -> None:
    async with Client(options.server, credentials=credentials) as client:
        for text in payloads:
            said = json.loads(text)
            lines = [Line(each["sku"], each["count"], each["price"]) for each in said["lines"]]
            payload = Order(said["customer"], lines, said["paid"], said.get("note"))
            job = await client.wait((await client.enqueue(ORDER, payload, queue=options.queue)).id)
            print(json.dumps(dataclasses.asdict(ORDER.output_of(job))))


async def summarize(order: Order, _: JobContext) -> Summary:
    said = order.customer + (", paid" if order.paid else "") + (f": {order.note}" if order.note else "")
    count = sum(line.count for line in order.lines)
    return Summary(said, count, max((line.price for line in order.lines), default=None))


async def echo(ctx: JobContext) -> JsonText:
    return JsonText(ctx.job.payload_json)


async def noop(_: JobContext) -> None:
    pass


async def hold(_: JobContext) -> None:
    await asyncio.Event().wait()


async def rest(ctx: JobContext) -> None:
    await asyncio.sleep(ctx.job.payload)


async def work(options: argparse.Namespace, credentials: grpc.ChannelCredentials | None) -> None:
    workers = [
        Worker(
            options.server,
            queues=[options.queue],
            name=options.name,
            concurrency=options.slots,
            handlers={"echo": echo, "noop": noop, "hold": hold, "rest": rest},
            health=options.health,
            credentials=credentials,
        )
        for _ in range(options.workers)
    ]

    for each in workers:
        each.handler(ORDER)(summarize)

    def stop() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for each in workers:
            each.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await asyncio.gather(*(each.serve() for each in workers))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("enqueue", "work"))
    parser.add_argument("--server", required=True)
    parser.add_argument("--queue", default="default")
    parser.add_argument("--kind", default="echo")
    parser.add_argument("--name", default="python")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--health")
    parser.add_argument("--roots")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args()
    credentials = None
    if options.roots:
        credentials = tls_credentials(options.roots, client_cert=options.cert, client_key=options.key)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run((enqueue if options.what == "enqueue" else work)(options, credentials))


if __name__ == "__main__":
    main()
