"""Tests of a handler alone, of a producer alone, and of both with a real server, in a namespace of the test's own.

python -m pytest testing.py
"""

import asyncio
from dataclasses import dataclass

from jobqueue import Client, JobContext, SyncClient, Worker, define_kind
from jobqueue.testing import RecordingClient, SyncTestScope, perform

QUEUE = "example-testing"


@dataclass
class Invoice:
    number: int
    cents: int


invoice = define_kind("example_invoice", Invoice, output=str, queue=QUEUE)


# ---- what is to be tested


worker = Worker("127.0.0.1:50051", queues=[QUEUE])


@worker.handler(invoice)
async def do_invoice(payload: Invoice, ctx: JobContext) -> str:
    return f"invoice {payload.number}: {payload.cents / 100:.2f} EUR"


async def order(client: Client | RecordingClient, number: int, cents: int) -> None:
    """A producer, as of an HTTP handler."""
    await client.enqueue(invoice, Invoice(number, cents))


# ---- the tests


def test_an_invoice_has_its_sum() -> None:
    done = asyncio.run(perform(do_invoice, Invoice(7, 1250), kind=invoice))
    assert done.output == "invoice 7: 12.50 EUR"


def test_an_order_enqueues_its_invoice() -> None:
    client = RecordingClient()
    asyncio.run(order(client, 7, 1250))
    assert client.jobs == [invoice.new(Invoice(7, 1250))]


def test_an_order_is_invoiced(jobqueue_sync_scope: SyncTestScope, jobqueue_sync_client: SyncClient) -> None:
    jobqueue_sync_client.sync_kinds([invoice])
    jobqueue_sync_client.enqueue(invoice, Invoice(8, 99))
    idle = jobqueue_sync_scope.run_until_idle(worker)
    assert [invoice.output_of(job) for job in idle.ended] == ["invoice 8: 0.99 EUR"]
