"""A namespace with as many queues as it may have: one more is refused over gRPC and HTTP, and known ones go on."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import grpc
import pytest

from bench.server import Server, declare
from jobqueue.v1 import job_pb2, jobqueue_pb2, jobqueue_pb2_grpc


async def test_one_queue_too_many_is_refused_over_grpc_and_http_and_known_ones_go_on(dsn: str) -> None:
    async with Server(dsn, settings={"JOBQUEUE_MAX_QUEUES": "6"}) as server:
        await declare(server, ("work",))

        def asked(queue: str) -> jobqueue_pb2.EnqueueJobRequest:
            return jobqueue_pb2.EnqueueJobRequest(
                job=job_pb2.NewJob(kind="work", queue=queue, payload_json=b"{}")
            )

        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub = jobqueue_pb2_grpc.JobQueueStub(channel)
            for number in range(6):
                await stub.EnqueueJob(asked(f"q{number}"))
            with pytest.raises(grpc.aio.AioRpcError, match="has 6 pairs of queue and kind") as refused:
                await stub.EnqueueJob(asked("more"))
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            await stub.EnqueueJob(asked("q3"))
        request = urllib.request.Request(
            f"http://{server.http}/v1/jobs",
            json.dumps({"kind": "work", "queue": "more", "payload": {}}).encode(),
            {"content-type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as over_http:
            await asyncio.to_thread(urllib.request.urlopen, request, timeout=30)
        assert over_http.value.code == 409
        assert "QUEUES_FULL" in over_http.value.read().decode()
