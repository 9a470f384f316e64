"""One client over several loops, in a forked process, of the environment, and where nothing answers."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import pytest

from jobqueue import AUTO, Client, InvalidRequest, NewJob, Observer, SyncClient, Unavailable, Worker
from jobqueue.channel import Access
from jobqueue.environment import from_environment, worker_settings
from jobqueue.v1 import job_pb2
from jobqueue.v1 import jobqueue_pb2 as pb
from jobqueue.v1.jobqueue_pb2_grpc import JobQueueServicer, add_JobQueueServicer_to_server
from tests.ports import free_address

WITHIN = timedelta(seconds=20)


class Server(JobQueueServicer):
    """Answers calls in threads, so that it needs no loop. It keeps what it got."""

    def __init__(self) -> None:
        self.enqueued: list[job_pb2.NewJob] = []
        self.metadata: list[dict[str, object]] = []
        self.refuses = False
        self._server = grpc.server(ThreadPoolExecutor(4))
        add_JobQueueServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def GetJob(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        return pb.GetJobResponse(job=job_pb2.Job(id=request.id, status=job_pb2.Job.QUEUED))

    def EnqueueJob(self, request, context):
        if self.refuses:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such kind")
        self.enqueued.append(request.job)
        return pb.EnqueueJobResponse(job=job_pb2.Job(id="1", status=job_pb2.Job.QUEUED))

    def BatchEnqueueJobs(self, request, context):
        self.enqueued += request.jobs
        return pb.BatchEnqueueJobsResponse(
            results=[pb.EnqueueResult(id=str(number)) for number in range(len(request.jobs))]
        )


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()  # type: ignore[abstract]
    yield server
    server.stop()


@pytest.fixture
def nowhere() -> str:
    """An address on which nothing listens."""
    return free_address()


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_client_of_a_module_outlives_three_loops(server, adaptive):
    client = Client(server.address, deadline=WITHIN, adaptive=adaptive)

    async def use(number):
        await client.enqueue("work", number)
        return (await client.get(str(number))).id

    assert [asyncio.run(use(number)) for number in range(3)] == ["0", "1", "2"]
    asyncio.run(client.close())


def test_the_channel_of_a_loop_that_is_closed_is_let_go(server, monkeypatch):
    made = []
    connect = Access.async_channel

    def connecting(access, target):
        channel = connect(access, target)
        made.append(weakref.ref(channel))
        return channel

    monkeypatch.setattr(Access, "async_channel", connecting)
    client = Client(server.address, deadline=WITHIN)
    for number in range(3):
        assert asyncio.run(client.get(str(number))).id == str(number)
    gc.collect()
    assert [channel() is None for channel in made] == [True, True, False]


def test_loops_of_two_threads_use_one_client_at_the_same_time(server):
    client = Client(server.address, deadline=WITHIN)
    both = threading.Barrier(2, timeout=WITHIN.total_seconds())

    async def use():
        for _ in range(5):
            await client.get("1")
            await asyncio.to_thread(both.wait)
        return True

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(lambda _: asyncio.run(use()), range(2)))


def test_a_client_that_was_closed_connects_again(server):
    client = Client(server.address, deadline=WITHIN)

    async def use():
        await client.get("1")
        await client.close()
        return await client.get("2")

    assert asyncio.run(use()).id == "2"


@pytest.mark.parametrize(
    "again",
    ["client.get('2')", "SyncClient(address).get('2')", "asyncio.run(Client(address).get('2'))", "worker()"],
)
def test_a_forked_process_is_told_what_to_do_and_does_not_hang(server, again):
    code = f"""
import asyncio, os
from jobqueue import Client, SyncClient, Worker
address = {server.address!r}
client = SyncClient(address)
client.get("1")
def worker():
    from jobqueue.channel import Access
    Access().channel(address)
