"""The producer and worker of tests/clients in Python, which `tests/conformance/languages.py` specifies."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys

import grpc

from jobqueue import Client, JobContext, JsonText, NewJob, Worker, tls_credentials


async def enqueue(options: argparse.Namespace, credentials: grpc.ChannelCredentials | None) -> None:
    payloads = sys.stdin.buffer.read().removesuffix(b"\n").split(b"\n")
    async with Client(options.server, credentials=credentials) as client:
        new = [NewJob(options.kind, JsonText(text), queue=options.queue) for text in payloads]
        for result in await client.enqueue_many(new):
            assert result.id is not None, result
            job = await client.wait(result.id)
            assert job.output_json is not None, job
            sys.stdout.buffer.write(job.output_json + b"\n")


async def echo(ctx: JobContext) -> JsonText:
    return JsonText(ctx.job.payload_json)


async def noop(_: JobContext) -> None:
    pass


async def hold(_: JobContext) -> None:
    await asyncio.Event().wait()


async def work(options: argparse.Namespace, credentials: grpc.ChannelCredentials | None) -> None:
    workers = [
        Worker(
            options.server,
            queues=[options.queue],
            name=options.name,
            concurrency=options.slots,
            handlers={"echo": echo, "noop": noop, "hold": hold},
            credentials=credentials,
        )
        for _ in range(options.workers)
    ]

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
