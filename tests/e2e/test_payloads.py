"""Numbers arrive in a handler as their producer wrote them, whatever the producer speaks."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest

from jobqueue import Client
from jobqueue.v1 import jobqueue_pb2 as pb
from jobqueue.v1.jobqueue_pb2_grpc import JobQueueStub

from .conftest import Bench, ends
from .processes import PROGRAMS


async def grpcurl(address: str, method: str, request: object) -> dict:
    """Calls a method as a person with a terminal does: the server's reflection says what it is."""
    program = [str(PROGRAMS / "grpcurl"), "-plaintext", "-d", json.dumps(request), address, method]
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_an_integer_from_grpcurl_arrives_as_that_integer(
    bench: Bench, client: Client, address: str, queue: str
):
    await bench.workers(address, "w", queue=queue)
    request = {"job": {"kind": "echo", "queue": queue, "payload": {"width": 100}}}
    answer = await grpcurl(address, "jobqueue.v1.JobQueue/EnqueueJob", request)
    assert answer["job"]["status"] == "QUEUED"
    [done] = await ends(client, answer["job"]["id"])
    assert done.output == {"text": '{"width":100}', "type": "int", "value": "100"}
    read = await grpcurl(address, "jobqueue.v1.JobQueue/GetJob", {"id": done.id})
    assert (read["job"]["status"], read["job"]["payload"]) == ("SUCCEEDED", {"width": 100})


@pytest.mark.parametrize(
    "text", ['{"width":100}', '{"n": 12345678901234567890}', '{"n":-98765432109876543210 }']
)
async def test_an_integer_from_a_stub_arrives_with_all_its_digits(
    bench: Bench, client: Client, address: str, queue: str, text: str
):
    await bench.workers(address, "w", queue=queue)
    request = pb.EnqueueJobRequest()
    request.job.kind, request.job.queue, request.job.payload_json = "echo", queue, text.encode()
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await JobQueueStub(channel).EnqueueJob(request, timeout=30)
    [done] = await ends(client, answer.job.id)
    [number] = json.loads(text).values()
    assert done.output == {"text": text, "type": "int", "value": str(number)}
    assert done.payload_json == text.encode()


async def test_a_value_from_a_stub_arrives_as_an_integer_where_it_is_one(
    bench: Bench, client: Client, address: str, queue: str
):
    await bench.workers(address, "w", queue=queue)
    outputs = []
    async with grpc.aio.insecure_channel(address) as channel:
        for width in (100, 2**53, 0.5):
            request = pb.EnqueueJobRequest()
            request.job.kind, request.job.queue = "echo", queue
            request.job.payload.struct_value.update({"width": width})
            answer = await JobQueueStub(channel).EnqueueJob(request, timeout=30)
            [done] = await ends(client, answer.job.id)
            outputs.append((done.output["type"], done.output["value"]))
    assert outputs == [("int", "100"), ("int", "9007199254740992"), ("float", "0.5")]
