"""The server as tools and operators meet it: reflection, health, ports."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server.addresses import AddressUnusable
from jobqueue_server.chain import Chain
from jobqueue_server.http import errors as http_errors
from jobqueue_server.metrics import Metrics
from jobqueue_server.model import MAX_MESSAGE_BYTES
from jobqueue_server.rpc.engines import Engine
from jobqueue_server.rpc.server import GrpcServer
from tests.go_programs import built

from .conftest import Served, refused

HERE = Path(__file__).parent
# The build compiles grpc-go with all that it has for xDS: 90 s of CPU. Both versions of reflection are asked without
# it too, by the wheel's program and by messages.
BUILT = (pytest.mark.language("go"), pytest.mark.long, pytest.mark.timeout(600))
SERVICES = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "jobqueue.v1.JobQueue",
    "jobqueue.v1.QueueAdmin",
    "jobqueue.v1.AccessAdmin",
}


Grpcurl = Callable[..., Awaitable[tuple[int, str]]]


async def run(*command: str | Path) -> tuple[int, str]:
    """A program's exit code and all that it says."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode()


@pytest.fixture(params=["wheel", pytest.param("newest", marks=BUILT)])
def grpcurl(request: pytest.FixtureRequest) -> Grpcurl:
    """Calls grpcurl: that of the wheel, which is from 2021, or the one of today, which asks for reflection v1 first."""
    if request.param == "wheel":
        program = Path(sys.executable).with_name("grpcurl")
    else:
        program = built(HERE / "grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl")
    return partial(run, program, "-plaintext")


async def test_grpcurl_lists_describes_and_calls_without_a_proto_file(
    served: Served, grpcurl: Grpcurl
) -> None:
    address = f"127.0.0.1:{served.port}"
    code, output = await grpcurl(address, "list")
    assert code == 0, output
    assert set(output.split()) == SERVICES
    code, output = await grpcurl(address, "describe", "jobqueue.v1.NewJob")
    assert code == 0, output
    assert "payload_json" in output
    body = '{"job": {"kind": "resize_image", "payload": {"width": 100, "ratio": 0.5}, "delay": "5s"}}'
    code, output = await grpcurl("-d", body, address, "jobqueue.v1.JobQueue/EnqueueJob")
    assert code == 0, output
    (new,) = served.core.enqueued
    assert new.payload == b'{"ratio":0.5,"width":100}'
    assert new.delay == timedelta(seconds=5)


async def test_grpcurl_is_shown_what_is_wrong(served: Served, grpcurl: Grpcurl) -> None:
    code, output = await grpcurl(
        "-d", '{"job": {"kind": "X"}}', f"127.0.0.1:{served.port}", "jobqueue.v1.JobQueue/EnqueueJob"
    )
    assert code != 0
    assert "Code: InvalidArgument" in output
    assert "job.kind" in output
    assert "FIELD_INVALID" in output


async def test_grpcurl_describes_every_service_where_it_is_told_none(
    served: Served, grpcurl: Grpcurl
) -> None:
    code, output = await grpcurl(f"127.0.0.1:{served.port}", "describe")
    assert code == 0, output
    assert set(re.findall(r"^(\S+) is a service:$", output, re.MULTILINE)) == SERVICES


async def test_grpcurl_calls_reflection_by_what_reflection_says_of_itself(
    served: Served, grpcurl: Grpcurl
) -> None:
    for version in ("v1", "v1alpha"):
        method = f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        for asked in (f"grpc.reflection.{version}.ServerReflection", method.replace("/", ".")):
            request = json.dumps({"file_containing_symbol": asked})
            code, output = await grpcurl("-d", request, f"127.0.0.1:{served.port}", method)
            assert code == 0, output
            (file,) = json.loads(output)["file_descriptor_response"]["file_descriptor_proto"]
            said = FileDescriptorProto.FromString(b64decode(file))
            assert (said.package, said.name) == (
                f"grpc.reflection.{version}",
                f"grpc_reflection/{version}/reflection.proto",
            )
            request = json.dumps({"file_by_filename": said.name})
            code, output = await grpcurl("-d", request, f"127.0.0.1:{served.port}", method)
            assert code == 0, output
            assert json.loads(output)["file_descriptor_response"]["file_descriptor_proto"] == [file]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_buf_lists_every_method(served: Served, version: str) -> None:
    code, output = await run(
        Path(sys.executable).with_name("buf"),
        *("curl", "--list-methods", "--protocol", "grpc", "--http2-prior-knowledge"),
        *("--reflect-protocol", f"grpc-{version}", f"http://127.0.0.1:{served.port}"),
    )
    assert code == 0, output
    methods = set(output.split())
    assert {method.partition("/")[0] for method in methods} == SERVICES
    assert {
        "jobqueue.v1.JobQueue/Lease",
        f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
    } < methods


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_answers_in_both_versions(served: Served, version: str) -> None:
    method: Any = served.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    stream = method()
    await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await stream.read()
    assert {service.name for service in answer.list_services_response.service} == SERVICES
    await stream.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol="jobqueue.v1.JobQueue"))
    assert (await stream.read()).file_descriptor_response.file_descriptor_proto
    await stream.done_writing()