child = os.fork()
if child == 0:
    try:
        {again}
    except RuntimeError as error:
        print("told:", error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent:", client.get("3").id)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "told: this process was forked" in done.stdout
    assert "make the first call after the fork" in done.stdout
    assert "parent: 3" in done.stdout


def test_a_process_that_is_forked_before_the_first_call_works(server):
    code = f"""
import os
from jobqueue import SyncClient
client = SyncClient({server.address!r})
child = os.fork()
who = "child" if child == 0 else "parent"
os.write(1, (who + " " + client.get("3").id + "\\n").encode())
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert sorted(done.stdout.split("\n")) == ["", "child 3", "parent 3"]


def test_enqueue_takes_a_new_job(server):
    job = NewJob("work", {"a": 1}, queue="mail", priority=3, idempotency_key=AUTO)
    with SyncClient(server.address, deadline=WITHIN) as client:
        client.enqueue(job)
        client.enqueue(NewJob("work", idempotency_key="k-1"))
    first, second = server.enqueued
    assert (first.kind, first.queue, first.priority, first.payload_json) == ("work", "mail", 3, b'{"a":1}')
    assert first.idempotency_key
    assert second.idempotency_key == "k-1"


@pytest.mark.parametrize(
    "more", [{"queue": "mail"}, {"payload": {}}, {"idempotency_key": "k"}, {"delay": timedelta(seconds=1)}]
)
def test_what_stands_beside_a_new_job_is_refused(server, more):
    with (
        SyncClient(server.address, deadline=WITHIN) as client,
        pytest.raises(TypeError, match="takes a NewJob alone"),
    ):
        client.enqueue(NewJob("work"), **more)
    assert not server.enqueued


HINT = 'start a server by "make run" or "jobqueue-server"'


def test_the_first_call_that_finds_nothing_says_once_what_to_do(nowhere):
    # Without a key each is sent once, and so needs no more than its refusal, whatever the deadline is.
    with SyncClient(nowhere, deadline=WITHIN) as client:
        with pytest.raises(Unavailable) as first:
            client.enqueue("work")
        assert str(first.value).endswith(f"nothing answers at {nowhere}; {HINT}")
        with pytest.raises(Unavailable) as second:
            client.enqueue("work")
        assert HINT not in str(second.value)


def test_where_the_environment_says_the_address_the_first_call_names_it(nowhere, monkeypatch):
    monkeypatch.setenv("JOBQUEUE_SERVER", nowhere)
    with SyncClient.from_env(deadline=WITHIN) as client, pytest.raises(Unavailable) as first:
        client.enqueue("work")
    assert str(first.value).endswith(f"nothing answers at {nowhere}; {HINT}, or set JOBQUEUE_SERVER")


def test_where_a_server_has_answered_there_is_no_such_hint(server):
    with SyncClient(server.address, deadline=WITHIN) as client:
        client.get("1")
        server.stop()
        with pytest.raises(Unavailable) as away:
            client.enqueue("work")
        assert HINT not in str(away.value)


def test_a_server_that_speaks_no_tls_gets_no_such_hint(server):
    with SyncClient(server.address, credentials=grpc.ssl_channel_credentials(), deadline=WITHIN) as client:
        with pytest.raises(Unavailable) as failed:
            client.enqueue("work")
        assert HINT not in str(failed.value)


def test_a_client_of_the_environment_uses_its_server_and_token(server, monkeypatch):
    monkeypatch.setenv("JOBQUEUE_SERVER", server.address)
    monkeypatch.setenv("JOBQUEUE_TOKEN", "secret")
    with SyncClient.from_env(deadline=WITHIN) as client:
        assert client.get("1").id == "1"

    async def use():
        async with Client.from_env(deadline=WITHIN) as client:
            return (await client.get("2")).id

    assert asyncio.run(use()) == "2"
    assert [each["authorization"] for each in server.metadata] == ["Bearer secret"] * 2


def test_a_worker_of_the_environment_goes_to_its_server(monkeypatch):
    monkeypatch.setenv("JOBQUEUE_SERVER", "jobs.internal:50051")
    worker = Worker.from_env(queues=["mail"], concurrency=2)
    assert worker._options.targets == ("jobs.internal:50051",)
    assert worker._options.queues == ("mail",)


def test_a_worker_of_the_environment_has_its_queues_slots_and_name_unless_the_program_says_them(monkeypatch):
    monkeypatch.setenv("JOBQUEUE_QUEUES", "mail, reports,")
    monkeypatch.setenv("WORKER_CONCURRENCY", "7")
    monkeypatch.setenv("JOBQUEUE_WORKER_NAME", "blue")
    options = Worker.from_env()._options
    assert (options.queues, options.concurrency, options.name) == (("mail", "reports"), 7, "blue")
    options = Worker.from_env(queues=["bulk"], concurrency=2, name="green")._options
    assert (options.queues, options.concurrency, options.name) == (("bulk",), 2, "green")
    assert worker_settings((), {"JOBQUEUE_QUEUES": "", "WORKER_CONCURRENCY": ""}) == {}
    with pytest.raises(ValueError, match="WORKER_CONCURRENCY is 'many'; it is a number"):
        worker_settings((), {"WORKER_CONCURRENCY": "many"})
    assert worker_settings(("concurrency",), {"WORKER_CONCURRENCY": "many"}) == {}


def test_an_empty_environment_means_the_server_of_this_machine():
    found = from_environment({"JOBQUEUE_TOKEN": "", "JOBQUEUE_SERVER": "", "JOBQUEUE_TLS_ROOTS": ""})
    assert (found.server, found.credentials, found.token) == ("127.0.0.1:50051", None, None)
    assert from_environment({"JOBQUEUE_TLS_ROOTS": "public"}).credentials is not None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"JOBQUEUE_TLS_CLIENT_CERT": "a.pem"}, "need JOBQUEUE_TLS_ROOTS"),
        ({"JOBQUEUE_TLS_CLIENT_KEY": "a.pem"}, "need JOBQUEUE_TLS_ROOTS"),
        ({"JOBQUEUE_TLS_ROOTS": "/no/such.pem"}, "can't be read"),
        ({"JOBQUEUE_TLS_ROOTS": "public", "JOBQUEUE_TLS_CLIENT_KEY": "a.pem"}, "go together"),
    ],
)
def test_what_is_wrong_in_the_environment_is_said(environ, words):
    with pytest.raises(ValueError, match=words):
        from_environment(environ)


def test_an_observer_is_told_of_enqueues(server):
    told = []

    class Seen(Observer):
        def enqueued(self, count, kind, queue, seconds, error):
            told.append((count, kind, queue, error.split(":")[0]))
            assert 0 <= seconds < WITHIN.total_seconds()

    with SyncClient(server.address, deadline=WITHIN, observer=Seen()) as client:
        client.enqueue("work", queue="mail")
        client.enqueue_many([NewJob("work"), NewJob("work")])
        client.enqueue_many([NewJob("a"), NewJob("b", queue="other")])
        server.refuses = True
        with pytest.raises(Exception, match="no such kind"):
            client.enqueue("unknown")
    # `close` waits for them.
    assert told == [
        (1, "work", "mail", ""),
        (2, "work", "default", ""),
        (2, "", "", ""),
        (1, "unknown", "default", "INVALID_ARGUMENT"),
    ]


WRONG = [
    "",
    "http://127.0.0.1:8080",
    "HTTPS://jobs",
    "jobs.internal",
    "127.0.0.1:",
    "h:0",
    "h:65536",
    "h:http",
    "[::1]",
]


@pytest.mark.parametrize("make", [Client, SyncClient, Worker, lambda target: Worker(["127.0.0.1:1", target])])
@pytest.mark.parametrize("target", WRONG)
def test_an_address_without_a_port_or_with_the_scheme_of_a_url_is_refused_at_once(make, target):
    words = "target: must be HOST:PORT, such as 127.0.0.1:50051"
    words += ", without http://" if target.lower().startswith("http") else ""
    with pytest.raises(InvalidRequest) as refused:
        make(target)
    assert str(refused.value) == f"FIELD_INVALID: {words}"


@pytest.mark.parametrize(
    "target",
    [
        "h:1",
        "h:65535",
        "[::1]:50051",
        "dns:///jobs.internal:50051",
        "dns:jobs.internal",
        "unix:/run/jobs",
        "unix-abstract:jobs",
        "ipv4:127.0.0.1:1,127.0.0.1:2",
        "ipv6:[::1]:1",
        "xds:///jobs",
    ],
)
def test_an_address_that_grpc_takes_is_taken(target):
    Client(target)
    Worker(target)