async def test_reflection_finds_a_method_by_its_name_and_nothing_that_is_not_there(
    served: Served, grpcurl: Grpcurl
) -> None:
    address = f"127.0.0.1:{served.port}"

    code, output = await grpcurl(address, "describe", "jobqueue.v1.JobQueue.EnqueueJob")
    assert code == 0, output
    assert "rpc EnqueueJob" in output

    for unknown in (
        "jobqueue.v1.JobQueue.Enqueue",
        "jobqueue.v1.Job.Enqueue",
        "jobqueue.v1.Nothing",
        "nothing",
    ):
        code, output = await grpcurl(address, "describe", unknown)
        assert code != 0
        assert "not found" in output


@pytest.mark.parametrize(
    "service", ["", "jobqueue.v1.JobQueue", "jobqueue.v1.QueueAdmin", "jobqueue.v1.AccessAdmin"]
)
async def test_health_is_told_per_service_and_watchers_see_it_change(served: Served, service: str) -> None:
    health: Any = health_pb2_grpc.HealthStub(served.channel)
    request = health_pb2.HealthCheckRequest(service=service)
    serving, not_serving = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    assert (await health.Check(request)).status == not_serving
    watch = health.Watch(request)
    assert (await watch.read()).status == not_serving
    await served.server.set_serving(True)
    assert (await watch.read()).status == serving
    assert (await health.Check(request)).status == serving
    await served.server.set_serving(False)
    assert (await watch.read()).status == not_serving
    watch.cancel()


async def test_a_port_that_is_taken_is_said_and_not_shared(served: Served, engine: Engine) -> None:
    other = GrpcServer(Chain(Metrics()), [], engine=engine)
    with pytest.raises(AddressUnusable, match=rf"127.0.0.1:{served.port}.*JOBQUEUE_GRPC_ADDR"):
        await other.start(f"127.0.0.1:{served.port}")
    await other.stop(timedelta(0))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:port", "127.0.0.1:65536", ""])
async def test_an_address_that_is_none_is_said(address: str, engine: Engine) -> None:
    server = GrpcServer(Chain(Metrics()), [], engine=engine)
    with pytest.raises(AddressUnusable, match="host:port"):
        await server.start(address)
    await server.stop(timedelta(0))


async def test_several_servers_share_a_port_when_told_to(engine: Engine) -> None:
    first, second = (GrpcServer(Chain(Metrics()), [], reuse_port=True, engine=engine) for _ in range(2))
    port = await first.start("127.0.0.1:0")
    assert await second.start(f"127.0.0.1:{port}") == port
    await first.stop(timedelta(0))
    await second.stop(timedelta(0))


def of_bytes(count: int) -> jobqueue_pb2.EnqueueJobRequest:
    """A request of exactly so many bytes."""
    request = jobqueue_pb2.EnqueueJobRequest(job=job_pb2.NewJob(kind="a", payload_json=b"1" * count))
    request.job.payload_json = b"1" * (2 * count - request.ByteSize())
    assert request.ByteSize() == count
    return request


async def test_a_message_over_4_mib_is_refused_with_its_size_and_the_connection_lives_on(
    served: Served,
) -> None:
    fits = await refused(served.jobs.EnqueueJob(of_bytes(MAX_MESSAGE_BYTES)))
    assert fits.reason == "PAYLOAD_TOO_LARGE", "the message may be read; its payload has a limit of its own"
    refusal = await refused(served.jobs.EnqueueJob(of_bytes(MAX_MESSAGE_BYTES + 1)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BODY_TOO_LARGE")
    assert "4194305 bytes; the most is 4194304" in refusal.message
    assert refusal.reason == http_errors.REASONS[413][0], "as over HTTP"


@pytest.mark.http2
async def test_a_message_that_is_larger_still_is_refused_alike(served: Served) -> None:
    refusal = await refused(served.jobs.EnqueueJob(of_bytes(3 * MAX_MESSAGE_BYTES)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BODY_TOO_LARGE")
    await served.jobs.ListJobs(jobqueue_pb2.ListJobsRequest())


@pytest.mark.slow
async def test_frequent_pings_of_a_client_are_borne(served: Served) -> None:
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}", options=options) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        # The third ping too many would end the stream; nothing else is read on it.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.read(), 5)
